"""Holding the books against the chain: to the lamport, for every mint, at one finalized slot."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from commands.aggregates import Aggregates, content_id, decisions
from commands.ports import Chain, Clock, EventLog
from domain.chain import NATIVE, Mint, Slot
from domain.errors import InvalidInput
from domain.events import Cause, derived_id
from domain.refusal import Refusal
from domain.wallets.wallet import AGREED, Wallet

ACTOR: Final = "reconciler"
OPERATOR: Final = "operator"


@dataclass(frozen=True, slots=True)
class Balance:
    """One mint of one wallet, base units."""

    mint: Mint
    expected: int
    actual: int


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """What a comparison came to.

    Attributes:
        wallet: the wallet's stream.
        slot: of the reading; none when nothing could be compared.
        balances: by the log and by the chain, native first.
        halted: why the wallet may not be used, after this comparison; none while it may.
        pending: why nothing could be compared now; none when it was.
    """

    wallet: str
    slot: Slot | None
    balances: tuple[Balance, ...]
    halted: Refusal | None = None
    pending: str | None = None

    @property
    def agrees(self) -> bool:
        """Whether it was compared, and books and chain are equal."""
        return self.pending is None and all(each.expected == each.actual for each in self.balances)

    @property
    def unbooked(self) -> tuple[Balance, ...]:
        """Mints of which the chain holds more than the books know."""
        return tuple(each for each in self.balances if each.actual > each.expected)


class Reconciler:
    """Compares wallets with the chain. To ask changes nothing; on record, a difference halts the wallet.

    Args:
        log: appended to.
        aggregates: shared with the other services of the process.
        chain: where balances are read.
        clock: stamps what is appended.
    """

    def __init__(self, log: EventLog, aggregates: Aggregates, chain: Chain, clock: Clock) -> None:
        self._log = log
        self._aggregates = aggregates
        self._chain = chain
        self._clock = clock

    async def reconcile(self, stream: str, *, record: bool = False) -> Reconciliation:
        """Compare one wallet, given by its stream, while no order of it is open.

        With `record` the outcome has consequences: a difference halts the wallet, and equality ends a halt.

        The reading is taken first and the books after it, at a slot that has everything booked: whatever is
        booked between the two makes the comparison pending, never wrong.

        Raises:
            InvalidInput: there is no such wallet.
            ChainError, ChainUnavailable: the balances were not answered.
            ConcurrencyError: the wallet was moved while the outcome was put on record: compare again.
        """
        async with self._aggregates.hold(Wallet, stream) as wallet:
            before = wallet.version
            accounts = [held.account for held in wallet.token_accounts]
            address = wallet.address
        slot, actual = await self._chain.balances(address, accounts)
        async with self._aggregates.hold(Wallet, stream) as wallet:
            pending = _pending(wallet, before, slot)
            if pending is not None:
                return Reconciliation(stream, None, (), wallet.halted(), pending)
            balances = _balances(wallet, actual)
            if record:
                await self._conclude(wallet, slot, balances)
            return Reconciliation(wallet.id, slot, balances, wallet.halted())

    async def resolve(self, stream: str, reason: str) -> bool:
        """Let a halted wallet be used again although books and chain may differ; false when it is not halted.

        Args:
            stream: the wallet's.
            reason: why that is right, in the operator's words; kept on record.

        Raises:
            InvalidInput: there is no such wallet, or no reason is given.
            ConcurrencyError: the wallet was moved at the same moment: try again.
        """
        if not reason.strip():
            raise InvalidInput(f"{stream} is to be used again without a reason: say why the books are right")
        async with self._aggregates.hold(Wallet, stream) as wallet:
            halted = wallet.halted() is not None
            wallet.resolve(reason.strip(), self._clock())
            await self._record(wallet, OPERATOR, None)
        return halted

    async def _conclude(self, wallet: Wallet, slot: Slot, balances: tuple[Balance, ...]) -> None:
        now = self._clock()
        agreed = [wallet.compare(each.mint, each.actual, slot, now) for each in balances]
        if all(agreed):
            wallet.resolve(AGREED, now, slot)
        await self._record(wallet, ACTOR, slot)

    async def _record(self, wallet: Wallet, actor: str, slot: Slot | None) -> None:
        cause = Cause(derived_id("reconciliation", wallet.id, slot, wallet.version), None, actor)
        for append in decisions(wallet, cause, self._clock(), slot):
            await self._log.append([append], append_id=content_id(append))


def _balances(wallet: Wallet, actual: list[int]) -> tuple[Balance, ...]:
    mints = (NATIVE, *(held.mint for held in wallet.token_accounts))
    pairs = zip(mints, actual, strict=True)
    return tuple(Balance(mint, wallet.expected.get(mint, 0), found) for mint, found in pairs)


def _pending(wallet: Wallet, before: int, slot: Slot) -> str | None:
    if wallet.version != before:
        return "the books were written to while the chain was read"
    if wallet.reserved:
        return f"{len(wallet.reserved)} orders are open"
    if slot < wallet.last_slot:
        return f"the node is at slot {slot}, the books are at {wallet.last_slot}"
    return None
