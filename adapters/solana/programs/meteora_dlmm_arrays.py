"""Which bin arrays of a Meteora DLMM pool hold liquidity, nearest first, and where they are.

The pool marks the arrays from -512 to 511 in its own bitmap, those beyond in the bitmap extension.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from solders.pubkey import Pubkey

from adapters.solana.programs.meteora_dlmm_accounts import (
    BINS_PER_ARRAY,
    MAX_ARRAY_INDEX,
    PROGRAM_ID,
    BitmapExtension,
    PoolState,
)

_NEAR: Final = 512
_FAR_BITS: Final = 12 * _NEAR
_LOWEST: Final = -MAX_ARRAY_INDEX - 1


def array_index(bin_id: int) -> int:
    """The bin array that holds `bin_id`."""
    return bin_id // BINS_PER_ARRAY


@lru_cache(maxsize=100_000)
def bin_array_address(pool: Pubkey, index: int) -> Pubkey:
    """Derive the address of bin array `index`; kept, since finding the bump costs dozens of hashes."""
    seeds = [b"bin_array", bytes(pool), index.to_bytes(8, "little", signed=True)]
    return Pubkey.find_program_address(seeds, PROGRAM_ID)[0]


@lru_cache(maxsize=50_000)
def bitmap_extension_address(pool: Pubkey) -> Pubkey:
    """Derive the address of the pool's bitmap extension, which few pools have."""
    return Pubkey.find_program_address([b"bitmap", bytes(pool)], PROGRAM_ID)[0]


def oracle_address(pool: Pubkey) -> Pubkey:
    """Derive the address of the pool's oracle."""
    return Pubkey.find_program_address([b"oracle", bytes(pool)], PROGRAM_ID)[0]


def vault_address(pool: Pubkey, mint: Pubkey) -> Pubkey:
    """Derive the address of the pool's vault for `mint`."""
    return Pubkey.find_program_address([bytes(pool), bytes(mint)], PROGRAM_ID)[0]


def arrays_ahead(
    state: PoolState, extension: BitmapExtension | None, *, a_to_b: bool, count: int
) -> tuple[int, ...]:
    """The first `count` arrays with liquidity from the active bin on, downwards when token a is sold.

    Without the extension the search ends with the pool's own bitmap.
    """
    marked = _marked(state, extension)
    at = array_index(state.active_id) - _LOWEST
    found: list[int] = []
    while len(found) < count and at >= 0:
        rest = marked & ((1 << at + 1) - 1) if a_to_b else marked >> at << at
        if not rest:
            break
        nearest = rest.bit_length() - 1 if a_to_b else (rest & -rest).bit_length() - 1
        found.append(nearest + _LOWEST)
        at = nearest - 1 if a_to_b else nearest + 1
    return tuple(found)


def _marked(state: PoolState, extension: BitmapExtension | None) -> int:
    """One bit an array with liquidity, the lowest array first."""
    marked = state.bin_array_bitmap << _FAR_BITS
    if extension is None:
        return marked
    below = int(f"{extension.negative:0{_FAR_BITS}b}"[::-1], 2) if extension.negative else 0
    return below | marked | extension.positive << _FAR_BITS + 2 * _NEAR
