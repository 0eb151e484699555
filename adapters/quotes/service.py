"""The quote service: the best route over the live book, remembered until one of its pools changes.

Answers come from three places, in this order: what this process answered before, what the cache holds, a new
search. The first two count only while every pool of the route stands as it did. Where the book has no answer
Jupiter is asked, if it is configured; what it says goes on record before it is given out.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Final
from uuid import UUID, uuid4

import structlog

from adapters.quotes.book import LiveBook
from adapters.quotes.cache import CachedPrice, CachedQuote, QuoteCache, QuoteToKeep
from adapters.quotes.jupiter import JupiterQuotes
from adapters.quotes.metrics import QuoteMetrics
from adapters.solana.accounts import public_key
from adapters.solana.pool_programs import TIMED
from domain.chain import Address, Mint
from domain.errors import (
    CacheUnavailable,
    ChainError,
    DaybookError,
    InvalidInput,
    NoRoute,
    QuoteError,
    StalePool,
    UnknownMint,
)
from domain.market.events import OutsideQuote
from domain.market.quotes import Quotation, QuoteRequest, quotation
from domain.market.routing.graph import Hop, TradablePool
from domain.market.routing.routes import Route, best_route

MAX_BATCH: Final = 100
"""Questions asked at once: a few hundred milliseconds when none was asked before."""
REMEMBERED: Final = 10_000
"""Answers kept in this process: some 20 MB."""
WITHOUT_STALE: Final = 3
"""How often a route is looked for anew without the pools that turned out stale."""
FLUSH_S: Final = 0.05
"""Changes are told to the cache together, so often."""

Record = Callable[[OutsideQuote, UUID], Awaitable[None]]
"""Puts another's quote on record; see `commands.quotes`."""

_log: structlog.stdlib.BoundLogger = structlog.get_logger("quotes.service")


class Quotes:
    """Answers questions from one live book.

    Args:
        book: the pools; watched by somebody else.
        clock: microseconds since the epoch.
        max_stale_us: pools known to hold longer ago are not quoted.
        cache: shared with other processes; none does without.
        fallback: asked where the book has no answer; none does without.
        record: needed with a fallback: puts its answers on record.
        metrics: counts what is answered.
    """

    def __init__(
        self,
        book: LiveBook,
        clock: Callable[[], int],
        *,
        max_stale_us: int,
        cache: QuoteCache | None = None,
        fallback: JupiterQuotes | None = None,
        record: Record | None = None,
        metrics: QuoteMetrics | None = None,
    ) -> None:
        self.book = book
        self.metrics = metrics or QuoteMetrics(book)
        self._clock = clock
        self._max_stale_us = max_stale_us
        self._cache = cache
        self._fallback = fallback
        self._record = record
        self._answers: dict[QuoteRequest, Quotation] = {}
        self._asked_of: dict[Address, set[QuoteRequest]] = {}
        self._changed: set[Address] = set()
        self._moved: Counter[Mint] = Counter()
        self._unkept: dict[QuoteRequest, QuoteToKeep] = {}
        book.on_change(self._pool_changed)

    async def quote(self, request: QuoteRequest) -> Quotation:
        """The best answer to a question.

        Raises:
            InvalidInput: a mint is no address.
            QuoteError: no book could answer that.
            UnknownMint, NoRoute, StalePool: our book has no answer, and nobody else has.
            LogUnavailable: another's answer could not be put on record.
        """
        request.check()
        with self.metrics.answering():
            if self._is_new(request):
                await self._look_up([request])
            return await self._answer(request)

    async def _answer(self, request: QuoteRequest) -> Quotation:
        try:
            found = self._own(request)
        except (UnknownMint, NoRoute, StalePool) as refusal:
            self.metrics.refused(type(refusal).__name__)
            if self._fallback is None:
                raise
            found = await self._from_fallback(request, self._fallback, refusal)
        self.metrics.answered(found.source)
        return found

    async def quote_many(self, requests: Sequence[QuoteRequest]) -> list[Quotation | DaybookError]:
        """An answer or the reason for none, for each question in its place.

        Raises:
            InvalidInput: more than 100 questions.
        """
        if len(requests) > MAX_BATCH:
            raise InvalidInput(f"{len(requests)} quotes were asked for at once: ask for up to {MAX_BATCH}")
        await self._look_up([request for request in dict.fromkeys(requests) if self._is_new(request)])
        answers: list[Quotation | DaybookError] = []
        for request in requests:
            try:
                request.check()
                with self.metrics.answering():
                    answers.append(await self._answer(request))
            except DaybookError as error:
                answers.append(error)
            await asyncio.sleep(0)  # others are answered between two searches
        return answers

    def pools(self, mint: Mint | None = None) -> list[tuple[TradablePool, int, int]]:
        """Pools that can be quoted, by address, each with its staleness in slots and microseconds.

        Raises:
            InvalidInput: `mint` is no address.
            UnknownMint: no pool trades it.
        """
        if mint is None:
            found = self.book.graph.pools()
        else:
            self._known(mint)
            found = self.book.graph.holding(mint)
        return [(pool, *self.book.age(pool.address)) for pool in found]

    def forget(self) -> None:
        """Answer every question anew from now on."""
        self._answers.clear()
        self._asked_of.clear()

    def oldest_us(self) -> int:
        """How long ago the least sure pool was last known to hold; microseconds, 0 for an empty book."""
        return self.book.oldest_us()

    async def run(self) -> None:
        """Tell the cache of answers, changes and volumes until cancelled."""
        while True:
            await asyncio.sleep(FLUSH_S)
            await self.flush()

    async def flush(self) -> None:
        """Tell the cache what changed and was answered; what it did not hear of changes, it hears again."""
        self._moved.update(self.book.moved())
        if self._cache is None:
            return
        changed, self._changed = self._changed, set()
        unkept, self._unkept = self._unkept, {}
        try:
            if changed:
                await self._cache.drop(changed)
            if unkept:
                await self._cache.keep(list(unkept.values()))
            if self._moved:
                await self._cache.add_volume(self._moved, self._clock())
                self._moved.clear()
        except CacheUnavailable:
            self._changed |= changed
            self.metrics.cache_away()

    async def warm_up(self, mints: Sequence[Mint], amount: int, report: Callable[[int, int], None]) -> int:
        """Ask what is likely to be asked: routes of the last hours, and each pair of `mints`.

        Returns:
            How many questions were answered.
        """
        wanted = await self._templates()
        wanted += [QuoteRequest(one, other, amount) for one in mints for other in mints if one != other]
        answered = 0
        for done, request in enumerate(dict.fromkeys(wanted), 1):
            with contextlib.suppress(InvalidInput):  # nobody can answer it now
                request.check()
                self._own(request)
                answered += 1
            report(done, len(wanted))
            await asyncio.sleep(0)
        return answered

    async def _templates(self) -> list[QuoteRequest]:
        if self._cache is None:
            return []
        try:
            return [template.request for template in await self._cache.templates()]
        except CacheUnavailable:
            self.metrics.cache_away()
            return []

    def _own(self, request: QuoteRequest) -> Quotation:
        known = self._answers.get(request)
        if known is not None and not self._fees_were_late(known.pools):
            dated = self._dated(known)
            if dated is not None:
                return dated
        self._known(request.mint_in)
        self._known(request.mint_out)
        return self._searched(request)

    def _known(self, mint: Mint) -> None:
        if self.book.graph.trades(mint):
            return
        public_key(mint)
        raise UnknownMint(f"no pool of this book trades {mint}: check the address, or name another token")

    def _is_new(self, request: QuoteRequest) -> bool:
        """Whether it may be answered, and was not."""
        trades = self.book.graph.trades
        return request not in self._answers and trades(request.mint_in) and trades(request.mint_out)

    async def _look_up(self, requests: Sequence[QuoteRequest]) -> None:
        """Remember what the cache knows of these questions and still holds."""
        if self._cache is None or not requests:
            return
        try:
            found = await self._cache.quotes(requests)
        except CacheUnavailable:
            self.metrics.cache_away()
            return
        for request, kept in found.items():
            if self._holds(kept):
                self.metrics.cached()
                self._remember(request, kept.quotation)

    def _holds(self, kept: CachedQuote) -> bool:
        if kept.states.keys() != kept.quotation.pools.keys() or not self.book.is_of_now(kept.states):
            return False
        timed = any(leg.protocol in TIMED for path in kept.quotation.paths for leg in path)
        return not timed or kept.unix_time >= self.book.time.unix_time

    def _searched(self, request: QuoteRequest) -> Quotation:
        without: frozenset[Address] = frozenset()
        for _ in range(WITHOUT_STALE):
            route = self._route(request, without)
            made = quotation(route)
            dated = self._dated(made)
            if dated is not None:
                self._remember(request, made)
                self._keep(request, made, route)
                return dated
            without |= {pool for pool in made.pools if self.book.age(pool)[1] > self._max_stale_us}
        raise self._stale(request)

    def _route(self, request: QuoteRequest, without: frozenset[Address]) -> Route:
        try:
            route = self._best(request, without)
            while self._fees_were_late({hop.pool.address for hop in route.hops}):  # each pool is late once
                route = self._best(request, without)
        except NoRoute:
            if without:
                raise self._stale(request) from None
            raise
        return route

    def _best(self, request: QuoteRequest, without: frozenset[Address]) -> Route:
        return best_route(
            self.book.graph,
            request.mint_in,
            request.mint_out,
            request.amount,
            exact_in=request.exact_in,
            max_legs=request.max_legs,
            max_parts=request.max_parts,
            without=without,
        )

    def _fees_were_late(self, pools: Iterable[Address]) -> bool:
        """Whether fees of these pools were not of now; then they are, and answers with old ones are gone."""
        late = self.book.bring_up_to_date(pools)
        for pool in late:
            self._forget_all(pool)
        return bool(late)

    def _dated(self, made: Quotation) -> Quotation | None:
        """The answer with its age as of now; none where that is too old."""
        ages = [self.book.age(pool) for pool in made.pools]
        slots, stale_us = max(age[0] for age in ages), max(age[1] for age in ages)
        if stale_us > self._max_stale_us:
            return None
        return made._replace(newest_slot=self.book.newest_slot, stale_slots=slots, stale_us=stale_us)

    def _stale(self, request: QuoteRequest) -> StalePool:
        return StalePool(
            f"quoting {request.mint_in} to {request.mint_out}: its pools were last known to hold more than "
            f"{self._max_stale_us / 1_000_000:g} s ago, newest slot {self.book.newest_slot}; sight of the "
            "chain was lost, ask again when it is back"
        )

    def _keep(self, request: QuoteRequest, made: Quotation, route: Route) -> None:
        """Have it written with the next flush: who asked does not wait for that."""
        if self._cache is not None and len(self._unkept) < REMEMBERED:
            prices = {(hop.mint_in, hop.pool.protocol): _price(hop) for hop in route.hops}
            states = {pool: self.book.state(pool) for pool in made.pools}
            quote = CachedQuote(made, self.book.time.unix_time, states)
            self._unkept[request] = QuoteToKeep(request, quote, prices)

    def _remember(self, request: QuoteRequest, made: Quotation) -> None:
        if len(self._answers) >= REMEMBERED:
            self._forget(next(iter(self._answers)))
        self._answers[request] = made
        for pool in made.pools:
            self._asked_of.setdefault(pool, set()).add(request)

    def _forget(self, request: QuoteRequest) -> None:
        self._unkept.pop(request, None)
        made = self._answers.pop(request, None)
        for pool in () if made is None else made.pools:
            self._asked_of.get(pool, set()).discard(request)

    def _pool_changed(self, pool: Address) -> None:
        self._changed.add(pool)
        self._forget_all(pool)

    def _forget_all(self, pool: Address) -> None:
        for request in self._asked_of.pop(pool, ()):
            self._forget(request)

    async def _from_fallback(
        self, request: QuoteRequest, fallback: JupiterQuotes, refusal: QuoteError
    ) -> Quotation:
        try:
            found = await fallback.quote(request)
        except ChainError as error:
            _log.warning("the fallback has no answer", reason=str(error))
            raise refusal from error
        if self._record is not None:
            event = OutsideQuote(
                found.source,
                request.mint_in,
                request.mint_out,
                request.exact_in,
                found.amount_in,
                found.amount_out,
                found.slot,
            )
            await self._record(event, uuid4())
        newest = max(self.book.newest_slot, found.slot)
        return found._replace(newest_slot=newest, stale_slots=newest - found.slot if found.slot else 0)


def _price(hop: Hop) -> CachedPrice:
    units_b, units_a = hop.pool.pool.spot_price()
    units = (units_b, units_a) if hop.a_to_b else (units_a, units_b)
    return CachedPrice(hop.mint_out, *units, hop.pool.address, hop.pool.slot)
