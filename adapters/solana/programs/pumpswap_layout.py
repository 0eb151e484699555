"""PumpSwap bytes: pool, global config and fee config accounts, each in every length it has had.

All three have grown: an older account lacks the newer fields at its end, and they read as 0. Layouts are the
program's IDL as pump-swap-sdk 1.20.0 carries it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from struct import Struct
from typing import Any, Final

from solders.pubkey import Pubkey

from adapters.solana.programs.layout import anchor_account, check_data, check_owner
from domain.errors import DecodeError
from domain.market.amm.pumpswap import BPS, Fees, FeeTier

PROGRAM_ID: Final = Pubkey.from_string("pAMMBay6oceH9fJKBRHGP5D4bD4sWpmSwMn52FMfXEA")
FEE_PROGRAM: Final = Pubkey.from_string("pfeeUxB6jkeY1Hxd7CsFCAjcbHA9rWtchMGdZ6VojVZ")
PUMP_PROGRAM: Final = Pubkey.from_string("6EF8rrecthR5Dkzon8Nwu78hRvfCKubJ14M5uBEwF6P")
"""The bonding curve's: its authority creates the pools that pay fees by market cap."""

GLOBAL_CONFIG: Final = Pubkey.find_program_address([b"global_config"], PROGRAM_ID)[0]
FEE_CONFIG: Final = Pubkey.find_program_address([b"fee_config", bytes(PROGRAM_ID)], FEE_PROGRAM)[0]

POOL_DISCRIMINATOR: Final = anchor_account("Pool")
GLOBAL_CONFIG_DISCRIMINATOR: Final = anchor_account("GlobalConfig")
FEE_CONFIG_DISCRIMINATOR: Final = anchor_account("FeeConfig")

POOL_LENGTHS: Final = (300, 270, 261, 245, 244, 243, 211)
"""Newest first; 300 is a pool grown for fields to come."""
GLOBAL_CONFIG_LENGTHS: Final = (949, 940, 907)
FEE_CONFIG_LENGTHS: Final = (4097, 4073, 2512)
"""Each adds a list of fees to the one after it here; longer accounts read as the first."""

DISABLE_BUY: Final = 1 << 3
DISABLE_SELL: Final = 1 << 4
"""Bits of `GlobalConfig.disable_flags`."""

NO_FEES: Final = Fees(0, 0, 0)
NO_KEY: Final = Pubkey.default()

_POOL: Final = Struct("<8sBH32s32s32s32s32s32sQ32sBB16sQB")
_GLOBAL_CONFIG: Final = Struct("<8s32sQQB256sQ32s32s32sB224sB256sQ32sBBQ")
_VIRTUAL: Final = 12
_FEES: Final = Struct("<3Q")
_FEE_HEAD: Final = Struct("<8sB32s3Q")
_TIER: Final = Struct("<16s3Q")
_COUNT: Final = Struct("<I")


@dataclass(frozen=True, slots=True)
class PoolState:
    """A pool account in the order of its bytes.

    Attributes:
        coin_creator: the default key where the pool has none: then there is no creator fee.
        virtual_quote: quote tokens the curve counts beside the vault's.
        creator_fee_bps: replaces the schedule's where the global config lets it; 0 where not set.
        tail: bytes of fields to come. `length`: of the account.
    """

    bump: int
    index: int
    creator: Pubkey
    base_mint: Pubkey
    quote_mint: Pubkey
    lp_mint: Pubkey
    base_vault: Pubkey
    quote_vault: Pubkey
    lp_supply: int
    coin_creator: Pubkey
    mayhem: int
    cashback: int
    virtual_quote: int
    creator_fee_bps: int
    can_edit_creator_fee: int
    tail: bytes = b""
    length: int = _POOL.size

    @property
    def has_coin_creator(self) -> bool:
        """Whether a creator's share is taken at all."""
        return self.coin_creator != NO_KEY


@dataclass(frozen=True, slots=True)
class GlobalConfig:
    """The program's one config account; rates in basis points, in force only without a fee config."""

    admin: Pubkey
    lp_fee_bps: int
    protocol_fee_bps: int
    disable_flags: int
    protocol_fee_recipients: tuple[Pubkey, ...]
    creator_fee_bps: int
    coin_creator_authority: Pubkey
    whitelist: Pubkey
    reserved_fee_recipient: Pubkey
    mayhem_enabled: int
    reserved_fee_recipients: tuple[Pubkey, ...]
    cashback_enabled: int
    buyback_fee_recipients: tuple[Pubkey, ...]
    buyback_bps: int
    boost_authority: Pubkey = NO_KEY
    boost_enabled: int = 0
    creator_fee_configurable: int = 0
    max_creator_fee_bps: int = 0
    tail: bytes = b""
    length: int = _GLOBAL_CONFIG.size


@dataclass(frozen=True, slots=True)
class FeeConfig:
    """The fee program's schedule for PumpSwap.

    Attributes:
        flat: pools that no bonding curve created pay this.
        tiers: by market cap, for pools quoted in SOL. `stable_tiers`: for those quoted in USDC.
        exotic: for pools quoted in anything else; all zero while unset.
        tail: what follows in the account, unread.
    """

    bump: int
    admin: Pubkey
    flat: Fees
    tiers: tuple[FeeTier, ...]
    stable_tiers: tuple[FeeTier, ...] = ()
    exotic: Fees = NO_FEES
    tail: bytes = b""
    length: int = FEE_CONFIG_LENGTHS[0]


def decode_pool(data: bytes, owner: Pubkey) -> PoolState:
    """Read a pool account (211 to 300 bytes, or longer).

    Raises:
        DecodeError: owner, length or discriminator are not a PumpSwap pool's.
    """
    values, tail = _grown("PumpSwap pool", data, owner, _POOL, POOL_LENGTHS, POOL_DISCRIMINATOR)
    for at in (2, 3, 4, 5, 6, 7, 9):
        values[at] = Pubkey(values[at])
    values[_VIRTUAL] = int.from_bytes(values[_VIRTUAL], "little", signed=True)
    arguments: list[Any] = [*values, tail, len(data)]
    return PoolState(*arguments)


def encode_pool(pool: PoolState) -> bytes:
    """Write a pool account of its own length; `decode_pool` gives it back."""
    values = _plain(pool)
    values[_VIRTUAL] = pool.virtual_quote.to_bytes(16, "little", signed=True)
    return (_POOL.pack(POOL_DISCRIMINATOR, *values) + pool.tail)[: pool.length]


def decode_global_config(data: bytes, owner: Pubkey) -> GlobalConfig:
    """Read the global config account (907 to 949 bytes, or longer).

    Raises:
        DecodeError: owner, length or discriminator are not the config's, or its fees are above 100 %.
    """
    kind = "PumpSwap global config"
    values, tail = _grown(
        kind, data, owner, _GLOBAL_CONFIG, GLOBAL_CONFIG_LENGTHS, GLOBAL_CONFIG_DISCRIMINATOR
    )
    for at in (0, 6, 7, 8, 14):
        values[at] = Pubkey(values[at])
    for at in (4, 10, 12):
        values[at] = tuple(Pubkey(values[at][n : n + 32]) for n in range(0, len(values[at]), 32))
    arguments: list[Any] = [*values, tail, len(data)]
    config = GlobalConfig(*arguments)
    _check_fees(kind, Fees(config.lp_fee_bps, config.protocol_fee_bps, config.creator_fee_bps))
    return config


def encode_global_config(config: GlobalConfig) -> bytes:
    """Write the global config account; `decode_global_config` gives it back."""
    values = _plain(config)
    return (_GLOBAL_CONFIG.pack(GLOBAL_CONFIG_DISCRIMINATOR, *values) + config.tail)[: config.length]


def decode_fee_config(data: bytes, owner: Pubkey) -> FeeConfig:
    """Read the fee config account (2,512 bytes, 4,073, or 4,097 and longer).

    Raises:
        DecodeError: owner, length or discriminator are not the fee config's, a list of tiers runs past the
            end or is empty, or a fee is 100 % or more.
    """
    kind = "PumpSwap fee config"
    check_owner(kind, owner, (FEE_PROGRAM,))
    if len(data) < FEE_CONFIG_LENGTHS[-1]:
        raise DecodeError(
            f"decoding a {kind}: found {len(data)} bytes, expected {FEE_CONFIG_LENGTHS[-1]} or more"
        )
    check_data(kind, data, len(data), FEE_CONFIG_DISCRIMINATOR)
    _, bump, admin, *flat = _FEE_HEAD.unpack_from(data)
    tiers, at = _tiers(data, _FEE_HEAD.size)
    stable: tuple[FeeTier, ...] = ()
    exotic = NO_FEES
    if len(data) >= FEE_CONFIG_LENGTHS[1]:
        stable, at = _tiers(data, at)
    if len(data) >= FEE_CONFIG_LENGTHS[0]:
        if at + _FEES.size > len(data):
            raise DecodeError(f"decoding a {kind}: its tiers leave no room for the fees after them")
        exotic, at = Fees(*_FEES.unpack_from(data, at)), at + _FEES.size
    if not tiers:
        raise DecodeError(f"decoding a {kind}: it has no fee tiers")
    for fees in (Fees(*flat), exotic, *(tier.fees for tier in tiers + stable)):
        _check_fees(kind, fees)
    return FeeConfig(bump, Pubkey(admin), Fees(*flat), tiers, stable, exotic, data[at:], len(data))


def encode_fee_config(config: FeeConfig) -> bytes:
    """Write the fee config account, padded to its length; `decode_fee_config` gives it back."""
    head = _FEE_HEAD.pack(FEE_CONFIG_DISCRIMINATOR, config.bump, bytes(config.admin), *config.flat)
    parts = [head, *_tier_bytes(config.tiers)]
    if config.length >= FEE_CONFIG_LENGTHS[1]:
        parts += _tier_bytes(config.stable_tiers)
    if config.length >= FEE_CONFIG_LENGTHS[0]:
        parts.append(_FEES.pack(*config.exotic))
    return b"".join([*parts, config.tail]).ljust(config.length, b"\0")


def _grown(
    kind: str, data: bytes, owner: Pubkey, layout: Struct, lengths: tuple[int, ...], discriminator: bytes
) -> tuple[list[Any], bytes]:
    """The fields behind the discriminator, missing ones 0, and what follows them."""
    check_owner(kind, owner, (PROGRAM_ID,))
    if len(data) not in lengths and len(data) < lengths[0]:
        wanted = ", ".join(str(length) for length in lengths)
        raise DecodeError(f"decoding a {kind}: found {len(data)} bytes, expected {wanted} or more")
    check_data(kind, data, len(data), discriminator)
    return list(layout.unpack(data[: layout.size].ljust(layout.size, b"\0"))[1:]), data[layout.size :]


def _tiers(data: bytes, at: int) -> tuple[tuple[FeeTier, ...], int]:
    """A list of fee tiers and where it ends."""
    if at + _COUNT.size > len(data):
        raise DecodeError(f"decoding a PumpSwap fee config: its tiers run past the end, {len(data)} bytes")
    (count,) = _COUNT.unpack_from(data, at)
    start = at + _COUNT.size
    end = start + count * _TIER.size
    if end > len(data):
        raise DecodeError(
            f"decoding a PumpSwap fee config: {count} tiers at {at} run past the end, {len(data)} bytes"
        )
    return tuple(_each_tier(data[start:end])), end


def _each_tier(data: bytes) -> Iterator[FeeTier]:
    for market_cap, *fees in _TIER.iter_unpack(data):
        yield FeeTier(int.from_bytes(market_cap, "little"), Fees(*fees))


def _tier_bytes(tiers: tuple[FeeTier, ...]) -> list[bytes]:
    packed = (_TIER.pack(tier.market_cap.to_bytes(16, "little"), *tier.fees) for tier in tiers)
    return [_COUNT.pack(len(tiers)), *packed]


def _check_fees(kind: str, fees: Fees) -> None:
    if sum(fees) >= BPS:
        raise DecodeError(f"decoding a {kind}: fees of {tuple(fees)} basis points leave nothing to trade")


def _plain(account: PoolState | GlobalConfig) -> list[Any]:
    """The fields as they are packed, without the account's tail and length."""
    values = [getattr(account, field.name) for field in fields(account)[:-2]]
    for at, value in enumerate(values):
        if isinstance(value, Pubkey):
            values[at] = bytes(value)
        elif isinstance(value, tuple):
            values[at] = b"".join(map(bytes, value))
    return values
