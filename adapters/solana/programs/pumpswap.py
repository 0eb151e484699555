"""PumpSwap: how its pools are found, read, quoted and swapped; the bytes are in the files beside.

Fees hang on who created the pool, what it is quoted in and the market cap of its coin, by the schedule of
the fee program's config account; without one, by the global config's three rates.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from solders.instruction import Instruction
from solders.pubkey import Pubkey

from adapters.solana.pool_program import Accounts, ChainTime, PoolProgram, SwapRequest
from adapters.solana.programs import token
from adapters.solana.programs.pool_accounts import decoded, mint_fee, present, unread, vault_amount
from adapters.solana.programs.pumpswap_layout import (
    DISABLE_BUY,
    DISABLE_SELL,
    FEE_CONFIG,
    GLOBAL_CONFIG,
    POOL_DISCRIMINATOR,
    POOL_LENGTHS,
    PROGRAM_ID,
    PUMP_PROGRAM,
    FeeConfig,
    GlobalConfig,
    PoolState,
    decode_fee_config,
    decode_global_config,
    decode_pool,
)
from adapters.solana.programs.pumpswap_swap import SwapAccounts, buy, buy_exact_quote_in, sell
from domain.errors import DecodeError, QuoteError
from domain.market.amm.pumpswap import BPS, FIXED_SUPPLY, Fees, FeeTier, PumpSwapPool, priced

SOL_MINTS: Final = (
    Pubkey.default(),
    token.NATIVE_MINT,
    Pubkey.from_string("9pan9bMn5HatX4EJdBwg9VgCa7Uz5HL8N1m5D3NdXej9"),
)
"""Quote mints of `FeeConfig.tiers`: none, wrapped SOL, Token-2022's wrapped SOL."""

STABLE_MINTS: Final = (Pubkey.from_string("EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v"),)
"""Quote mints of `FeeConfig.stable_tiers`: USDC."""


def around(pool: Pubkey, accounts: Accounts) -> tuple[Pubkey, ...]:
    """The two configs, the vaults and the mints of a pool, as far as they are not read yet."""
    return unread(
        pool,
        accounts,
        decode_pool,
        lambda state: (
            GLOBAL_CONFIG,
            FEE_CONFIG,
            state.base_vault,
            state.quote_vault,
            state.base_mint,
            state.quote_mint,
        ),
    )


def quotable(pool: Pubkey, accounts: Accounts, time: ChainTime) -> PumpSwapPool:
    """Give the pool as mathematics sees it, from its own account and those around it.

    Raises:
        DecodeError: an account is missing, is not what the program would have made, or a mint charges a fee
            on every transfer, which the program does not reckon with.
        QuoteError: the program takes neither buys nor sales now.
    """
    state = decoded("account", pool, pool, accounts, decode_pool)
    config = decoded("global config", pool, GLOBAL_CONFIG, accounts, decode_global_config)
    buys, sells = not config.disable_flags & DISABLE_BUY, not config.disable_flags & DISABLE_SELL
    if not (buys or sells):
        raise QuoteError(f"pool {pool} takes no swaps: the program's flags are {config.disable_flags}")
    for mint in (state.base_mint, state.quote_mint):
        if mint_fee(pool, mint, accounts, time.epoch):
            raise DecodeError(f"reading pool {pool}: its mint {mint} charges a fee on every transfer")
    supply = decoded("mint", pool, state.base_mint, accounts, token.decode_mint).supply
    made = priced(
        vault_amount(pool, state.base_vault, state.base_mint, pool, accounts),
        vault_amount(pool, state.quote_vault, state.quote_mint, pool, accounts),
        virtual_b=state.virtual_quote,
        supply=FIXED_SUPPLY if state.mayhem else supply,
        tiers=tiers_of(state, config, _fee_config(pool, accounts)),
    )
    return made._replace(buys=buys, sells=sells)


def tiers_of(state: PoolState, config: GlobalConfig, schedule: FeeConfig | None) -> tuple[FeeTier, ...]:
    """The fees the pool pays, by market cap; one entry where they are flat.

    Raises:
        DecodeError: a creator's own rate leaves nothing to trade.
    """
    tiers: tuple[FeeTier, ...]
    if schedule is None:
        fees = Fees(config.lp_fee_bps, config.protocol_fee_bps, config.creator_fee_bps)
        tiers, own_rate = (FeeTier(0, fees),), 0
    else:
        tiers = _scheduled(state, schedule)
        own_rate = state.creator_fee_bps if config.creator_fee_configurable else 0
    if own_rate:
        tiers = tuple(tier._replace(fees=tier.fees._replace(creator=own_rate)) for tier in tiers)
    if not state.has_coin_creator:
        tiers = tuple(tier._replace(fees=tier.fees._replace(creator=0)) for tier in tiers)
    if any(sum(tier.fees) >= BPS for tier in tiers):
        raise DecodeError(f"reading a PumpSwap pool: a creator's fee of {own_rate} leaves nothing to trade")
    return tiers


def swap(request: SwapRequest) -> Instruction:
    """Build the swap of `request`.

    Raises:
        DecodeError: the pool, the global config or a mint is missing or another's.
        QuoteError: a sale for an exact amount was asked for; the program has none.
    """
    if request.a_to_b and not request.exact_in:
        raise QuoteError("a PumpSwap sale for an exact amount was asked for: sell an exact amount instead")
    accounts = swap_accounts(request)
    if request.a_to_b:
        return sell(accounts, base_in=request.amount, min_quote_out=request.limit)
    if request.exact_in:
        return buy_exact_quote_in(accounts, quote_in=request.amount, min_base_out=request.limit)
    return buy(accounts, base_out=request.amount, max_quote_in=request.limit)


def swap_accounts(request: SwapRequest) -> SwapAccounts:
    """Name the accounts of a swap; users are spread over the fee recipients, as each is locked by a swap.

    Raises:
        DecodeError: the pool, the global config or a mint is missing or another's.
    """
    pool, accounts = request.pool, request.accounts
    state = decoded("account", pool, pool, accounts, decode_pool)
    config = decoded("global config", pool, GLOBAL_CONFIG, accounts, decode_global_config)
    recipients = config.protocol_fee_recipients
    if state.mayhem:
        recipients = (config.reserved_fee_recipient, *config.reserved_fee_recipients)
    user_base, user_quote = request.user_in, request.user_out
    if not request.a_to_b:
        user_base, user_quote = user_quote, user_base
    return SwapAccounts(
        pool=pool,
        user=request.user,
        base_mint=state.base_mint,
        quote_mint=state.quote_mint,
        user_base=user_base,
        user_quote=user_quote,
        base_vault=state.base_vault,
        quote_vault=state.quote_vault,
        protocol_recipient=_one_of(recipients, request.user),
        buyback_recipient=_one_of(config.buyback_fee_recipients, request.user),
        base_program=present("mint", pool, state.base_mint, accounts).owner,
        quote_program=present("mint", pool, state.quote_mint, accounts).owner,
        coin_creator=state.coin_creator,
        cashback=bool(state.cashback),
    )


@lru_cache(maxsize=4096)
def pool_authority(base_mint: Pubkey) -> Pubkey:
    """Derive the creator of the pool that a coin's bonding curve graduates into."""
    return Pubkey.find_program_address([b"pool-authority", bytes(base_mint)], PUMP_PROGRAM)[0]


def _scheduled(state: PoolState, schedule: FeeConfig) -> tuple[FeeTier, ...]:
    flat = (FeeTier(0, schedule.flat),)
    if pool_authority(state.base_mint) != state.creator:
        return flat
    if state.quote_mint in SOL_MINTS:
        return schedule.tiers
    if state.quote_mint in STABLE_MINTS:
        return schedule.stable_tiers or schedule.tiers
    return (FeeTier(0, schedule.exotic),) if any(schedule.exotic) else flat


def _fee_config(pool: Pubkey, accounts: Accounts) -> FeeConfig | None:
    if accounts.get(FEE_CONFIG) is None:
        return None
    return decoded("fee config", pool, FEE_CONFIG, accounts, decode_fee_config)


def _one_of(recipients: tuple[Pubkey, ...], user: Pubkey) -> Pubkey:
    named = [key for key in recipients if key != Pubkey.default()]
    if not named:
        raise DecodeError("building a PumpSwap swap: the global config names no fee recipient")
    return named[bytes(user)[0] % len(named)]


PROGRAM: Final = PoolProgram(
    protocol="pumpswap",
    program_id=PROGRAM_ID,
    lengths=POOL_LENGTHS,
    discriminator=POOL_DISCRIMINATOR,
    mint_offsets=(43, 75),
    around=around,
    quotable=quotable,
    swap=swap,
)
