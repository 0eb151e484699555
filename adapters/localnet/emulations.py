"""Every program this network emulates, by its real address."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from typing import Any

from solders.pubkey import Pubkey

from adapters.localnet.emulated_amm_v4 import emulated_amm_v4
from adapters.localnet.emulated_cpmm import emulated_cpmm
from adapters.localnet.emulated_dlmm import emulated_dlmm
from adapters.localnet.emulated_swap import EmulatedSwaps
from adapters.localnet.emulation import Emulation
from adapters.solana.programs import meteora_dlmm_accounts, raydium_amm_v4_layout, raydium_cpmm


class Emulations:
    """The emulated programs; `without` names those of which the real binary is loaded."""

    def __init__(self, *, without: AbstractSet[Pubkey] = frozenset()) -> None:
        swaps: dict[Pubkey, EmulatedSwaps[Any]] = {
            meteora_dlmm_accounts.PROGRAM_ID: emulated_dlmm(),
            raydium_amm_v4_layout.PROGRAM_ID: emulated_amm_v4(),
            raydium_cpmm.PROGRAM_ID: emulated_cpmm(),
        }
        self._swaps = {program: swap for program, swap in swaps.items() if program not in without}
        self.by_program: dict[Pubkey, Emulation] = dict(self._swaps)

    def pause_swaps(self, paused: bool) -> None:
        """Let every pool refuse swaps, or take them again."""
        for swap in self._swaps.values():
            swap.paused = paused
