"""Raydium CLMM's accounts: pool, fee config, tick array, bitmap extension, price observations.

Layouts of the program with limit orders and dynamic fees (SDK v2 0.2.73); older accounts have zeros there.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from struct import Struct
from typing import Any, Final, NamedTuple

from solders.pubkey import Pubkey

from adapters.solana.programs.layout import anchor_account, check_data, check_owner
from domain.errors import DecodeError
from domain.market.amm.clmm import TICKS_IN_ARRAY
from domain.market.amm.concentrated import RATE
from domain.market.amm.ticks import CLMM, MAX_TICK, MIN_TICK

PROGRAM_ID: Final = Pubkey.from_string("CAMMCzo5YL8w4VFF8KVHrK22GGUsp5VTaW7grrKgrWqK")

POOL_DISCRIMINATOR: Final = anchor_account("PoolState")
CONFIG_DISCRIMINATOR: Final = anchor_account("AmmConfig")
TICK_ARRAY_DISCRIMINATOR: Final = anchor_account("TickArrayState")
EXTENSION_DISCRIMINATOR: Final = anchor_account("TickArrayBitmapExtension")
OBSERVATION_DISCRIMINATOR: Final = anchor_account("ObservationState")

SWAP_DISABLED: Final = 1 << 4
"""The bit of `PoolState.status` that stops swaps."""

_POOL: Final = Struct("<8sB" + "32s" * 7 + "BBH16s16siI16s16sQQ16s16s16s16sBB6s507s128s8Q80s368s")
_CONFIG: Final = Struct("<8sBH32sIIHII32s24s")
_TICK: Final = Struct("<i16s16s132s")
_ARRAY_HEAD: Final = Struct("<8s32si")
_ARRAY_TAIL: Final = Struct("<BQ107s")
_OBSERVATION_HEAD: Final = Struct("<8sBQH32s")
_OBSERVATION: Final = Struct("<Iq32s")
_OBSERVATIONS: Final = 100

POOL_LENGTH: Final = _POOL.size  # 1,544
CONFIG_LENGTH: Final = _CONFIG.size  # 117
TICK_ARRAY_LENGTH: Final = _ARRAY_HEAD.size + TICKS_IN_ARRAY * _TICK.size + _ARRAY_TAIL.size  # 10,240
EXTENSION_LENGTH: Final = 1832
OBSERVATION_LENGTH: Final = _OBSERVATION_HEAD.size + _OBSERVATIONS * _OBSERVATION.size + 32  # 4,483

_CHUNK: Final = 64  # bytes, 512 arrays
_CHUNKS: Final = 14
FIRST_ARRAY: Final = -512 * (_CHUNKS + 1)
"""The tick array, counted from the one at tick 0, that bit 0 of `array_bits` stands for."""


class PoolState(NamedTuple):
    """A pool account, field for field in the order of its bytes; prices and growths Q64.64."""

    bump: int
    amm_config: Pubkey
    owner: Pubkey
    mint_a: Pubkey
    mint_b: Pubkey
    vault_a: Pubkey
    vault_b: Pubkey
    observation: Pubkey
    decimals_a: int
    decimals_b: int
    tick_spacing: int
    liquidity: int
    sqrt_price: int
    tick: int
    padding: int
    fee_growth_a: int
    fee_growth_b: int
    protocol_fees_a: int
    protocol_fees_b: int
    volume_in_a: int
    volume_out_b: int
    volume_in_b: int
    volume_out_a: int
    status: int
    fee_on: int
    padding_after_status: bytes
    rewards: bytes
    bitmap: bytes
    total_fees_a: int
    total_fees_claimed_a: int
    total_fees_b: int
    total_fees_claimed_b: int
    fund_fees_a: int
    fund_fees_b: int
    open_time: int
    recent_epoch: int
    dynamic_fee: bytes
    reserved: bytes


class AmmConfig(NamedTuple):
    """A fee tier, `number` in its address; rates in 10^-6, the protocol's and the fund's of the trade fee."""

    bump: int
    number: int
    owner: Pubkey
    protocol_fee_rate: int
    trade_fee_rate: int
    tick_spacing: int
    fund_fee_rate: int
    padding: int
    fund_owner: Pubkey
    reserved: bytes = bytes(24)


_NOTHING: Final = bytes(132)


class Tick(NamedTuple):
    """One tick of an array; `rest` holds fee growth, rewards and limit orders."""

    tick: int
    liquidity_net: int
    liquidity_gross: int
    rest: bytes = _NOTHING

    @property
    def has_orders(self) -> bool:
        """Whether limit orders wait here, whole or partly filled."""
        return self.rest != _NOTHING and (any(self.rest[88:96]) or any(self.rest[104:112]))


_EMPTY: Final = Tick(0, 0, 0)
_NO_TICK: Final = bytes(_TICK.size)


class TickArray(NamedTuple):
    """60 ticks of a pool, `start` being the first."""

    pool: Pubkey
    start: int
    ticks: tuple[Tick, ...]
    initialised: int
    recent_epoch: int = 0
    reserved: bytes = bytes(107)


class BitmapExtension(NamedTuple):
    """Which tick arrays exist beyond the pool's own bitmap, 512 bits a chunk, nearest chunk first."""

    pool: Pubkey
    above: bytes = bytes(_CHUNK * _CHUNKS)
    below: bytes = bytes(_CHUNK * _CHUNKS)


class Observation(NamedTuple):
    """One price observation: Unix seconds, and the sum of tick times seconds since the first."""

    unix_time: int
    cumulative_tick: int
    padding: bytes = bytes(32)


@dataclass(frozen=True, slots=True)
class ObservationState:
    """The ring of a pool's price observations; `newest` is an index into it."""

    initialised: int
    recent_epoch: int
    newest: int
    pool: Pubkey
    observations: tuple[Observation, ...]
    reserved: bytes = bytes(32)


_WIDE: Final = (11, 12, 15, 16, 19, 20, 21, 22)
"""The fields of `PoolState` that are u128."""


def decode_pool(data: bytes, owner: Pubkey) -> PoolState:
    """Read a pool account (1,544 bytes).

    Raises:
        DecodeError: owner, length or discriminator are not a CLMM pool's, or its price is not its tick's.
    """
    check_owner("Raydium CLMM pool", owner, (PROGRAM_ID,))
    check_data("Raydium CLMM pool", data, POOL_LENGTH, POOL_DISCRIMINATOR)
    values: tuple[Any, ...] = _POOL.unpack(data)
    wide = int.from_bytes
    arguments: list[Any] = list(values[1:])
    arguments[1:8] = map(Pubkey, values[2:9])
    for place in _WIDE:
        arguments[place] = wide(arguments[place], "little")
    state = PoolState(*arguments)
    check_place("Raydium CLMM pool", state.tick, state.sqrt_price, state.tick_spacing)
    return state


def encode_pool(pool: PoolState) -> bytes:
    """Write a pool account; `decode_pool` gives it back."""
    values: list[Any] = [_plain(value) for value in pool]
    for place in _WIDE:
        values[place] = _wide(values[place])
    return _POOL.pack(POOL_DISCRIMINATOR, *values)


def decode_config(data: bytes, owner: Pubkey) -> AmmConfig:
    """Read a fee config account (117 bytes).

    Raises:
        DecodeError: owner, length, discriminator or a rate are not a CLMM fee config's.
    """
    check_owner("Raydium CLMM fee config", owner, (PROGRAM_ID,))
    check_data("Raydium CLMM fee config", data, CONFIG_LENGTH, CONFIG_DISCRIMINATOR)
    arguments: list[Any] = list(_CONFIG.unpack(data)[1:])
    arguments[2], arguments[8] = Pubkey(arguments[2]), Pubkey(arguments[8])
    config = AmmConfig(*arguments)
    if config.trade_fee_rate >= RATE or config.protocol_fee_rate + config.fund_fee_rate > RATE:
        raise DecodeError(
            f"decoding a Raydium CLMM fee config: a fee of {config.trade_fee_rate} parts per million, shared "
            f"{config.protocol_fee_rate} + {config.fund_fee_rate}, leaves nothing to trade"
        )
    return config


def encode_config(config: AmmConfig) -> bytes:
    """Write a fee config account; `decode_config` gives it back."""
    return _CONFIG.pack(CONFIG_DISCRIMINATOR, *map(_plain, config))


def decode_tick_array(data: bytes, owner: Pubkey) -> TickArray:
    """Read a tick array (10,240 bytes).

    Raises:
        DecodeError: owner, length or discriminator are not a CLMM tick array's.
    """
    check_owner("Raydium CLMM tick array", owner, (PROGRAM_ID,))
    check_data("Raydium CLMM tick array", data, TICK_ARRAY_LENGTH, TICK_ARRAY_DISCRIMINATOR)
    _, pool, start = _ARRAY_HEAD.unpack_from(data)
    last = len(data) - _ARRAY_TAIL.size
    blocks = [data[at : at + _TICK.size] for at in range(_ARRAY_HEAD.size, last, _TICK.size)]
    ticks = tuple(_EMPTY if block == _NO_TICK else _tick(block) for block in blocks)  # most are empty
    return TickArray(Pubkey(pool), start, ticks, *_ARRAY_TAIL.unpack(data[last:]))


def encode_tick_array(array: TickArray) -> bytes:
    """Write a tick array; `decode_tick_array` gives it back."""
    parts = [_ARRAY_HEAD.pack(TICK_ARRAY_DISCRIMINATOR, bytes(array.pool), array.start)]
    parts += [
        _TICK.pack(
            tick.tick, tick.liquidity_net.to_bytes(16, "little", signed=True), _wide(tick[2]), tick.rest
        )
        for tick in array.ticks
    ]
    return b"".join([*parts, _ARRAY_TAIL.pack(*array[3:])])


def decode_extension(data: bytes, owner: Pubkey) -> BitmapExtension:
    """Read a pool's bitmap extension (1,832 bytes).

    Raises:
        DecodeError: owner, length or discriminator are not a CLMM bitmap extension's.
    """
    check_owner("Raydium CLMM bitmap extension", owner, (PROGRAM_ID,))
    check_data("Raydium CLMM bitmap extension", data, EXTENSION_LENGTH, EXTENSION_DISCRIMINATOR)
    middle = 40 + _CHUNK * _CHUNKS
    return BitmapExtension(Pubkey(data[8:40]), data[40:middle], data[middle:])


def encode_extension(extension: BitmapExtension) -> bytes:
    """Write a bitmap extension; `decode_extension` gives it back."""
    return EXTENSION_DISCRIMINATOR + bytes(extension.pool) + extension.above + extension.below


def decode_observations(data: bytes, owner: Pubkey) -> ObservationState:
    """Read a pool's price observations (4,483 bytes).

    Raises:
        DecodeError: owner, length or discriminator are not a CLMM observation account's.
    """
    check_owner("Raydium CLMM observations", owner, (PROGRAM_ID,))
    check_data("Raydium CLMM observations", data, OBSERVATION_LENGTH, OBSERVATION_DISCRIMINATOR)
    _, initialised, epoch, newest, pool = _OBSERVATION_HEAD.unpack_from(data)
    ring = tuple(Observation(*one) for one in _OBSERVATION.iter_unpack(data[_OBSERVATION_HEAD.size : -32]))
    return ObservationState(initialised, epoch, newest, Pubkey(pool), ring, data[-32:])


def encode_observations(state: ObservationState) -> bytes:
    """Write an observation account; `decode_observations` gives it back."""
    head = _OBSERVATION_HEAD.pack(
        OBSERVATION_DISCRIMINATOR, state.initialised, state.recent_epoch, state.newest, bytes(state.pool)
    )
    return b"".join([head, *(_OBSERVATION.pack(*one) for one in state.observations), state.reserved])


def array_bits(bitmap: bytes, extension: BitmapExtension | None) -> int:
    """Every tick array that holds a tick, as one bitmap: bit 0 is array `FIRST_ARRAY`."""
    above, below = (extension.above, extension.below) if extension else (b"", bytes(_CHUNK * _CHUNKS))
    chunks = [below[at : at + _CHUNK] for at in range(0, len(below), _CHUNK)]
    return int.from_bytes(b"".join([*reversed(chunks), bitmap, above]), "little")


def arrays_from(bits: int, array: int, count: int, *, down: bool) -> list[int]:
    """The next `count` arrays with ticks from `array` on, it included, in the direction of a swap."""
    found: list[int] = []
    at = array - FIRST_ARRAY
    while len(found) < count:
        rest = bits & ((1 << at + 1) - 1) if down else bits >> at << at
        if at < 0 or not rest:
            break
        bit = rest.bit_length() - 1 if down else (rest & -rest).bit_length() - 1
        found.append(bit + FIRST_ARRAY)
        at = bit - 1 if down else bit + 1
    return found


def check_place(kind: str, tick: int, sqrt_price: int, spacing: int) -> None:
    """Refuse a price that is not its tick's.

    Raises:
        DecodeError: tick, price or spacing are impossible.
    """
    fits = MIN_TICK <= tick < MAX_TICK and CLMM.at(tick) <= sqrt_price <= CLMM.at(tick + 1)
    if not fits or not spacing:
        raise DecodeError(
            f"decoding a {kind}: tick {tick}, sqrt price {sqrt_price} and tick spacing {spacing} do not go "
            "together; the pool was never opened or the bytes are damaged"
        )


@lru_cache(maxsize=2**14)
def tick_array_address(pool: Pubkey, start: int) -> Pubkey:
    """Derive the address of the tick array of `pool` that starts at tick `start`."""
    seeds = [b"tick_array", bytes(pool), start.to_bytes(4, "big", signed=True)]
    return Pubkey.find_program_address(seeds, PROGRAM_ID)[0]


@lru_cache(maxsize=2**10)
def extension_address(pool: Pubkey) -> Pubkey:
    """Derive the address of a pool's bitmap extension."""
    return Pubkey.find_program_address([b"pool_tick_array_bitmap_extension", bytes(pool)], PROGRAM_ID)[0]


def _tick(block: bytes) -> Tick:
    tick, net, gross, rest = _TICK.unpack(block)
    return Tick(tick, int.from_bytes(net, "little", signed=True), int.from_bytes(gross, "little"), rest)


def _wide(value: int) -> bytes:
    return value.to_bytes(16, "little")


def _plain(value: object) -> object:
    return bytes(value) if isinstance(value, Pubkey) else value
