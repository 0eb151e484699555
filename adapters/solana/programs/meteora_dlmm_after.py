"""A Meteora DLMM pool's accounts after a swap, for the local network.

Written are what the next swap depends on and what the protocol is owed. What providers and order placers can
claim (fees per liquidity share, fulfilled orders) and the oracle's observations are left as they were: no
instruction of the local network reads them.
"""

from __future__ import annotations

from dataclasses import replace

from solders.pubkey import Pubkey

from adapters.solana.pool_program import Accounts
from adapters.solana.programs import pool_accounts
from adapters.solana.programs.meteora_dlmm_accounts import (
    PoolState,
    decode_liquidity,
    decode_pool,
    encode_pool,
    rewrite_bins,
)
from adapters.solana.programs.meteora_dlmm_arrays import array_index, bin_array_address
from domain.market.amm.dlmm import DlmmPool, DlmmQuote
from domain.market.amm.dlmm_bins import Bin


def accounts_after(
    pool: Pubkey, accounts: Accounts, before: DlmmPool, quote: DlmmQuote
) -> dict[Pubkey, bytes]:
    """The data of the pool account and of every bin array the swap changed.

    Raises:
        DecodeError: an account is missing or is not the pool's.
    """
    after = before.after(quote)
    state = pool_accounts.decoded("account", pool, pool, accounts, decode_pool)
    written = {pool: encode_pool(_state_after(state, after, quote))}
    changed: dict[int, list[Bin]] = {}
    for held, old in zip(after.bins, before.bins, strict=True):
        if held != old:
            changed.setdefault(array_index(held.bin_id), []).append(held)
    for index, bins in changed.items():
        key = bin_array_address(pool, index)
        pool_accounts.decoded("bin array", pool, key, accounts, decode_liquidity)
        written[key] = rewrite_bins(pool_accounts.present("bin array", pool, key, accounts).data, index, bins)
    return written


def _state_after(state: PoolState, after: DlmmPool, quote: DlmmQuote) -> PoolState:
    owed_in, owed_out = (quote.protocol_fee, 0) if quote.fee_in else (0, quote.protocol_fee)
    owed_out += quote.surplus_out
    owed_a, owed_b = (owed_in, owed_out) if quote.a_to_b else (owed_out, owed_in)
    return replace(
        state,
        active_id=after.active_id,
        volatility_accumulator=after.volatility.accumulator,
        volatility_reference=after.volatility.reference,
        index_reference=after.volatility.index_reference,
        last_update_timestamp=after.volatility.updated_at,
        protocol_fees_a=state.protocol_fees_a + owed_a,
        protocol_fees_b=state.protocol_fees_b + owed_b,
    )
