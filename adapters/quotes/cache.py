"""Quotes, prices, volumes and route templates in Valkey, for every process that asks.

Nothing here is the record: a quote is given out only where the pools of its route still stand as they did, so
a copy that outlives a change by a moment is never believed. docs/reference/quote-cache.md lists the keys.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Final, NamedTuple, Self, TypeVar

import msgspec
import redis.asyncio as redis
import structlog
from redis.exceptions import RedisError

from adapters.rpcpool.breaker import CircuitBreaker
from domain.chain import Address, Mint, Slot
from domain.errors import CacheUnavailable
from domain.market.quotes import Quotation, QuoteRequest

TIMEOUT_S: Final = 0.5
"""Valkey answers in a fraction of a millisecond; after some failures it is left alone, and no quote waits."""
AT_ONCE: Final = 25
"""Quotes written together: a few milliseconds of work, between which others are answered."""
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

T = TypeVar("T")

_log: structlog.stdlib.BoundLogger = structlog.get_logger("quotes.cache")


class CachedQuote(NamedTuple):
    """A quote as it is kept.

    Attributes:
        quotation: the answer.
        unix_time: the chain's clock it was made for, seconds.
        states: a digest of each pool of its route.
    """

    quotation: Quotation
    unix_time: int
    states: dict[Address, str]


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


class QuoteToKeep(NamedTuple):
    """A quote on its way into the cache.

    Attributes:
        request: the question.
        quote: the answer.
        prices: what was seen on the way, by token and protocol.
    """

    request: QuoteRequest
    quote: CachedQuote
    prices: Mapping[tuple[Mint, str], CachedPrice]


class QuoteCache:
    """The keys of the quote service; every method raises CacheUnavailable while Valkey is away."""

    def __init__(self, client: redis.Redis) -> None:
        self._client = client
        self._breaker = CircuitBreaker()
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

    async def quotes(self, requests: Sequence[QuoteRequest]) -> dict[QuoteRequest, CachedQuote]:
        """The kept quotes of these questions, as far as there are any that can be read."""
        with self._asked():
            found = await self._client.mget([quote_key(request) for request in requests])
        kept = zip(requests, (_decoded(_quote_decoder, one) for one in found), strict=True)
        return {request: quote for request, quote in kept if quote is not None}

    async def keep(self, quotes: Sequence[QuoteToKeep]) -> None:
        """Keep quotes, their routes as templates, and the prices seen on the way."""
        for start in range(0, len(quotes), AT_ONCE):
            with self._asked():
                async with self._client.pipeline(transaction=False) as pipeline:
                    _write(pipeline, quotes[start : start + AT_ONCE])
                    await pipeline.execute()

    async def drop(self, pools: set[Address]) -> None:
        """Forget every quote and price that rests on one of these pools."""
        with self._asked():
            async with self._client.pipeline(transaction=False) as pipeline:
                for pool in pools:
                    await self._drop(keys=[_index_key(pool)], client=pipeline)
                await pipeline.execute()

    async def price(self, token: Mint, dex: str) -> CachedPrice | None:
        """The price of a token on a protocol; none where none was seen lately."""
        with self._asked():
            found = await self._client.get(price_key(token, dex))
        return _decoded(_price_decoder, found)

    async def add_volume(self, moved: Mapping[Mint, int], now_us: int) -> None:
        """Count what moved in this hour's share of each token's 24 hours; older hours are forgotten."""
        hour = now_us // _HOUR_US
        with self._asked():
            async with self._client.pipeline(transaction=False) as pipeline:
                for token in moved:
                    pipeline.hget(volume_key(token), str(hour))
                known = await pipeline.execute()
                for (token, amount), before in zip(moved.items(), known, strict=True):
                    key = volume_key(token)  # whole numbers may outgrow the 64 bits of HINCRBY
                    pipeline.hset(key, str(hour), str(amount + int(before or 0)))
                    pipeline.hdel(key, *(str(hour - HOURS - old) for old in range(HOURS)))
                    pipeline.expire(key, TEMPLATE_S)
                await pipeline.execute()

    async def volume(self, token: Mint, now_us: int) -> int:
        """What entered and left the pools' vaults in the last 24 hours, by the full hour; base units."""
        hour = now_us // _HOUR_US
        with self._asked():
            found: Any = await self._client.hgetall(volume_key(token))
        return sum(int(amount) for at, amount in found.items() if hour - HOURS < int(at) <= hour)

    async def templates(self) -> list[RouteTemplate]:
        """Routes asked for in the last twelve hours."""
        with self._asked():
            keys = [key async for key in self._client.scan_iter("route_template:*", count=MOST_TEMPLATES)]
            found = await self._client.mget(sorted(keys)[:MOST_TEMPLATES]) if keys else []
        decoded = (_decoded(_template_decoder, one) for one in found)
        return sorted((one for one in decoded if one is not None), key=lambda one: one.request)

    @contextmanager
    def _asked(self) -> Iterator[None]:
        """Turns what redis raises into our error; after some in a row nothing is asked for a while."""
        now = time.monotonic()
        if not self._breaker.admits(now):
            raise CacheUnavailable("Valkey failed several times in a row and is left alone for a while")
        self._breaker.started(now)
        try:
            yield
        except (RedisError, OSError) as error:
            self._breaker.failed(time.monotonic())
            away = (
                f"Valkey did not answer ({type(error).__name__}: {error}): check that it runs; quotes are "
                "made anew meanwhile"
            )
            _log.warning("answering without the cache", reason=away)
            raise CacheUnavailable(away) from error
        except BaseException:  # cancelled: nothing is known of Valkey
            self._breaker.undecided()
            raise
        self._breaker.succeeded()


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


def _write(pipeline: redis.client.Pipeline, quotes: Sequence[QuoteToKeep]) -> None:
    """What keeping these quotes takes, each price and each pool's index once."""
    resting: dict[Address, set[str]] = {}
    prices: dict[str, CachedPrice] = {}
    for request, quote, seen in quotes:
        key = quote_key(request)
        paths = tuple(tuple(leg.pool for leg in path) for path in quote.quotation.paths)
        template = RouteTemplate(request, paths)
        pipeline.set(key, msgspec.json.encode(quote), ex=QUOTE_S)
        pipeline.set(template_key(request), msgspec.json.encode(template), ex=TEMPLATE_S)
        for pool in quote.quotation.pools:
            resting.setdefault(pool, set()).add(key)
        prices |= {price_key(token, dex): price for (token, dex), price in seen.items()}
    for key, price in prices.items():
        pipeline.set(key, msgspec.json.encode(price), ex=QUOTE_S)
        resting.setdefault(price.pool, set()).add(key)
    for pool, keys in resting.items():
        pipeline.sadd(_index_key(pool), *keys)
        pipeline.expire(_index_key(pool), QUOTE_S)


def _decoded(decoder: msgspec.json.Decoder[T], found: bytes | str | None) -> T | None:
    """None for what another version of daybook wrote."""
    try:
        return None if found is None else decoder.decode(found)
    except msgspec.DecodeError:
        return None
