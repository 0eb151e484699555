"""Every pool program daybook knows, by its protocol's name."""

from __future__ import annotations

from typing import Final

from adapters.solana.pool_program import PoolProgram
from adapters.solana.programs import (
    meteora_dlmm,
    orca_whirlpool,
    pumpswap,
    raydium_amm_v4,
    raydium_clmm,
    raydium_cpmm,
)

POOL_PROGRAMS: Final[dict[str, PoolProgram]] = {
    module.PROGRAM.protocol: module.PROGRAM
    for module in (raydium_amm_v4, raydium_cpmm, raydium_clmm, orca_whirlpool, meteora_dlmm, pumpswap)
}

TIMED: Final = frozenset({"meteora_dlmm", "orca_whirlpool", "raydium_clmm"})
"""Protocols whose fees move with the clock while their accounts rest."""
