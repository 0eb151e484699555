"""Every program this network emulates, by its real address."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from typing import Any, Final

from solders.pubkey import Pubkey

from adapters.localnet.emulated_amm_v4 import emulated_amm_v4
from adapters.localnet.emulated_clmm import emulated_clmm
from adapters.localnet.emulated_cpmm import emulated_cpmm
from adapters.localnet.emulated_dlmm import emulated_dlmm
from adapters.localnet.emulated_kamino import EmulatedKamino
from adapters.localnet.emulated_pumpswap import emulated_pumpswap
from adapters.localnet.emulated_pyth import EmulatedPyth
from adapters.localnet.emulated_swap import EmulatedSwaps
from adapters.localnet.emulated_whirlpool import emulated_whirlpool
from adapters.localnet.emulation import Emulation
from adapters.solana.programs import (
    kamino,
    meteora_dlmm_accounts,
    orca_whirlpool_accounts,
    pumpswap_layout,
    pyth,
    raydium_amm_v4_layout,
    raydium_clmm_accounts,
    raydium_cpmm,
)

_SWAPS: Final[Mapping[Pubkey, Callable[[], EmulatedSwaps[Any]]]] = {
    meteora_dlmm_accounts.PROGRAM_ID: emulated_dlmm,
    pumpswap_layout.PROGRAM_ID: emulated_pumpswap,
    orca_whirlpool_accounts.PROGRAM_ID: emulated_whirlpool,
    raydium_amm_v4_layout.PROGRAM_ID: emulated_amm_v4,
    raydium_clmm_accounts.PROGRAM_ID: emulated_clmm,
    raydium_cpmm.PROGRAM_ID: emulated_cpmm,
}


class Emulations:
    """The emulated programs; `without` names those of which the real binary is loaded."""

    def __init__(self, *, without: AbstractSet[Pubkey] = frozenset()) -> None:
        self._swaps: dict[Pubkey, EmulatedSwaps[Any]] = {
            program: make() for program, make in _SWAPS.items() if program not in without
        }
        self.pyth = EmulatedPyth()
        others: dict[Pubkey, Emulation] = {
            kamino.PROGRAM_ID: EmulatedKamino(),
            pyth.PUSH_ORACLE_ID: self.pyth,
        }
        kept = {program: one for program, one in others.items() if program not in without}
        self.by_program: dict[Pubkey, Emulation] = {**self._swaps, **kept}

    def pause_swaps(self, paused: bool) -> None:
        """Let every pool refuse swaps, or take them again."""
        for swap in self._swaps.values():
            swap.paused = paused
