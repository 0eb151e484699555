"""Hundreds of pools over many connections, and a node that is cut off: what is said meanwhile, and after."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from urllib.parse import urlsplit

from cable import Cable
from token_pools import DEPTH, open_pool, own_mint, set_sol
from waiting import until

from adapters.localnet.server import LocalnetConfig, LocalnetHandle, serve
from adapters.quotes.book import LiveBook
from adapters.quotes.reader import PoolReader
from adapters.quotes.service import Quotes
from adapters.quotes.watcher import STARTING, PoolWatcher
from adapters.solana.accounts import AccountReader
from adapters.solana.jsonrpc import JsonRpc
from adapters.solana.pool_programs import POOL_PROGRAMS
from adapters.solana.pubsub import PubSub
from adapters.solana.watches import AccountWatch
from daybook.clock import now_us
from domain.chain import WSOL, Address, Commitment, Mint
from domain.errors import DaybookError, StalePool
from domain.market.quotes import Quotation, QuoteRequest

POOLS, GROUP = 240, 20
"""Twelve connections: several times as many as may subscribe at once."""
MAX_STALE_US = 2_000_000
SOL = 10**9
QUESTIONS = [QuoteRequest(own_mint(number), Mint(WSOL), SOL, max_legs=1) for number in range(POOLS)]
"""One for each pool."""


class Counted(PubSub):
    """Counts who subscribes: now, at most at once, and ever."""

    now = most = ever = 0

    @asynccontextmanager
    async def watch_accounts(
        self,
        addresses: Collection[Address],
        commitment: Commitment = Commitment.PROCESSED,
        *,
        lasting: bool = True,
    ) -> AsyncIterator[AccountWatch]:
        assert not lasting, "it would subscribe again out of turn"
        Counted.now += 1
        Counted.ever += 1
        Counted.most = max(Counted.most, Counted.now)
        async with AsyncExitStack() as stack:
            try:
                watching = super().watch_accounts(addresses, commitment, lasting=lasting)
                watch = await stack.enter_async_context(watching)
            finally:
                Counted.now -= 1
            yield watch


@dataclass
class Watched:
    """A network, the cable to it, and the quotes of a book that is watched over it."""

    network: LocalnetHandle
    cable: Cable
    quotes: Quotes

    async def answers(self) -> list[Quotation | DaybookError]:
        """To the question for each pool, 100 at once."""
        found: list[Quotation | DaybookError] = []
        for start in range(0, POOLS, 100):
            found += await self.quotes.quote_many(QUESTIONS[start : start + 100])
        return found


async def filled(rpc_url: str) -> tuple[JsonRpc, PoolReader, Quotes]:
    """A book of what the node says now."""
    rpc = JsonRpc(rpc_url)
    reader, book = PoolReader(AccountReader(rpc)), LiveBook(now_us)
    async for readings in reader.read(await reader.find(POOL_PROGRAMS["raydium_cpmm"], [])):
        book.take(readings)
    return rpc, reader, Quotes(book, now_us, max_stale_us=MAX_STALE_US)


@asynccontextmanager
async def watched() -> AsyncIterator[Watched]:
    async with asyncio.timeout(60), serve(LocalnetConfig(port=0, slot_ms=50, crowd_tps=0)) as network:
        for number in range(POOLS):
            open_pool(network.ledger, network.world.pools[0].config, number)
        async with Cable(urlsplit(network.rpc_url).port or 0) as cable:
            rpc, reader, quotes = await filled(f"http://127.0.0.1:{cable.port}")
            connect = partial(Counted, f"ws://127.0.0.1:{cable.port}", clock=now_us)
            watcher = PoolWatcher(quotes.book, reader, connect, now_us, group=GROUP)
            watching = asyncio.create_task(watcher.run())
            try:
                yield Watched(network, cable, quotes)
            finally:
                watching.cancel()
                await asyncio.gather(watching, return_exceptions=True)
                await rpc.aclose()


async def truth(network: LocalnetHandle) -> list[int]:
    """What each pool pays now, by a book read from the node itself."""
    rpc, _, quotes = await filled(network.rpc_url)
    found = [(await quotes.quote(question)).amount_out for question in QUESTIONS]
    await rpc.aclose()
    return found


async def test_every_pool_is_in_sight_again_after_the_node_was_cut_off() -> None:
    """Pools move while nobody sees it. Until each is read anew it is `stale`, and never quoted as it was."""
    async with watched() as one:
        book = one.quotes.book
        began = now_us()
        await until(lambda: now_us() - began > MAX_STALE_US and book.oldest_us() < MAX_STALE_US)
        before = await truth(one.network)
        assert [found.amount_out for found in await one.answers() if isinstance(found, Quotation)] == before
        await one.cable.cut()
        for number in range(POOLS):
            set_sol(one.network.ledger, number, DEPTH * 2 + number)
        after = await truth(one.network)
        assert not set(before) & set(after)
        await until(lambda: all_stale(one))
        await one.cable.mend()
        await until(lambda: all_answered(one, after))
        assert Counted.ever >= 2 * POOLS // GROUP
        assert 0 < Counted.most <= STARTING


async def all_stale(one: Watched) -> bool:
    return {type(found) for found in await one.answers()} == {StalePool}


async def all_answered(one: Watched, expected: list[int]) -> bool:
    """Whether nothing is stale any more; what is answered must be as expected at any time."""
    found = await one.answers()
    for answer, amount in zip(found, expected, strict=True):
        assert isinstance(answer, StalePool) or (
            isinstance(answer, Quotation) and answer.amount_out == amount
        )
    return not any(isinstance(answer, StalePool) for answer in found)
