"""What the write side needs from the world, as small Protocols.

Adapters implement them; tests hold every implementation to the same contract (tests/contracts).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, TypeVar
from uuid import UUID

from eventsourcing.domain import BaseAggregate

from domain.chain import Address, Blockhash, BlockHeight, Commitment, Signature, Slot
from domain.events import Cause, DomainEvent, RecordedEvent
from domain.market.events import PoolUpdated
from domain.money import Lamports
from domain.trading.events import Leg
from domain.transactions import BalanceChange as BalanceChange  # noqa: PLC0414 - part of the Chain port
from domain.transactions import TransactionRecord as TransactionRecord  # noqa: PLC0414 - part of the Chain port

Clock = Callable[[], int]
"""Microseconds since the epoch."""

AnAggregate = TypeVar("AnAggregate", bound=BaseAggregate[str])


# --- the event log -------------------------------------------------------------------------------


class StreamAppend(NamedTuple):
    """Events for the end of one stream.

    Attributes:
        stream: the stream's name.
        expected_version: the version of the last event the writer has seen; `NEW_STREAM` (0) for a stream
            that must not exist, `ANY_VERSION` (-1) when the writer decides nothing.
        events: at least one.
        cause: why.
        recorded_at: microseconds since the epoch, by the caller's clock.
        slot: the slot the events speak of, where they speak of the chain.
    """

    stream: str
    expected_version: int
    events: Sequence[DomainEvent]
    cause: Cause
    recorded_at: int
    slot: Slot | None = None


@dataclass(frozen=True, slots=True)
class Fence:
    """The lease an append was decided under; a newer epoch refuses it."""

    lease: str
    epoch: int


class Appended(NamedTuple):
    """Where an append stands.

    Attributes:
        first_position: the position of its first event; the rest follow without a gap.
        last_position: the position of its last event.
        repeated: true when the append id was known: nothing was written now.
    """

    first_position: int
    last_position: int
    repeated: bool = False


class EventLog(Protocol):
    """The one append-only log: total order, contiguous positions, hash chain."""

    async def append(
        self, appends: Sequence[StreamAppend], *, append_id: UUID, fence: Fence | None = None
    ) -> Appended:
        """Append to one or several streams, all or nothing; acknowledged means durable.

        `append_id` is made by the caller: a repeated one returns the first result and writes nothing.

        Raises:
            ConcurrencyError: a stream is not at the expected version. Only this caller is refused.
            FencedOut: the fence's lease has a newer epoch.
            LogUnavailable: no answer; retry with the same `append_id`.
            InvalidInput: an empty append, an unknown event type, an over-long name or event.
        """
        ...

    async def read(
        self,
        after: int = 0,
        limit: int = 500,
        *,
        through: int | None = None,
        topics: Collection[str] | None = None,
    ) -> list[RecordedEvent]:
        """Up to `limit` events with `after` < position (<= `through`), in position order."""
        ...

    async def read_stream(
        self, stream: str, after_version: int = 0, limit: int = 10_000
    ) -> list[RecordedEvent]:
        """Up to `limit` events of one stream with version > `after_version`, in version order."""
        ...

    async def head(self) -> int:
        """The newest position; 0 for an empty log."""
        ...

    def follow(
        self, after: int = 0, *, topics: Collection[str] | None = None, limit: int = 500
    ) -> AsyncIterator[list[RecordedEvent]]:
        """History from `after`, then live, without gap or double, in non-empty batches, until closed."""
        ...


class Snapshots(Protocol):
    """States of aggregates, so that long streams need not be folded from the first event. Disposable."""

    async def load(self, kind: type[AnAggregate], stream: str) -> AnAggregate | None:
        """The newest state of a stream; none where there is none that this version of `kind` can read.

        One that cannot be read is removed.

        Raises:
            LogUnavailable: no answer.
        """
        ...

    async def save(self, aggregate: BaseAggregate[str]) -> None:
        """Keep a state, in place of older ones of its stream. It must hold no event that is not in the log.

        Raises:
            LogUnavailable: no answer.
        """
        ...

    async def discard(self, stream: str) -> None:
        """Remove whatever is kept of a stream.

        Raises:
            LogUnavailable: no answer.
        """
        ...


class Leases(Protocol):
    """Who may act: taking a lease raises its epoch, so that the former holder's appends are refused."""

    async def take(self, lease: str, holder: str) -> Fence:
        """Take the lease over, whoever holds it; returns the fence with the new epoch."""
        ...


class Bookmarks(Protocol):
    """How far a process manager has reacted to the log. Losing one only repeats idempotent appends."""

    async def load(self, name: str) -> int:
        """The last position reacted to; 0 when there is none."""
        ...

    async def save(self, name: str, position: int) -> None:
        """Remember `position`; never moves backwards."""
        ...


# --- the market ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class FeedGap:
    """The feed lost sight of the market between two times (microseconds since the epoch)."""

    feed: str
    dropped: int
    since: int
    until: int
    reason: str


class MarketFeed(Protocol):
    """A scanner, pulled: the recording loop keeps its own pace."""

    name: str

    def observations(self) -> AsyncIterator[PoolUpdated | FeedGap]:
        """Pool states as they are seen, until closed; reconnects by itself and says so by a gap."""
        ...


# --- the chain -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class RecentBlockhash:
    """A blockhash and the last block height at which a transaction that names it can land."""

    blockhash: Blockhash
    last_valid_block_height: BlockHeight


@dataclass(frozen=True, slots=True)
class SignatureStatus:
    """What a node says of one signature.

    Attributes:
        asked_slot: the node's slot when it answered (context.slot).
        slot: where the transaction was executed; none when the node knows nothing of it.
        commitment: how sure the node is; none when it knows nothing.
        error: the transaction's error in words where it failed.
    """

    asked_slot: Slot
    slot: Slot | None
    commitment: Commitment | None
    error: str | None


@dataclass(frozen=True, slots=True)
class ChainPoint:
    """A slot and its block height, read together from one bank.

    Slots are skipped, so a height alone does not tell which slot a node must have reached to know that block.
    """

    slot: Slot
    height: BlockHeight


class Chain(Protocol):
    """A Solana node, as the executor sees it. Every call is bounded in time.

    Every method raises ChainUnavailable when there was no answer (the outcome is unknown) and ChainError when
    the node refused.
    """

    async def latest_blockhash(self) -> RecentBlockhash:
        """The newest blockhash at commitment confirmed."""
        ...

    async def tip(self, commitment: Commitment) -> ChainPoint:
        """The newest slot at a commitment and its block height, from one answer (`getEpochInfo`)."""
        ...

    async def send(self, transaction: bytes) -> Signature:
        """Hand signed bytes to the node; acceptance is no promise that they land."""
        ...

    async def status(
        self, signature: Signature, *, search_history: bool = False, min_slot: Slot | None = None
    ) -> SignatureStatus:
        """What the node knows of a signature; with `min_slot` a node behind it raises ChainError."""
        ...

    async def transaction(self, signature: Signature, commitment: Commitment) -> TransactionRecord | None:
        """The transaction with its balance changes; none when unknown at that commitment."""
        ...

    async def balances(self, address: Address, token_accounts: Sequence[Address]) -> tuple[Slot, list[int]]:
        """Lamports of `address`, then base units of each token account (0 when missing), read in one slot.

        Finalized state only: what a rollback could still take back is not a balance.
        """
        ...

    def settlements(self, signature: Signature) -> AsyncIterator[Commitment]:
        """Wakes when the signature reaches processed, confirmed, finalized; a hint only: ask `status`."""
        ...


@dataclass(frozen=True, slots=True)
class SignedTransaction:
    """Bytes ready for the wire and what is known of them before they leave."""

    signature: Signature
    transaction: bytes
    blockhash: Blockhash
    last_valid_block_height: BlockHeight


class TransactionBuilder(Protocol):
    """Builds and signs the one transaction of an order."""

    async def build(
        self,
        *,
        wallet: Address,
        legs: Sequence[Leg],
        tip_lamports: Lamports,
        compute_unit_limit: int,
        compute_unit_price_micro_lamports: int,
        recent: RecentBlockhash,
    ) -> SignedTransaction:
        """All legs, budget and tip in one transaction, signed by the wallet's key.

        Raises:
            InvalidInput: an unknown pool or wallet, or a transaction over 1,232 bytes.
            ChainUnavailable: pool accounts had to be read and were not answered.
        """
        ...


class PoolDirectory(Protocol):
    """Knows which token accounts hold a pool's two tokens: a pool's fills are read from their changes."""

    async def vaults(self, pool: Address) -> tuple[Address, Address]:
        """The vaults of token a and token b.

        Raises:
            InvalidInput: the account is not a pool of a known program.
            ChainUnavailable: the pool account had to be read and was not answered.
        """
        ...


Step = Callable[[str], Any]
"""Told the name of each crash point (docs/explanation/executor.md) as it is passed; used by crash tests."""


def unobserved(step: str) -> None:
    """Pass `step` without telling anybody: what production does."""
    del step
