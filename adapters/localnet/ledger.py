"""The local chain itself: one LiteSVM, its blocks, what landed, and the rules a real node holds to.

Signatures, the 150 block blockhash window and the duplicate check are made here, since LiteSVM accepts only
its newest blockhash. A block is confirmed one block later and finalized 32 blocks later. Everything runs on
the caller's thread; nothing here waits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Final, Protocol

from solders.account import Account
from solders.clock import Clock
from solders.hash import Hash
from solders.litesvm import LiteSVM
from solders.pubkey import Pubkey
from solders.signature import Signature
from solders.transaction import VersionedTransaction

from adapters.localnet.blocks import MAX_AGE, Block, Blocks
from adapters.localnet.emulations import Emulations
from adapters.localnet.execution import Executor, Outcome, restore
from adapters.localnet.history import Executed, History, TokenBalance
from adapters.localnet.messages import Loaded, load
from adapters.localnet.program_files import ProgramFile, install
from adapters.localnet.transaction_error import TransactionError
from adapters.solana.programs import token
from domain.chain import Commitment
from domain.errors import DecodeError, InvalidInput

FIRST_SLOT: Final = 435_888_000
FIRST_HEIGHT: Final = 414_000_000
"""Below the slot as on the real chain: a client that takes one for the other is found out here."""
SLOTS_PER_EPOCH: Final = 432_000


class Listener(Protocol):
    """Is told what happens on the chain, right after it happened."""

    def executed(self, executed: Executed) -> None:
        """A transaction landed."""
        ...

    def advanced(self, block: Block) -> None:
        """`block` was opened."""
        ...

    def rolled_back(self, kept: int, changed: Iterable[Pubkey]) -> None:
        """The blocks after slot `kept` were dropped and these accounts put back."""
        ...


@dataclass(frozen=True, slots=True)
class Simulated:
    """What a transaction would do, and its accounts as it would leave and as it found them."""

    outcome: Outcome
    after: Mapping[Pubkey, Account | None]
    before: Mapping[Pubkey, Account | None] = field(default_factory=dict)

    @staticmethod
    def refused(error: TransactionError) -> Simulated:
        """The answer for a transaction that may not even run."""
        return Simulated(Outcome(error, landed=False, fee=0), {})


@dataclass(frozen=True, slots=True)
class Undone:
    """Why a bundle did not land: transaction number `place` failed or may not run; no error: not accepted."""

    place: int
    error: TransactionError | None


@dataclass(frozen=True, slots=True)
class Landing:
    """A transaction carried out, and the accounts it changed as they were."""

    executed: Executed
    before: Mapping[Pubkey, Account | None]


class Ledger:
    """One local chain; `clock` gives microseconds since the epoch, `programs` are binaries to run."""

    def __init__(
        self,
        clock: Callable[[], int],
        *,
        seed: int = 0,
        first_slot: int = FIRST_SLOT,
        programs: Sequence[ProgramFile] = (),
    ) -> None:
        self._clock = clock
        self.first_slot = first_slot
        self._vm = LiteSVM().with_sigverify(False).with_blockhash_check(False).with_transaction_history(0)
        for file in programs:
            install(self._vm, file)
        self.emulations = Emulations(without={file.program for file in programs})
        self._executor = Executor(self._vm, self.emulations.by_program)
        genesis = Hash(sha256(f"daybook local network {seed}".encode()).digest())
        self.blocks = Blocks(genesis, first_slot, FIRST_HEIGHT, self._now())
        self.history = History()
        self._listeners: list[Listener] = []
        self._decimals: dict[Pubkey, int] = {}
        self._set_sysvars()

    def listen(self, listener: Listener) -> None:
        """Tell `listener` of everything from now on."""
        self._listeners.append(listener)

    def set_account(self, address: Pubkey, account: Account) -> None:
        """Write an account outside any transaction: for genesis only."""
        self._vm.set_account(address, account)

    def rent(self, length: int) -> int:
        """Lamports that an account of `length` bytes must hold."""
        return self._vm.minimum_balance_for_rent_exemption(length)

    def account(self, address: Pubkey, slot: int | None = None) -> Account | None:
        """Read an account as it is, or as it was at the end of `slot` (not yet finalized over)."""
        if slot is not None:
            changed, account = self.blocks.before(address, slot)
            if changed:
                return account
        return self._vm.get_account(address)

    def program_accounts(self, program: Pubkey, slot: int) -> list[tuple[Pubkey, Account]]:
        """Every account that `program` owned at the end of `slot`."""
        changed = self.blocks.changed_since(slot)
        found = [pair for pair in self._vm.get_program_accounts(program) if pair[0] not in changed]
        for key in changed:
            account = self.account(key, slot)
            if account is not None and account.owner == program:
                found.append((key, account))
        return sorted(found, key=lambda pair: bytes(pair[0]))

    def check(self, transaction: VersionedTransaction, view: Block) -> TransactionError | None:
        """Hold a transaction to the blockhash window and the duplicate rule of the bank at `view`."""
        if not self.blocks.valid(transaction.message.recent_blockhash, view):
            return "BlockhashNotFound"
        landed = self.history.get(transaction.signatures[0])
        return "AlreadyProcessed" if landed is not None and landed.slot <= view.slot else None

    def submit(self, transaction: VersionedTransaction) -> Executed | TransactionError:
        """Let a transaction land in the open block, or say why it cannot."""
        loaded = self._admit(transaction)
        if not isinstance(loaded, Loaded):
            return loaded
        landing = self._execute(loaded, place=0)
        if not isinstance(landing, Landing):
            return landing
        self._record(landing)
        return landing.executed

    def submit_bundle(
        self,
        transactions: Sequence[VersionedTransaction],
        *,
        accept: Callable[[Sequence[Executed]], bool] = lambda _: True,
    ) -> list[Executed] | Undone:
        """Let several transactions land one after the other in the open block, or none of them.

        `accept` sees what they all did before it counts, and may still refuse.
        """
        landings: list[Landing] = []
        for place, transaction in enumerate(transactions):
            landing = self._next_of_bundle(transaction, [done.executed.signature for done in landings], place)
            if isinstance(landing, Landing):
                landings.append(landing)
            error = landing.executed.outcome.error if isinstance(landing, Landing) else landing
            if error is not None:
                return self._undo(landings, Undone(place, error))
        executed = [landing.executed for landing in landings]
        if not accept(executed):
            return self._undo(landings, Undone(len(landings) - 1, None))
        for landing in landings:
            self._record(landing)
        return executed

    def _undo(self, landings: Sequence[Landing], why: Undone) -> Undone:
        for done in reversed(landings):
            restore(self._vm, done.before)
        return why

    def simulate_bundle(
        self, transactions: Sequence[VersionedTransaction], *, any_blockhash: bool = False
    ) -> list[Simulated]:
        """Run several transactions one after the other and undo them; ends with the first that fails.

        Signatures are not looked at; with `any_blockhash` neither are blockhashes.
        """
        results: list[Simulated] = []
        undo: dict[Pubkey, Account | None] = {}
        try:
            for transaction in transactions:
                results.append(self._simulate_next(transaction, undo, any_blockhash=any_blockhash))
                if results[-1].outcome.error is not None:
                    break
            return results
        finally:
            restore(self._vm, undo)

    def simulate(self, transaction: VersionedTransaction, view: Block) -> Simulated:
        """Run a transaction against the accounts as they were at the end of `view`, and undo it."""
        loaded = load(transaction, lambda key: self.account(key, view.slot))
        if not isinstance(loaded, Loaded):
            return Simulated.refused(loaded)
        now = {key: self._vm.get_account(key) for key in loaded.keys}
        then = {key: self.account(key, view.slot) for key in loaded.keys}
        moved = {key: account for key, account in then.items() if account != now[key]}
        restore(self._vm, moved)
        try:
            before = {key: then[key] for key in loaded.writable_keys()}
            outcome = self._executor.execute(loaded, before)
            return Simulated(outcome, {key: self._vm.get_account(key) for key in loaded.keys}, then)
        finally:
            restore(self._vm, {key: now[key] for key in {*loaded.writable_keys(), *moved}})

    def advance(self) -> Block:
        """Close the open block and open the next."""
        block = self.blocks.add(self._now())
        self._set_sysvars()
        for listener in self._listeners:
            listener.advanced(block)
        return block

    def roll_back(self, count: int) -> Block:
        """Leave the fork of the newest `count` blocks: their transactions vanish, accounts are put back.

        The chain goes on in a later slot at a lower height, as when a cluster skips the slots of a fork.

        Raises:
            InvalidInput: a block among them is finalized, or `count` is not positive.
        """
        if not 0 < count <= self.blocks.unfinalized():
            raise InvalidInput(
                f"rolling back {count} blocks: only the newest {self.blocks.unfinalized()} are not finalized"
            )
        last_slot = self.blocks.open.slot
        changed: set[Pubkey] = set()
        for _ in range(count):
            dropped = self.blocks.drop_last()
            restore(self._vm, dropped.before)
            changed |= dropped.before.keys()
        kept = self.blocks.open.slot
        self.history.drop_after(kept)
        block = self.blocks.add(self._now(), slot=last_slot + 1)
        self._set_sysvars()
        for listener in self._listeners:
            listener.rolled_back(kept, changed)
            listener.advanced(block)
        return block

    def status(self, signature: Signature, *, search_history: bool) -> Executed | None:
        """Find what landed; without `search_history` only in the newest 150 blocks, as a node's cache."""
        executed = self.history.get(signature)
        if executed is None or search_history or self.blocks.depth(executed.slot) <= MAX_AGE:
            return executed
        return None

    def commitment_of(self, slot: int) -> Commitment:
        """How sure the chain is of `slot`."""
        if slot <= self.blocks.at(Commitment.FINALIZED).slot:
            return Commitment.FINALIZED
        confirmed = slot <= self.blocks.at(Commitment.CONFIRMED).slot
        return Commitment.CONFIRMED if confirmed else Commitment.PROCESSED

    def _admit(self, transaction: VersionedTransaction) -> Loaded | TransactionError:
        """Hold a transaction to signatures, blockhash window and duplicate rule; resolve its addresses."""
        if not all(transaction.verify_with_results()):
            return "SignatureFailure"
        refused = self.check(transaction, self.blocks.open)
        return load(transaction, self._vm.get_account) if refused is None else refused

    def _next_of_bundle(
        self, transaction: VersionedTransaction, before: Sequence[Signature], place: int
    ) -> Landing | TransactionError:
        if transaction.signatures[0] in before:
            return "AlreadyProcessed"
        loaded = self._admit(transaction)
        return self._execute(loaded, place) if isinstance(loaded, Loaded) else loaded

    def _simulate_next(
        self, transaction: VersionedTransaction, undo: dict[Pubkey, Account | None], *, any_blockhash: bool
    ) -> Simulated:
        refused = None if any_blockhash else self.check(transaction, self.blocks.open)
        loaded = load(transaction, self._vm.get_account) if refused is None else refused
        if not isinstance(loaded, Loaded):
            return Simulated.refused(loaded)
        before = {key: self._vm.get_account(key) for key in loaded.keys}
        for key in loaded.writable_keys():
            undo.setdefault(key, before[key])
        outcome = self._executor.execute(loaded, {key: before[key] for key in loaded.writable_keys()})
        after = {key: self._vm.get_account(key) for key in loaded.keys}
        return Simulated(outcome, after, before)

    def _execute(self, loaded: Loaded, place: int) -> Landing | TransactionError:
        """Carry a transaction out, the `place`th of what is about to be recorded; nobody is told yet."""
        before, writable = {key: self._vm.get_account(key) for key in loaded.keys}, loaded.writable_keys()
        outcome = self._executor.execute(loaded, {key: before[key] for key in writable})
        if not outcome.landed:
            return outcome.error or "AccountNotFound"
        after = before | {key: self._vm.get_account(key) for key in writable}
        changed = tuple(key for key in writable if before[key] != after[key])
        had = [self._token(index, before[key]) for index, key in enumerate(loaded.keys)]
        has = list(had)
        for index, key in enumerate(loaded.keys):
            if key in changed:
                has[index] = self._token(index, after[key])
        block = self.blocks.open
        executed = Executed(
            loaded,
            outcome,
            block.slot,
            block.transactions + place,
            block.unix_time,
            _lamports(loaded, before),
            _lamports(loaded, after),
            tuple(balance for balance in had if balance),
            tuple(balance for balance in has if balance),
            changed,
        )
        return Landing(executed, {key: before[key] for key in changed})

    def _record(self, landing: Landing) -> None:
        """Make it part of the chain and tell everybody."""
        block, executed = self.blocks.open, landing.executed
        for key, account in landing.before.items():
            block.before.setdefault(key, account)
        block.transactions += 1
        self.history.add(executed)
        for listener in self._listeners:
            listener.executed(executed)

    def _token(self, index: int, account: Account | None) -> TokenBalance | None:
        """What the account at place `index` of a transaction holds, if it is a token account."""
        if account is None:
            return None
        data, program = account.data, account.owner
        if not token.is_token_account(data, program):
            return None
        mint, owner = Pubkey(data[:32]), Pubkey(data[32:64])
        return TokenBalance(index, mint, owner, program, token.token_amount(data), self.decimals(mint))

    def decimals(self, mint: Pubkey) -> int:
        """A mint's decimals; 0 where the mint cannot be read."""
        known = self._decimals.get(mint)
        if known is not None:
            return known
        account = self._vm.get_account(mint)
        if account is None:
            return 0
        try:
            self._decimals[mint] = token.decode_mint(account.data, account.owner).decimals
        except DecodeError:
            return 0
        return self._decimals[mint]

    def _now(self) -> int:
        return self._clock() // 1_000_000

    def _set_sysvars(self) -> None:
        block = self.blocks.open
        epoch = block.slot // SLOTS_PER_EPOCH
        self._vm.set_clock(Clock(block.slot, block.unix_time, epoch, epoch + 1, block.unix_time))
        self._vm.set_slot_hashes(self.blocks.slot_hashes())


def _lamports(loaded: Loaded, accounts: Mapping[Pubkey, Account | None]) -> tuple[int, ...]:
    return tuple(account.lamports if (account := accounts[key]) else 0 for key in loaded.keys)
