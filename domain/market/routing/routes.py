"""The best route: from one token to another through up to three pools, in parallel parts for large sizes.

A larger input never gives a smaller output, so the best way to a token in n legs is the best way to one of
its neighbours in n - 1 legs and the best pool from there: tokens are searched, not paths. A pool whose rate
without fees could not beat the best found is not quoted, and pools are tried from the highest rate down.

A large size is divided: the best ways for a part of it that share no pool are filled in even parts, each to
where it pays most, then ever smaller amounts are moved from one to another while that pays.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from domain.chain import Address, Mint
from domain.errors import NoRoute, QuoteError
from domain.market.amm.pool import check_amount
from domain.market.routing.graph import RATE_BITS, Edge, Hop, Path, PoolGraph
from domain.money import U64_MAX

MAX_LEGS: Final = 3
"""A transaction of more swaps hardly fits its 1,232 bytes, and every leg costs its fee."""

MAX_PARTS: Final = 4
"""Parallel ways of one route: each more adds little and another set of accounts."""

_SHARE: Final = 16  # of the size: what is tried and filled at once
_WORTH: Final = 10_000  # a division is looked for where it may gain a basis point
_HALVINGS: Final = 7  # the last amounts moved are a two-thousandth of the size: what is left is its square
_SHIFTS: Final = 4  # how often one amount is moved before it is halved


class Route(NamedTuple):
    """A whole swap: one path, or several side by side that share no pool."""

    paths: tuple[Path, ...]

    @property
    def amount_in(self) -> int:
        """What goes into all paths."""
        return sum(path.amount_in for path in self.paths)

    @property
    def amount_out(self) -> int:
        """What comes out of all paths."""
        return sum(path.amount_out for path in self.paths)

    @property
    def hops(self) -> list[Hop]:
        """Every pool crossed, path by path."""
        return [hop for path in self.paths for hop in path.hops]


def best_route(
    graph: PoolGraph,
    mint_in: Mint,
    mint_out: Mint,
    amount: int,
    *,
    exact_in: bool = True,
    max_legs: int = MAX_LEGS,
    max_parts: int = MAX_PARTS,
    without: frozenset[Address] = frozenset(),
) -> Route:
    """The route that gives most for `amount`, or costs least for it.

    Args:
        graph: the pools.
        mint_in: the token that is sold.
        mint_out: the token that is bought.
        amount: what is sent, or with `exact_in` false what must arrive; base units.
        exact_in: which of the two is given.
        max_legs: the most pools of one path, 1 to 3.
        max_parts: the most paths side by side; 1 divides nothing.
        without: pools to leave alone.

    Raises:
        QuoteError: the tokens are one and the same, or the amount is not a positive u64.
        NoRoute: no pools lead from one to the other, or none of them can trade the amount.
    """
    check_amount(amount)
    if mint_in == mint_out:
        raise QuoteError(f"{mint_in} was to be swapped for itself: name two tokens")
    search = _Search(graph, mint_in, mint_out, exact_in=exact_in, max_legs=max_legs)
    whole = search.best(amount, without)
    if max_parts > 1 and amount >= _SHARE:
        divided = _divided(search, amount, whole, max_parts, without)
        if divided is not None and (whole is None or search.gain(divided) > search.gain((whole,))):
            return Route(divided)
    if whole is None:
        raise NoRoute(
            f"no route of up to {max_legs} pools turns {mint_in} into {mint_out} for {amount} base units: "
            "ask for less, or for tokens whose pools are in the book"
        )
    return Route((whole,))


def quote_path(hops: Sequence[Hop], amount: int, *, exact_in: bool = True) -> Path | None:
    """Quote `amount` through all hops; none where one of them cannot trade all of it."""
    amounts = [amount]
    for hop in hops if exact_in else reversed(hops):
        moved = _quoted(Edge(hop, hop.a_to_b, 0), amounts[-1], exact_in=exact_in)
        if moved is None:
            return None
        amounts.append(moved)
    return Path(tuple(hops), tuple(amounts if exact_in else reversed(amounts)))


def _quoted(edge: Edge, amount: int, *, exact_in: bool) -> int | None:
    """What a pool pays for `amount`, or takes for it; none where it cannot trade all of it."""
    pool = edge.hop.pool.pool
    try:
        if exact_in:
            quote = pool.quote_exact_in(amount, a_to_b=edge.a_to_b)
            moved = quote.amount_out
        else:
            quote = pool.quote_exact_out(amount, a_to_b=edge.a_to_b)
            moved = quote.amount_in
    except QuoteError:
        return None
    return None if quote.partial or moved <= 0 else moved


class _Way(NamedTuple):
    """The best way from where the amount is given to a token: the amount there, and the hops."""

    amount: int
    edges: tuple[Edge, ...]


class _Search:
    """One question to one graph.

    It begins where the amount is given: at the token sold, or for an exact output at the token bought,
    walking against the swap. There less is better, so scores are inputs with their sign turned.
    """

    def __init__(
        self, graph: PoolGraph, mint_in: Mint, mint_out: Mint, *, exact_in: bool, max_legs: int
    ) -> None:
        self._graph = graph
        self._exact_in = exact_in
        self._max_legs = max_legs
        self._begin, self._end = (mint_in, mint_out) if exact_in else (mint_out, mint_in)
        self._levels = self._tokens_by_legs_left()

    def best(self, amount: int, without: frozenset[Address]) -> Path | None:
        """The best single path that leaves the pools of `without` alone."""
        best: _Way | None = None
        reached = {self._begin: _Way(amount, ())}
        for leg in range(1, self._max_legs + 1):
            best = self._last_leg(reached, best, without)
            if leg == self._max_legs:
                break
            reached = self._next_leg(reached, best, self._levels[self._max_legs - leg], without)
        return None if best is None else self._path(best, amount)

    def gain(self, paths: Sequence[Path]) -> int:
        """What to make as large as possible: the output, or the input with its sign turned."""
        if self._exact_in:
            return sum(path.amount_out for path in paths)
        return -sum(path.amount_in for path in paths)

    def along(self, hops: Sequence[Hop], amount: int) -> Path | None:
        """`amount` quoted along given hops."""
        return quote_path(hops, amount, exact_in=self._exact_in)

    def _tokens_by_legs_left(self) -> dict[int, dict[Mint, int]]:
        """For 1.. legs left: tokens from which the end can be reached, and the highest rate on the way."""
        levels: dict[int, dict[Mint, int]] = {1: {}}
        ends = {self._begin, self._end}
        for mint in self._graph.others(self._end):
            if mint not in ends and (rate := self._top_rate(mint, self._end)):
                levels[1][mint] = rate
        if self._max_legs == MAX_LEGS:
            levels[2] = self._two_left(levels[1])
        return levels

    def _two_left(self, one_left: dict[Mint, int]) -> dict[Mint, int]:
        two_left = dict(one_left)
        starts = [mint for mint in self._graph.others(self._begin) if mint != self._end]
        for mint in starts:
            for between in self._graph.others(mint):
                onward = one_left.get(between)
                if onward is None or between == mint:
                    continue
                rate = self._chained(self._top_rate(mint, between), onward)
                two_left[mint] = (
                    max(rate, two_left.get(mint, 0)) if self._exact_in else _least(rate, two_left.get(mint))
                )
        return two_left

    def _top_rate(self, mint: Mint, other: Mint) -> int:
        """The best rate of any pool in walking direction; for an exact output the least input for a unit."""
        edges = self._edges(mint, other)
        if not edges:
            return 0
        return edges[0].rate if self._exact_in else (1 << 2 * RATE_BITS) // edges[0].rate

    def _chained(self, rate: int, onward: int) -> int:
        product = rate * onward
        return -(-product >> RATE_BITS) if self._exact_in else product >> RATE_BITS

    def _edges(self, mint: Mint, other: Mint) -> tuple[Edge, ...]:
        return self._graph.edges(mint, other) if self._exact_in else self._graph.edges(other, mint)

    def _bound(self, amount: int, rate: int) -> int:
        """The score nothing can exceed that goes on with `amount` at `rate`."""
        return -(-amount * rate >> RATE_BITS) if self._exact_in else -(amount * rate >> RATE_BITS)

    def _score(self, amount: int) -> int:
        return amount if self._exact_in else -amount

    def _last_leg(
        self, reached: dict[Mint, _Way], best: _Way | None, without: frozenset[Address]
    ) -> _Way | None:
        for mint, way in reached.items():
            best = self._try_edges(way, self._edges(mint, self._end), best, without)
        return best

    def _try_edges(
        self, way: _Way, edges: tuple[Edge, ...], best: _Way | None, without: frozenset[Address]
    ) -> _Way | None:
        """The best of `best` and `way` with one of `edges`, which are in the order of their rates."""
        score = None if best is None else self._score(best.amount)
        for edge in edges:
            rate = edge.rate if self._exact_in else (1 << 2 * RATE_BITS) // edge.rate
            if score is not None and self._bound(way.amount, rate) <= score:
                break
            if edge.hop.pool.address in without:
                continue
            moved = _quoted(edge, way.amount, exact_in=self._exact_in)
            if moved is not None and (score is None or self._score(moved) > score):
                best, score = _Way(moved, (*way.edges, edge)), self._score(moved)
        return best

    def _next_leg(
        self,
        reached: dict[Mint, _Way],
        best: _Way | None,
        onward: dict[Mint, int],
        without: frozenset[Address],
    ) -> dict[Mint, _Way]:
        """The best way to every token from which the end can still be reached, one leg further."""
        found: dict[Mint, _Way] = {}
        floor = None if best is None else self._score(best.amount)
        for mint, way in reached.items():
            for other in self._graph.others(mint):
                rate = onward.get(other)
                if rate is None:
                    continue
                whole = self._chained(self._top_rate(mint, other), rate)
                if floor is not None and self._bound(way.amount, whole) <= floor:
                    continue
                better = self._try_edges(way, self._edges(mint, other), found.get(other), without)
                if better is not None:
                    found[other] = better
        return found

    def _path(self, way: _Way, amount: int) -> Path:
        edges = way.edges if self._exact_in else tuple(reversed(way.edges))
        path = self.along([edge.hop for edge in edges], amount)
        assert path is not None  # noqa: S101 - it was quoted a moment ago, and quotes do not change
        return path


def _least(rate: int, known: int | None) -> int:
    return rate if known is None else min(rate, known)


def _divided(
    search: _Search, amount: int, whole: Path | None, max_parts: int, without: frozenset[Address]
) -> tuple[Path, ...] | None:
    """`amount` over several paths that share no pool; none where that is not worth looking at."""
    share = amount // _SHARE
    first = search.best(share, without)
    if first is None or (whole is not None and not _may_gain(search, amount, whole, share, first)):
        return None
    ways = [first.hops]
    used = without | {hop.pool.address for hop in first.hops}
    while len(ways) < max_parts:
        another = search.best(share, used)
        if another is None:
            break
        ways.append(another.hops)
        used |= {hop.pool.address for hop in another.hops}
    return None if len(ways) == 1 else _Filling(search, ways).of(amount, share)


def _may_gain(search: _Search, amount: int, whole: Path, share: int, part: Path) -> bool:
    """Whether the whole size at the part's price would be better by a basis point."""
    at_best, as_it_is = search.gain((part,)) * amount // share, search.gain((whole,))
    return (at_best - as_it_is) * _WORTH > abs(as_it_is)


class _Filling:
    """Divides a size over paths that share no pool, so that each is worth what it is alone."""

    def __init__(self, search: _Search, ways: Sequence[tuple[Hop, ...]]) -> None:
        self._search = search
        self._ways = ways
        self._known: dict[tuple[int, int], int | None] = {}

    def of(self, amount: int, share: int) -> tuple[Path, ...] | None:
        """The division of `amount`; none where the paths cannot trade it, or ask for more than a u64."""
        sizes = [0] * len(self._ways)
        while (left := amount - sum(sizes)) > 0:  # at most 17 rounds
            part = left if left < 2 * share else share
            worths = [self._change(way, size, part) for way, size in enumerate(sizes)]
            best = _highest(worths)
            if best is None:
                return None
            sizes[best] += part
        self._balance(sizes, share)
        found = [self._search.along(self._ways[way], size) for way, size in enumerate(sizes) if size]
        paths = tuple(path for path in found if path is not None)
        whole = len(paths) == len(found) and abs(self._search.gain(paths)) <= U64_MAX
        return paths if whole else None  # no wallet holds more of a token

    def _balance(self, sizes: list[int], step: int) -> None:
        for _ in range(_HALVINGS):
            for _ in range(_SHIFTS):
                if not self._shift(sizes, step):
                    break
            step //= 2
            if step == 0:
                return

    def _shift(self, sizes: list[int], step: int) -> bool:
        """Move up to `step` from one path to another where that pays most; whether any did."""
        best: tuple[int, int, int, int] | None = None
        for giver, size in enumerate(sizes):
            moved = min(step, size)
            loss = self._change(giver, size, -moved) if moved else None
            if loss is None:
                continue
            for taker, other in enumerate(sizes):
                gain = None if taker == giver else self._change(taker, other, moved)
                if gain is not None and gain + loss > (best[0] if best else 0):
                    best = gain + loss, giver, taker, moved
        if best is None:
            return False
        _, giver, taker, moved = best
        sizes[giver] -= moved
        sizes[taker] += moved
        return True

    def _change(self, way: int, size: int, by: int) -> int | None:
        now, then = self._worth(way, size), self._worth(way, size + by)
        return None if now is None or then is None else then - now

    def _worth(self, way: int, size: int) -> int | None:
        if size == 0:
            return 0
        known = self._known.get((way, size), 0)
        if known == 0:  # never the worth of a size that can be traded
            path = self._search.along(self._ways[way], size)
            known = None if path is None else self._search.gain((path,))
            self._known[way, size] = known
        return known


def _highest(worths: Sequence[int | None]) -> int | None:
    """The place of the highest worth, the first of equals."""
    known = [(worth, -place) for place, worth in enumerate(worths) if worth is not None]
    return -max(known)[1] if known else None
