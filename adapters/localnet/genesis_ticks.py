"""The concentrated pools of block 0: Raydium CLMM and Orca Whirlpool, each with two positions.

Half of the depth lies within a tenth around the opening price, half from an eighth to eight times of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import isqrt
from typing import Final

from solders.pubkey import Pubkey

from adapters.localnet.founding import LAMPORTS_PER_SOL, USDC_MINT, WSOL_MINT, Founding, Pool
from adapters.solana.programs import orca_whirlpool_accounts as orca
from adapters.solana.programs import raydium_clmm_accounts as clmm
from domain.market.amm.clmm import TICKS_IN_ARRAY as CLMM_TICKS
from domain.market.amm.concentrated import amount_a, amount_b
from domain.market.amm.ticks import CLMM, WHIRLPOOL, TickPrices
from domain.market.amm.whirlpool import TICKS_IN_ARRAY as ORCA_TICKS

NARROW_TICKS: Final = 953
"""A tenth: 1.0001^953 = 1.1."""
WIDE_TICKS: Final = 20_794
"""Eight times: 1.0001^20,794 = 8."""

_CLMM_SPACING: Final = 60
_CLMM_FEES: Final = (2_500, 500, 100)
_ORCA_SPACING: Final = 64
_ORCA_FEES: Final = (3_000, 400, 100)
_Q128: Final = 1 << 128


@dataclass(frozen=True, slots=True)
class Curve:
    """A pool's price, its ticks and what they hold; `ticks` gives (net, gross) liquidity."""

    sqrt_price: int
    tick: int
    liquidity: int
    ticks: dict[int, tuple[int, int]]
    amounts: tuple[int, int]


def curve(prices: TickPrices, price: int, depth_lamports: int, spacing: int) -> Curve:
    """Spread `depth_lamports` of SOL, and USDC to match, over two positions around `price` micro-USDC."""
    now = isqrt(price * _Q128 // LAMPORTS_PER_SOL)
    tick = prices.tick_of(now)
    ticks: dict[int, tuple[int, int]] = {}
    total = in_a = in_b = 0
    for reach in (NARROW_TICKS, WIDE_TICKS):
        low, high = (tick - reach) // spacing * spacing, -(-(tick + reach) // spacing) * spacing
        bottom, top = prices.at(low), prices.at(high)
        liquidity = (depth_lamports // 2) * (now * top) // ((top - now) << 64)
        for at, change in ((low, liquidity), (high, -liquidity)):
            net, gross = ticks.get(at, (0, 0))
            ticks[at] = (net + change, gross + liquidity)
        total += liquidity
        in_a += amount_a(liquidity, now, top, up=True)
        in_b += amount_b(liquidity, bottom, now, up=True)
    return Curve(now, tick, total, ticks, (in_a, in_b))


def open_clmm(founding: Founding, number: int) -> Pool:
    """Open CLMM pool `number` with its fee config and tick arrays."""
    name = f"clmm pool {number}"
    fee = _CLMM_FEES[number % len(_CLMM_FEES)]
    address, config_key = founding.address(name), founding.address(f"{name} config")
    vaults = (founding.address(f"{name} vault a"), founding.address(f"{name} vault b"))
    made = curve(CLMM, founding.price, 8_000 * LAMPORTS_PER_SOL, _CLMM_SPACING)
    observation = founding.address(f"{name} observation")
    config = clmm.AmmConfig(
        255, number, founding.creator, 120_000, fee, _CLMM_SPACING, 40_000, 0, founding.creator
    )
    state = _clmm_state(founding, made, config_key, vaults, observation)
    founding.write(config_key, clmm.encode_config(config), clmm.PROGRAM_ID)
    founding.write(address, clmm.encode_pool(state), clmm.PROGRAM_ID)
    ring = clmm.ObservationState(0, 0, 0, address, (clmm.Observation(0, 0),) * 100)
    founding.write(observation, clmm.encode_observations(ring), clmm.PROGRAM_ID)
    for array in _clmm_arrays(address, made):
        key = clmm.tick_array_address(address, array.start)
        founding.write(key, clmm.encode_tick_array(array), clmm.PROGRAM_ID)
    founding.write_vaults(vaults, address, made.amounts)
    return Pool(address, config_key, *vaults, fee, "raydium_clmm")


def open_whirlpool(founding: Founding, number: int) -> Pool:
    """Open Whirlpool pool `number` with its tick arrays."""
    name = f"whirlpool pool {number}"
    fee = _ORCA_FEES[number % len(_ORCA_FEES)]
    address, config = founding.address(name), founding.address("whirlpools config")
    vaults = (founding.address(f"{name} vault a"), founding.address(f"{name} vault b"))
    made = curve(WHIRLPOOL, founding.price, 8_000 * LAMPORTS_PER_SOL, _ORCA_SPACING)
    state = orca.PoolState(
        config=config,
        bump=255,
        tick_spacing=_ORCA_SPACING,
        fee_tier_seed=_ORCA_SPACING.to_bytes(2, "little"),
        fee_rate=fee,
        protocol_fee_rate=1_300,
        liquidity=made.liquidity,
        sqrt_price=made.sqrt_price,
        tick=made.tick,
        protocol_fees_a=0,
        protocol_fees_b=0,
        mint_a=WSOL_MINT,
        vault_a=vaults[0],
        fee_growth_a=0,
        mint_b=USDC_MINT,
        vault_b=vaults[1],
        fee_growth_b=0,
        rewards_updated=0,
        rewards=bytes(384),
    )
    founding.write(address, orca.encode_pool(state), orca.PROGRAM_ID)
    for array in _orca_arrays(address, made):
        key = orca.tick_array_address(address, array.start)
        founding.write(key, orca.encode_tick_array(array), orca.PROGRAM_ID)
    founding.write_vaults(vaults, address, made.amounts)
    return Pool(address, config, *vaults, fee, "orca_whirlpool")


def _clmm_state(
    founding: Founding, made: Curve, config: Pubkey, vaults: tuple[Pubkey, Pubkey], observation: Pubkey
) -> clmm.PoolState:
    bits = 0
    for start in _starts(made, CLMM_TICKS * _CLMM_SPACING):
        bits |= 1 << start // (CLMM_TICKS * _CLMM_SPACING) + 512
    return clmm.PoolState(
        bump=255,
        amm_config=config,
        owner=founding.creator,
        mint_a=WSOL_MINT,
        mint_b=USDC_MINT,
        vault_a=vaults[0],
        vault_b=vaults[1],
        observation=observation,
        decimals_a=9,
        decimals_b=6,
        tick_spacing=_CLMM_SPACING,
        liquidity=made.liquidity,
        sqrt_price=made.sqrt_price,
        tick=made.tick,
        padding=0,
        fee_growth_a=0,
        fee_growth_b=0,
        protocol_fees_a=0,
        protocol_fees_b=0,
        volume_in_a=0,
        volume_out_b=0,
        volume_in_b=0,
        volume_out_a=0,
        status=0,
        fee_on=0,
        padding_after_status=bytes(6),
        rewards=bytes(507),
        bitmap=bits.to_bytes(128, "little"),
        total_fees_a=0,
        total_fees_claimed_a=0,
        total_fees_b=0,
        total_fees_claimed_b=0,
        fund_fees_a=0,
        fund_fees_b=0,
        open_time=0,
        recent_epoch=0,
        dynamic_fee=bytes(80),
        reserved=bytes(368),
    )


def _starts(made: Curve, width: int) -> list[int]:
    """Where the arrays start that hold a tick."""
    return sorted({tick // width * width for tick in made.ticks})


def _clmm_arrays(pool: Pubkey, made: Curve) -> Iterator[clmm.TickArray]:
    for start in _starts(made, CLMM_TICKS * _CLMM_SPACING):
        places = [start + place * _CLMM_SPACING for place in range(CLMM_TICKS)]
        held = [at for at in places if at in made.ticks]
        ticks = tuple(clmm.Tick(at if at in held else 0, *made.ticks.get(at, (0, 0))) for at in places)
        yield clmm.TickArray(pool, start, ticks, len(held))


def _orca_arrays(pool: Pubkey, made: Curve) -> Iterator[orca.TickArray]:
    for start in _starts(made, ORCA_TICKS * _ORCA_SPACING):
        places = (start + place * _ORCA_SPACING for place in range(ORCA_TICKS))
        ticks = tuple(orca.Tick(at in made.ticks, *made.ticks.get(at, (0, 0))) for at in places)
        yield orca.TickArray(pool, start, ticks)
