"""Jupiter's quotes over HTTP (`/swap/v1/quote`): the fallback where our own book has no answer.

Behind a circuit breaker: while Jupiter fails it is left alone, and the refusal of our own book stands.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any, Final, Self

import httpx2
import msgspec

from adapters.rpcpool.breaker import Circuit, CircuitBreaker
from adapters.solana.jsonrpc import is_loopback, where
from domain.chain import Address, Mint, Slot
from domain.errors import ChainUnavailable, DecodeError, NoRoute
from domain.market.amm.pool import PPM
from domain.market.quotes import Quotation, QuotedLeg, QuoteRequest
from domain.money import U64_MAX

SOURCE: Final = "jupiter"
TIMEOUT_S: Final = 2.0
"""Its median is a few hundred milliseconds; who asks has given up by then."""
MAX_BYTES: Final = 1 << 20
"""A quote takes a few kB."""
SLIPPAGE_BPS: Final = 0
"""The threshold it would put into a transaction is not used: what is asked is the quote."""

_BUSY: Final = 429
_KEY_REFUSED: Final = frozenset({401, 403})
_SERVER_ERROR: Final = 500


class JupiterQuotes:
    """Asks Jupiter for a quote.

    Args:
        url: of the API, e.g. `https://lite-api.jup.ag`.
        client: for the calls.
    """

    def __init__(self, url: str, client: httpx2.AsyncClient) -> None:
        self._url = f"{url.rstrip('/')}/swap/v1/quote"
        self._client = client
        self._breaker = CircuitBreaker()

    @classmethod
    @asynccontextmanager
    async def open(cls, url: str, api_key: str | None = None) -> AsyncIterator[Self]:
        """Connect when first needed; closed at the end."""
        headers = {"x-api-key": api_key} if api_key else {}
        async with httpx2.AsyncClient(
            timeout=TIMEOUT_S, headers=headers, trust_env=not is_loopback(url)
        ) as client:
            yield cls(url, client)

    @property
    def circuit(self) -> Circuit:
        """Whether it is asked now."""
        return self._breaker.state(time.monotonic())

    async def quote(self, request: QuoteRequest) -> Quotation:
        """Its answer to a question.

        Raises:
            NoRoute: it knows no route either.
            ChainUnavailable: it did not answer, answered nonsense, or is left alone after failures.
        """
        now = time.monotonic()
        if not self._breaker.admits(now):
            raise ChainUnavailable(
                f"{where(self._url)} failed several times in a row and is left alone for a while: ask later"
            )
        self._breaker.started(now)
        try:
            answer = await self._ask(request)
            quotation = _quotation(request, answer)
        except NoRoute:
            self._breaker.succeeded()
            raise
        except ChainUnavailable:
            self._breaker.failed(time.monotonic())
            raise
        except BaseException:  # cancelled: nothing is known of Jupiter
            self._breaker.undecided()
            raise
        self._breaker.succeeded()
        return quotation

    async def _ask(self, request: QuoteRequest) -> Any:  # noqa: ANN401 - its JSON
        params: dict[str, str | int] = {
            "inputMint": request.mint_in,
            "outputMint": request.mint_out,
            "amount": request.amount,
            "swapMode": "ExactIn" if request.exact_in else "ExactOut",
            "slippageBps": SLIPPAGE_BPS,
        }
        try:
            response = await self._client.get(self._url, params=params)
        except (httpx2.HTTPError, OSError) as error:
            raise ChainUnavailable(
                f"asking {where(self._url)} for a quote got no answer ({type(error).__name__} {error}): "
                "check the address and the network"
            ) from error
        status = response.status_code
        if status == _BUSY or status >= _SERVER_ERROR:
            raise ChainUnavailable(f"{where(self._url)} answered HTTP {status} to a quote: ask again later")
        if status in _KEY_REFUSED:
            raise ChainUnavailable(
                f"{where(self._url)} answered HTTP {status} to a quote: check DAYBOOK_QUOTES__JUPITER_API_KEY"
            )
        if not response.is_success:
            raise NoRoute(
                f"{where(self._url)} has no quote for {request.amount} of {request.mint_in} to "
                f"{request.mint_out} (HTTP {status}): ask for other tokens or another amount"
            )
        if len(response.content) > MAX_BYTES:
            raise _unreadable(f"{len(response.content)} bytes")
        try:
            return msgspec.json.decode(response.content)
        except (msgspec.DecodeError, RecursionError) as error:
            raise _unreadable(str(error)) from error


def _quotation(request: QuoteRequest, answer: Any) -> Quotation:  # noqa: ANN401 - its JSON
    """What it said, held to what was asked.

    Raises:
        ChainUnavailable: it cannot be read, or answers another question.
    """
    try:
        if (answer["inputMint"], answer["outputMint"]) != (request.mint_in, request.mint_out):
            raise DecodeError("it speaks of other tokens")
        amount_in, amount_out = _amount(answer["inAmount"]), _amount(answer["outAmount"])
        given = amount_in if request.exact_in else amount_out
        if given != request.amount:
            raise DecodeError(f"it speaks of {given}, not of {request.amount}")
        slot = Slot(int(answer.get("contextSlot") or 0))
        legs = tuple(_leg(step["swapInfo"], slot) for step in answer["routePlan"])
        impact = _ppm(answer.get("priceImpactPct") or "0")
    except (KeyError, TypeError, ValueError, AttributeError, ArithmeticError, DecodeError) as error:
        raise _unreadable(f"{type(error).__name__}: {error}") from error
    return Quotation(amount_in, amount_out, (legs,), impact, slot, slot, 0, 0, SOURCE)


def _leg(swap: Any, slot: Slot) -> QuotedLeg:  # noqa: ANN401 - its JSON
    return QuotedLeg(
        Address(str(swap["ammKey"])),
        str(swap.get("label") or "unknown"),
        Mint(str(swap["inputMint"])),
        Mint(str(swap["outputMint"])),
        _amount(swap["inAmount"]),
        _amount(swap["outAmount"]),
        0,
        0,
        0,
        slot,
    )


def _amount(value: Any) -> int:  # noqa: ANN401 - its JSON
    amount = int(str(value))
    if not 0 < amount <= U64_MAX:
        raise DecodeError(f"{amount} is no amount")
    return amount


def _ppm(share: Any) -> int:  # noqa: ANN401 - its JSON
    """A share of 1, as a decimal text or number, in parts per million, rounded down; never computed with."""
    return int(max(Decimal(0), min(Decimal(1), Decimal(str(share)))) * PPM)


def _unreadable(found: str) -> ChainUnavailable:
    return ChainUnavailable(
        f"Jupiter answered a quote with what cannot be read ({found}): check that the address is its API's"
    )
