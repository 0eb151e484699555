"""Meteora DLMM accounts: pool (LbPair), bin array, bitmap extension and oracle, as bytes.

Layouts follow the program's published IDL (lb_clmm 0.12); X is our token a, Y our token b.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from struct import Struct
from typing import Any, Final, NamedTuple

from solders.pubkey import Pubkey

from adapters.solana.programs.layout import anchor_account, check_data, check_owner
from domain.errors import DecodeError
from domain.market.amm.dlmm_bins import MAX_BIN_ID, Bin

PROGRAM_ID: Final = Pubkey.from_string("LBUZKhRxPF3XUpBCjp4YzTKgLccjZhTSDM9YuVaPwxo")

POOL_DISCRIMINATOR: Final = anchor_account("LbPair")
BIN_ARRAY_DISCRIMINATOR: Final = anchor_account("BinArray")
BITMAP_EXTENSION_DISCRIMINATOR: Final = anchor_account("BinArrayBitmapExtension")
ORACLE_DISCRIMINATOR: Final = anchor_account("Oracle")

BINS_PER_ARRAY: Final = 70
MAX_ARRAY_INDEX: Final = 6_655
"""Bin arrays run from -6,656 to this: 512 on each side in the pool's bitmap, 6,144 in the extension's."""

_POOL: Final = Struct(
    "<8s"
    "4H2I2iH3B3s"  # parameters
    "2Ii4sq8s"  # volatility
    "s2sBiH2B2s2B"
    "32s32s32s32s2Q32s288s32s128sq32s32s32s2Q8sQ32s3B21s"
)
_BIN: Final = Struct("<2Q16s16s4Q16s16s3QIB3s")
_BIN_ARRAY_HEAD: Final = Struct("<8sqB7s32s")
_LIQUIDITY: Final = Struct("<4Q80xQ8xQ4x?3x")  # of a bin, what a swap can take
_EXTENSION: Final = Struct("<8s32s768s768s")
_ORACLE_HEAD: Final = Struct("<8s3Q")
_OBSERVATION: Final = Struct("<16s2q")

POOL_LENGTH: Final = _POOL.size  # 904
BIN_ARRAY_LENGTH: Final = _BIN_ARRAY_HEAD.size + BINS_PER_ARRAY * _BIN.size  # 10,136
EXTENSION_LENGTH: Final = _EXTENSION.size  # 1,576


@dataclass(frozen=True, slots=True)
class PoolState:
    """A pool account, field for field in the order of its bytes; amounts in base units, times in seconds."""

    base_factor: int
    filter_period: int
    decay_period: int
    reduction_factor: int
    variable_fee_control: int
    max_volatility_accumulator: int
    min_bin_id: int
    max_bin_id: int
    protocol_share: int
    base_fee_power_factor: int
    function_type: int
    collect_fee_mode: int
    padding_parameters: bytes
    volatility_accumulator: int
    volatility_reference: int
    index_reference: int
    padding_volatility_a: bytes
    last_update_timestamp: int
    padding_volatility_b: bytes
    bump_seed: bytes
    bin_step_seed: bytes
    pair_type: int
    active_id: int
    bin_step: int
    status: int
    require_base_factor_seed: int
    base_factor_seed: bytes
    activation_type: int
    creator_on_off_control: int
    mint_a: Pubkey
    mint_b: Pubkey
    vault_a: Pubkey
    vault_b: Pubkey
    protocol_fees_a: int
    protocol_fees_b: int
    padding_1: bytes
    rewards: bytes
    oracle: Pubkey
    bin_array_bitmap: int
    last_updated_at: int
    padding_2: bytes
    pre_activation_swap_address: Pubkey
    base_key: Pubkey
    activation_point: int
    pre_activation_duration: int
    padding_3: bytes
    padding_4: int
    creator: Pubkey
    token_program_flag_a: int
    token_program_flag_b: int
    version: int
    reserved: bytes

    @property
    def orders(self) -> bool:
        """Whether limit orders count as liquidity: by function, or undetermined and without rewards."""
        mints = (self.rewards[:32], self.rewards[144:176])
        return self.function_type == 2 or (self.function_type == 0 and mints == (bytes(32), bytes(32)))


class BinState(NamedTuple):
    """One bin of an array, field for field in the order of its bytes; u128s that no swap needs stay bytes."""

    amount_a: int
    amount_b: int
    price: int
    liquidity_supply: bytes
    fulfilled_order_amount_a: int
    fulfilled_order_amount_b: int
    limit_order_fee_ask_side: int
    limit_order_fee_bid_side: int
    fee_a_per_token_stored: bytes
    fee_b_per_token_stored: bytes
    open_order_amount: int
    total_processing_order_amount: int
    processed_order_remaining_amount: int
    order_age: int
    limit_order_ask_side: int
    padding: bytes


@dataclass(frozen=True, slots=True)
class BinArray:
    """Seventy neighbouring bins: bin `index` * 70 and those above it."""

    index: int
    version: int
    padding: bytes
    pool: Pubkey
    bins: tuple[BinState, ...]


@dataclass(frozen=True, slots=True)
class Liquidity:
    """What a bin array has to trade: its bins with liquidity, price 0 where the program wrote none yet."""

    index: int
    pool: Pubkey
    bins: tuple[Bin, ...]


@dataclass(frozen=True, slots=True)
class BitmapExtension:
    """Which far bin arrays hold liquidity: bit n is array 512 + n in `positive`, -513 - n in `negative`."""

    pool: Pubkey
    positive: int
    negative: int


@dataclass(frozen=True, slots=True)
class Oracle:
    """The pool's observations: `index` is the newest, `active_size` are in use of `length`.

    `observations` are (cumulative active bin id, first and last second of the sample).
    """

    index: int
    active_size: int
    length: int
    observations: tuple[tuple[int, int, int], ...]


def decode_pool(data: bytes, owner: Pubkey) -> PoolState:
    """Read a pool account (904 bytes).

    Raises:
        DecodeError: owner, length or discriminator are not a DLMM pool's, or a mode or bin is unknown to us.
    """
    check_owner("Meteora DLMM pool", owner, (PROGRAM_ID,))
    check_data("Meteora DLMM pool", data, POOL_LENGTH, POOL_DISCRIMINATOR)
    values: list[Any] = list(_POOL.unpack(data)[1:])
    for at in _POOL_KEYS:
        values[at] = Pubkey(values[at])
    values[_POOL_BITMAP] = int.from_bytes(values[_POOL_BITMAP], "little")
    state = PoolState(*values)
    _check_pool(state)
    return state


def encode_pool(state: PoolState) -> bytes:
    """Write a pool account; `decode_pool` gives it back."""
    values: list[Any] = [getattr(state, name) for name in _POOL_FIELDS]
    for at in _POOL_KEYS:
        values[at] = bytes(values[at])
    values[_POOL_BITMAP] = values[_POOL_BITMAP].to_bytes(128, "little")
    return _POOL.pack(POOL_DISCRIMINATOR, *values)


def decode_bin_array(data: bytes, owner: Pubkey) -> BinArray:
    """Read a bin array account (10,136 bytes).

    Raises:
        DecodeError: owner, length, discriminator or index are not a DLMM bin array's.
    """
    index, version, padding, pool = _array_head(data, owner)
    bins = tuple(map(_bin_state, _BIN.iter_unpack(data[_BIN_ARRAY_HEAD.size :])))
    return BinArray(index, version, padding, pool, bins)


def decode_liquidity(data: bytes, owner: Pubkey) -> Liquidity:
    """Read only what can be traded of a bin array account: four times as fast as all of it.

    Raises:
        DecodeError: owner, length, discriminator or index are not a DLMM bin array's.
    """
    index, _, _, pool = _array_head(data, owner)
    rows = enumerate(_LIQUIDITY.iter_unpack(data[_BIN_ARRAY_HEAD.size :]), index * BINS_PER_ARRAY)
    bins = tuple(
        Bin(bin_id, low | high << 64, amount_a, amount_b, processed, opened, ask)
        for bin_id, (amount_a, amount_b, low, high, opened, processed, ask) in rows
        if amount_a or amount_b or opened or processed
    )
    return Liquidity(index, pool, bins)


def encode_bin_array(array: BinArray) -> bytes:
    """Write a bin array account; `decode_bin_array` gives it back."""
    head = _BIN_ARRAY_HEAD.pack(
        BIN_ARRAY_DISCRIMINATOR, array.index, array.version, array.padding, bytes(array.pool)
    )
    return head + b"".join(map(_bin_bytes, array.bins))


def rewrite_bins(data: bytes, index: int, bins: Sequence[Bin]) -> bytes:
    """Write what `bins`, all of array number `index`, now hold into the array's account.

    Only their bytes are touched: a swap moves one or two bins of seventy.
    """
    written = bytearray(data)
    for held in bins:
        at = _BIN_ARRAY_HEAD.size + (held.bin_id - index * BINS_PER_ARRAY) * _BIN.size
        state = _bin_state(_BIN.unpack_from(written, at))
        written[at : at + _BIN.size] = _bin_bytes(
            state._replace(
                amount_a=held.amount_a,
                amount_b=held.amount_b,
                processed_order_remaining_amount=held.processed_orders,
                open_order_amount=held.open_orders,
            )
        )
    return bytes(written)


def decode_bitmap_extension(data: bytes, owner: Pubkey) -> BitmapExtension:
    """Read a bitmap extension account (1,576 bytes).

    Raises:
        DecodeError: owner, length or discriminator are not a DLMM bitmap extension's.
    """
    check_owner("Meteora DLMM bitmap extension", owner, (PROGRAM_ID,))
    check_data("Meteora DLMM bitmap extension", data, EXTENSION_LENGTH, BITMAP_EXTENSION_DISCRIMINATOR)
    _, pool, positive, negative = _EXTENSION.unpack(data)
    return BitmapExtension(
        Pubkey(pool), int.from_bytes(positive, "little"), int.from_bytes(negative, "little")
    )


def encode_bitmap_extension(extension: BitmapExtension) -> bytes:
    """Write a bitmap extension account; `decode_bitmap_extension` gives it back."""
    return _EXTENSION.pack(
        BITMAP_EXTENSION_DISCRIMINATOR,
        bytes(extension.pool),
        extension.positive.to_bytes(768, "little"),
        extension.negative.to_bytes(768, "little"),
    )


def decode_oracle(data: bytes, owner: Pubkey) -> Oracle:
    """Read an oracle account: 32 bytes, and 32 for each observation it has room for (3,232 when new).

    Raises:
        DecodeError: owner, length or discriminator are not a DLMM oracle's.
    """
    check_owner("Meteora DLMM oracle", owner, (PROGRAM_ID,))
    room, odd = divmod(len(data) - _ORACLE_HEAD.size, _OBSERVATION.size)
    if room < 0 or odd:
        raise DecodeError(
            f"decoding a Meteora DLMM oracle: {len(data)} bytes are no whole number of observations"
        )
    check_data("Meteora DLMM oracle", data, len(data), ORACLE_DISCRIMINATOR)
    _, index, active_size, length = _ORACLE_HEAD.unpack_from(data)
    observations = tuple(
        (int.from_bytes(cumulative, "little", signed=True), created_at, updated_at)
        for cumulative, created_at, updated_at in _OBSERVATION.iter_unpack(data[_ORACLE_HEAD.size :])
    )
    return Oracle(index, active_size, length, observations)


def encode_oracle(oracle: Oracle) -> bytes:
    """Write an oracle account; `decode_oracle` gives it back."""
    head = _ORACLE_HEAD.pack(ORACLE_DISCRIMINATOR, oracle.index, oracle.active_size, oracle.length)
    return head + b"".join(
        _OBSERVATION.pack(cumulative.to_bytes(16, "little", signed=True), created_at, updated_at)
        for cumulative, created_at, updated_at in oracle.observations
    )


def _bin_state(row: tuple[Any, ...]) -> BinState:
    amount_a, amount_b, price, *rest = row
    return BinState(amount_a, amount_b, int.from_bytes(price, "little"), *rest)


def _bin_bytes(held: BinState) -> bytes:
    return _BIN.pack(held.amount_a, held.amount_b, held.price.to_bytes(16, "little"), *held[3:])


def _array_head(data: bytes, owner: Pubkey) -> tuple[int, int, bytes, Pubkey]:
    check_owner("Meteora DLMM bin array", owner, (PROGRAM_ID,))
    check_data("Meteora DLMM bin array", data, BIN_ARRAY_LENGTH, BIN_ARRAY_DISCRIMINATOR)
    _, index, version, padding, pool = _BIN_ARRAY_HEAD.unpack_from(data)
    if not -MAX_ARRAY_INDEX - 1 <= index <= MAX_ARRAY_INDEX:
        raise DecodeError(
            f"decoding a Meteora DLMM bin array: index {index} is beyond "
            f"+-{MAX_ARRAY_INDEX}; check the address"
        )
    return index, version, padding, Pubkey(pool)


def _check_pool(state: PoolState) -> None:
    known = {
        "pair type": (state.pair_type, 3),
        "status": (state.status, 1),
        "activation type": (state.activation_type, 1),
        "function type": (state.function_type, 2),
        "fee mode": (state.collect_fee_mode, 1),
    }
    for name, (found, highest) in known.items():
        if found > highest:
            raise DecodeError(
                f"decoding a Meteora DLMM pool: {name} {found} is unknown, expected up to {highest}; "
                "the program is newer than daybook"
            )
    if not state.bin_step or abs(state.active_id) > MAX_BIN_ID:
        raise DecodeError(
            f"decoding a Meteora DLMM pool: bin step {state.bin_step} and active bin {state.active_id} "
            "give no price; check the address"
        )


_POOL_FIELDS: Final = tuple(field.name for field in fields(PoolState))
_POOL_KEYS: Final = tuple(at for at, field in enumerate(fields(PoolState)) if field.type == "Pubkey")
_POOL_BITMAP: Final = _POOL_FIELDS.index("bin_array_bitmap")
