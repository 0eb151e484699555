"""What landed on the local chain: every transaction with its metadata, found by signature or by address."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, TypeVar

from solders.pubkey import Pubkey
from solders.signature import Signature

from adapters.localnet.execution import Outcome
from adapters.localnet.messages import Loaded

K = TypeVar("K")

CAPACITY: Final = 50_000
"""Transactions kept, about 10 kB each: half a gigabyte at most, more than an hour of a default crowd."""


@dataclass(frozen=True, slots=True)
class TokenBalance:
    """What a token account named by a transaction held."""

    account_index: int
    mint: Pubkey
    owner: Pubkey
    program: Pubkey
    amount: int
    decimals: int


@dataclass(frozen=True, slots=True)
class Executed:
    """A transaction that landed, successful or not.

    Attributes:
        slot, index: where; `index` counts within the slot.
        pre_balances, post_balances: lamports of `loaded.keys`, in their order.
        changed: the accounts it changed.
    """

    loaded: Loaded
    outcome: Outcome
    slot: int
    index: int
    unix_time: int
    pre_balances: tuple[int, ...]
    post_balances: tuple[int, ...]
    pre_tokens: tuple[TokenBalance, ...]
    post_tokens: tuple[TokenBalance, ...]
    changed: tuple[Pubkey, ...]

    @property
    def signature(self) -> Signature:
        """The transaction's first signature: its id."""
        return self.loaded.signature


class History:
    """The newest `capacity` transactions, oldest first."""

    def __init__(self, capacity: int = CAPACITY) -> None:
        self._capacity = capacity
        self._landed: OrderedDict[Signature, Executed] = OrderedDict()
        self._by_address: dict[Pubkey, deque[Executed]] = {}
        self._by_slot: dict[int, deque[Executed]] = {}
        self.total = 0
        self.dropped_slot = -1
        """The newest slot of which a transaction had to leave: up to it blocks are no longer whole."""

    def add(self, executed: Executed) -> None:
        """Record a transaction; the oldest leaves when the shelf is full."""
        self._landed[executed.signature] = executed
        self.total += 1
        self._by_slot.setdefault(executed.slot, deque()).append(executed)
        for key in executed.loaded.keys:
            self._by_address.setdefault(key, deque()).append(executed)
        if len(self._landed) > self._capacity:
            _, oldest = self._landed.popitem(last=False)
            self.dropped_slot = oldest.slot
            self._unindex(oldest, newest=False)

    def drop_after(self, slot: int) -> None:
        """Forget every transaction of later slots."""
        while self._landed and next(reversed(self._landed.values())).slot > slot:
            _, newest = self._landed.popitem()
            self._unindex(newest, newest=True)
            self.total -= 1

    def get(self, signature: Signature) -> Executed | None:
        """Find a transaction."""
        return self._landed.get(signature)

    def of(self, address: Pubkey) -> Iterator[Executed]:
        """Every transaction that names `address`, newest first."""
        return reversed(self._by_address.get(address, deque()))

    def in_slot(self, slot: int) -> tuple[Executed, ...]:
        """The transactions of one block, in order."""
        return tuple(self._by_slot.get(slot, ()))

    def recent(self) -> Iterator[Executed]:
        """Every transaction, newest first."""
        return reversed(self._landed.values())

    def _unindex(self, executed: Executed, *, newest: bool) -> None:
        _take(self._by_slot, executed.slot, newest=newest)
        for key in executed.loaded.keys:
            _take(self._by_address, key, newest=newest)


def _take(shelves: dict[K, deque[Executed]], key: K, *, newest: bool) -> None:
    shelf = shelves[key]
    if newest:
        shelf.pop()
    else:
        shelf.popleft()
    if not shelf:
        del shelves[key]
