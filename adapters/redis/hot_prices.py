"""The newest reserves of every pool in Valkey, for whoever needs a price in a fraction of a millisecond.

A copy that may be dropped at any time: each value carries its log position, and an older one never replaces
a newer one, whoever writes late.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final, Self

import redis.asyncio as redis
from redis.exceptions import RedisError

from domain.chain import Address, Mint
from domain.errors import CacheUnavailable
from domain.events import RecordedEvent
from domain.market.events import PoolUpdated

TIMEOUT_S: Final = 2.0
"""Valkey answers in a fraction of a millisecond."""

KEPT_MS: Final = 3_600_000
"""A pool that was not seen for an hour has no price worth a hot copy."""

PREFIX: Final = "price:"
_FIELDS: Final = ("position", "slot", "mint_a", "mint_b", "reserve_a", "reserve_b", "open")

PUT_IF_NEWER: Final = """
local known = redis.call('HGET', KEYS[1], 'position')
if known and tonumber(known) >= tonumber(ARGV[2]) then return 0 end
redis.call('HSET', KEYS[1], unpack(ARGV, 2 + 1, #ARGV))
redis.call('HSET', KEYS[1], 'position', ARGV[2])
redis.call('PEXPIRE', KEYS[1], ARGV[1])
return 1
"""
"""Compare and write in one step; a position fits a double up to 2^53."""


@dataclass(frozen=True, slots=True)
class HotPrice:
    """What a pool was last seen to hold.

    Attributes:
        protocol: the program's name.
        pool: the pool account.
        position: of the event in the log.
        slot: of the reading.
        mint_a, mint_b: the pair.
        reserve_a, reserve_b: in base units; the spot price of a in b is reserve_b / reserve_a.
        open: whether the program accepted swaps.
    """

    protocol: str
    pool: Address
    position: int
    slot: int
    mint_a: Mint
    mint_b: Mint
    reserve_a: int
    reserve_b: int
    open: bool


class HotPrices:
    """Writes and answers hot prices; a handler of `adapters.jetstream.consumers`."""

    def __init__(self, client: redis.Redis) -> None:
        self._client = client
        self._put = client.register_script(PUT_IF_NEWER)

    @classmethod
    @asynccontextmanager
    async def open(cls, redis_url: str) -> AsyncIterator[Self]:
        """Connect when first needed; closed at the end."""
        client = redis.from_url(
            redis_url, socket_timeout=TIMEOUT_S, socket_connect_timeout=TIMEOUT_S, decode_responses=True
        )
        try:
            yield cls(client)
        finally:
            await client.aclose()

    async def handle(self, events: Sequence[RecordedEvent]) -> None:
        """Write the newest state of each pool; other events show no price.

        Raises:
            CacheUnavailable: Valkey does not answer.
        """
        newest = {one.stream: one for one in events if isinstance(one.event, PoolUpdated)}
        try:
            async with self._client.pipeline(transaction=False) as pipeline:
                for recorded in newest.values():
                    await self._put(keys=[_key(recorded.event)], args=_arguments(recorded), client=pipeline)
                await pipeline.execute()
        except (RedisError, OSError) as error:
            raise _away(error) from error

    async def of(self, mint: Mint, protocol: str) -> list[HotPrice]:
        """The pools of a program whose token a is `mint`, newest first.

        Raises:
            CacheUnavailable: Valkey does not answer.
        """
        found = []
        try:
            async for key in self._client.scan_iter(f"{PREFIX}{mint}:{protocol}:*", count=1_000):
                values: list[Any] = await self._client.hmget(key, _FIELDS)
                if None not in values:
                    found.append(_price(protocol, key, values))
        except (RedisError, OSError) as error:
            raise _away(error) from error
        return sorted(found, key=lambda price: -price.position)


def _key(event: PoolUpdated) -> str:
    return f"{PREFIX}{event.mint_a}:{event.protocol}:{event.pool}"


def _arguments(recorded: RecordedEvent) -> list[str | int]:
    event: PoolUpdated = recorded.event
    values: tuple[str | int, ...] = (
        event.slot, event.mint_a, event.mint_b, event.reserve_a, event.reserve_b, int(event.open),
    )  # fmt: skip
    arguments: list[str | int] = [KEPT_MS, recorded.position]
    for name, value in zip(_FIELDS[1:], values, strict=True):
        arguments += (name, value)
    return arguments


def _price(protocol: str, key: str, values: Sequence[str]) -> HotPrice:
    position, slot, mint_a, mint_b, reserve_a, reserve_b, is_open = values
    return HotPrice(
        protocol,
        Address(key.rpartition(":")[2]),
        int(position),
        int(slot),
        Mint(mint_a),
        Mint(mint_b),
        int(reserve_a),
        int(reserve_b),
        is_open == "1",
    )


def _away(error: Exception) -> CacheUnavailable:
    return CacheUnavailable(
        f"Valkey did not answer ({type(error).__name__}: {error}): check that it runs, or ask the log"
    )
