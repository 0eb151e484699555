"""The constant product pools of block 0: Raydium CPMM, Raydium AMM v4 and PumpSwap."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import isqrt
from typing import Final

from solders.pubkey import Pubkey
from solders.token import ID as TOKEN_PROGRAM

from adapters.localnet.founding import LAMPORTS_PER_SOL, USDC_MINT, WSOL_MINT, Founding, Pool
from adapters.solana.programs import pumpswap_layout as pump
from adapters.solana.programs import raydium_amm_v4_layout as amm_v4
from adapters.solana.programs import raydium_cpmm as cpmm
from adapters.solana.programs.associated_token import associated_address

PROTOCOL_SHARE: Final = 120_000
FUND_SHARE: Final = 40_000
"""Raydium's own shares of the trade fee, in 10^-6."""

_AMM_V4_NONCE: Final = 254  # every live pool's
_AMM_V4_FEE: Final = (25, 10_000)
_PUMP_FEES: Final = (20, 5)
"""PumpSwap's for its pool and for the protocol, basis points."""
_PUMP_RECIPIENTS: Final = 8


@dataclass(frozen=True, slots=True)
class PoolPlan:
    """A CPMM pool to open: fee config number, its trade fee in 10^-6, and its depth in lamports."""

    config_index: int
    trade_fee_rate: int
    depth_lamports: int


CPMM_POOLS: Final = (
    PoolPlan(config_index=0, trade_fee_rate=2_500, depth_lamports=20_000 * LAMPORTS_PER_SOL),
    PoolPlan(config_index=5, trade_fee_rate=500, depth_lamports=5_000 * LAMPORTS_PER_SOL),
)
"""A deep pool at 0.25 % and a shallow one at 0.05 %: a gap of about 0.31 % pays for both legs."""


def open_cpmm(founding: Founding, number: int) -> Pool:
    """Open pool `number`, from 0; beyond the two planned ones shallow ones at 0.1 % and more."""
    plan = CPMM_POOLS[number] if number < len(CPMM_POOLS) else _further(number)
    creator = founding.creator
    config_key = cpmm.config_address(plan.config_index)
    address = cpmm.pool_address(config_key, WSOL_MINT, USDC_MINT)
    amounts = (plan.depth_lamports, founding.worth(plan.depth_lamports))
    state = _cpmm_state(address, config_key, creator, lp_supply=isqrt(amounts[0] * amounts[1]))
    config = cpmm.AmmConfig(
        bump=255,
        disable_create_pool=False,
        index=plan.config_index,
        trade_fee_rate=plan.trade_fee_rate,
        protocol_fee_rate=PROTOCOL_SHARE,
        fund_fee_rate=FUND_SHARE,
        create_pool_fee=150_000_000,
        protocol_owner=creator,
        fund_owner=creator,
    )
    founding.write(config_key, cpmm.encode_config(config), cpmm.PROGRAM_ID)
    founding.write(address, cpmm.encode_pool(state), cpmm.PROGRAM_ID)
    founding.write(state.observation, cpmm.encode_observation(address), cpmm.PROGRAM_ID)
    founding.write_mint(state.lp_mint, cpmm.AUTHORITY, state.lp_supply, 9)
    founding.write_vaults((state.vault_a, state.vault_b), cpmm.AUTHORITY, amounts)
    return Pool(address, config_key, state.vault_a, state.vault_b, plan.trade_fee_rate)


def open_amm_v4(founding: Founding, number: int) -> Pool:
    """Open AMM v4 pool `number`: swap only, without a market, at 0.25 %."""
    name = f"amm v4 pool {number}"
    depth = (8_000 + 2_000 * number) * LAMPORTS_PER_SOL
    vaults = (founding.address(f"{name} vault a"), founding.address(f"{name} vault b"))
    numerator, denominator = _AMM_V4_FEE
    state = replace(
        _blank_amm_v4(),
        decimals_a=9,
        decimals_b=6,
        vault_a=vaults[0],
        vault_b=vaults[1],
        mint_a=WSOL_MINT,
        mint_b=USDC_MINT,
        lp_mint=founding.address(f"{name} lp mint"),
        open_orders=founding.address(f"{name} open orders"),
        market=founding.address(f"{name} market"),
        target_orders=founding.address(f"{name} target orders"),
        owner=founding.creator,
        lp_supply=isqrt(depth * founding.worth(depth)),
    )
    address = founding.address(name)
    founding.write(address, amm_v4.encode_pool(state), amm_v4.PROGRAM_ID)
    founding.write_vaults(vaults, amm_v4.authority(_AMM_V4_NONCE), (depth, founding.worth(depth)))
    rate = numerator * 1_000_000 // denominator
    return Pool(address, address, *vaults, rate, "raydium_amm_v4")


def open_pumpswap(founding: Founding, number: int) -> Pool:
    """Open PumpSwap pool `number`: flat fees of 0.25 %, wrapped SOL as the coin, quoted in USDC."""
    name = f"pumpswap pool {number}"
    depth = (6_000 + 1_000 * number) * LAMPORTS_PER_SOL
    address = founding.address(name)
    vaults = tuple(associated_address(address, mint) for mint in (WSOL_MINT, USDC_MINT))
    state = pump.PoolState(
        bump=255,
        index=number,
        creator=founding.creator,
        base_mint=WSOL_MINT,
        quote_mint=USDC_MINT,
        lp_mint=founding.address(f"{name} lp mint"),
        base_vault=vaults[0],
        quote_vault=vaults[1],
        lp_supply=isqrt(depth * founding.worth(depth)),
        coin_creator=pump.NO_KEY,
        mayhem=0,
        cashback=0,
        virtual_quote=0,
        creator_fee_bps=0,
        can_edit_creator_fee=0,
    )
    founding.write(address, pump.encode_pool(state), pump.PROGRAM_ID)
    founding.write_vaults((vaults[0], vaults[1]), address, (depth, founding.worth(depth)))
    if number == 0:
        _write_pump_config(founding)
    return Pool(address, pump.GLOBAL_CONFIG, vaults[0], vaults[1], sum(_PUMP_FEES) * 100, "pumpswap")


def _write_pump_config(founding: Founding) -> None:
    recipients = tuple(founding.address(f"pumpswap fee recipient {n}") for n in range(_PUMP_RECIPIENTS))
    pool_bps, protocol_bps = _PUMP_FEES
    config = pump.GlobalConfig(
        admin=founding.creator,
        lp_fee_bps=pool_bps,
        protocol_fee_bps=protocol_bps,
        disable_flags=0,
        protocol_fee_recipients=recipients,
        creator_fee_bps=0,
        coin_creator_authority=founding.creator,
        whitelist=founding.creator,
        reserved_fee_recipient=recipients[0],
        mayhem_enabled=0,
        reserved_fee_recipients=recipients[1:],
        cashback_enabled=0,
        buyback_fee_recipients=recipients,
        buyback_bps=0,
    )
    founding.write(pump.GLOBAL_CONFIG, pump.encode_global_config(config), pump.PROGRAM_ID)
    for recipient in recipients:
        founding.write_tokens(associated_address(recipient, USDC_MINT), USDC_MINT, recipient, 0)


def _further(number: int) -> PoolPlan:
    return PoolPlan(number + 10, 1_000 + 100 * number, 3_000 * LAMPORTS_PER_SOL)


def _blank_amm_v4() -> amm_v4.PoolState:
    data = bytearray(amm_v4.POOL_LENGTH)
    data[0:16] = amm_v4.SWAP_ONLY.to_bytes(8, "little") + _AMM_V4_NONCE.to_bytes(8, "little")
    data[176:192] = b"".join(part.to_bytes(8, "little") for part in _AMM_V4_FEE)
    return amm_v4.decode_pool(bytes(data), amm_v4.PROGRAM_ID)


def _cpmm_state(address: Pubkey, config: Pubkey, creator: Pubkey, *, lp_supply: int) -> cpmm.PoolState:
    return cpmm.PoolState(
        amm_config=config,
        pool_creator=creator,
        vault_a=cpmm.vault_address(address, WSOL_MINT),
        vault_b=cpmm.vault_address(address, USDC_MINT),
        lp_mint=cpmm.lp_mint_address(address),
        mint_a=WSOL_MINT,
        mint_b=USDC_MINT,
        token_program_a=TOKEN_PROGRAM,
        token_program_b=TOKEN_PROGRAM,
        observation=cpmm.observation_address(address),
        authority_bump=cpmm.AUTHORITY_BUMP,
        status=0,
        lp_decimals=9,
        decimals_a=9,
        decimals_b=6,
        lp_supply=lp_supply,
        protocol_fees_a=0,
        protocol_fees_b=0,
        fund_fees_a=0,
        fund_fees_b=0,
        open_time=0,
        recent_epoch=0,
        creator_fee_on=0,
        enable_creator_fee=0,
    )
