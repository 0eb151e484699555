"""Quotes, prices, volumes and route templates in Valkey, for every process that asks.

Nothing here is the record: a quote is given out only where the pools of its route still stand as they did, so
a copy that outlives a change by a moment is never believed. docs/reference/quote-cache.md lists the keys.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final, NamedTuple, Self

import msgspec
import redis.asyncio as redis
from redis.exceptions import RedisError

from domain.chain import Address, Mint, Slot
from domain.errors import CacheUnavailable
from domain.market.quotes import Quotation, QuoteRequest

TIMEOUT_S: Final = 0.5
"""Valkey answers in a fraction of a millisecond; a quote does not wait for one that is away."""
QUOTE_S: Final = 300
"""Quotes and prices: five minutes."""
TEMPLATE_S: Final = 43_200
"""Route templates and volumes: twelve hours after they were last written."""
HOURS: Final = 24
MOST_TEMPLATES: Final = 1_000
"""Read at the start: more would make the start long."""

DROP: Final = """
local names = redis.call('SMEMBERS', KEYS[1])
for start = 1, #names, 5000 do
  redis.call('DEL', unpack(names, start, math.min(start + 4999, #names)))
end
redis.call('DEL', KEYS[1])
return #names
"""
"""Forget all that rests on a pool, in one step; Lua unpacks no more than some thousands at once."""

_HOUR_US: Final = 3_600_000_000


class CachedQuote(NamedTuple):
    """A quote as it is kept.

    Attributes:
        quotation: the answer.
        unix_time: the chain's clock it was made for, seconds.
    """

    quotation: Quotation
    unix_time: int


class CachedPrice(NamedTuple):
    """A token's marginal price before fees on one protocol.

    Attributes:
        quote_mint: what it is priced in.
        quote_units, base_units: the exact ratio, base units.
        pool: where.
        slot: of the reading.
    """

    quote_mint: Mint
    quote_units: int
    base_units: int
    pool: Address
    slot: Slot


class RouteTemplate(NamedTuple):
    """A question that was asked, and the pools that answered it: what to warm up with.

    Attributes:
        request: the question.
        paths: the pools of each path.
    """

    request: QuoteRequest
    paths: tuple[tuple[Address, ...], ...]


_quote_decoder: Final = msgspec.json.Decoder(CachedQuote)
_price_decoder: Final = msgspec.json.Decoder(CachedPrice)
_template_decoder: Final = msgspec.json.Decoder(RouteTemplate)


class QuoteCache:
    """The keys of the quote service; every method raises CacheUnavailable while Valkey is away."""

    def __init__(self, client: redis.Redis) -> None:
        self._client = client
        self._drop = client.register_script(DROP)

    @classmethod
    @asynccontextmanager
    async def open(cls, redis_url: str) -> AsyncIterator[Self]:
        """Connect when first needed; closed at the end."""
        client = redis.from_url(redis_url, socket_timeout=TIMEOUT_S, socket_connect_timeout=TIMEOUT_S)
        try:
            yield cls(client)
        finally:
            await client.aclose()

    async def quote(self, request: QuoteRequest) -> CachedQuote | None:
        """The kept quote of a question; none where there is none that can be read."""
        with _away():
            found = await self._client.get(quote_key(request))
        try:
            return None if found is None else _quote_decoder.decode(found)
        except msgspec.DecodeError:  # of another version of daybook
            return None

    async def keep(
        self, request: QuoteRequest, quote: CachedQuote, prices: Mapping[tuple[Mint, str], CachedPrice]
    ) -> None:
        """Keep a quote, its route as a template, and the prices seen on the way."""
        paths = tuple(tuple(leg.pool for leg in path) for path in quote.quotation.paths)
        key, template = quote_key(request), RouteTemplate(request, paths)
        with _away():
            async with self._client.pipeline(transaction=False) as pipeline:
                pipeline.set(key, msgspec.json.encode(quote), ex=QUOTE_S)
                pipeline.set(template_key(request), msgspec.json.encode(template), ex=TEMPLATE_S)
                for pool in quote.quotation.pools:
                    _rests_on(pipeline, pool, key)
                for (token, dex), price in prices.items():
                    pipeline.set(price_key(token, dex), msgspec.json.encode(price), ex=QUOTE_S)
                    _rests_on(pipeline, price.pool, price_key(token, dex))
                await pipeline.execute()

    async def drop(self, pools: set[Address]) -> None:
        """Forget every quote and price that rests on one of these pools."""
        with _away():
            async with self._client.pipeline(transaction=False) as pipeline:
                for pool in pools:
                    await self._drop(keys=[_index_key(pool)], client=pipeline)
                await pipeline.execute()

    async def price(self, token: Mint, dex: str) -> CachedPrice | None:
        """The price of a token on a protocol; none where none was seen lately."""
        with _away():
            found = await self._client.get(price_key(token, dex))
        return None if found is None else _price_decoder.decode(found)

    async def add_volume(self, moved: Mapping[Mint, int], now_us: int) -> None:
        """Count what moved in this hour's share of each token's 24 hours; older hours are forgotten."""
        hour = now_us // _HOUR_US
        with _away():
            async with self._client.pipeline(transaction=False) as pipeline:
                for token, amount in moved.items():
                    key = volume_key(token)
                    pipeline.hset(key, str(hour), str(amount + await self._volume_of_hour(token, hour)))
                    pipeline.hdel(key, *(str(hour - HOURS - old) for old in range(HOURS)))
                    pipeline.expire(key, TEMPLATE_S)
                await pipeline.execute()

    async def volume(self, token: Mint, now_us: int) -> int:
        """What entered and left the pools' vaults in the last 24 hours, by the full hour; base units."""
        hour = now_us // _HOUR_US
        with _away():
            found: Any = await self._client.hgetall(volume_key(token))
        return sum(int(amount) for at, amount in found.items() if hour - HOURS < int(at) <= hour)

    async def templates(self) -> list[RouteTemplate]:
        """Routes asked for in the last twelve hours."""
        templates: list[RouteTemplate] = []
        with _away():
            async for key in self._client.scan_iter("route_template:*", count=1_000):
                found = await self._client.get(key)
                try:
                    templates += [] if found is None else [_template_decoder.decode(found)]
                except msgspec.DecodeError:  # of another version of daybook
                    continue
                if len(templates) == MOST_TEMPLATES:
                    break
        return sorted(templates, key=lambda one: one.request)

    async def _volume_of_hour(self, token: Mint, hour: int) -> int:
        """Whole numbers may outgrow the 64 bits of HINCRBY."""
        found: Any = await self._client.hget(volume_key(token), str(hour))
        return int(found or 0)


def quote_key(request: QuoteRequest) -> str:
    """`quote:{input}:{output}:{amount}`; what differs from the plain question is added."""
    plain = QuoteRequest(request.mint_in, request.mint_out, request.amount)
    key = f"quote:{request.mint_in}:{request.mint_out}:{request.amount}"
    if request == plain:
        return key
    direction = "in" if request.exact_in else "out"
    return f"{key}:exact_{direction}:{request.max_legs}:{request.max_parts}"


def price_key(token: Mint, dex: str) -> str:
    """`price:{token}:{dex}`."""
    return f"price:{token}:{dex}"


def volume_key(token: Mint) -> str:
    """`volume:{token}:24h`."""
    return f"volume:{token}:24h"


def template_key(request: QuoteRequest) -> str:
    """`route_template:{hash}`: of the tokens, the direction and the order of magnitude of the amount."""
    size = len(str(request.amount))
    text = f"{request.mint_in}:{request.mint_out}:{request.exact_in}:{size}"
    return f"route_template:{hashlib.sha256(text.encode()).hexdigest()[:32]}"


def _index_key(pool: Address) -> str:
    return f"rests_on:{pool}"


def _rests_on(pipeline: redis.client.Pipeline, pool: Address, key: str) -> None:
    pipeline.sadd(_index_key(pool), key)
    pipeline.expire(_index_key(pool), QUOTE_S)


class _away:  # noqa: N801 - reads as a word
    """Turns what redis raises into our error."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, RedisError | OSError):
            raise CacheUnavailable(
                f"Valkey did not answer ({type(error).__name__}: {error}): check that it runs; quotes are "
                "made anew meanwhile"
            ) from error
