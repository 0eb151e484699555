"""Orca Whirlpool's accounts: pool, fixed and dynamic tick arrays, the oracle that holds an adaptive fee."""

from __future__ import annotations

from functools import lru_cache
from struct import Struct
from typing import Any, Final, NamedTuple

from solders.pubkey import Pubkey

from adapters.solana.programs.layout import anchor_account, check_data, check_owner
from domain.errors import DecodeError
from domain.market.amm.adaptive_fee import AdaptiveFee, Volatility
from domain.market.amm.ticks import MAX_TICK, MIN_TICK, WHIRLPOOL
from domain.market.amm.whirlpool import TICKS_IN_ARRAY

PROGRAM_ID: Final = Pubkey.from_string("whirLbMiicVdio4qvUfM5KAg6Ct8VwpYzGff3uctyCc")

POOL_DISCRIMINATOR: Final = anchor_account("Whirlpool")
TICK_ARRAY_DISCRIMINATOR: Final = anchor_account("TickArray")
DYNAMIC_ARRAY_DISCRIMINATOR: Final = anchor_account("DynamicTickArray")
ORACLE_DISCRIMINATOR: Final = anchor_account("Oracle")

PROTOCOL_PARTS: Final = 10_000
"""The protocol's share of a fee is in parts of this."""

_POOL: Final = Struct("<8s32sBH2sHH16s16siQQ32s32s16s32s32s16sQ384s")
_ARRAY_HEAD: Final = Struct("<8si")
_TICK: Final = Struct("<B16s16s80s")
_DYNAMIC_HEAD: Final = Struct("<8si32s16s")
_ORACLE: Final = Struct("<8s32sQHHHIIHH16sQQIiI16s128s")

POOL_LENGTH: Final = _POOL.size  # 653
TICK_ARRAY_LENGTH: Final = _ARRAY_HEAD.size + TICKS_IN_ARRAY * _TICK.size + 32  # 9,988
ORACLE_LENGTH: Final = _ORACLE.size  # 254


class PoolState(NamedTuple):
    """A pool account, field for field in the order of its bytes.

    Prices and growths are Q64.64, the fee parts of 1,000,000.
    """

    config: Pubkey
    bump: int
    tick_spacing: int
    fee_tier_seed: bytes
    fee_rate: int
    protocol_fee_rate: int
    liquidity: int
    sqrt_price: int
    tick: int
    protocol_fees_a: int
    protocol_fees_b: int
    mint_a: Pubkey
    vault_a: Pubkey
    fee_growth_a: int
    mint_b: Pubkey
    vault_b: Pubkey
    fee_growth_b: int
    rewards_updated: int
    rewards: bytes

    @property
    def is_adaptive(self) -> bool:
        """Whether the oracle holds its fee: then its fee tier's number is not its tick spacing."""
        return int.from_bytes(self.fee_tier_seed, "little") != self.tick_spacing


class Tick(NamedTuple):
    """One tick of an array; `rest` holds fee and reward growths."""

    initialised: int
    liquidity_net: int
    liquidity_gross: int
    rest: bytes = bytes(80)


_KEYS: Final = (0, 11, 12, 14, 15)
_WIDE: Final = (6, 7, 13, 16)
"""The fields of `PoolState` that are keys, and those that are u128."""


class TickArray(NamedTuple):
    """88 ticks of a pool, `start` being the first.

    Attributes:
        bitmap: of a dynamic array, which stores only initialised ticks; None for one of fixed length.
        spare: bytes behind a dynamic array's last tick.
    """

    pool: Pubkey
    start: int
    ticks: tuple[Tick, ...]
    bitmap: int | None = None
    spare: bytes = b""


class OracleState(NamedTuple):
    """A pool's oracle account: its adaptive fee, and when trading opens (Unix seconds)."""

    pool: Pubkey
    opens: int
    fee: AdaptiveFee
    volatility: Volatility
    reserved: tuple[bytes, bytes, bytes] = (bytes(16), bytes(16), bytes(128))


_EMPTY: Final = Tick(0, 0, 0)
_NO_TICK: Final = bytes(_TICK.size)


def decode_pool(data: bytes, owner: Pubkey) -> PoolState:
    """Read a pool account (653 bytes).

    Raises:
        DecodeError: owner, length or discriminator are not a Whirlpool's, or its price is not its tick's.
    """
    check_owner("Whirlpool pool", owner, (PROGRAM_ID,))
    check_data("Whirlpool pool", data, POOL_LENGTH, POOL_DISCRIMINATOR)
    values: tuple[Any, ...] = _POOL.unpack(data)
    wide = int.from_bytes
    arguments: list[Any] = list(values[1:])
    for place in _KEYS:
        arguments[place] = Pubkey(arguments[place])
    for place in _WIDE:
        arguments[place] = wide(arguments[place], "little")
    state = PoolState(*arguments)
    _check_pool(state)
    return state


def encode_pool(pool: PoolState) -> bytes:
    """Write a pool account; `decode_pool` gives it back."""
    values: list[Any] = [bytes(value) if isinstance(value, Pubkey) else value for value in pool]
    for place in _WIDE:
        values[place] = values[place].to_bytes(16, "little")
    return _POOL.pack(POOL_DISCRIMINATOR, *values)


def decode_tick_array(data: bytes, owner: Pubkey) -> TickArray:
    """Read a tick array: 9,988 bytes, or a dynamic one of 148 and more.

    Raises:
        DecodeError: owner, length or discriminator are not a Whirlpool tick array's, or it is cut off.
    """
    check_owner("Whirlpool tick array", owner, (PROGRAM_ID,))
    if data[:8] == DYNAMIC_ARRAY_DISCRIMINATOR:
        return _decode_dynamic(data)
    check_data("Whirlpool tick array", data, TICK_ARRAY_LENGTH, TICK_ARRAY_DISCRIMINATOR)
    _, start = _ARRAY_HEAD.unpack_from(data)
    blocks = [data[at : at + _TICK.size] for at in range(_ARRAY_HEAD.size, len(data) - 32, _TICK.size)]
    ticks = tuple(_EMPTY if block == _NO_TICK else _tick(block) for block in blocks)  # most are empty
    return TickArray(Pubkey(data[-32:]), start, ticks)


def encode_tick_array(array: TickArray) -> bytes:
    """Write a tick array; `decode_tick_array` gives it back."""
    if array.bitmap is None:
        head = _ARRAY_HEAD.pack(TICK_ARRAY_DISCRIMINATOR, array.start)
        return b"".join([head, *map(_packed, array.ticks), bytes(array.pool)])
    bitmap = array.bitmap.to_bytes(16, "little")
    head = _DYNAMIC_HEAD.pack(DYNAMIC_ARRAY_DISCRIMINATOR, array.start, bytes(array.pool), bitmap)
    ticks = (_packed(tick) if tick.initialised else b"\x00" for tick in array.ticks)
    return b"".join([head, *ticks, array.spare])


def decode_oracle(data: bytes, owner: Pubkey) -> OracleState:
    """Read a pool's oracle account (254 bytes).

    Raises:
        DecodeError: owner, length or discriminator are not a Whirlpool oracle's, or its groups hold no tick.
    """
    check_owner("Whirlpool oracle", owner, (PROGRAM_ID,))
    check_data("Whirlpool oracle", data, ORACLE_LENGTH, ORACLE_DISCRIMINATOR)
    values: tuple[Any, ...] = _ORACLE.unpack(data)
    updated, major, reference, group, accumulator = values[11:16]
    fee = AdaptiveFee(*values[3:10])
    if (
        not fee.group_size
        or fee.major_swap_ticks > MAX_TICK
        or not MIN_TICK <= group * fee.group_size <= MAX_TICK
    ):
        raise DecodeError(
            f"decoding a Whirlpool oracle: tick groups of {fee.group_size}, reference group {group} and "
            f"large swaps of {fee.major_swap_ticks} ticks are impossible"
        )
    volatility = Volatility(updated, major, reference, group, accumulator)
    return OracleState(Pubkey(values[1]), values[2], fee, volatility, (values[10], *values[16:]))


def encode_oracle(oracle: OracleState) -> bytes:
    """Write an oracle account; `decode_oracle` gives it back."""
    first, second, third = oracle.reserved
    updated, major, reference, group, accumulator = oracle.volatility
    head = (ORACLE_DISCRIMINATOR, bytes(oracle.pool), oracle.opens, *oracle.fee, first)
    return _ORACLE.pack(*head, updated, major, reference, group, accumulator, second, third)


@lru_cache(maxsize=2**14)
def tick_array_address(pool: Pubkey, start: int) -> Pubkey:
    """Derive the address of the tick array of `pool` that starts at tick `start`."""
    return Pubkey.find_program_address([b"tick_array", bytes(pool), str(start).encode()], PROGRAM_ID)[0]


@lru_cache(maxsize=2**10)
def oracle_address(pool: Pubkey) -> Pubkey:
    """Derive the address of a pool's oracle; a swap names it even where there is none."""
    return Pubkey.find_program_address([b"oracle", bytes(pool)], PROGRAM_ID)[0]


def _check_pool(state: PoolState) -> None:
    """A swap that ends at the lowest price leaves the tick one below the lowest."""
    fits = MIN_TICK - 1 <= state.tick <= MAX_TICK
    if fits:
        low, high = WHIRLPOOL.at(max(state.tick, MIN_TICK)), WHIRLPOOL.at(min(state.tick + 1, MAX_TICK))
        fits = low <= state.sqrt_price <= high
    if not fits or not state.tick_spacing or state.protocol_fee_rate > PROTOCOL_PARTS:
        raise DecodeError(
            f"decoding a Whirlpool pool: tick {state.tick}, sqrt price {state.sqrt_price}, tick spacing "
            f"{state.tick_spacing} and protocol share {state.protocol_fee_rate} do not go together; the "
            "bytes are damaged"
        )


def _decode_dynamic(data: bytes) -> TickArray:
    if len(data) < _DYNAMIC_HEAD.size + TICKS_IN_ARRAY:
        raise DecodeError(
            f"decoding a dynamic Whirlpool tick array: found {len(data)} bytes, expected 148 or more"
        )
    _, start, pool, bitmap = _DYNAMIC_HEAD.unpack_from(data)
    ticks: list[Tick] = []
    at = _DYNAMIC_HEAD.size
    for place in range(TICKS_IN_ARRAY):
        kind = data[at : at + 1]
        size = _TICK.size if kind == b"\x01" else 1
        if kind not in (b"\x00", b"\x01") or at + size > len(data):
            raise DecodeError(
                f"decoding a dynamic Whirlpool tick array: tick {place} at byte {at} is cut off or no tick"
            )
        ticks.append(_tick(data[at : at + size]) if size > 1 else _EMPTY)
        at += size
    return TickArray(Pubkey(pool), start, tuple(ticks), int.from_bytes(bitmap, "little"), data[at:])


def _tick(block: bytes) -> Tick:
    initialised, net, gross, rest = _TICK.unpack(block)
    liquidity_net = int.from_bytes(net, "little", signed=True)
    return Tick(initialised, liquidity_net, int.from_bytes(gross, "little"), rest)


def _packed(tick: Tick) -> bytes:
    net, gross = (
        tick.liquidity_net.to_bytes(16, "little", signed=True),
        tick.liquidity_gross.to_bytes(16, "little"),
    )
    return _TICK.pack(tick.initialised, net, gross, tick.rest)
