"""What an emulated program is: it sees one instruction and says which transfers and writes it comes down to.

The binaries of these programs cannot be shipped; each is told in Python in a file `emulated_<program>.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from solders.account import Account
from solders.instruction import Instruction
from solders.pubkey import Pubkey

from adapters.localnet.messages import ReadAccount
from adapters.localnet.transaction_error import InstructionError
from adapters.solana.pool_program import ChainTime


@dataclass(frozen=True, slots=True)
class Call:
    """One instruction of an emulated program, and what the program may look at.

    Attributes:
        instruction: the call itself, accounts in full.
        position: its place in the transaction.
        transaction: every instruction of the transaction, as the instructions sysvar shows them.
        read: an account as the instructions before this one left it.
        time: the clock sysvar.
        slot: of the open block.
    """

    instruction: Instruction
    position: int
    transaction: tuple[Instruction, ...]
    read: ReadAccount
    time: ChainTime
    slot: int


@dataclass(frozen=True, slots=True)
class Plan:
    """How an emulated instruction is carried out: real instructions to run, then accounts to write."""

    name: str
    calls: tuple[Instruction, ...]
    writes: tuple[tuple[Pubkey, Account], ...]
    own_units: int


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why the emulated program refuses an instruction, with the lines it logs."""

    name: str
    error: InstructionError
    logs: tuple[str, ...] = ()


class Emulation(Protocol):
    """A program whose binary cannot be shipped, told in Python."""

    def plan(self, call: Call) -> Plan | Refusal:
        """Say what the real program would do with the instruction now."""
        ...


class Stop(Exception):
    """Carries a refusal out of an emulation's checks, never out of its `plan`."""

    def __init__(self, error: InstructionError) -> None:
        self.error = error
        super().__init__()
