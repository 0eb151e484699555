"""What the doors of the quote service share: whom they ask, how bodies are read, how refusals are named."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, Protocol

import msgspec
from prometheus_client import CollectorRegistry

from api.errors import Problem, problem_of
from api.services import Health
from domain.chain import Mint
from domain.errors import (
    CacheUnavailable,
    DaybookError,
    InvalidInput,
    LogUnavailable,
    NoRoute,
    StalePool,
    UnknownMint,
)
from domain.market.quotes import Quotation, QuotedLeg, QuoteRequest
from domain.market.routing.graph import TradablePool
from domain.market.routing.routes import MAX_LEGS, MAX_PARTS

MAX_BATCH: Final = 100
"""Questions of one request."""


class QuoteService(Protocol):
    """Whom the doors ask; `adapters.quotes.service` is one."""

    async def quote(self, request: QuoteRequest) -> Quotation:
        """The best answer to a question.

        Raises:
            InvalidInput: it cannot be answered by any book, or not by this one: see its kinds.
        """
        ...

    async def quote_many(self, requests: Sequence[QuoteRequest]) -> list[Quotation | DaybookError]:
        """An answer or the reason for none, for each question in its place.

        Raises:
            InvalidInput: too many questions.
        """
        ...

    def pools(self, mint: Mint | None = None) -> list[tuple[TradablePool, int, int]]:
        """Pools by address, each with its staleness in slots and microseconds.

        Raises:
            InvalidInput: no pool trades `mint`.
        """
        ...


@dataclass(frozen=True, slots=True)
class QuoteServices:
    """Everything the doors need; wired by the composition root.

    Attributes:
        quotes: answers.
        health: how the pool book is, in memory.
        registry: what is counted.
        newest_slot: the newest slot the book has heard of.
    """

    quotes: QuoteService
    health: Callable[[], Health]
    registry: CollectorRegistry
    newest_slot: Callable[[], int]


class QuoteBody(msgspec.Struct, forbid_unknown_fields=True):
    """A question as JSON.

    Attributes:
        input_mint, output_mint: base58 addresses.
        amount: base units, a whole number or its decimal text.
        mode: whether `amount` is the input or the output.
        max_legs: the most pools of one path.
        max_parts: the most paths side by side.
    """

    input_mint: str
    output_mint: str
    amount: int | str
    mode: Literal["exact_in", "exact_out"] = "exact_in"
    max_legs: int = MAX_LEGS
    max_parts: int = MAX_PARTS

    def request(self) -> QuoteRequest:
        """The question.

        Raises:
            InvalidInput: the amount is no whole number.
        """
        return QuoteRequest(
            Mint(self.input_mint),
            Mint(self.output_mint),
            _whole(self.amount),
            self.mode == "exact_in",
            self.max_legs,
            self.max_parts,
        )


class BatchBody(msgspec.Struct, forbid_unknown_fields=True):
    """Up to 100 questions as JSON."""

    requests: list[QuoteBody]


class LegBody(msgspec.Struct):
    """One swap of a route; amounts are decimal texts of base units."""

    pool: str
    protocol: str
    input_mint: str
    output_mint: str
    amount_in: str
    amount_out: str
    fee_in: str
    fee_out: str
    price_impact_ppm: int
    slot: int


class PathBody(msgspec.Struct):
    """Swaps one after the other."""

    amount_in: str
    amount_out: str
    legs: list[LegBody]


class QuotationBody(msgspec.Struct):
    """An answer as JSON; amounts are decimal texts, for many readers lose whole numbers above 2^53."""

    input_mint: str
    output_mint: str
    mode: str
    amount_in: str
    amount_out: str
    price_impact_ppm: int
    paths: list[PathBody]
    slot: int
    newest_slot: int
    stale_slots: int
    stale_ms: int
    source: str


class PoolBody(msgspec.Struct):
    """A pool that can be quoted; its marginal price of token a before fees is price_b / price_a."""

    pool: str
    protocol: str
    mint_a: str
    mint_b: str
    price_b: str
    price_a: str
    slot: int
    stale_slots: int
    stale_ms: int


class RefusalBody(msgspec.Struct):
    """Why there is no answer."""

    error: str
    detail: str
    hint: str


class AnswerBody(msgspec.Struct, omit_defaults=True):
    """Either an answer or why there is none."""

    quotation: QuotationBody | None = None
    refusal: RefusalBody | None = None


class Answers(msgspec.Struct):
    """One for each question, in its place."""

    answers: list[AnswerBody]


class Pools(msgspec.Struct):
    """The pools that can be quoted."""

    newest_slot: int
    pools: list[PoolBody]


@dataclass(frozen=True, slots=True)
class Refusal:
    """A refusal as both doors name it.

    Attributes:
        problem: for a person.
        status: over HTTP.
        code: over gRPC.
    """

    problem: Problem
    status: int
    code: str


def refusal_of(error: BaseException) -> Refusal:
    """How an error leaves the house; what is not the caller's business is logged under a reference."""
    detail = str(error)
    match error:
        case UnknownMint():
            return Refusal(
                Problem("unknown_mint", detail, "GET /v1/pools lists the pools."), 404, "NOT_FOUND"
            )
        case NoRoute():
            hint = "Ask for less, for more legs or parts, or for another token."
            return Refusal(Problem("no_route", detail, hint), 422, "FAILED_PRECONDITION")
        case StalePool():
            return Refusal(Problem("stale", detail, "Ask again in a few seconds."), 503, "UNAVAILABLE")
        case InvalidInput():
            hint = "Look at docs/reference/quotes.md for what is expected."
            return Refusal(Problem("bad_input", detail, hint), 400, "INVALID_ARGUMENT")
        case LogUnavailable() | CacheUnavailable():
            hint = "Ask again: nothing was given out."
            return Refusal(
                Problem("unavailable", "A server of ours did not answer.", hint), 503, "UNAVAILABLE"
            )
        case _:
            problem, status = problem_of(error)
            return Refusal(problem, status, "INTERNAL")


def quotation_body(request: QuoteRequest, found: Quotation) -> QuotationBody:
    """An answer as JSON."""
    return QuotationBody(
        request.mint_in,
        request.mint_out,
        "exact_in" if request.exact_in else "exact_out",
        str(found.amount_in),
        str(found.amount_out),
        found.price_impact_ppm,
        [
            PathBody(str(path[0].amount_in), str(path[-1].amount_out), [_leg_body(leg) for leg in path])
            for path in found.paths
        ],
        found.slot,
        found.newest_slot,
        found.stale_slots,
        found.stale_us // 1_000,
        found.source,
    )


def pool_body(pool: TradablePool, stale_slots: int, stale_us: int) -> PoolBody:
    """A pool as JSON."""
    price_b, price_a = pool.pool.spot_price()
    return PoolBody(
        pool.address,
        pool.protocol,
        pool.mint_a,
        pool.mint_b,
        str(price_b),
        str(price_a),
        pool.slot,
        stale_slots,
        stale_us // 1_000,
    )


def refusal_body(refusal: Refusal) -> RefusalBody:
    """A refusal in its place of a batch."""
    return RefusalBody(refusal.problem.error, refusal.problem.detail, refusal.problem.hint)


def _leg_body(leg: QuotedLeg) -> LegBody:
    return LegBody(
        leg.pool,
        leg.protocol,
        leg.mint_in,
        leg.mint_out,
        str(leg.amount_in),
        str(leg.amount_out),
        str(leg.fee_in),
        str(leg.fee_out),
        leg.price_impact_ppm,
        leg.slot,
    )


def _whole(amount: Any) -> int:  # noqa: ANN401 - from outside
    if isinstance(amount, int):
        return amount
    if amount.isascii() and amount.isdigit() and len(amount) <= 20:
        return int(amount)
    raise InvalidInput(f"the amount {amount[:40]!r} is no whole number of base units from 1 to 2^64 - 1")
