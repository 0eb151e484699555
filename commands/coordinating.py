"""From opportunities to orders: fresh, allowed, paid for? Then intent and funds in one append.

Everything is appended under an id that follows from the opportunity's event: whatever is decided twice, after
a crash or by two processes, takes effect once.
"""

from __future__ import annotations

import asyncio
from typing import Final

import structlog

from commands.aggregates import Aggregates, decisions, fold
from commands.ports import Bookmarks, Clock, EventLog, Step, StreamAppend, unobserved
from domain.chain import Slot
from domain.errors import ConcurrencyError, InvalidInput, LogUnavailable
from domain.events import RecordedEvent, derived_id
from domain.market.events import PoolUpdated
from domain.refusal import Refusal
from domain.strategies.strategy import Strategy
from domain.trading.events import OpportunityFound
from domain.trading.opportunity import Opportunity, staleness
from domain.trading.order import Order, order_stream
from domain.trading.risk import MAX_LOSS, Exposure, allow
from domain.wallets.wallet import Wallet

NAME: Final = "coordinator"

EXPOSURE_TOPICS: Final = frozenset(
    {
        "order.placed",
        "order.landed",
        "order.failed",
        "order.abandoned",
        "wallet.transferred",
        "strategy.resumed",
    }
)

BATCH: Final = 500
"""Events folded between two decisions at most."""

TRIES: Final = 20
"""Decisions anew after another writer moved a stream, or while the log is away."""

RETRY_PAUSE_S: Final = 0.25
"""With the tries above, five seconds: an opportunity is stale by then."""

BOOKMARK_EVERY: Final = 10_000
"""Positions after which the bookmark is moved although nothing was decided: bounds what a restart reads."""

_log = structlog.get_logger(__name__)


class Coordinator:
    """Decides on every opportunity, once. One for each log; run by `daybook run`.

    Args:
        log: read and appended to.
        aggregates: shared with the executor of the same process.
        bookmarks: how far it has decided.
        clock: stamps the decisions.
        step: told `c0` before an intent is appended; for crash tests.
    """

    def __init__(
        self,
        log: EventLog,
        aggregates: Aggregates,
        bookmarks: Bookmarks,
        clock: Clock,
        step: Step = unobserved,
    ) -> None:
        self._log = log
        self._aggregates = aggregates
        self._bookmarks = bookmarks
        self._clock = clock
        self._step = step
        self._exposure = Exposure()
        self._newest_slot = Slot(0)
        self._history_ends = 0

    async def run(self) -> None:
        """Decide until cancelled; run again after an error, it begins anew."""
        self._exposure = Exposure()
        bookmark = await self._bookmarks.load(NAME)
        await self._catch_up(bookmark)
        self._history_ends = await self._log.head()
        topics = EXPOSURE_TOPICS | {PoolUpdated.TOPIC, OpportunityFound.TOPIC}
        async for batch in self._log.follow(bookmark, topics=topics, limit=BATCH):
            for recorded in batch:
                self._fold(recorded)
            found = [recorded for recorded in batch if recorded.topic == OpportunityFound.TOPIC]
            for recorded in found:
                await self._consider(recorded)
            if found or batch[-1].position - bookmark >= BOOKMARK_EVERY:
                bookmark = batch[-1].position
                await self._bookmarks.save(NAME, bookmark)

    async def _catch_up(self, through: int) -> None:
        after = 0
        while page := await self._log.read(after, BATCH, through=through, topics=EXPOSURE_TOPICS):
            for recorded in page:
                self._exposure.fold(recorded.event)
            after = page[-1].position

    def _fold(self, recorded: RecordedEvent) -> None:
        if isinstance(recorded.event, PoolUpdated):
            self._newest_slot = max(self._newest_slot, recorded.event.slot)
        else:
            self._exposure.fold(recorded.event)

    async def _consider(self, recorded: RecordedEvent) -> None:
        """Decide on one opportunity, anew for as long as it takes to be recorded."""
        may_be_decided = recorded.position <= self._history_ends
        for _ in range(TRIES):
            try:
                if not (may_be_decided and await self._is_decided(recorded.stream)):
                    await self._decide(recorded)
            except (ConcurrencyError, LogUnavailable) as error:
                _log.info("the decision is made anew", opportunity=recorded.stream, error=str(error))
                may_be_decided = True
                await asyncio.sleep(RETRY_PAUSE_S)
            except InvalidInput as error:  # it names a strategy or a wallet that is not there
                _log.error("the opportunity is passed over", opportunity=recorded.stream, error=str(error))
                return
            else:
                return
        _log.error("the opportunity is passed over", opportunity=recorded.stream, tries=TRIES)

    async def _is_decided(self, opportunity: str) -> bool:
        placed = await self._log.read_stream(order_stream(opportunity), limit=1)
        return bool(placed) or len(await self._log.read_stream(opportunity, limit=2)) > 1

    async def _decide(self, recorded: RecordedEvent) -> None:
        found: OpportunityFound = recorded.event
        async with (
            self._aggregates.hold(Strategy, found.strategy) as strategy,
            self._aggregates.hold(Wallet, found.wallet) as wallet,
        ):
            if order_stream(recorded.stream) in wallet.reserved:
                return  # another process placed the order while we waited
            refusal = self._refusal(recorded, strategy) or self._reserve(found, wallet)
            if refusal is None:
                await self._place(recorded, strategy, wallet)
            else:
                await self._decline(recorded, strategy, refusal)

    def _refusal(self, recorded: RecordedEvent, strategy: Strategy) -> Refusal | None:
        found: OpportunityFound = recorded.event
        return staleness(
            found,
            age_us=self._clock() - recorded.recorded_at,
            newest_slot=self._newest_slot,
            max_age_slots=strategy.parameters.max_quote_age_slots,
        ) or allow(strategy, self._exposure, found.legs[0].amount_in)

    def _reserve(self, found: OpportunityFound, wallet: Wallet) -> Refusal | None:
        leg = found.legs[0]
        order = order_stream(found.originator_id)
        return wallet.reserve(order, leg.mint_in, leg.amount_in, found.costs.total_lamports, self._clock())

    async def _place(self, recorded: RecordedEvent, strategy: Strategy, wallet: Wallet) -> None:
        now, cause = self._clock(), recorded.leads_to(NAME)
        order = Order.place(
            recorded.event,
            compute_unit_limit=strategy.parameters.compute_unit_limit,
            compute_unit_price_micro_lamports=strategy.parameters.compute_unit_price_micro_lamports,
            at=now,
        )
        self._step("c0")
        reserved = decisions(wallet, cause, now, recorded.slot)
        intended = decisions(order, cause, now, recorded.slot)
        if await self._append(recorded, [*reserved, *intended]):
            self._exposure.fold(order.placed)  # the next opportunity of the batch counts it

    async def _decline(self, recorded: RecordedEvent, strategy: Strategy, refusal: Refusal) -> None:
        opportunity = await fold(self._log, recorded.stream)
        if not isinstance(opportunity, Opportunity):
            raise InvalidInput(f"stream {recorded.stream!r} holds no opportunity: nothing to decline")
        if opportunity.declined is not None:
            return  # by another process, while we waited
        now, cause = self._clock(), recorded.leads_to(NAME)
        opportunity.decline(refusal, now)
        if refusal.reason == MAX_LOSS:
            strategy.stop(MAX_LOSS, now)
        await self._append(recorded, [*decisions(opportunity, cause, now), *decisions(strategy, cause, now)])

    async def _append(self, recorded: RecordedEvent, appends: list[StreamAppend]) -> bool:
        """Put a decision on record; false when another one is, and what we decided never happened."""
        append_id = derived_id(NAME, recorded.event_id)
        appended = await self._log.append(appends, append_id=append_id)
        if appended.repeated:
            for append in appends:
                self._aggregates.forget(append.stream)
        return not appended.repeated
