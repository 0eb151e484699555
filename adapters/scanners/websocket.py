"""The pool scanner: woken by WebSocket notifications, it reads whole pools in one slot.

A notification carries one account, and a swap changes three: a state put together from notifications would
show half a swap. So a notification only wakes the scanner; pool, fee config and vaults then come from one
read. That costs one round trip and is always consistent.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Final

import structlog

from adapters.solana.accounts import BEHIND, Account, AccountReader
from adapters.solana.pool_directory import PROTOCOL, PoolDirectory
from adapters.solana.programs import raydium_cpmm, token
from adapters.solana.programs.raydium_cpmm import PoolState
from adapters.solana.pubsub import PubSub
from commands.ports import Clock, FeedGap
from domain.chain import Address, Commitment, Mint, Slot
from domain.errors import ChainError, DecodeError, SetupError
from domain.market.events import PoolFees, PoolUpdated

POOLS_PER_READ: Final = 25
"""A pool is read as four accounts and a node reads 100 at once."""
BEHIND_TRIES: Final = 10
BEHIND_WAIT_S: Final = 0.02
"""A node whose notifications run ahead of its reads catches up within a fraction of a 0.4 s slot."""
FIRST_WAIT_S: Final = 0.1
LONGEST_WAIT_S: Final = 5.0
"""Between attempts to see anything at all: doubled from the first up to the longest."""

_log: structlog.stdlib.BoundLogger = structlog.get_logger("scanner")


@dataclass(frozen=True, slots=True)
class _Watched:
    """A pool's address and the accounts that make its state."""

    pool: Address
    accounts: tuple[Address, Address, Address, Address]
    """Pool, vault a, vault b, fee config."""

    @classmethod
    def of(cls, pool: Address, state: PoolState) -> _Watched:
        around = (str(state.vault_a), str(state.vault_b), str(state.amm_config))
        return cls(pool, (pool, *(Address(key) for key in around)))  # type: ignore[arg-type] # mypy cannot count a generator


class PoolScanner:
    """A MarketFeed of Raydium CPMM pools on one node.

    Args:
        name: the feed's name in the log.
        accounts: reads the node's accounts.
        pubsub: the node's subscriptions, running.
        directory: knows the pools' accounts.
        clock: for gaps and opening times.
        pools: addresses to watch.
        pairs: watch every pool of these mint pairs too; the node must allow searching.
        commitment: how sure a state must be; `processed` is earliest and may be rolled back.

    Attributes:
        malformed: pool readings that could not be decoded and were passed over.
        unchanged: readings that showed nothing new.
    """

    def __init__(
        self,
        *,
        name: str,
        accounts: AccountReader,
        pubsub: PubSub,
        directory: PoolDirectory,
        clock: Clock,
        pools: Sequence[Address] = (),
        pairs: Sequence[tuple[Mint, Mint]] = (),
        commitment: Commitment = Commitment.PROCESSED,
    ) -> None:
        self.name = name
        self.malformed = 0
        self.unchanged = 0
        self._accounts = accounts
        self._pubsub = pubsub
        self._directory = directory
        self._clock = clock
        self._pools = pools
        self._pairs = pairs
        self._commitment = commitment
        self._last: dict[Address, PoolUpdated] = {}
        self._in_sight_until = 0

    async def observations(self) -> AsyncIterator[PoolUpdated | FeedGap]:
        """Pool states as they are seen, until closed; a gap comes before the states read after it.

        Raises:
            SetupError: none of the configured pools can be watched.
            InvalidInput: one of them is no address.
        """
        self._in_sight_until = self._clock()
        lost: str | None = None
        wait_s = FIRST_WAIT_S
        while True:  # until the reader closes
            try:
                async with aclosing(self._session(lost)) as session:
                    async for seen in session:
                        lost, wait_s = None, FIRST_WAIT_S
                        yield seen
            except ChainError as error:
                lost = lost or str(error)
                _log.warning("the market is out of sight, trying again", feed=self.name, reason=str(error))
            await asyncio.sleep(wait_s)
            wait_s = min(wait_s * 2, LONGEST_WAIT_S)

    async def _session(self, lost: str | None) -> AsyncGenerator[PoolUpdated | FeedGap, None]:
        """Watch until the node fails us; `lost` is why the session before ended."""
        watched = await self._discover()
        by_account: dict[Address, list[_Watched]] = {}
        for one in watched:
            for account in one.accounts:
                by_account.setdefault(account, []).append(one)
        async with self._pubsub.watch_accounts(by_account, self._commitment) as watch:
            first = await self._read_all(watched, None)
            if lost is not None:
                yield self._gap(self._in_sight_until, self._clock(), lost)
            for seen in first:
                yield seen
            while True:  # until a ChainError, or the reader closes
                self._in_sight_until = self._clock()
                changes = await watch.changes()
                self._in_sight_until = self._clock()
                if changes.lost is not None:
                    self._last.clear()
                    yield self._gap(changes.lost.since, changes.lost.until, changes.lost.reason)
                    woken = watched
                else:
                    woken = list(dict.fromkeys(one for key in changes.slots for one in by_account[key]))
                for seen in await self._read_all(woken, max(changes.slots.values(), default=None)):
                    yield seen

    async def _discover(self) -> list[_Watched]:
        addresses = list(self._pools)
        for pair in self._pairs:
            addresses += await self._directory.of_pair(*pair)
        self._last.clear()
        watched = []
        for pool, found in (await self._directory.pools(list(dict.fromkeys(addresses)))).items():
            if isinstance(found, DecodeError):
                self._pass_over(pool, found)
            else:
                watched.append(_Watched.of(pool, found))
        if not watched:
            raise SetupError(
                f"feed {self.name!r} has no pool to watch: {len(addresses)} were named or found, none is "
                "usable; check the pools' addresses and the network"
            )
        return watched

    async def _read_all(self, pools: Sequence[_Watched], min_slot: Slot | None) -> list[PoolUpdated]:
        """Read pools, up to 25 in one slot, and keep those that show something new."""
        news: list[PoolUpdated] = []
        for start in range(0, len(pools), POOLS_PER_READ):
            some = pools[start : start + POOLS_PER_READ]
            slot, accounts = await self._read(some, min_slot)
            news += [update for one in some if (update := self._news(one, slot, accounts)) is not None]
        return news

    async def _read(
        self, pools: Sequence[_Watched], min_slot: Slot | None
    ) -> tuple[Slot, dict[Address, Account | None]]:
        wanted = list(dict.fromkeys(account for one in pools for account in one.accounts))
        for _ in range(BEHIND_TRIES - 1):
            try:
                return await self._read_once(wanted, min_slot)
            except ChainError as error:
                if error.code != BEHIND:
                    raise
                await asyncio.sleep(BEHIND_WAIT_S)
        return await self._read_once(wanted, min_slot)

    async def _read_once(
        self, wanted: list[Address], min_slot: Slot | None
    ) -> tuple[Slot, dict[Address, Account | None]]:
        slot, found = await self._accounts.read(wanted, commitment=self._commitment, min_slot=min_slot)
        return slot, dict(zip(wanted, found, strict=True))

    def _news(self, one: _Watched, slot: Slot, accounts: dict[Address, Account | None]) -> PoolUpdated | None:
        try:
            update = _update(one, slot, accounts, self._clock() // 1_000_000)
        except DecodeError as error:
            self._pass_over(one.pool, error)
            return None
        last = self._last.get(one.pool)
        if last is not None and replace(last, slot=slot) == update:
            self.unchanged += 1
            return None
        self._last[one.pool] = update
        return update

    def _pass_over(self, pool: Address, error: DecodeError) -> None:
        self.malformed += 1
        _log.warning("pool passed over", feed=self.name, pool=pool, reason=str(error))

    def _gap(self, since: int, until: int, reason: str) -> FeedGap:
        return FeedGap(feed=self.name, dropped=0, since=since, until=until, reason=reason)


def _update(
    one: _Watched, slot: Slot, accounts: dict[Address, Account | None], unix_time_s: int
) -> PoolUpdated:
    pool, vault_a, vault_b, config = (_present(one.pool, key, accounts[key]) for key in one.accounts)
    state = raydium_cpmm.decode_pool(pool.data, pool.owner)
    terms = raydium_cpmm.decode_config(config.data, config.owner)
    held_a = token.decode_token_account(vault_a.data, vault_a.owner).amount
    held_b = token.decode_token_account(vault_b.data, vault_b.owner).amount
    curve = raydium_cpmm.tradable(state, terms, held_a, held_b)
    return PoolUpdated(
        protocol=PROTOCOL,
        pool=one.pool,
        slot=slot,
        mint_a=Mint(str(state.mint_a)),
        mint_b=Mint(str(state.mint_b)),
        reserve_a=curve.reserve_a,
        reserve_b=curve.reserve_b,
        fees=PoolFees(
            curve.trade_rate,
            curve.protocol_rate,
            curve.fund_rate,
            curve.creator_rate,
            int(curve.creator_fee_on),
        ),
        open=state.accepts_swaps(unix_time_s),
    )


def _present(pool: Address, key: Address, account: Account | None) -> Account:
    if account is None:
        raise DecodeError(f"reading pool {pool}: its account {key} is gone; take the pool off the list")
    return account
