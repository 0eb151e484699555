"""The live book on a local Solana: filled, kept current by what others swap, and exact to the unit."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial

import pytest
from localnets import SOL
from scripted_node import scripted_node
from waiting import until

from adapters.localnet.server import LocalnetConfig, serve
from adapters.quotes.book import LiveBook
from adapters.quotes.initialiser import Initialiser, Loaded
from adapters.quotes.reader import PoolReader
from adapters.quotes.service import Quotes
from adapters.quotes.watcher import PoolWatcher
from adapters.solana.accounts import AccountReader
from adapters.solana.jsonrpc import JsonRpc
from adapters.solana.pool_programs import POOL_PROGRAMS
from adapters.solana.pubsub import PubSub
from daybook.clock import now_us
from domain.chain import USDC, WSOL
from domain.errors import ChainUnavailable, StalePool
from domain.market.quotes import QuoteRequest

REQUEST = QuoteRequest(WSOL, USDC, SOL)


@dataclass
class Live:
    """A running network and a book that follows it."""

    rpc: JsonRpc
    quotes: Quotes
    loaded: Loaded
    steps: list[str]


@asynccontextmanager
async def live(crowd_tps: int = 0, max_stale_us: int = 5_000_000) -> AsyncIterator[Live]:
    steps: list[str] = []
    async with (
        asyncio.timeout(60),
        serve(LocalnetConfig(port=0, slot_ms=20, crowd_tps=crowd_tps)) as network,
    ):
        rpc = JsonRpc(network.rpc_url)
        accounts = AccountReader(rpc)
        reader, book = PoolReader(accounts), LiveBook(now_us)
        quotes = Quotes(book, now_us, max_stale_us=max_stale_us)
        loaded = await Initialiser(
            accounts, reader, quotes, list(POOL_PROGRAMS.values()), [WSOL, USDC],
            lambda what, _done, _total: steps.append(what),
        ).load()  # fmt: skip
        connect = partial(PubSub, network.ws_url, clock=now_us)
        watching = asyncio.create_task(PoolWatcher(book, reader, connect, now_us).run())
        try:
            yield Live(rpc, quotes, loaded, steps)
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
            await rpc.aclose()


async def test_the_start_finds_every_pool_and_warms_up() -> None:
    """Two CPMM pools are on the network at least; each is quotable, and both directions were asked."""
    async with live() as one:
        assert one.loaded.found >= 2
        assert one.loaded.quotable >= 2
        assert one.loaded.refused == {}
        assert one.loaded.warmed == 2
        assert list(dict.fromkeys(one.steps)) == ["finding pools", "reading pools", "warming up"]
        assert {pool.mint_a for pool, *_ in one.quotes.pools(WSOL)} == {WSOL}


async def test_the_book_follows_the_crowd() -> None:
    """While others trade, quotes move, slots rise, volume is counted and nothing is stale."""
    async with live(crowd_tps=50) as one:
        first = await one.quotes.quote(REQUEST)
        await until(lambda: one.quotes.book.changes >= 20)
        later = await one.quotes.quote(REQUEST)
        assert later.slot > first.slot
        assert later.amount_out != first.amount_out
        assert later.stale_us < 5_000_000
        assert one.quotes.book.moved().keys() == {WSOL, USDC}
        assert one.quotes.book.malformed == 0


async def test_sight_that_is_lost_makes_quotes_stale_and_its_return_makes_them_good() -> None:
    """The node stops answering: soon nothing is quoted. It answers again: everything is."""
    async with live(max_stale_us=800_000) as one:
        await one.quotes.quote(REQUEST)
        await one.rpc.call(
            "localnet_failNextCalls", {"method": "getMultipleAccounts", "kind": "rate_limited", "count": 4}
        )

        async def answers() -> bool:
            try:
                await one.quotes.quote(REQUEST)
            except StalePool:
                return False
            return True

        async def refused() -> bool:
            return not await answers()

        await until(refused)
        await until(answers)


async def test_a_node_that_is_no_solana_is_said_so() -> None:
    async with scripted_node() as node:
        rpc = JsonRpc(node.http_url)
        with pytest.raises(ChainUnavailable, match="clock sysvar"):
            await PoolReader(AccountReader(rpc)).time()
        await rpc.aclose()
