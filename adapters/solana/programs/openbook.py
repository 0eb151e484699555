"""OpenBook (Serum v3) on chain, as far as a pool with orders on it needs: market and open orders accounts."""

from __future__ import annotations

from dataclasses import dataclass
from struct import Struct
from typing import Final

from solders.pubkey import Pubkey

from adapters.solana.programs.layout import program_address
from domain.errors import DecodeError

PROGRAM_ID: Final = Pubkey.from_string("srmqPvymJeFKQ4zGQed1GFppgkRHL9kaELCbyksJtPX")

_HEAD: Final = b"serum"
_TAIL: Final = b"padding"
_INITIALIZED: Final = 1
_MARKET_FLAG: Final = 2
_OPEN_ORDERS_FLAG: Final = 4
_MARKET: Final = Struct("<5sQ32sQ32s32s32s16x32s24x32s32s32s32s32x7s")
_OPEN_ORDERS: Final = Struct("<5sQ32s32s4Q16s")
_NO_ORDERS: Final = b"\xff" * 16

MARKET_LENGTH: Final = _MARKET.size  # 388
OPEN_ORDERS_LENGTH: Final = 3228


@dataclass(frozen=True, slots=True)
class Market:
    """The accounts of one order book; `vault_signer` signs for its two vaults."""

    bids: Pubkey
    asks: Pubkey
    event_queue: Pubkey
    base_vault: Pubkey
    quote_vault: Pubkey
    vault_signer: Pubkey


@dataclass(frozen=True, slots=True)
class OpenOrders:
    """What one trader has on a market, base units of its two tokens, free and in orders together.

    Attributes:
        resting: whether any order stands; its fills reach the totals only when the market settles them.
    """

    market: Pubkey
    owner: Pubkey
    base_total: int
    quote_total: int
    resting: bool


def decode_market(data: bytes, owner: Pubkey) -> Market:
    """Read a market account (388 bytes); `owner` is the order book program.

    Raises:
        DecodeError: length, marks or flags are not a market's, or its vault signer cannot be derived.
    """
    _check("OpenBook market", data, MARKET_LENGTH, _INITIALIZED | _MARKET_FLAG)
    values = _MARKET.unpack(data)
    own, nonce, base_vault, quote_vault = values[2], values[3], values[6], values[7]
    event_queue, bids, asks = values[9:12]
    signer = program_address("OpenBook market's vault signer", [own, nonce.to_bytes(8, "little")], owner)
    return Market(
        Pubkey(bids), Pubkey(asks), Pubkey(event_queue), Pubkey(base_vault), Pubkey(quote_vault), signer
    )


def decode_open_orders(data: bytes) -> OpenOrders:
    """Read an open orders account (3,228 bytes).

    Raises:
        DecodeError: length, marks or flags are not an open orders account's.
    """
    _check("OpenBook open orders account", data, OPEN_ORDERS_LENGTH, _INITIALIZED | _OPEN_ORDERS_FLAG)
    _, _, market, owner, _, base_total, _, quote_total, free_slots = _OPEN_ORDERS.unpack_from(data)
    return OpenOrders(Pubkey(market), Pubkey(owner), base_total, quote_total, free_slots != _NO_ORDERS)


def _check(kind: str, data: bytes, length: int, flags: int) -> None:
    if len(data) != length:
        raise DecodeError(
            f"decoding an {kind}: found {len(data)} bytes, expected {length}; check the address"
        )
    found = int.from_bytes(data[5:13], "little")
    if data[:5] != _HEAD or data[-7:] != _TAIL or found & flags != flags:
        raise DecodeError(f"decoding an {kind}: its marks or flags ({found}) are another account's")
