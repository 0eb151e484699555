"""Raydium AMM v4 bytes: the pool account and the four swap instructions, with and without a market.

Token a is the program's coin (base), token b its pc (quote).
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import lru_cache
from struct import Struct
from typing import Any, Final

from solders.instruction import AccountMeta, Instruction
from solders.pubkey import Pubkey

from adapters.solana.programs import openbook
from adapters.solana.programs.layout import check_owner, program_address
from adapters.solana.programs.metas import readable, signer, writable
from adapters.solana.programs.token import TOKEN_PROGRAM
from domain.errors import DecodeError

PROGRAM_ID: Final = Pubkey.from_string("675kPX9MHTjS2zt1qfr1NYHuzeLXfQM9H24wFSUt1Mp8")

SWAP_BASE_IN: Final = 9
SWAP_BASE_OUT: Final = 11
SWAP_BASE_IN_V2: Final = 16
SWAP_BASE_OUT_V2: Final = 17

INITIALIZED: Final = 1
"""Swaps, and has orders on its market."""
SWAP_ONLY: Final = 6
"""Swaps, and has nothing on its market."""
WAITING_TRADE: Final = 7
"""As 6, but not before `PoolState.open_time`."""

_POOL: Final = Struct("<6Q128s2Q5Q24s80s" + "32s" * 9 + "64s32s3Q8s")
_SWAP_ARGS: Final = Struct("<BQQ")

POOL_LENGTH: Final = _POOL.size  # 752
_KEYS: Final = slice(16, 25)
_OWNER: Final = 26
_MAX_NONCE: Final = 255


@dataclass(frozen=True, slots=True)
class PoolState:
    """A pool account in the order of its bytes; amounts in base units, what nothing here reads as bytes.

    Attributes:
        order_settings: how the pool once placed orders (state to the pnl's denominator).
        need_take_pnl_a, need_take_pnl_b: profit waiting in the vaults for its owner: no reserve.
        open_time: unix seconds. `opening`: two words of padding and the end of the order book's start.
        statistics: sums of swaps and fees the program has stopped counting.
    """

    status: int
    nonce: int
    order_num: int
    depth: int
    decimals_a: int
    decimals_b: int
    order_settings: bytes
    swap_fee_numerator: int
    swap_fee_denominator: int
    need_take_pnl_a: int
    need_take_pnl_b: int
    total_pnl_b: int
    total_pnl_a: int
    open_time: int
    opening: bytes
    statistics: bytes
    vault_a: Pubkey
    vault_b: Pubkey
    mint_a: Pubkey
    mint_b: Pubkey
    lp_mint: Pubkey
    open_orders: Pubkey
    market: Pubkey
    market_program: Pubkey
    target_orders: Pubkey
    padding: bytes
    owner: Pubkey
    lp_supply: int
    client_order_id: int
    recent_epoch: int
    padding_end: bytes

    @property
    def trades_on_market(self) -> bool:
        """Whether what it has in open orders counts, and a swap names the market's accounts."""
        return self.status == INITIALIZED

    def accepts_swaps(self, unix_time: int) -> bool:
        """Whether the program takes swaps at `unix_time` (seconds)."""
        if self.status == WAITING_TRADE:
            return unix_time >= self.open_time
        return self.status in (INITIALIZED, SWAP_ONLY)


@dataclass(frozen=True, slots=True)
class SwapAccounts:
    """The accounts of one swap that every form of it names."""

    pool: Pubkey
    authority: Pubkey
    vault_a: Pubkey
    vault_b: Pubkey
    user_in: Pubkey
    user_out: Pubkey
    user: Pubkey


@dataclass(frozen=True, slots=True)
class MarketAccounts:
    """The further accounts of a swap in a pool that trades on a market."""

    open_orders: Pubkey
    target_orders: Pubkey
    program: Pubkey
    market: Pubkey
    bids: Pubkey
    asks: Pubkey
    event_queue: Pubkey
    base_vault: Pubkey
    quote_vault: Pubkey
    vault_signer: Pubkey


@dataclass(frozen=True, slots=True)
class SwapArguments:
    """What a swap instruction asks: `amount` exact, `limit` the least out or the most in."""

    exact_in: bool
    amount: int
    limit: int
    with_market: bool


def decode_pool(data: bytes, owner: Pubkey) -> PoolState:
    """Read a pool account (752 bytes; the program writes no discriminator).

    Raises:
        DecodeError: owner or length are not a pool's, its status is unknown, its authority cannot be
            derived or its fee is no fraction below one.
    """
    check_owner("Raydium AMM v4 pool", owner, (PROGRAM_ID,))
    if len(data) != POOL_LENGTH:
        raise DecodeError(
            f"decoding a Raydium AMM v4 pool: found {len(data)} bytes, expected {POOL_LENGTH}; "
            "check the address"
        )
    values: list[Any] = list(_POOL.unpack(data))
    values[_KEYS] = map(Pubkey, values[_KEYS])
    values[_OWNER] = Pubkey(values[_OWNER])
    state = PoolState(*values)
    if not INITIALIZED <= state.status <= WAITING_TRADE:
        raise DecodeError(f"decoding a Raydium AMM v4 pool: status {state.status} is not from 1 to 7")
    if not state.swap_fee_numerator < state.swap_fee_denominator:
        raise DecodeError(
            f"decoding a Raydium AMM v4 pool: a fee of {state.swap_fee_numerator} in "
            f"{state.swap_fee_denominator} leaves nothing to trade"
        )
    authority(state.nonce)
    return state


def encode_pool(pool: PoolState) -> bytes:
    """Write a pool account; `decode_pool` gives it back."""
    values = (getattr(pool, field.name) for field in fields(pool))
    return _POOL.pack(*(bytes(value) if isinstance(value, Pubkey) else value for value in values))


@lru_cache(maxsize=256)
def authority(nonce: int) -> Pubkey:
    """The key that signs for a pool's vaults; every live pool has nonce 254.

    Raises:
        DecodeError: the nonce derives none.
    """
    if nonce > _MAX_NONCE:
        raise DecodeError(f"decoding a Raydium AMM v4 pool: nonce {nonce} is above {_MAX_NONCE}")
    return program_address("Raydium AMM v4 pool's authority", [b"amm authority", bytes([nonce])], PROGRAM_ID)


def market_accounts(state: PoolState, market: bytes) -> MarketAccounts:
    """Name a market's accounts from the bytes of the market account.

    Raises:
        DecodeError: they are no market's.
    """
    book = openbook.decode_market(market, state.market_program)
    return MarketAccounts(
        state.open_orders,
        state.target_orders,
        state.market_program,
        state.market,
        book.bids,
        book.asks,
        book.event_queue,
        book.base_vault,
        book.quote_vault,
        book.vault_signer,
    )


def swap_base_in(
    accounts: SwapAccounts, amount_in: int, minimum_amount_out: int, market: MarketAccounts | None = None
) -> Instruction:
    """Build a swap that sends exactly `amount_in` and fails below `minimum_amount_out`."""
    tag = SWAP_BASE_IN if market else SWAP_BASE_IN_V2
    data = _SWAP_ARGS.pack(tag, amount_in, minimum_amount_out)
    return Instruction(PROGRAM_ID, data, _metas(accounts, market))


def swap_base_out(
    accounts: SwapAccounts, amount_out: int, max_amount_in: int, market: MarketAccounts | None = None
) -> Instruction:
    """Build a swap that receives exactly `amount_out` and fails above `max_amount_in`."""
    tag = SWAP_BASE_OUT if market else SWAP_BASE_OUT_V2
    data = _SWAP_ARGS.pack(tag, max_amount_in, amount_out)
    return Instruction(PROGRAM_ID, data, _metas(accounts, market))


def decode_swap(data: bytes) -> SwapArguments:
    """Read a swap instruction's data.

    Raises:
        DecodeError: it is another instruction, or the arguments are cut off.
    """
    if len(data) < _SWAP_ARGS.size:
        raise DecodeError(
            f"decoding a Raydium AMM v4 swap: found {len(data)} bytes, expected {_SWAP_ARGS.size}"
        )
    tag, first, second = _SWAP_ARGS.unpack_from(data)
    if tag in (SWAP_BASE_IN, SWAP_BASE_IN_V2):
        return SwapArguments(True, first, second, tag == SWAP_BASE_IN)
    if tag in (SWAP_BASE_OUT, SWAP_BASE_OUT_V2):
        return SwapArguments(False, second, first, tag == SWAP_BASE_OUT)
    raise DecodeError(f"decoding a Raydium AMM v4 swap: instruction {tag} is no swap")


def _metas(keys: SwapAccounts, market: MarketAccounts | None) -> list[AccountMeta]:
    head = [readable(TOKEN_PROGRAM), writable(keys.pool), readable(keys.authority)]
    vaults = [writable(keys.vault_a), writable(keys.vault_b)]
    user = [
        writable(keys.user_in),
        writable(keys.user_out),
        signer(keys.user),
    ]
    if market is None:
        return [*head, *vaults, *user]
    return [
        *head,
        writable(market.open_orders),
        writable(market.target_orders),
        *vaults,
        readable(market.program),
        writable(market.market),
        writable(market.bids),
        writable(market.asks),
        writable(market.event_queue),
        writable(market.base_vault),
        writable(market.quote_vault),
        readable(market.vault_signer),
        *user,
    ]
