"""One order, driven to its end: docs/explanation/executor.md as code.

Each turn looks at the state the log has and does the one thing that state allows. Nothing here remembers
anything that matters, so starting and recovering are the same. An error or a time-out of the node is no
answer: the turn ends, and the next one asks again.

R1  `order.signed` is in the log before the first byte leaves.
R2  Only those bytes are sent while the attempt is open.
R3  An attempt has expired when the finalized height, read first, is past its last valid height, and a node
    that has reached that finalized slot then knows nothing of the signature, history included.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from dataclasses import dataclass
from typing import Final

import structlog

from commands.aggregates import Aggregates, content_id, decisions
from commands.ports import (
    Chain,
    ChainPoint,
    Clock,
    EventLog,
    Fence,
    RecentBlockhash,
    SignatureStatus,
    SignedTransaction,
    Step,
    TransactionBuilder,
)
from commands.settling import Settlement
from commands.together import together
from commands.watching import Watch
from domain.chain import Address, Commitment, Slot
from domain.errors import ChainError, ChainUnavailable, DecodeError, InvalidInput
from domain.events import Cause, event_id, to_microseconds
from domain.refusal import Refusal
from domain.strategies.strategy import Strategy
from domain.trading.order import ACCEPTED, REFUSED, Order, OrderState
from domain.trading.risk import still_wanted
from domain.wallets.wallet import Wallet

NAME: Final = "executor"
ROUTE: Final = "rpc"

PREFLIGHT_FAILURE: Final = -32002
"""The node simulated the bytes, saw them fail and forwarded nothing."""

_SAYS_NOTHING_OF_THE_BYTES: Final = ("blockhash not found", "blockhashnotfound", "already")
"""Preflight failures that mean a node behind the blockhash, or a transaction that has landed."""

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Pace:
    """How patiently an order is pursued.

    Attributes:
        poll_every_s: between two questions to the node when nothing wakes us; about one slot.
        resend_every_s: between two sends of the same bytes; a leader's four slots and some.
        lifetime_us: an order unsigned for so long is given up; its price is gone.
    """

    poll_every_s: float = 0.4
    resend_every_s: float = 2.0
    lifetime_us: int = 10_000_000


@dataclass(frozen=True, slots=True)
class Means:
    """What the executor works with; the same for all its orders."""

    log: EventLog
    aggregates: Aggregates
    chain: Chain
    builder: TransactionBuilder
    settlement: Settlement
    clock: Clock
    step: Step
    pace: Pace


class Pursuit:
    """Drives one order. The order's stream is written by nobody else while `fence` holds.

    Args:
        order: as the log has it.
        story: the cause of its placing; its correlation id is carried on.
        means: what to work with.
        fence: the executor's lease.
    """

    def __init__(self, order: Order, story: Cause, means: Means, fence: Fence) -> None:
        self._order = order
        self._story = story
        self._means = means
        self._fence = fence
        self._last_send_us: int | None = None
        self._watch = Watch(means.chain)

    async def run(self) -> None:
        """Turn after turn until the order is closed.

        Raises:
            ConcurrencyError: the stream was moved: load the order again.
            FencedOut: another executor took over.
            LogUnavailable: the outcome of an append is unknown: load the order again.
        """
        try:
            while not self._order.is_closed:  # ends: expiry is certain, and an unsigned order grows stale
                try:
                    await self._turn()
                except ChainError as error:
                    _log.info("the node gave no answer", order=self._order.id, error=str(error))
                except DecodeError as error:  # nor is an answer that cannot be: another node may do better
                    _log.error("the node's answer is of no use", order=self._order.id, error=str(error))
                if not self._order.is_closed:
                    await self._watch.wait(self._means.pace.poll_every_s)
        finally:
            await self._watch.close()

    async def _turn(self) -> None:
        if self._order.state in {OrderState.INTENDED, OrderState.EXPIRED}:
            await self._sign_or_give_up()
        else:
            await self._look()

    # --- S1, S6: nothing is in flight -------------------------------------------------------------

    async def _sign_or_give_up(self) -> None:
        async with together() as both:  # every millisecond before the send is one the price may move in
            doubted = both.create_task(self._refusal())
            asked = both.create_task(self._means.chain.latest_blockhash())
        refusal = doubted.result()
        if refusal is not None:
            await self._give_up(refusal)
            return
        self._means.step("c1")
        try:
            signed = await self._build(asked.result())
        except InvalidInput as error:
            await self._give_up(Refusal("cannot_build", str(error)))
            return
        self._means.step("c2")
        self._order.sign(
            signed.signature,
            b64encode(signed.transaction).decode(),
            signed.blockhash,
            signed.last_valid_block_height,
            self._fence.epoch,
            self._means.clock(),
        )
        await self._record()
        self._means.step("c3")
        self._watch.follow(signed.signature)
        await self._send()

    async def _refusal(self) -> Refusal | None:
        now, placed = self._means.clock(), self._order.placed
        async with (
            self._means.aggregates.hold(Strategy, placed.strategy) as strategy,
            self._means.aggregates.hold(Wallet, placed.wallet) as wallet,
        ):
            age = now - to_microseconds(self._order.created_on)
            return still_wanted(
                self._order, strategy, wallet, age_us=age, lifetime_us=self._means.pace.lifetime_us
            )

    async def _build(self, recent: RecentBlockhash) -> SignedTransaction:
        placed = self._order.placed
        return await self._means.builder.build(
            wallet=Address(placed.wallet.removeprefix("wallet-")),
            legs=placed.legs,
            tip_lamports=placed.costs.tip_lamports,
            compute_unit_limit=placed.compute_unit_limit,
            compute_unit_price_micro_lamports=placed.compute_unit_price_micro_lamports,
            recent=recent,
        )

    async def _give_up(self, refusal: Refusal) -> None:
        self._order.abandon(refusal, self._means.clock())
        await self._means.settlement.release(self._order, self._cause(), self._fence)

    # --- S2, S3, S4: an attempt may land ----------------------------------------------------------

    async def _look(self) -> None:
        """Ask the node for the open attempt, and take the answer to the log."""
        attempt, seen = self._order.open_attempt, self._order.observed
        self._watch.follow(attempt.signature)
        status = await self._means.chain.status(
            attempt.signature,
            search_history=seen is not None,  # nodes remember 150 slots; what was seen may be older
            min_slot=seen.slot if seen else None,
        )
        if status.slot is None and seen is None:
            tip = await self._means.chain.tip(Commitment.FINALIZED)
            if tip.height > attempt.last_valid_block_height:
                status = await self._means.chain.status(
                    attempt.signature, search_history=True, min_slot=tip.slot
                )
                if status.slot is None:
                    await self._expire(tip, status)
                    return
        await self._take(status)

    async def _expire(self, tip: ChainPoint, status: SignatureStatus) -> None:
        if status.asked_slot < tip.slot:
            return  # a node that is behind has not answered the question
        self._means.step("c7")
        self._order.expire(tip.height, status.asked_slot, self._means.clock())
        await self._record(status.asked_slot)

    async def _take(self, status: SignatureStatus) -> None:
        if status.slot is None or status.commitment is None:
            await self._take_silence(status)
        elif status.commitment is Commitment.FINALIZED:
            await self._settle()
        else:
            self._order.observe(status.slot, status.commitment, status.error, self._means.clock())
            await self._record(status.slot)
            self._means.step("c6")

    async def _take_silence(self, status: SignatureStatus) -> None:
        """The node knows nothing: a slot is gone, or the bytes have not arrived."""
        seen = self._order.observed
        if seen is None:
            if self._send_is_due():
                await self._send()
        elif status.asked_slot >= seen.slot:
            self._order.roll_back(self._means.clock())
            await self._record(seen.slot)

    async def _settle(self) -> None:
        signature = self._order.open_attempt.signature
        record = await self._means.chain.transaction(signature, Commitment.FINALIZED)
        if record is None:
            return  # another node answered; the next turn asks again
        self._means.step("c5")
        await self._means.settlement.settle(self._order, record, self._cause(), self._fence)
        self._means.step("c8")

    # --- sending ----------------------------------------------------------------------------------

    def _send_is_due(self) -> bool:
        if self._order.was_refused:
            return False  # it would fail for a fee; it expires unsent
        since = self._last_send_us
        return since is None or self._means.clock() - since >= self._means.pace.resend_every_s * 1_000_000

    async def _send(self) -> None:
        transaction = b64decode(self._order.open_attempt.transaction)
        self._last_send_us = self._means.clock()
        try:
            await self._means.chain.send(transaction)
            answer = ACCEPTED
        except ChainError as error:
            answer = _answer(error)
        self._means.step("c4")
        self._order.submit(ROUTE, answer, self._means.clock())
        await self._record()

    # --- recording --------------------------------------------------------------------------------

    def _cause(self) -> Cause:
        """The last recorded event of the order leads to the next; the story is the order's."""
        version = self._order.version - len(self._order.pending_events)
        return Cause(self._story.correlation_id, event_id(self._order.id, version), NAME)

    async def _record(self, slot: Slot | None = None) -> None:
        for append in decisions(self._order, self._cause(), self._means.clock(), slot):
            await self._means.log.append([append], append_id=content_id(append), fence=self._fence)


def _answer(error: ChainError) -> str:
    if isinstance(error, ChainUnavailable):
        return f"no answer: {error}"
    says_nothing = any(words in str(error).lower() for words in _SAYS_NOTHING_OF_THE_BYTES)
    if error.code == PREFLIGHT_FAILURE and not says_nothing:
        return f"{REFUSED}{error}"
    return f"error: {error}"
