"""The Meteora DLMM pools of block 0: bins of equal worth on both sides of the opening price."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from solders.pubkey import Pubkey

from adapters.localnet.founding import LAMPORTS_PER_SOL, USDC_MINT, WSOL_MINT, Founding, Pool
from adapters.solana.programs import meteora_dlmm_accounts as dlmm
from adapters.solana.programs.meteora_dlmm_arrays import (
    array_index,
    bin_array_address,
    oracle_address,
    vault_address,
)
from domain.market.amm.dlmm_bins import ONE, price_at

BINS_EACH_WAY: Final = 200
_BIN_STEPS: Final = (25, 10, 4)
"""Basis points between two bins: 200 bins reach 65 %, 22 % and 8 % far."""
_BASE_FACTOR: Final = 10_000
_DEPTH: Final = 8_000 * LAMPORTS_PER_SOL
_BIN_STEP_AT: Final = 80
_NEAR_ARRAYS: Final = 512
_E_TO_THE_30: Final = 300_000
"""Divided by the bin step, more bins than any price is away from 1."""


def open_dlmm(founding: Founding, number: int) -> Pool:
    """Open DLMM pool `number` with its bin arrays; its base fee is its bin step."""
    bin_step = _BIN_STEPS[number % len(_BIN_STEPS)]
    address = founding.address(f"dlmm pool {number}")
    active = _active_bin(founding.price, bin_step)
    held = _held(active, bin_step)
    vaults = (vault_address(address, WSOL_MINT), vault_address(address, USDC_MINT))
    indexes = sorted({array_index(at) for at in held})
    state = replace(
        _blank(bin_step),
        base_factor=_BASE_FACTOR,
        filter_period=30,
        decay_period=600,
        reduction_factor=5_000,
        variable_fee_control=40_000,
        max_volatility_accumulator=350_000,
        min_bin_id=active - 20_000,
        max_bin_id=active + 20_000,
        protocol_share=1_000,
        function_type=1,
        index_reference=active,
        active_id=active,
        mint_a=WSOL_MINT,
        mint_b=USDC_MINT,
        vault_a=vaults[0],
        vault_b=vaults[1],
        oracle=oracle_address(address),
        bin_array_bitmap=sum(1 << index + _NEAR_ARRAYS for index in indexes),
        creator=founding.creator,
    )
    founding.write(address, dlmm.encode_pool(state), dlmm.PROGRAM_ID)
    founding.write(state.oracle, dlmm.encode_oracle(dlmm.Oracle(0, 0, 0, ())), dlmm.PROGRAM_ID)
    for index in indexes:
        array = dlmm.encode_bin_array(_array(address, index, held, bin_step))
        founding.write(bin_array_address(address, index), array, dlmm.PROGRAM_ID)
    amounts = (sum(one[0] for one in held.values()), sum(one[1] for one in held.values()))
    founding.write_vaults(vaults, address, amounts)
    return Pool(address, address, *vaults, _BASE_FACTOR * bin_step // 100, "meteora_dlmm")


def _held(active: int, bin_step: int) -> dict[int, tuple[int, int]]:
    """What each bin holds: USDC up to the active bin, SOL from it on."""
    share = _DEPTH // BINS_EACH_WAY
    held = {active: (share, share * price_at(active, bin_step) // ONE)}
    for distance in range(1, BINS_EACH_WAY):
        below = active - distance
        held[below] = (0, share * price_at(below, bin_step) // ONE)
        held[active + distance] = (share, 0)
    return held


def _array(pool: Pubkey, index: int, held: dict[int, tuple[int, int]], bin_step: int) -> dlmm.BinArray:
    blank = dlmm.BIN_ARRAY_DISCRIMINATOR + bytes(dlmm.BIN_ARRAY_LENGTH - 8)
    array = dlmm.decode_bin_array(blank, dlmm.PROGRAM_ID)
    first = index * dlmm.BINS_PER_ARRAY
    bins = tuple(
        empty._replace(
            amount_a=held.get(at, (0, 0))[0],
            amount_b=held.get(at, (0, 0))[1],
            price=price_at(at, bin_step),
        )
        for at, empty in enumerate(array.bins, start=first)
    )
    return replace(array, index=index, version=1, pool=pool, bins=bins)


def _blank(bin_step: int) -> dlmm.PoolState:
    data = bytearray(dlmm.POOL_DISCRIMINATOR + bytes(dlmm.POOL_LENGTH - 8))
    data[_BIN_STEP_AT : _BIN_STEP_AT + 2] = bin_step.to_bytes(2, "little")
    return dlmm.decode_pool(bytes(data), dlmm.PROGRAM_ID)


def _active_bin(price: int, bin_step: int) -> int:
    """The last bin whose price is not above `price` micro-USDC a SOL."""
    low, high = -_E_TO_THE_30 // bin_step, _E_TO_THE_30 // bin_step
    while low < high:  # halves the interval: 17 rounds at most
        middle = (low + high + 1) // 2
        if price_at(middle, bin_step) * LAMPORTS_PER_SOL <= price * ONE:
            low = middle
        else:
            high = middle - 1
    return low
