"""Hot prices: the newest state of each pool, whoever writes late; a copy that may be dropped at any time."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from uuid import uuid4

import pytest
import redis.asyncio as redis
from logged import pool_updated

from adapters.embedded.stack import StackUrls
from adapters.redis.hot_prices import HotPrices
from domain.chain import Mint
from domain.errors import CacheUnavailable
from domain.events import RecordedEvent
from domain.market.events import MarketGap

MINT = Mint("A")


def seen(position: int, pool: str, reserve: int) -> RecordedEvent:
    event = pool_updated(reserve, pool=pool)
    return RecordedEvent(
        position,
        f"pool-{pool}",
        position,
        event.TOPIC,
        1,
        position,
        uuid4().bytes,
        None,
        "tests",
        None,
        event,
    )


@pytest.fixture
async def prices(stack: StackUrls) -> AsyncIterator[HotPrices]:
    async with HotPrices.open(stack.redis_url) as opened:
        yield opened


@pytest.fixture
def pool() -> str:
    return f"Pool{uuid4().hex}"


async def reserves(prices: HotPrices, pool: str) -> list[tuple[int, int]]:
    """(position, reserve) of one pool; the others belong to other tests."""
    found = await prices.of(MINT, "raydium_cpmm")
    return [(price.position, price.reserve_a) for price in found if price.pool == pool]


async def test_in_whatever_order_they_are_written_the_newest_stays(prices: HotPrices, pool: str) -> None:
    events = [seen(position, pool, 1_000 + position) for position in range(1, 40)]
    random.Random(4).shuffle(events)
    for event in events:
        await prices.handle([event])
    assert await reserves(prices, pool) == [(39, 1_039)]


async def test_the_last_of_a_batch_counts_and_a_repeated_batch_changes_nothing(
    prices: HotPrices, pool: str
) -> None:
    batch = [seen(position, pool, position) for position in (5, 6, 7)]
    for _ in range(2):
        await prices.handle(batch)
    await prices.handle(batch[:1])
    assert await reserves(prices, pool) == [(7, 7)]


async def test_a_gap_shows_no_price(prices: HotPrices, pool: str) -> None:
    gap = MarketGap("ws", 1, 2, 3, "lost")
    await prices.handle([seen(9, pool, 1)._replace(topic=gap.TOPIC, event=gap)])
    assert await reserves(prices, pool) == []


async def test_a_price_is_kept_for_an_hour(prices: HotPrices, stack: StackUrls, pool: str) -> None:
    await prices.handle([seen(1, pool, 2**64 - 1)])
    client = redis.from_url(stack.redis_url)
    assert 3_590_000 < await client.pttl(f"price:A:raydium_cpmm:{pool}") <= 3_600_000
    await client.aclose()
    assert await reserves(prices, pool) == [(1, 2**64 - 1)]


async def test_no_server_is_said_in_a_sentence(pool: str) -> None:
    async with HotPrices.open("redis://127.0.0.1:9/0") as prices:
        with pytest.raises(CacheUnavailable, match="check that it runs"):
            await prices.handle([seen(1, pool, 1)])
        with pytest.raises(CacheUnavailable):
            await prices.of(MINT, "raydium_cpmm")
