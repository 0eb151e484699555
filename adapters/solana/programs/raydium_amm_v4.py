"""Raydium AMM v4: how its pools are found, read, quoted and swapped; the bytes are in the file beside.

A pool whose status lets it trade on an order book counts what it has there and swaps with the market's
accounts; every other pool swaps with eight accounts and the market is not read.
"""

from __future__ import annotations

from typing import Final

from solders.instruction import Instruction
from solders.pubkey import Pubkey

from adapters.solana.pool_program import Accounts, ChainTime, PoolProgram, SwapRequest
from adapters.solana.programs import openbook
from adapters.solana.programs.layout import check_owner
from adapters.solana.programs.pool_accounts import decoded, mint_fee, present, unread, vault_amount
from adapters.solana.programs.raydium_amm_v4_layout import (
    POOL_LENGTH,
    PROGRAM_ID,
    PoolState,
    SwapAccounts,
    authority,
    decode_pool,
    market_accounts,
    swap_base_in,
    swap_base_out,
)
from adapters.solana.programs.token import TOKEN_PROGRAM
from domain.errors import DecodeError, QuoteError
from domain.market.amm.raydium_amm_v4 import AmmV4Pool


def tradable(
    pool: PoolState, vault_a_amount: int, vault_b_amount: int, on_market: tuple[int, int] = (0, 0)
) -> AmmV4Pool:
    """Give the pool as mathematics sees it: vaults and open orders less the profit waiting to be taken.

    Raises:
        DecodeError: a vault holds less than the profit waiting in it.
    """
    reserve_a = vault_a_amount + on_market[0] - pool.need_take_pnl_a
    reserve_b = vault_b_amount + on_market[1] - pool.need_take_pnl_b
    if reserve_a < 0 or reserve_b < 0:
        raise DecodeError(
            f"reading a Raydium AMM v4 pool's reserves: the vaults hold {vault_a_amount} and "
            f"{vault_b_amount}, less than the profit waiting in them; pool and vaults were read at "
            "different slots"
        )
    return AmmV4Pool(reserve_a, reserve_b, pool.swap_fee_numerator, pool.swap_fee_denominator)


def around(pool: Pubkey, accounts: Accounts) -> tuple[Pubkey, ...]:
    """The vaults and mints of a pool, and its market and open orders where they count."""
    return unread(pool, accounts, decode_pool, _named)


def quotable(pool: Pubkey, accounts: Accounts, time: ChainTime) -> AmmV4Pool:
    """Give the pool as mathematics sees it, from its own account and those around it.

    Raises:
        DecodeError: an account is missing or is not what the program would have made.
        QuoteError: the pool takes no swaps at `time`, or has orders standing on its market: what they
            filled is known only when the market settles it.
    """
    state = decoded("account", pool, pool, accounts, decode_pool)
    if not state.accepts_swaps(time.unix_time):
        raise QuoteError(
            f"pool {pool} takes no swaps: status {state.status}, open from unix time {state.open_time}"
        )
    signer = authority(state.nonce)
    for mint in (state.mint_a, state.mint_b):
        mint_fee(pool, mint, accounts, time.epoch)
        if present("mint", pool, mint, accounts).owner != TOKEN_PROGRAM:
            raise DecodeError(f"reading pool {pool}: its mint {mint} is not of the SPL Token program")
    return tradable(
        state,
        vault_amount(pool, state.vault_a, state.mint_a, signer, accounts),
        vault_amount(pool, state.vault_b, state.mint_b, signer, accounts),
        _on_market(pool, state, accounts) if state.trades_on_market else (0, 0),
    )


def swap(request: SwapRequest) -> Instruction:
    """Build the swap of `request`: with the market's accounts where the pool trades there, else without.

    Raises:
        DecodeError: the pool account, or the market it trades on, is missing or another's.
    """
    state = decoded("account", request.pool, request.pool, request.accounts, decode_pool)
    accounts = SwapAccounts(
        request.pool,
        authority(state.nonce),
        state.vault_a,
        state.vault_b,
        request.user_in,
        request.user_out,
        request.user,
    )
    market = None
    if state.trades_on_market:
        market = market_accounts(state, present("market", request.pool, state.market, request.accounts).data)
    build = swap_base_in if request.exact_in else swap_base_out
    return build(accounts, request.amount, request.limit, market)


def _named(state: PoolState) -> tuple[Pubkey, ...]:
    keys = (state.vault_a, state.vault_b, state.mint_a, state.mint_b)
    return (*keys, state.market, state.open_orders) if state.trades_on_market else keys


def _on_market(pool: Pubkey, state: PoolState, accounts: Accounts) -> tuple[int, int]:
    account = present("open orders account", pool, state.open_orders, accounts)
    check_owner("pool's open orders account", account.owner, (state.market_program,))
    orders = openbook.decode_open_orders(account.data)
    if orders.market != state.market or orders.owner != authority(state.nonce):
        raise DecodeError(
            f"reading pool {pool}: its open orders {state.open_orders} are {orders.owner}'s on market "
            f"{orders.market}; do not trade there"
        )
    if orders.resting:
        raise QuoteError(f"pool {pool} has orders standing on its market: its reserves cannot be known")
    return orders.base_total, orders.quote_total


PROGRAM: Final = PoolProgram(
    protocol="raydium_amm_v4",
    program_id=PROGRAM_ID,
    lengths=(POOL_LENGTH,),
    discriminator=b"",
    mint_offsets=(400, 432),
    around=around,
    quotable=quotable,
    swap=swap,
)
