"""The local chain's blocks: slots, heights, recent blockhashes, and what each block changed."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Final

from solders.account import Account
from solders.hash import Hash, ParseHashError
from solders.pubkey import Pubkey

from domain.chain import Commitment

MAX_AGE: Final = 150
"""A transaction's blockhash may lie this many blocks back."""
CONFIRMED_AFTER: Final = 1
"""Blocks after which a block counts as confirmed here; a real cluster takes one or two."""
FINALIZED_AFTER: Final = 32
"""Blocks after which a block can no longer be rolled back."""
MAX_STALE: Final = 64
"""How many blocks behind a node can be made to answer: what accounts were is kept that much longer."""

HEADERS: Final = 20_000
"""Blocks that `getBlock` finds: over two hours of 400 ms slots."""

_KEPT: Final = 320  # blockhash window twice over, so that statuses and lookup tables find their slots


_DEPTHS: Final = {
    Commitment.PROCESSED: 0,
    Commitment.CONFIRMED: CONFIRMED_AFTER,
    Commitment.FINALIZED: FINALIZED_AFTER,
}


@dataclass(slots=True)
class Block:
    """One block.

    Attributes:
        before: each account this block changed as it was at its start; dropped once nobody can ask.
        transactions: how many landed in it.
    """

    slot: int
    height: int
    blockhash: Hash
    unix_time: int
    before: dict[Pubkey, Account | None] = field(default_factory=dict)
    transactions: int = 0


@dataclass(frozen=True, slots=True)
class Header:
    """What is kept of a block long after: enough for `getBlock`. The open block's count is not final."""

    slot: int
    height: int
    blockhash: Hash
    unix_time: int
    parent_slot: int
    parent_blockhash: Hash


class Blocks:
    """The newest blocks, oldest first; the last one is open."""

    def __init__(self, genesis: Hash, first_slot: int, first_height: int, unix_time: int) -> None:
        self.genesis = genesis
        self._kept: deque[Block] = deque([Block(first_slot, first_height, genesis, unix_time)])
        self._by_hash: dict[Hash, Block] = {genesis: self._kept[0]}
        self._behind = 0
        first = Header(first_slot, first_height, genesis, unix_time, first_slot, Hash.default())
        self._headers: OrderedDict[int, Header] = OrderedDict({first_slot: first})

    @property
    def open(self) -> Block:
        """The block that transactions land in."""
        return self._kept[-1]

    def at(self, commitment: Commitment) -> Block:
        """The newest block of that commitment; the first block counts as finalized from the start."""
        if commitment is Commitment.PROCESSED and not self._behind:
            return self._kept[-1]
        depth = _DEPTHS[commitment] + self._behind
        return self._kept[-1 - depth] if len(self._kept) > depth else self._kept[0]

    @contextmanager
    def behind(self, count: int) -> Iterator[None]:
        """Answer as a node `count` blocks behind does, until the block ends."""
        self._behind = min(count, MAX_STALE)
        try:
            yield
        finally:
            self._behind = 0

    def add(self, unix_time: int, *, slot: int | None = None) -> Block:
        """Close the open block and open the next."""
        last = self.open
        slot = last.slot + 1 if slot is None else slot
        blockhash = Hash(sha256(bytes(last.blockhash) + slot.to_bytes(8, "little")).digest())
        block = Block(slot, last.height + 1, blockhash, unix_time)
        self._kept.append(block)
        self._by_hash[blockhash] = block
        self._headers[slot] = Header(slot, block.height, blockhash, unix_time, last.slot, last.blockhash)
        if len(self._headers) > HEADERS:
            self._headers.popitem(last=False)
        if len(self._kept) > FINALIZED_AFTER + MAX_STALE:
            self._kept[-1 - FINALIZED_AFTER - MAX_STALE].before.clear()
        if len(self._kept) > _KEPT:
            del self._by_hash[self._kept.popleft().blockhash]
        return block

    def drop_last(self) -> Block:
        """Forget the open block, as when the cluster leaves its fork."""
        block = self._kept.pop()
        del self._by_hash[block.blockhash]
        del self._headers[block.slot]
        return block

    def parent_slot(self) -> int:
        """The slot of the block before the open one."""
        return self._kept[-2].slot if len(self._kept) > 1 else self._kept[0].slot

    def unfinalized(self) -> int:
        """How many blocks could be rolled back."""
        return min(len(self._kept) - 1, FINALIZED_AFTER - 1)

    def valid(self, blockhash: Hash, view: Block) -> bool:
        """Whether a transaction naming `blockhash` is accepted by the bank at `view`."""
        named = self._by_hash.get(blockhash)
        return named is not None and named.height <= view.height <= named.height + MAX_AGE

    def valid_name(self, blockhash: str, view: Block) -> bool:
        """Whether the blockhash written as base58 is accepted by the bank at `view`."""
        try:
            return self.valid(Hash.from_string(blockhash), view)
        except ParseHashError:
            return False

    def depth(self, slot: int) -> int:
        """How many blocks lie after the one at `slot` (0 for the open one)."""
        depth = 0
        for block in reversed(self._kept):
            if block.slot <= slot:
                break
            depth += 1
        return depth

    def before(self, key: Pubkey, slot: int) -> tuple[bool, Account | None]:
        """The account as it was at the end of `slot`: (False, None) if no later block changed it."""
        changed, account = False, None
        for block in reversed(self._kept):
            if block.slot <= slot:
                break
            if key in block.before:
                changed, account = True, block.before[key]
        return changed, account

    def changed_since(self, slot: int) -> set[Pubkey]:
        """Every account that a block after `slot` changed."""
        return {key for block in self._kept if block.slot > slot for key in block.before}

    def slot_hashes(self) -> list[tuple[int, Hash]]:
        """The finished blocks, newest first, as the SlotHashes sysvar lists them."""
        return [(block.slot, block.blockhash) for block in reversed(self._kept)][1:]

    def header(self, slot: int) -> Header | None:
        """What is kept of the block at `slot`; None if it was skipped, lies ahead or is long past."""
        return self._headers.get(slot)

    def headers(self) -> Iterable[Header]:
        """Every block that is kept, oldest first."""
        return self._headers.values()
