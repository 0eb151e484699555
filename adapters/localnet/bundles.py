"""The block engine's queue: bundles that land whole and in order in the next block, or not at all.

A bundle is tried once, when its slot has come; one that fails is dropped, as block engines do. Records are
kept as long as the real engine answers for a bundle that is under way: five minutes, here in slots.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256
from typing import Final

from solders.pubkey import Pubkey
from solders.transaction import VersionedTransaction

from adapters.localnet.blocks import Block
from adapters.localnet.history import Executed
from adapters.localnet.ledger import Ledger, Undone

MAX_TRANSACTIONS: Final = 5
MIN_TIP_LAMPORTS: Final = 1_000
"""A bundle that tips less is taken and never lands."""
KEPT_SLOTS: Final = 750
"""Five minutes of 400 ms slots."""
MAX_PENDING: Final = 1_000
"""Bundles waiting for a block; more than a real block takes."""

_TIPS_KEPT: Final = 1_000

TIP_ACCOUNTS: Final = tuple(
    Pubkey.from_string(address)
    for address in (
        "96gYZGLnJYVFmbjzopPSU6QiEV5fGqZNyN9nmNhvrZU5",
        "HFqU5x63VTqvQss8hp11i4wVV8bD44PvwucfZ2bU7gRe",
        "Cw8CFyM9FkoMi7K7Crf6HNQqf4uEMzpKw6QNghXLvLkY",
        "ADaUMid9yfUytqMBgopwjb2DTLSokTSzL1zt6iGPaS49",
        "DfXygSm4jCyNCybVYYK6DwvWqjKee8pbDmJGcLWNDXjh",
        "ADuUkR4vqLUMWXxW9gh6D6L8pMSawimctcNZ5pGwDcEt",
        "DttWaMuVvTiduZRnguLF7jNxTgiMBZ1hyAumKUiL2KRL",
        "3AVi9Tg9Uo68tJfuvoKvqKNWKkC5wPdSSdeBnizKZ6jT",
    )
)
"""The accounts that Jito's tip payment program owns on the real chain."""


class BundleStatus(StrEnum):
    """What the block engine says of a bundle it was given."""

    INVALID = "Invalid"
    PENDING = "Pending"
    FAILED = "Failed"
    LANDED = "Landed"


@dataclass(frozen=True, slots=True)
class Bundle:
    """Transactions that land together, and their common id."""

    name: str
    transactions: tuple[VersionedTransaction, ...]


@dataclass(slots=True)
class Record:
    """What became of a bundle; `slot` is where it landed, None before and where it failed."""

    bundle: Bundle
    received_slot: int
    status: BundleStatus = BundleStatus.PENDING
    slot: int | None = None


def make_bundle(transactions: Sequence[VersionedTransaction]) -> Bundle:
    """Give transactions their bundle's id: SHA-256 over the signatures, comma between them."""
    names = ",".join(str(transaction.signatures[0]) for transaction in transactions)
    return Bundle(sha256(names.encode()).hexdigest(), tuple(transactions))


class BlockEngine:
    """Bundles by id, and those waiting; a `Listener` of the ledger."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._records: OrderedDict[str, Record] = OrderedDict()
        self._waiting: deque[tuple[int, Record]] = deque()
        self.tips: deque[int] = deque(maxlen=_TIPS_KEPT)
        ledger.listen(self)

    def full(self) -> bool:
        """Whether no more bundles can wait."""
        return len(self._waiting) >= MAX_PENDING

    def queue(self, bundle: Bundle, slots: int) -> None:
        """Let a bundle land in the next block or `slots` later; one already waiting is not queued twice."""
        known = self._records.get(bundle.name)
        if known is not None and known.status is BundleStatus.PENDING:
            return
        now = self._ledger.blocks.open.slot
        record = Record(bundle, now)
        self._records[bundle.name] = record
        self._records.move_to_end(bundle.name)
        self._waiting.append((now + max(slots, 1), record))

    def record(self, name: str) -> Record | None:
        """Find what became of a bundle that came in the last five minutes."""
        record = self._records.get(name)
        old = record is not None and self._ledger.blocks.open.slot - record.received_slot > KEPT_SLOTS
        return None if old else record

    def executed(self, executed: Executed) -> None:
        """Nothing to do here."""

    def rolled_back(self, kept: int, changed: Iterable[Pubkey]) -> None:  # noqa: ARG002 - a Listener
        """What landed on the dead fork has failed: block engines do not send a bundle again."""
        for record in self._records.values():
            if record.slot is not None and record.slot > kept:
                record.status, record.slot = BundleStatus.FAILED, None

    def advanced(self, block: Block) -> None:
        """Try the bundles whose slot has come, in the order of their arrival, and forget old ones."""
        due = [record for slot, record in self._waiting if slot <= block.slot]
        self._waiting = deque(item for item in self._waiting if item[0] > block.slot)
        for record in due:
            self._try(record)
        while self._records:
            oldest = next(iter(self._records.values()))
            waits = oldest.status is BundleStatus.PENDING
            if waits or block.slot - oldest.received_slot <= KEPT_SLOTS:
                break
            self._records.popitem(last=False)

    def _try(self, record: Record) -> None:
        landed = self._ledger.submit_bundle(record.bundle.transactions, accept=_tips_enough)
        if isinstance(landed, Undone):
            record.status = BundleStatus.FAILED
            return
        record.status, record.slot = BundleStatus.LANDED, landed[0].slot
        self.tips.append(tip_lamports(landed))


def tip_lamports(landed: Sequence[Executed]) -> int:
    """What a bundle's transactions brought the tip accounts."""
    return sum(
        after - before
        for executed in landed
        for key, before, after in zip(
            executed.loaded.keys, executed.pre_balances, executed.post_balances, strict=True
        )
        if key in TIP_ACCOUNTS
    )


def _tips_enough(landed: Sequence[Executed]) -> bool:
    return tip_lamports(landed) >= MIN_TIP_LAMPORTS
