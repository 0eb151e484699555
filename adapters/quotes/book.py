"""The live pool book: every pool as it was last read, ready to quote, and how sure that still is.

A pool that is watched and does not change is as good as one read a moment ago. So a state is known to hold
until the last sign of life of whoever watches it; when sight is lost it grows old from there.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

import structlog
from solders.pubkey import Pubkey

from adapters.quotes.reader import FoundPool, Reading
from adapters.solana.accounts import public_key
from adapters.solana.pool_program import Accounts, ChainTime
from adapters.solana.pool_programs import TIMED
from adapters.solana.programs.token import is_token_account, token_amount
from domain.chain import Address, Mint, Slot
from domain.errors import DecodeError, QuoteError
from domain.market.routing.graph import PoolGraph, TradablePool

_NEVER: Final = Slot(0)

_log: structlog.stdlib.BoundLogger = structlog.get_logger("quotes.book")


@dataclass(slots=True)
class Sight:
    """Whether somebody watches a group of pools.

    Attributes:
        since_us: readings from then on are watched; none while nobody watches.
        alive_us, alive_slot: the watcher's last sign of life; microseconds since the epoch.
        busy_since_us: when it began to read what changed; what changed since it has not looked at.
        connection: which of the watcher's connections has shown every change; none while one may be missing.
    """

    since_us: int | None = None
    alive_us: int = 0
    alive_slot: Slot = _NEVER
    busy_since_us: int | None = None
    connection: int | None = None

    def alive(self, now_us: int, slot: Slot) -> None:
        """The watcher has heard all that was said until `now_us`."""
        if self.busy_since_us is None:
            self.alive_us, self.alive_slot = now_us, slot
        else:
            self.alive_us = self.busy_since_us


@dataclass(slots=True)
class _Held:
    """What the book keeps of a pool beside its place in the graph.

    Attributes:
        reading: the first that found the state as it is.
        latest: the slot of the newest that did.
        known_us, known_slot: when the state was known to hold, whoever watches it.
        sight: who watches it.
        quoted_for: the clock its fees are of.
        state: see `LiveBook.state`; reckoned when first asked for.
    """

    reading: Reading
    latest: Slot
    known_us: int
    known_slot: Slot
    sight: Sight
    quoted_for: ChainTime
    state: str | None = None


class LiveBook:
    """Pools by address, and as a graph of those that can be quoted.

    Args:
        clock: microseconds since the epoch.

    Attributes:
        graph: the pools that take swaps.
        newest_slot: the newest slot heard of.
        time: the chain's clock there.
        malformed: readings that could not be decoded; their pools cannot be quoted.
        changes: readings that changed a pool.
    """

    def __init__(self, clock: Callable[[], int]) -> None:
        self._clock = clock
        self._held: dict[Address, _Held] = {}
        self._listeners: list[Callable[[Address], None]] = []
        self.time = ChainTime(0, 0)
        self._nobody = Sight()
        self._moved: dict[Mint, int] = {}
        self.graph = PoolGraph()
        self.newest_slot = Slot(0)
        self.malformed = 0
        self.changes = 0

    def __len__(self) -> int:
        return len(self._held)

    def on_change(self, listener: Callable[[Address], None]) -> None:
        """Call `listener` with each pool that changed, after it did."""
        self._listeners.append(listener)

    def heard(self, slot: Slot, time: ChainTime) -> None:
        """Take in the newest slot and the chain's clock there."""
        if slot >= self.newest_slot:
            self.newest_slot, self.time = slot, time

    def take(self, readings: Iterable[Reading], sight: Sight | None = None) -> int:
        """Take readings in; an older one than the one held changes nothing. Returns how many changed a pool.

        Args:
            readings: of whole pools.
            sight: who watches them from now on; none where nobody does.
        """
        return sum([self._take(reading, sight) for reading in readings])

    def found(self) -> list[FoundPool]:
        """Every pool held with its keys, by address."""
        return [self._held[address].reading.found for address in sorted(self._held)]

    def age(self, pool: Address) -> tuple[int, int]:
        """How long ago the pool's state was last known to hold: (slots, microseconds)."""
        known_us, known_slot = _known(self._held[pool])
        return max(0, self.newest_slot - known_slot), max(0, self._clock() - known_us)

    def oldest_us(self) -> int:
        """How long ago the least sure pool that can be quoted was last known to hold; 0 for an empty book."""
        now = self._clock()
        known = (_known(held)[0] for pool, held in self._held.items() if self.graph.get(pool) is not None)
        return max(0, now - min(known, default=now))

    def doubt(self, changed: Mapping[Address, Slot]) -> None:
        """Pools are said to have changed in these slots: until they are read anew they grow old from here."""
        for pool, slot in changed.items():
            held = self._held[pool]
            if slot < held.latest:
                continue  # it is in what was read
            held.known_us, held.known_slot = _known(held)
            held.sight = self._nobody

    def state(self, pool: Address) -> str:
        """A digest of the pool's accounts: who read the same state says the same, in whatever slot.

        A slot would not do: while it is open, two readings of it may differ.
        """
        held = self._held[pool]
        if held.state is None:
            found = hashlib.blake2b(digest_size=16)
            for key, account in sorted(held.reading.accounts.items(), key=lambda item: bytes(item[0])):
                found.update(bytes(key))
                if account is not None:
                    found.update(b"%d %d " % (account.lamports, len(account.data)))
                    found.update(bytes(account.owner) + account.data)
            held.state = found.hexdigest()
        return held.state

    def is_of_now(self, states: Mapping[Address, str]) -> bool:
        """Whether these pools can be quoted and stand as they did then."""
        return all(
            self.graph.get(pool) is not None and self.state(pool) == state for pool, state in states.items()
        )

    def vaults(self, pool: Address) -> list[Address]:
        """The token accounts around a pool: what every swap of it changes."""
        accounts = self._held[pool].reading.accounts
        return [
            Address(str(key))
            for key, account in accounts.items()
            if account is not None and is_token_account(account.data, account.owner)
        ]

    def get(self, pool: Address) -> FoundPool | None:
        """The pool with its keys; none for one never taken in."""
        held = self._held.get(pool)
        return None if held is None else held.reading.found

    def moved(self) -> dict[Mint, int]:
        """What entered or left the pools' vaults since this was last asked, by mint; base units."""
        moved, self._moved = self._moved, {}
        return moved

    def bring_up_to_date(self, pools: Iterable[Address]) -> list[Address]:
        """Make those whose fees follow the clock anew for its newest time; returns which were late."""
        late = [
            held
            for pool in pools
            if (held := self._held[pool]).reading.found.program.protocol in TIMED
            and held.quoted_for.unix_time < self.time.unix_time
        ]
        for held in late:
            held.quoted_for = self.time
            self._list(held)
        return [held.reading.found.address for held in late]

    def _take(self, reading: Reading, sight: Sight | None) -> bool:
        pool = reading.found.address
        held = self._held.get(pool)
        if held is not None and reading.slot < held.latest:
            return False
        self.heard(reading.slot, reading.time)
        now = self._clock()
        if held is not None and held.reading.accounts == reading.accounts:
            held.latest = held.known_slot = reading.slot
            held.known_us, held.sight = now, sight or held.sight
            return False
        before = None if held is None else held.reading.accounts
        watched = sight or (held.sight if held else self._nobody)
        fresh = _Held(reading, reading.slot, now, reading.slot, watched, reading.time)
        self._held[pool] = fresh
        self._list(fresh)
        self.changes += 1
        if before is not None:
            self._count_volume(before, reading.accounts)
            for listener in self._listeners:
                listener(pool)
        return True

    def _list(self, held: _Held) -> None:
        found = held.reading.found
        key = public_key(found.address)
        try:
            account = held.reading.accounts[key]
            if account is None:
                raise DecodeError(f"reading pool {found.address}: the account is gone")
            pool = found.program.quotable(key, held.reading.accounts, held.quoted_for)
            pool.spot_price()
        except QuoteError:
            self.graph.remove(found.address)  # it takes no swaps now, or is empty
            return
        except DecodeError as error:
            self.malformed += 1
            self.graph.remove(found.address)
            _log.warning("pool cannot be quoted", pool=found.address, reason=str(error))
            return
        mints = [_mint_at(account.data, at) for at in found.program.mint_offsets]
        self.graph.put(
            TradablePool(found.address, found.program.protocol, mints[0], mints[1], pool, held.reading.slot)
        )

    def _count_volume(self, before: Accounts, after: Accounts) -> None:
        """What entered or left the pool's vaults between two readings, by mint."""
        for key, account in after.items():
            earlier = before.get(key)
            if account is None or earlier is None or account.data == earlier.data:
                continue
            if is_token_account(account.data, account.owner):
                moved = abs(token_amount(account.data) - token_amount(earlier.data))
                mint = _mint_at(account.data, 0)
                self._moved[mint] = self._moved.get(mint, 0) + moved


def _known(held: _Held) -> tuple[int, Slot]:
    """When the pool's state was last known to hold: microseconds since the epoch, and the slot."""
    sight = held.sight
    if sight.since_us is not None and sight.since_us <= held.known_us < sight.alive_us:
        return sight.alive_us, max(sight.alive_slot, held.known_slot)
    return held.known_us, held.known_slot


def _mint_at(data: bytes, offset: int) -> Mint:
    return Mint(str(Pubkey(data[offset : offset + 32])))
