"""Keeps the live book: a changed account wakes the watcher, which reads its whole pool in one slot.

Pools are watched in groups, each over a connection of its own (nodes take some 1,000 subscriptions on one),
with a subscription to every pool account and vault. What a notification carries is not used: a swap changes
several accounts, and one alone would show half of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from contextlib import AsyncExitStack
from typing import Final

import structlog

from adapters.quotes.book import LiveBook, Sight
from adapters.quotes.reader import FoundPool, PoolReader, packed
from adapters.quotes.turns import Turns
from adapters.solana.accounts import BEHIND
from adapters.solana.pubsub import PubSub
from adapters.solana.watches import AccountWatch
from domain.chain import Address, Commitment, Slot
from domain.errors import ChainError

GROUP: Final = 200
"""Pools watched together: some 600 subscriptions, which a node confirms well within its five seconds."""
STARTING: Final = 4
"""Groups that subscribe and read anew at once, at the start as after a lost connection: all together would
keep the node from answering any."""
PATIENCE_S: Final = 10.0
"""A group takes some two seconds; one that takes longer goes on, and the next begins beside it."""
CONNECTED_WITHIN_S: Final = 60.0
"""A node that is away is tried every five seconds for as long as it takes; that often it is also said."""
BEAT_S: Final = 0.5
"""Between two looks at the newest slot: about one slot."""
ALIVE_WITHIN_S: Final = 1.0
"""A ping goes around the world in 0.3 s; what the node said before has arrived when it is back."""
BEHIND_TRIES: Final = 10
BEHIND_WAIT_S: Final = 0.02
"""A node whose notifications run ahead of its reads catches up within a fraction of a 0.4 s slot."""
RETRY_S: Final = 1.0
"""After a node refused or did not answer; the pools grow stale meanwhile, and say so."""

_log: structlog.stdlib.BoundLogger = structlog.get_logger("quotes.watcher")


class PoolWatcher:
    """Watches every pool of a book.

    Args:
        book: kept; its pools when `run` begins are watched.
        reader: reads pools whole.
        connect: the node's subscriptions, over a new connection; not yet running.
        clock: microseconds since the epoch.
        commitment: how sure a state must be.
        group: pools of one connection.
    """

    def __init__(
        self,
        book: LiveBook,
        reader: PoolReader,
        connect: Callable[[], PubSub],
        clock: Callable[[], int],
        *,
        commitment: Commitment = Commitment.PROCESSED,
        group: int = GROUP,
    ) -> None:
        self._book = book
        self._reader = reader
        self._connect = connect
        self._clock = clock
        self._commitment = commitment
        self._groups: list[tuple[PubSub, Sight]] = []
        self._group = group
        self._starting = Turns(STARTING, PATIENCE_S)

    async def run(self) -> None:
        """Watch until cancelled."""
        pools = [found.address for found in self._book.found()]
        async with asyncio.TaskGroup() as group:
            group.create_task(self._beat(), name="quotes-beat")
            for start in range(0, len(pools), self._group):
                some = pools[start : start + self._group]
                group.create_task(self._watch(some), name=f"quotes-watch-{start // self._group}")

    async def _beat(self) -> None:
        while True:  # until cancelled
            try:
                slot, time = await self._reader.time()
                self._book.heard(slot, time)
                async with asyncio.TaskGroup() as group:
                    for pubsub, sight in self._groups:
                        group.create_task(self._ping(pubsub, sight, slot))
            except ChainError as error:
                _log.warning("the chain is out of sight", reason=str(error))
            await asyncio.sleep(BEAT_S)

    async def _ping(self, pubsub: PubSub, sight: Sight, slot: Slot) -> None:
        if sight.connection != pubsub.reconnects:
            return  # changes may be missing: the group is about to read anew
        try:
            await pubsub.round_trip(ALIVE_WITHIN_S)
        except ChainError as error:
            _log.warning("a connection does not answer", reason=str(error))
            return
        if sight.connection == pubsub.reconnects:
            sight.alive(self._clock(), slot)

    async def _watch(self, pools: Sequence[Address]) -> None:
        sight = Sight()
        async with self._connect() as pubsub:
            self._groups.append((pubsub, sight))
            while True:  # until cancelled
                try:
                    await self._session(pubsub, pools, sight)
                except ChainError as error:
                    sight.connection = None
                    _log.warning("pools are out of sight, trying again", pools=len(pools), reason=str(error))
                await asyncio.sleep(RETRY_S)

    async def _session(self, pubsub: PubSub, pools: Sequence[Address], sight: Sight) -> None:
        """Watch until the node fails us or the connection is lost."""
        by_account: dict[Address, list[Address]] = {}
        for pool in pools:
            for account in (pool, *self._book.vaults(pool)):
                by_account.setdefault(account, []).append(pool)
        await pubsub.connected(CONNECTED_WITHIN_S)  # not in a turn: who cannot connect keeps nobody waiting
        async with AsyncExitStack() as stack:
            async with self._starting.turn():
                connection = pubsub.reconnects
                watch = await stack.enter_async_context(
                    pubsub.watch_accounts(by_account, self._commitment, lasting=False)
                )
                await self._all_anew(pools, connection, sight)
            while True:  # until a ChainError
                await self._look(watch, by_account, sight)

    async def _look(
        self, watch: AccountWatch, by_account: dict[Address, list[Address]], sight: Sight
    ) -> None:
        changes = await watch.changes()
        woken: dict[Address, Slot] = {}
        for account, slot in changes.slots.items():
            woken |= {pool: max(slot, woken.get(pool, slot)) for pool in by_account[account]}
        self._book.doubt(woken)
        sight.busy_since_us = self._clock()
        try:
            await self._read(woken, max(changes.slots.values()), sight)
        finally:
            sight.busy_since_us = None

    async def _all_anew(self, pools: Iterable[Address], connection: int, sight: Sight) -> None:
        """From the beginning of this reading on, every state is watched over this connection."""
        began = self._clock()
        await self._read(pools, None, sight)
        sight.since_us, sight.alive_us, sight.alive_slot = began, began, self._book.newest_slot
        sight.connection = connection

    async def _read(self, pools: Iterable[Address], min_slot: Slot | None, sight: Sight) -> None:
        found = [one for pool in pools if (one := self._book.get(pool)) is not None]
        for batch in packed(found):
            await self._read_batch(batch, min_slot, sight)

    async def _read_batch(self, batch: Sequence[FoundPool], min_slot: Slot | None, sight: Sight) -> None:
        for attempt in range(BEHIND_TRIES):
            try:
                self._book.take(await self._reader.read_batch(batch, min_slot), sight)
            except ChainError as error:
                if error.code != BEHIND or attempt == BEHIND_TRIES - 1:
                    raise
                await asyncio.sleep(BEHIND_WAIT_S)
            else:
                return
