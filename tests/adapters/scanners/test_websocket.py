"""The pool scanner: whole states from one slot, gaps said, bad pools passed over."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from itertools import count

import pytest
from cpmm_pools import a_pool, fill_vaults, serve_pool
from scripted_node import Refusal, ScriptedNode, scripted_node
from waiting import until

from adapters.localnet.server import LocalnetConfig, LocalnetHandle, serve
from adapters.scanners.websocket import PoolScanner
from adapters.solana.accounts import AccountReader
from adapters.solana.jsonrpc import JsonRpc
from adapters.solana.pool_directory import PoolDirectory
from adapters.solana.programs import raydium_cpmm
from adapters.solana.programs.raydium_cpmm import SWAP_DISABLED
from adapters.solana.pubsub import PubSub
from commands.ports import FeedGap
from domain.chain import USDC, WSOL, Address
from domain.errors import SetupError
from domain.market.events import PoolFees, PoolUpdated

(POOL, STATE), (OTHER, OTHER_STATE) = a_pool(0), a_pool(1)
START = 1_700_000_000_000_000

Feed = AsyncIterator[PoolUpdated | FeedGap]


@pytest.fixture
async def node() -> AsyncIterator[ScriptedNode]:
    async with scripted_node() as node:
        serve_pool(node, POOL, STATE, 1_000, 2_000)
        serve_pool(node, OTHER, OTHER_STATE, 3_000, 4_000)
        yield node


@asynccontextmanager
async def scanner(
    node: ScriptedNode | LocalnetHandle, *pools: Address, pairs: bool = False
) -> AsyncIterator[tuple[PoolScanner, Feed]]:
    ticks = count(START)
    rpc = JsonRpc(node.http_url if isinstance(node, ScriptedNode) else node.rpc_url)
    reader = AccountReader(rpc)
    async with (
        asyncio.timeout(20),
        PubSub(node.ws_url, clock=lambda: next(ticks)) as pubsub,
    ):
        feed = PoolScanner(
            name="test",
            accounts=reader,
            pubsub=pubsub,
            directory=PoolDirectory(reader),
            clock=lambda: next(ticks),
            pools=pools,
            pairs=[(WSOL, USDC)] if pairs else [],
        )
        observations = feed.observations()
        try:
            yield feed, observations
        finally:
            await observations.aclose()  # type: ignore[attr-defined] # the feed is an async generator
            await rpc.aclose()


async def updates(feed: Feed, wanted: int) -> list[PoolUpdated]:
    seen = []
    async for one in feed:
        assert isinstance(one, PoolUpdated)
        seen.append(one)
        if len(seen) == wanted:
            break
    return seen


async def test_the_feed_begins_with_every_pool_as_it_is(node: ScriptedNode) -> None:
    async with scanner(node, POOL, OTHER, POOL) as (_, feed):
        first, second = await updates(feed, 2)
    assert (first.pool, second.pool) == (POOL, OTHER)
    assert (first.reserve_a, first.reserve_b) == (1_000 - 10 - 1, 2_000 - 20 - 2)
    assert first.fees == PoolFees(2_500, 120_000, 40_000)
    assert (first.protocol, first.slot, first.mint_a, first.mint_b) == ("raydium_cpmm", 100, WSOL, USDC)
    assert first.open


async def test_three_notifications_of_one_swap_give_one_whole_state(node: ScriptedNode) -> None:
    """A notification of one vault wakes the scanner; it reads the pool and both vaults together."""
    async with scanner(node, POOL) as (feed, seen):
        await updates(seen, 1)
        fill_vaults(node, STATE, 1_100, 1_900)
        for account in (STATE.vault_a, POOL, STATE.vault_b):
            await node.notify(account)
        [after] = await updates(seen, 1)
        assert (after.reserve_a, after.reserve_b) == (1_089, 1_878)
        await node.notify(POOL)  # nothing changed: nothing to say
        waiting = asyncio.ensure_future(anext(seen))
        await until(lambda: feed.unchanged)
        fill_vaults(node, STATE, 1_200, 1_800)
        await node.notify(STATE.vault_b)
        final = await waiting
        assert isinstance(final, PoolUpdated)
        assert final.reserve_a == 1_189


async def test_a_read_behind_its_notification_is_made_again(node: ScriptedNode) -> None:
    async with scanner(node, POOL) as (_, seen):
        await updates(seen, 1)
        fill_vaults(node, STATE, 1_100, 1_900)
        waiting = asyncio.ensure_future(anext(seen))
        await until(node.subscriptions)
        asked = len(node.calls)
        await node.notify(POOL, slot=105)  # reads still answer at slot 100
        await until(lambda: len(node.calls) >= asked + 2)
        node.slot = 105
        after = await waiting
    assert isinstance(after, PoolUpdated)
    assert (after.slot, after.reserve_a) == (105, 1_089)
    assert node.calls[-1][1][1]["minContextSlot"] == 105


async def test_lost_sight_is_a_gap_and_then_every_pool_again(node: ScriptedNode) -> None:
    async with scanner(node, POOL, OTHER) as (_, seen):
        await updates(seen, 2)
        waiting = asyncio.ensure_future(anext(seen))
        await until(node.subscriptions)
        await node.drop()
        gap = await waiting
        assert isinstance(gap, FeedGap)
        assert gap.feed == "test"
        assert START <= gap.since < gap.until
        assert {one.pool for one in await updates(seen, 2)} == {POOL, OTHER}


async def test_a_node_that_stops_answering_is_a_gap_too(node: ScriptedNode) -> None:
    async with scanner(node, POOL) as (_, seen):
        await updates(seen, 1)
        waiting = asyncio.ensure_future(anext(seen))
        await until(node.subscriptions)
        node.answers["getMultipleAccounts"] = lambda _: Refusal({"code": -32005, "message": "unhealthy"})
        await node.notify(POOL)
        asked = len(node.calls)
        await until(lambda: len(node.calls) >= asked + 2)
        del node.answers["getMultipleAccounts"]
        gap = await waiting
        assert isinstance(gap, FeedGap)
        assert "unhealthy" in gap.reason
        assert len(await updates(seen, 1)) == 1


async def test_a_node_that_comes_late_is_waited_for(node: ScriptedNode) -> None:
    node.answers["getMultipleAccounts"] = lambda _: Refusal({"code": -32005, "message": "unhealthy"})
    async with scanner(node, POOL) as (_, seen):
        waiting = asyncio.ensure_future(anext(seen))
        await until(lambda: len(node.calls) >= 2)
        del node.answers["getMultipleAccounts"]
        assert isinstance(await waiting, FeedGap)
        assert len(await updates(seen, 1)) == 1


async def test_a_pool_gone_bad_is_counted_and_the_feed_goes_on(node: ScriptedNode) -> None:
    async with scanner(node, POOL, OTHER) as (feed, seen):
        await updates(seen, 2)
        node.put(POOL, raydium_cpmm.PROGRAM_ID, b"rubbish")
        fill_vaults(node, OTHER_STATE, 3_300, 3_700)
        waiting = asyncio.ensure_future(anext(seen))
        await until(node.subscriptions)
        await node.notify(POOL)
        await node.notify(OTHER)
        after = await waiting
        assert isinstance(after, PoolUpdated)
        assert (after.pool, feed.malformed) == (OTHER, 1)


async def test_a_vault_that_vanishes_is_passed_over(node: ScriptedNode) -> None:
    async with scanner(node, POOL) as (feed, seen):
        await updates(seen, 1)
        waiting = asyncio.ensure_future(anext(seen))
        await until(node.subscriptions)
        del node.accounts[str(STATE.vault_a)]
        await node.notify(POOL)
        await until(lambda: feed.malformed == 1)
        fill_vaults(node, STATE, 50, 60)
        await node.notify(STATE.vault_a)
        assert isinstance(await waiting, PoolUpdated)


async def test_a_pool_that_takes_no_swaps_is_seen_closed(node: ScriptedNode) -> None:
    stopped = replace(STATE, status=SWAP_DISABLED)
    unborn = replace(OTHER_STATE, open_time=START)  # in microseconds it would be the past
    serve_pool(node, POOL, stopped, 1_000, 2_000)
    serve_pool(node, OTHER, unborn, 1_000, 2_000)
    async with scanner(node, POOL, OTHER) as (_, seen):
        assert [one.open for one in await updates(seen, 2)] == [False, False]


async def test_pools_are_found_by_their_pair(node: ScriptedNode) -> None:
    node.answers["getProgramAccounts"] = lambda _: [{"pubkey": OTHER, "account": node.accounts[OTHER]}]
    async with scanner(node, pairs=True) as (_, seen):
        assert [one.pool for one in await updates(seen, 1)] == [OTHER]


async def test_a_feed_without_a_usable_pool_says_so(node: ScriptedNode) -> None:
    node.put(POOL, raydium_cpmm.PROGRAM_ID, b"rubbish")
    async with scanner(node, POOL) as (feed, seen):
        with pytest.raises(SetupError, match="has no pool to watch: 1 were named"):
            await anext(seen)
        assert feed.malformed == 1


async def test_a_busy_market_never_shows_half_a_swap() -> None:
    """Fees only ever add to a pool: the product of its reserves falls in no sequence of whole states."""
    products: dict[Address, int] = {}
    async with (
        serve(LocalnetConfig(port=0, slot_ms=20, crowd_tps=200)) as network,
        scanner(network, pairs=True) as (feed, seen),
    ):
        states = await updates(seen, 120)
        assert feed.malformed == 0
    for state in states:
        product = state.reserve_a * state.reserve_b
        assert product >= products.get(state.pool, 0)
        products[state.pool] = product
    assert len(products) == 2
