"""Jupiter as the fallback: asked where our book has no answer, believed when it answers what was asked."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec
import pytest
from vector_book import Clock, vector_book

from adapters.memory.event_log import MemoryEventLog
from adapters.quotes.jupiter import JupiterQuotes
from adapters.quotes.service import Quotes
from adapters.rpcpool.breaker import FAILURES, Circuit
from commands.quotes import QuoteRecorder
from domain.chain import USDC, WSOL, Slot
from domain.errors import ChainUnavailable, NoRoute, UnknownMint
from domain.market.events import OutsideQuote
from domain.market.quotes import QuoteRequest

REQUEST = QuoteRequest(WSOL, USDC, 1_000)
LEG = {
    "ammKey": "P",
    "label": "Elsewhere",
    "inputMint": WSOL,
    "outputMint": USDC,
    "inAmount": "1000",
    "outAmount": "150",
}
GOOD: dict[str, Any] = {
    "inputMint": WSOL,
    "outputMint": USDC,
    "inAmount": "1000",
    "outAmount": "150",
    "otherAmountThreshold": "150",
    "priceImpactPct": "0.0012345",
    "routePlan": [{"swapInfo": LEG, "percent": 100}],
    "contextSlot": 300,
}


@dataclass
class Jupiter:
    """A server that answers as it is told and keeps what it was asked."""

    status: int = 200
    body: Any = field(default_factory=lambda: dict(GOOD))
    asked: list[dict[str, list[str]]] = field(default_factory=list)
    url: str = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One request a connection."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        path = head.split()[1]
        assert urlsplit(path).path == "/swap/v1/quote"
        self.asked.append(parse_qs(urlsplit(path).query))
        content = self.body if isinstance(self.body, bytes) else msgspec.json.encode(self.body)
        head = f"HTTP/1.1 {self.status} X\r\ncontent-length: {len(content)}\r\nconnection: close\r\n\r\n"
        writer.write(head.encode() + content)
        await writer.drain()
        writer.close()


@asynccontextmanager
async def jupiter() -> AsyncIterator[tuple[Jupiter, JupiterQuotes]]:
    told = Jupiter()
    server = await asyncio.start_server(told.serve, "127.0.0.1", 0)
    told.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server, JupiterQuotes.open(told.url) as quotes:
        yield told, quotes


async def test_it_is_asked_as_its_api_wants_it() -> None:
    async with jupiter() as (told, quotes):
        found = await quotes.quote(REQUEST)
        told.body = dict(GOOD, inAmount="1111", outAmount="1000")
        exact_out = await quotes.quote(REQUEST._replace(exact_in=False))
    assert told.asked[0] == {
        "inputMint": [WSOL],
        "outputMint": [USDC],
        "amount": ["1000"],
        "swapMode": ["ExactIn"],
        "slippageBps": ["0"],
    }
    assert told.asked[1]["swapMode"] == ["ExactOut"]
    assert (found.amount_in, found.amount_out, found.price_impact_ppm) == (1_000, 150, 1_234)
    assert (found.source, found.slot, found.paths[0][0].protocol) == ("jupiter", 300, "Elsewhere")
    assert (exact_out.amount_in, exact_out.amount_out) == (1_111, 1_000)


@pytest.mark.parametrize(
    "body",
    [
        b"<html>",
        b"[" * 100_000,
        [],
        {},
        {**GOOD, "outAmount": "-5"},
        {**GOOD, "outAmount": str(2**64)},
        {**GOOD, "outAmount": 1.5},
        {**GOOD, "inAmount": "999"},
        {**GOOD, "outputMint": WSOL},
        {**GOOD, "routePlan": None},
        {**GOOD, "routePlan": [{}]},
        {**GOOD, "priceImpactPct": "much"},
        {**GOOD, "priceImpactPct": "NaN"},
        {**GOOD, "contextSlot": "soon"},
    ],
    ids=str,
)
async def test_an_answer_to_another_question_is_none(body: object) -> None:
    async with jupiter() as (told, quotes):
        told.body = body
        with pytest.raises(ChainUnavailable, match="cannot be read"):
            await quotes.quote(REQUEST)


@pytest.mark.parametrize(
    ("said", "ppm"),
    [
        ("1.5e-5", 15),
        (0.25, 250_000),
        ("-0.1", 0),
        ("7", 1_000_000),
        ("1e999999", 1_000_000),
        ("1e-999999", 0),
    ],
)
async def test_the_impact_may_be_written_as_it_likes(said: object, ppm: int) -> None:
    async with jupiter() as (told, quotes):
        told.body = {**GOOD, "priceImpactPct": said}
        assert (await quotes.quote(REQUEST)).price_impact_ppm == ppm


async def test_a_key_that_is_refused_is_no_missing_route() -> None:
    async with jupiter() as (told, quotes):
        told.status = 401
        with pytest.raises(ChainUnavailable, match="JUPITER_API_KEY"):
            await quotes.quote(REQUEST)


async def test_after_failures_it_is_left_alone() -> None:
    """Five in a row open the circuit: the sixth question does not leave the house."""
    async with jupiter() as (told, quotes):
        told.status = 503
        for _ in range(FAILURES):
            with pytest.raises(ChainUnavailable, match="HTTP 503"):
                await quotes.quote(REQUEST)
        assert quotes.circuit is Circuit.OPEN
        with pytest.raises(ChainUnavailable, match="left alone"):
            await quotes.quote(REQUEST)
        assert len(told.asked) == FAILURES


async def test_no_route_is_an_answer_and_opens_nothing() -> None:
    async with jupiter() as (told, quotes):
        told.status, told.body = 400, {"errorCode": "COULD_NOT_FIND_ANY_ROUTE"}
        for _ in range(FAILURES + 1):
            with pytest.raises(NoRoute, match="HTTP 400"):
                await quotes.quote(REQUEST)
        assert quotes.circuit is Circuit.CLOSED


async def test_what_it_said_is_on_record_before_it_is_given_out() -> None:
    """Our book does not know SOL here: Jupiter does, and the log says what it said."""
    clock, log = Clock(), MemoryEventLog()
    async with jupiter() as (told, fallback):
        quotes = Quotes(
            vector_book(clock, "raydium_cpmm"),
            clock,
            max_stale_us=5_000_000,
            fallback=fallback,
            record=QuoteRecorder(log, clock).record,
        )
        found = await quotes.quote(REQUEST)
        assert (found.source, found.amount_out, found.newest_slot) == ("jupiter", 150, 300)
        (recorded,) = await log.read()
        assert recorded.stream == "quote-jupiter"
        assert recorded.event == OutsideQuote("jupiter", WSOL, USDC, True, 1_000, 150, Slot(300))
        assert not quotes._answers
        told.status = 500
        with pytest.raises(UnknownMint, match="no pool of this book"):
            await quotes.quote(REQUEST)
        assert await log.head() == 1


async def test_our_own_answer_is_not_asked_for_elsewhere() -> None:
    clock = Clock()
    async with jupiter() as (told, fallback):
        quotes = Quotes(vector_book(clock, "raydium_cpmm"), clock, max_stale_us=5_000_000, fallback=fallback)
        pool = quotes.pools()[0][0]
        assert (await quotes.quote(QuoteRequest(pool.mint_a, pool.mint_b, 10**6))).source == "local"
        assert not told.asked
