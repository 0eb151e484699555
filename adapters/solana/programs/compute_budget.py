"""Compute budget: what a transaction asks for and what its priority costs. The builders are solders' own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from solders.compute_budget import ID
from solders.pubkey import Pubkey
from solders.system_program import ID as SYSTEM_PROGRAM

from domain.errors import DecodeError

PROGRAM_ID: Final = ID

MAX_UNITS: Final = 1_400_000
"""No transaction may use more."""
UNITS_PER_INSTRUCTION: Final = 200_000
"""Asked for by default, for each instruction of a program on chain."""
UNITS_PER_BUILTIN: Final = 3_000
"""Asked for by default, for each instruction of a program built into the node."""
LAMPORTS_PER_SIGNATURE: Final = 5_000

# Stake, config and lookup table were built in once and are on chain like any other now.
_BUILTINS: Final = frozenset(
    {
        ID,
        SYSTEM_PROGRAM,
        Pubkey.from_string("Vote111111111111111111111111111111111111111"),
        Pubkey.from_string("BPFLoader1111111111111111111111111111111111"),
        Pubkey.from_string("BPFLoader2111111111111111111111111111111111"),
        Pubkey.from_string("BPFLoaderUpgradeab1e11111111111111111111111"),
        Pubkey.from_string("LoaderV411111111111111111111111111111111111"),
        Pubkey.from_string("KeccakSecp256k11111111111111111111111111111"),
        Pubkey.from_string("Ed25519SigVerify111111111111111111111111111"),
    }
)
_ARGUMENT_BYTES: Final = {1: 4, 2: 4, 3: 8, 4: 4}  # heap frame, unit limit, unit price, loaded data limit


@dataclass(frozen=True, slots=True)
class Budget:
    """A transaction's budget: `unit_limit` compute units at `unit_price` micro-lamports each."""

    unit_limit: int
    unit_price: int = 0

    @property
    def priority_fee_lamports(self) -> int:
        """What the price costs, rounded up; paid for the limit, used or not."""
        return -(-self.unit_price * self.unit_limit // 1_000_000)


def read_budget(instructions: Sequence[tuple[Pubkey, bytes]]) -> Budget:
    """Read the budget of a transaction from its (program, data) pairs.

    Raises:
        DecodeError: an instruction of the compute budget program is malformed or given twice.
    """
    found: dict[int, int] = {}
    default = 0
    for index, (program, data) in enumerate(instructions):
        default += UNITS_PER_BUILTIN if program in _BUILTINS else UNITS_PER_INSTRUCTION
        if program == PROGRAM_ID:
            tag = data[0] if data else 0
            if len(data) < 1 + _ARGUMENT_BYTES.get(tag, 2**16):
                raise DecodeError(f"decoding compute budget instruction {index}: {data.hex()} is not one")
            if tag in found:
                raise DecodeError(
                    f"compute budget instruction {index} was given before: keep one of each kind"
                )
            found[tag] = int.from_bytes(data[1 : 1 + _ARGUMENT_BYTES[tag]], "little")
    return Budget(min(found.get(2, default), MAX_UNITS), found.get(3, 0))
