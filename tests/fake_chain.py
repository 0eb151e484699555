"""A Solana in miniature that keeps the chain's promises and breaks every other: for tests of the executor.

It keeps: a signature is executed at most once while its slot stands, never past its last valid height, and
what is finalized stays. It breaks, by a seeded die: sends are not forwarded, are dropped, land late, or land
and are not answered; nodes lag, err, forget; slots are skipped or rolled back; outages outlive a blockhash.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from random import Random

from given import OWNER, USDC_ACCOUNT, WSOL_ACCOUNT

from commands.ports import (
    ChainPoint,
    RecentBlockhash,
    SignatureStatus,
    SignedTransaction,
)
from domain.chain import NATIVE, Address, Blockhash, BlockHeight, Commitment, Signature, Slot
from domain.errors import ChainError, ChainUnavailable
from domain.money import Lamports
from domain.trading.events import Leg
from domain.transactions import BalanceChange, TransactionRecord

SLOT_US = 400_000
FINAL_AFTER = 32
VALID_FOR = 150
FEE = 5_200
TIP = 1_000
TIPPED = Address("Tips111111111111111111111111111111111111111")
PREFLIGHT_FAILURE = -32002
BEHIND = -32016


@dataclass(slots=True)
class Faults:
    """How often each thing goes wrong, 0 to 1."""

    error: float = 0.0
    unforwarded: float = 0.0
    dropped: float = 0.0
    late: float = 0.0
    answer_lost: float = 0.0
    refused: float = 0.0
    program_error: float = 0.0
    rolled_back: float = 0.0
    skipped: float = 0.0
    max_lag: int = 0
    max_tick: int = 1
    outages: tuple[int, ...] = (0,)


NO_FAULTS = Faults()
ALL_FAULTS = Faults(
    error=0.2,
    unforwarded=0.2,
    dropped=0.2,
    late=0.3,
    answer_lost=0.3,
    refused=0.05,
    program_error=0.1,
    rolled_back=0.03,
    skipped=0.1,
    max_lag=5,
    max_tick=12,
    outages=(0, 0, 170, 230, 420),
)


@dataclass(slots=True)
class _Transaction:
    signature: Signature
    legs: tuple[Leg, ...]
    last_valid: int
    slot: int | None = None
    error: str | None = None


@dataclass
class FakeChain:
    """Implements Chain, TransactionBuilder and PoolDirectory over one made-up ledger."""

    die: Random
    faults: Faults = field(default_factory=Faults)
    slot: int = 1_000
    height: int = 900

    def __post_init__(self) -> None:
        self.transactions: dict[Signature, _Transaction] = {}
        self.waiting: list[_Transaction] = []
        self.sent: list[Signature] = []
        self.heights: dict[int, int] = {self.slot: self.height}
        self.outage_until = self.slot + self.die.choice(self.faults.outages)

    # --- what happens -----------------------------------------------------------------------------

    def clock(self) -> int:
        """Microseconds since the epoch, by the slots that have passed."""
        return self.slot * SLOT_US

    def tick(self, slots: int = 1) -> None:
        """Let slots pass: late transactions may land, young slots may be rolled back."""
        for _ in range(slots):
            self.slot += 1
            self.height += self.die.random() >= self.faults.skipped
            self.heights[self.slot] = self.height
            for transaction in list(self.waiting):
                if self.die.random() < 0.3:
                    self.waiting.remove(transaction)
                    self._execute(transaction)
            self._roll_back()

    def _roll_back(self) -> None:
        for transaction in self.transactions.values():
            young = transaction.slot is not None and self.slot - transaction.slot < FINAL_AFTER
            if young and self.die.random() < self.faults.rolled_back:
                transaction.slot = None
                if self.die.random() < 0.5:
                    self.waiting.append(transaction)

    def _execute(self, transaction: _Transaction) -> None:
        if transaction.slot is None and self.height <= transaction.last_valid:
            transaction.slot = self.slot
            transaction.error = "slippage" if self.die.random() < self.faults.program_error else None

    def executed(self) -> list[Signature]:
        """Signatures that stand in the ledger and moved money."""
        return [t.signature for t in self.transactions.values() if t.slot is not None and t.error is None]

    def charged(self) -> list[Signature]:
        """Signatures that stand in the ledger, whether they moved money or only cost their fee."""
        return [t.signature for t in self.transactions.values() if t.slot is not None]

    # --- the builder and the pools ----------------------------------------------------------------

    async def build(self, *, legs: Sequence[Leg], recent: RecentBlockhash, **_: object) -> SignedTransaction:
        """Sign: every call makes another signature, as a fresh blockhash does."""
        signature = Signature(f"signature-{len(self.transactions) + 1}")
        last_valid = recent.last_valid_block_height
        self.transactions[signature] = _Transaction(signature, tuple(legs), last_valid)
        return SignedTransaction(signature, signature.encode(), recent.blockhash, last_valid)

    async def vaults(self, pool: Address) -> tuple[Address, Address]:
        """Two made-up vaults."""
        return Address(f"{pool}-a"), Address(f"{pool}-b")

    # --- the node ---------------------------------------------------------------------------------

    async def latest_blockhash(self) -> RecentBlockhash:
        self._ask()
        return RecentBlockhash(Blockhash(f"hash-{self.slot}"), BlockHeight(self.height + VALID_FOR))

    async def tip(self, commitment: Commitment) -> ChainPoint:
        seen = self._ask()
        behind = {Commitment.PROCESSED: 0, Commitment.CONFIRMED: 1, Commitment.FINALIZED: FINAL_AFTER}
        slot = max(min(self.heights), seen - behind[commitment])
        return ChainPoint(Slot(slot), BlockHeight(self.heights[slot]))

    async def send(self, transaction: bytes) -> Signature:
        known = self.transactions[Signature(transaction.decode())]
        self.tick(self.die.randint(0, self.faults.max_tick))
        if self._happens(self.faults.refused):
            raise ChainError("sendTransaction was refused: slippage", PREFLIGHT_FAILURE)
        if self._happens(self.faults.unforwarded):
            raise ChainUnavailable("sendTransaction was not answered")
        self.sent.append(known.signature)
        if self.slot >= self.outage_until and not self._happens(self.faults.dropped):
            if self._happens(self.faults.late):
                self.waiting.append(known)
            else:
                self._execute(known)
        if self._happens(self.faults.answer_lost):
            raise ChainUnavailable("sendTransaction was not answered in time")
        return known.signature

    async def status(
        self, signature: Signature, *, search_history: bool = False, min_slot: Slot | None = None
    ) -> SignatureStatus:
        seen = self._ask()
        if min_slot is not None and seen < min_slot:
            raise ChainError("the node is behind", BEHIND)
        known = self.transactions[signature]
        if known.slot is None or known.slot > seen:
            return SignatureStatus(Slot(seen), None, None, None)
        age = seen - known.slot
        if age > VALID_FOR and not search_history:
            return SignatureStatus(Slot(seen), None, None, None)
        return SignatureStatus(Slot(seen), Slot(known.slot), _commitment(age), known.error)

    async def transaction(self, signature: Signature, commitment: Commitment) -> TransactionRecord | None:
        seen = self._ask()
        known = self.transactions[signature]
        assert commitment is Commitment.FINALIZED
        if known.slot is None or seen - known.slot < FINAL_AFTER:
            return None
        return self.record(known)

    async def balances(self, address: Address, token_accounts: Sequence[Address]) -> tuple[Slot, list[int]]:
        raise NotImplementedError

    async def settlements(self, signature: Signature) -> AsyncIterator[Commitment]:
        if signature not in self.transactions:  # never: nobody is woken here, the executor must poll
            yield Commitment.PROCESSED

    def record(self, known: _Transaction) -> TransactionRecord:
        """What a finalized transaction did: its legs as quoted, the fee and the tip; or the fee alone."""
        assert known.slot is not None
        changes = [_change(OWNER, -FEE)]
        if known.error is None:
            changes = [_change(OWNER, -FEE - TIP), _change(TIPPED, TIP)]
            for leg in known.legs:
                changes += _swap(leg)
        return TransactionRecord(
            known.signature, Slot(known.slot), Lamports(FEE), known.error, tuple(changes)
        )

    def _ask(self) -> int:
        """A call reaches some node after some slots; returns the slot that node has reached."""
        self.tick(self.die.randint(0, self.faults.max_tick))
        if self._happens(self.faults.error):
            raise ChainUnavailable("the node did not answer")
        return self.slot - self.die.randint(0, self.faults.max_lag)

    def _happens(self, chance: float) -> bool:
        return self.die.random() < chance


def _commitment(age: int) -> Commitment:
    if age >= FINAL_AFTER:
        return Commitment.FINALIZED
    return Commitment.CONFIRMED if age >= 1 else Commitment.PROCESSED


def _change(account: Address, lamports: int) -> BalanceChange:
    return BalanceChange(account, account, NATIVE, lamports)


def _swap(leg: Leg) -> list[BalanceChange]:
    ours = {True: WSOL_ACCOUNT, False: USDC_ACCOUNT}
    sells_sol = leg.mint_in.startswith("So1")
    side_in, side_out = "ab" if sells_sol else "ba"
    authority = Address("authority")
    paid, got = leg.amount_in, leg.quoted_amount_out
    return [
        BalanceChange(ours[sells_sol], OWNER, leg.mint_in, -paid),
        BalanceChange(Address(f"{leg.pool}-{side_in}"), authority, leg.mint_in, paid),
        BalanceChange(Address(f"{leg.pool}-{side_out}"), authority, leg.mint_out, -got),
        BalanceChange(ours[not sells_sol], OWNER, leg.mint_out, got),
    ]
