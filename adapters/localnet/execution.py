"""Carries out one transaction on LiteSVM, all or nothing, with emulated programs in between.

A transaction without an emulated instruction is LiteSVM's alone. One with an emulated instruction is cut
into runs: each run of ordinary instructions, and the token transfers that an emulated instruction comes
down to, is one LiteSVM transaction without fee of its own, paid by an account of the local network. If any
run fails every account is put back as it was and only the fee stays.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from solders.account import Account
from solders.hash import Hash
from solders.instruction import CompiledInstruction, Instruction
from solders.litesvm import LiteSVM
from solders.message import Message
from solders.pubkey import Pubkey
from solders.signature import Signature
from solders.system_program import ID as SYSTEM_PROGRAM
from solders.transaction import VersionedTransaction
from solders.transaction_metadata import FailedTransactionMetadata, TransactionMetadata

from adapters.localnet.emulation import Call, Emulation, Refusal
from adapters.localnet.messages import Loaded
from adapters.localnet.transaction_error import (
    InstructionError,
    TransactionError,
    at_instruction,
    from_litesvm,
    instruction_sentence,
)
from adapters.solana.pool_program import ChainTime
from adapters.solana.programs import compute_budget
from domain.errors import DecodeError

GONE: Final = Account(0, b"", SYSTEM_PROGRAM)
"""Writing this removes an account."""

_PAYER: Final = Pubkey.from_bytes(b"daybook local network fee payer.")
_PAYER_ACCOUNT: Final = Account(10**12, b"", SYSTEM_PROGRAM)


@dataclass(frozen=True, slots=True)
class InnerCall:
    """An instruction that a program called; `height` is 2 for the first level."""

    program: Pubkey
    accounts: tuple[Pubkey, ...]
    data: bytes
    height: int = 2


@dataclass(slots=True)
class Outcome:
    """What became of a transaction.

    Attributes:
        error: None for success.
        landed: whether it is part of the chain; a refused transaction leaves nothing, not even a fee.
        fee: lamports burned.
        units: compute units used.
        inner: calls made by each top level instruction, by its index.
        returned: what the last program that returned something did return, and its address.
    """

    error: TransactionError | None
    landed: bool
    fee: int
    logs: list[str] = field(default_factory=list)
    units: int = 0
    inner: dict[int, list[InnerCall]] = field(default_factory=dict)
    returned: tuple[Pubkey, bytes] | None = None


class Executor:
    """Runs transactions on one LiteSVM with its signature and blockhash checks off: the ledger makes them."""

    def __init__(self, vm: LiteSVM, emulations: Mapping[Pubkey, Emulation]) -> None:
        self._vm = vm
        self._emulations = emulations

    def execute(self, loaded: Loaded, before: Mapping[Pubkey, Account | None]) -> Outcome:
        """Carry out `loaded`; `before` holds every account it may change, as it is now."""
        if not any(item.program_id in self._emulations for item in loaded.instructions):
            return self._execute_whole(loaded, before)
        try:
            budget = compute_budget.read_budget(
                [(item.program_id, item.data) for item in loaded.instructions]
            )
        except DecodeError:
            return self._execute_whole(loaded, before)  # it names the faulty instruction and runs none
        signatures = loaded.transaction.message.header.num_required_signatures
        fee = signatures * compute_budget.LAMPORTS_PER_SIGNATURE + budget.priority_fee_lamports
        refusal = self._charge(before[loaded.payer], loaded.payer, fee)
        if refusal is not None:
            return Outcome(refusal, landed=False, fee=0)
        outcome = Outcome(None, landed=True, fee=fee)
        for start, instructions in _runs(loaded.instructions, self._emulations):
            self._run(loaded, start, instructions, outcome, budget.unit_limit)
            if outcome.error is not None:
                restore(self._vm, before)
                self._charge(before[loaded.payer], loaded.payer, fee)
                break
        return outcome

    def _execute_whole(self, loaded: Loaded, before: Mapping[Pubkey, Account | None]) -> Outcome:
        result = self._vm.send_transaction(loaded.transaction)
        meta = result.meta() if isinstance(result, FailedTransactionMetadata) else result
        error = from_litesvm(result) if isinstance(result, FailedTransactionMetadata) else None
        old = before[loaded.payer]
        landed = error is None or self._vm.get_balance(loaded.payer) != (old.lamports if old else None)
        inner = _inner_calls(meta, loaded.keys)
        fee = meta.fee() if landed else 0
        units, returned = meta.compute_units_consumed(), _returned(meta)
        return Outcome(error, landed, fee, meta.logs(), units, inner, returned)

    def _charge(self, payer: Account | None, address: Pubkey, fee: int) -> TransactionError | None:
        if payer is None:
            return "AccountNotFound"
        if payer.owner != SYSTEM_PROGRAM or payer.data:
            return "InvalidAccountForFee"
        left = payer.lamports - fee
        if left < 0:
            return "InsufficientFundsForFee"
        if 0 < left < self._vm.minimum_balance_for_rent_exemption(0):
            return {"InsufficientFundsForRent": {"account_index": 0}}
        self._vm.set_account(address, Account(left, b"", SYSTEM_PROGRAM))
        return None

    def _run(
        self,
        loaded: Loaded,
        start: int,
        instructions: Sequence[Instruction],
        outcome: Outcome,
        unit_limit: int,
    ) -> None:
        emulation = self._emulations.get(instructions[0].program_id)
        if emulation is not None:
            self._run_emulated(loaded, start, instructions[0], emulation, outcome, unit_limit)
        elif instructions[0].program_id == compute_budget.PROGRAM_ID:
            outcome.units += 150
            outcome.logs += _program_logs(compute_budget.PROGRAM_ID)
        else:
            result, keys = self._send(instructions)
            self._note(loaded, start, result, keys, outcome)
        if outcome.error is None and outcome.units > unit_limit:
            outcome.error = at_instruction(start, "ComputationalBudgetExceeded")

    def _run_emulated(
        self,
        loaded: Loaded,
        index: int,
        instruction: Instruction,
        emulation: Emulation,
        outcome: Outcome,
        unit_limit: int,
    ) -> None:
        program = instruction.program_id
        clock = self._vm.get_clock()
        time = ChainTime(clock.unix_timestamp, clock.epoch)
        call = Call(instruction, index, loaded.instructions, self._vm.get_account, time, clock.slot)
        plan = emulation.plan(call)
        outcome.logs += [f"Program {program} invoke [1]", f"Program log: Instruction: {plan.name}"]
        if isinstance(plan, Refusal):
            outcome.logs += plan.logs
            self._fail(outcome, program, index, plan.error)
            return
        sub = Outcome(None, landed=True, fee=0)
        if plan.calls:
            result, keys = self._send(plan.calls)
            self._note(loaded, 0, result, keys, sub)
        outcome.logs += [line.replace("invoke [1]", "invoke [2]") for line in sub.logs]
        used = sub.units + plan.own_units
        outcome.units += used
        if sub.error is not None:
            self._fail(outcome, program, index, _inner_error(sub.error))
            return
        inner = [
            InnerCall(one.program_id, tuple(meta.pubkey for meta in one.accounts), one.data)
            for one in plan.calls
        ]
        if inner:
            outcome.inner[index] = inner
        for address, account in plan.writes:
            self._vm.set_account(address, account)
        outcome.logs += [
            f"Program {program} consumed {used} of {unit_limit} compute units",
            f"Program {program} success",
        ]

    @staticmethod
    def _fail(outcome: Outcome, program: Pubkey, index: int, error: InstructionError) -> None:
        outcome.error = at_instruction(index, error)
        outcome.logs.append(f"Program {program} failed: {instruction_sentence(error)}")

    def _send(
        self, instructions: Sequence[Instruction]
    ) -> tuple[TransactionMetadata | FailedTransactionMetadata, list[Pubkey]]:
        self._vm.set_account(_PAYER, _PAYER_ACCOUNT)
        message = Message.new_with_blockhash(instructions, _PAYER, Hash.default())
        signatures = [Signature.default()] * message.header.num_required_signatures
        result = self._vm.send_transaction(VersionedTransaction.populate(message, signatures))
        self._vm.set_account(_PAYER, GONE)
        return result, message.account_keys

    @staticmethod
    def _note(
        loaded: Loaded,
        start: int,
        result: TransactionMetadata | FailedTransactionMetadata,
        keys: Sequence[Pubkey],
        outcome: Outcome,
    ) -> None:
        meta = result.meta() if isinstance(result, FailedTransactionMetadata) else result
        outcome.logs += meta.logs()
        outcome.units += meta.compute_units_consumed()
        outcome.returned = _returned(meta) or outcome.returned
        for index, calls in _inner_calls(meta, keys).items():
            outcome.inner[start + index] = calls
        if isinstance(result, FailedTransactionMetadata):
            outcome.error = _in_terms_of(loaded, start, from_litesvm(result), keys)


def restore(vm: LiteSVM, before: Mapping[Pubkey, Account | None]) -> None:
    """Put every account of `before` back as it was."""
    for address, account in before.items():
        vm.set_account(address, account if account is not None else GONE)


def _runs(
    instructions: Sequence[Instruction], emulations: Mapping[Pubkey, Emulation]
) -> Iterator[tuple[int, Sequence[Instruction]]]:
    """Cut a transaction: each emulated or budget instruction alone, ordinary neighbours together."""
    start = 0
    for index, instruction in enumerate(instructions):
        if instruction.program_id in emulations or instruction.program_id == compute_budget.PROGRAM_ID:
            if start < index:
                yield start, instructions[start:index]
            yield index, instructions[index : index + 1]
            start = index + 1
    if start < len(instructions):
        yield start, instructions[start:]


def _in_terms_of(
    loaded: Loaded, start: int, error: TransactionError, keys: Sequence[Pubkey]
) -> TransactionError:
    """Restate a run's error in the whole transaction's instruction and account numbers."""
    if isinstance(error, dict) and "InstructionError" in error:
        index, inner = error["InstructionError"]
        return at_instruction(start + index, inner)
    if isinstance(error, dict) and "InsufficientFundsForRent" in error:
        address = keys[error["InsufficientFundsForRent"]["account_index"]]
        if address in loaded.keys:
            return {"InsufficientFundsForRent": {"account_index": loaded.keys.index(address)}}
    return error


def _inner_error(error: TransactionError) -> InstructionError:
    """What a called program answered, as the caller passes it on."""
    if isinstance(error, dict) and "InstructionError" in error:
        inner: InstructionError = error["InstructionError"][1]
        return inner
    return "InvalidAccountData"


def _inner_calls(meta: TransactionMetadata, keys: Sequence[Pubkey]) -> dict[int, list[InnerCall]]:
    found: dict[int, list[InnerCall]] = {}
    for index, inner in enumerate(meta.inner_instructions()):
        if inner:
            found[index] = [_inner_call(item.instruction(), item.stack_height(), keys) for item in inner]
    return found


def _inner_call(call: CompiledInstruction, height: int | None, keys: Sequence[Pubkey]) -> InnerCall:
    accounts = tuple(keys[at] for at in call.accounts)
    return InnerCall(keys[call.program_id_index], accounts, call.data, height or 2)


def _returned(meta: TransactionMetadata) -> tuple[Pubkey, bytes] | None:
    found = meta.return_data()
    return (found.program_id, found.data) if found.data else None


def _program_logs(program: Pubkey) -> list[str]:
    return [f"Program {program} invoke [1]", f"Program {program} success"]
