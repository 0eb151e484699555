"""The quote cache: the keys by their names, gone with a pool that changes, and no quote waits for it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from uuid import uuid4

import pytest
import redis.asyncio as redis
from vector_book import Clock, own_pools, vector_book, vector_reading

from adapters.embedded.stack import StackUrls
from adapters.quotes.book import LiveBook, Sight
from adapters.quotes.cache import CachedPrice, QuoteCache, QuoteToKeep, quote_key, template_key
from adapters.quotes.service import Quotes
from adapters.rpcpool.breaker import FAILURES
from domain.chain import Address, Mint
from domain.errors import CacheUnavailable, StalePool
from domain.market.quotes import Quotation, QuoteRequest

HOUR_US = 3_600_000_000


DATABASE = 9
"""Of the session's one Valkey: a database of our own may be emptied."""


@pytest.fixture
async def client(stack: StackUrls) -> AsyncIterator[redis.Redis]:
    client = redis.from_url(stack.redis_url, db=DATABASE, decode_responses=True)
    await client.flushdb()
    yield client
    await client.aclose()


@pytest.fixture
async def cache(stack: StackUrls, client: redis.Redis) -> AsyncIterator[QuoteCache]:
    connection = redis.from_url(stack.redis_url, db=DATABASE)
    assert await client.dbsize() == 0
    yield QuoteCache(connection)
    await connection.aclose()


def service(clock: Clock, cache: QuoteCache) -> Quotes:
    return Quotes(vector_book(clock, "raydium_cpmm"), clock, max_stale_us=5_000_000, cache=cache)


def first_question(quotes: Quotes) -> QuoteRequest:
    pool = quotes.pools()[0][0]
    return QuoteRequest(pool.mint_a, pool.mint_b, 10**6)


async def test_the_keys_have_the_names_they_were_promised(cache: QuoteCache, client: redis.Redis) -> None:
    """A quote, a price and a template, each for as long as it is said."""
    quotes = service(Clock(), cache)
    request = first_question(quotes)
    await quotes.quote(request)
    await quotes.flush()
    key = f"quote:{request.mint_in}:{request.mint_out}:1000000"
    assert quote_key(request) == key
    assert 290 < await client.ttl(key) <= 300
    assert 290 < await client.ttl(f"price:{request.mint_in}:raydium_cpmm") <= 300
    assert 43_190 < await client.ttl(template_key(request)) <= 43_200
    assert template_key(request).startswith("route_template:")
    assert quote_key(request._replace(exact_in=False)) != key
    price = await cache.price(request.mint_in, "raydium_cpmm")
    assert isinstance(price, CachedPrice)
    assert price.quote_mint == request.mint_out


async def test_another_process_finds_the_quote_and_believes_it_only_while_it_holds(cache: QuoteCache) -> None:
    """The same pools, read in whatever slot: no search. Another state, even of the same slot: a new one."""
    clock = Clock()
    one, other = service(clock, cache), service(clock, cache)
    request = first_question(one)
    made = await one.quote(request)
    await one.flush()
    kept = (await cache.quotes([request]))[request]
    lie = kept._replace(quotation=kept.quotation._replace(amount_out=7))
    await cache.keep([QuoteToKeep(request, lie, {})])
    assert (await other.quote(request)).amount_out == 7
    (also,) = await service(clock, cache).quote_many([request])
    assert isinstance(also, Quotation)
    assert also.amount_out == 7
    resting = [vector_reading("raydium_cpmm", raw, slot=104) for raw in own_pools("raydium_cpmm")]
    fresh = LiveBook(clock)
    fresh.take(resting, Sight(since_us=clock()))
    later = Quotes(fresh, clock, max_stale_us=5_000_000, cache=cache)
    assert (await later.quote(request)).amount_out == 7
    third = service(clock, cache)
    raw = next(raw for raw in own_pools("raydium_cpmm") if raw["accounts"]["pool"]["pubkey"] in made.pools)
    newer = vector_reading("raydium_cpmm", raw)
    (key,) = (key for key in newer.accounts if str(key) == newer.found.address)
    account = newer.accounts[key]
    assert account is not None
    third.book.take([replace(newer, accounts={**newer.accounts, key: replace(account, lamports=1)})])
    assert (await third.quote(request)).amount_out == made.amount_out


async def test_what_rests_on_a_changed_pool_is_forgotten(cache: QuoteCache, client: redis.Redis) -> None:
    quotes = service(Clock(), cache)
    request = first_question(quotes)
    made = await quotes.quote(request)
    await quotes.flush()
    (pool,) = made.pools
    assert await client.exists(quote_key(request))
    await cache.drop({pool, Address("another")})
    assert not await client.exists(quote_key(request), f"price:{request.mint_in}:raydium_cpmm")
    assert not await client.exists(f"rests_on:{pool}")


async def test_nothing_is_kept_of_what_was_refused(cache: QuoteCache, client: redis.Redis) -> None:
    clock = Clock()
    quotes = service(clock, cache)
    request = first_question(quotes)
    clock.now_us += 6_000_000
    with pytest.raises(StalePool):
        await quotes.quote(request)
    refused = await quotes.quote_many([request._replace(amount=amount) for amount in (0, 2**64)])
    assert all(isinstance(each, Exception) for each in refused)
    await quotes.flush()
    assert await client.keys("quote:*") == []


async def test_volumes_are_of_the_last_24_hours(cache: QuoteCache) -> None:
    """Counted by the hour; amounts may outgrow 64 bits."""
    mint, now = Mint(uuid4().hex), 500_000 * HOUR_US
    for hours_ago, amount in ((30, 5), (24, 7), (23, 11), (1, 2**70), (0, 13), (0, 17)):
        await cache.add_volume({mint: amount}, now - hours_ago * HOUR_US)
    assert await cache.volume(mint, now) == 11 + 2**70 + 13 + 17


async def test_the_start_asks_what_was_asked_before(cache: QuoteCache) -> None:
    """The templates of one process warm up the next."""
    clock = Clock()
    earlier = service(clock, cache)
    await earlier.quote(first_question(earlier))
    await earlier.flush()
    fresh = service(clock, cache)
    assert await fresh.warm_up([], 10**6, lambda _done, _total: None) == 1
    assert first_question(fresh) in fresh._answers


async def test_a_change_before_the_flush_keeps_the_answer_out(cache: QuoteCache, client: redis.Redis) -> None:
    """What is written later must still be true then."""
    quotes = service(Clock(), cache)
    request = first_question(quotes)
    (pool,) = (await quotes.quote(request)).pools
    raw = next(raw for raw in own_pools("raydium_cpmm") if raw["accounts"]["pool"]["pubkey"] == pool)
    newer = vector_reading("raydium_cpmm", raw, slot=105)
    gone = dict.fromkeys(newer.accounts)
    assert quotes.book.take([replace(newer, accounts=gone)]) == 1
    await quotes.flush()
    assert not await client.exists(quote_key(request))


async def test_a_cache_that_is_away_costs_no_answer() -> None:
    """And after some failures it is not even asked."""
    async with QuoteCache.open("redis://127.0.0.1:1") as away:
        quotes = service(Clock(), away)
        assert (await quotes.quote(first_question(quotes))).amount_out > 0
        with pytest.raises(CacheUnavailable, match="check that it runs"):
            await away.quotes([first_question(quotes)])
        for more in range(FAILURES):
            await quotes.flush()
            await quotes.quote_many([first_question(quotes)._replace(amount=5 * 10**6 + more)])
        with pytest.raises(CacheUnavailable, match="left alone"):
            await away.quotes([first_question(quotes)])


class _Stalled(asyncio.Protocol):
    """Takes connections and says nothing."""


async def test_a_cache_that_stalls_is_asked_a_few_times_only() -> None:
    """A Valkey that hangs: the first questions wait for it, the others do not."""
    server = await asyncio.get_running_loop().create_server(_Stalled, "127.0.0.1", 0)
    async with server, QuoteCache.open(f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}") as stalled:
        quotes = service(Clock(), stalled)
        first = first_question(quotes)
        wanted = [first._replace(amount=10**6 + more) for more in range(3 * FAILURES)]
        await asyncio.gather(*map(quotes.quote, wanted[:FAILURES]))
        with pytest.raises(CacheUnavailable, match="left alone"):
            await stalled.quotes(wanted)
        assert not any(isinstance(each, Exception) for each in await quotes.quote_many(wanted))
