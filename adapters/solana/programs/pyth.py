"""Pyth on Solana: price update accounts (PriceUpdateV2), as the receiver and the push oracle keep them.

Layout follows pyth-solana-receiver-sdk. How far an update was verified is one byte when fully and two when
partly, so what follows moves by one; the account is 134 bytes either way.
"""

from __future__ import annotations

from dataclasses import dataclass
from struct import Struct
from typing import Any, Final

from solders.pubkey import Pubkey

from adapters.solana.programs.layout import anchor_account, check_data, check_owner
from domain.errors import DecodeError

RECEIVER_ID: Final = Pubkey.from_string("rec5EKMGg6MxZYaMdyBfgwp4d5rB9T1VQH5pJv5LtFJ")
"""Owns every price update account, those of the push oracle too."""
PUSH_ORACLE_ID: Final = Pubkey.from_string("pythWSnswVUd12oZpeFP8e9CVaEqJg25g1Vtc2biRsT")
"""Derives the addresses of the sponsored feeds."""

DISCRIMINATOR: Final = anchor_account("PriceUpdateV2")
LENGTH: Final = 134
MAX_EXPONENT: Final = 30
"""Feeds use -12 to 0; beyond +-this a price is broken data and its power of ten a burden."""

_AUTHORITY: Final = Struct("<8s32s")
_PARTIAL: Final = 0
_FULL: Final = 1
_MESSAGE: Final = Struct("<32sqQiqqqQQ")


@dataclass(frozen=True, slots=True)
class PriceUpdate:
    """One price of one feed, field for field.

    Attributes:
        write_authority: may overwrite or close the account.
        signatures: guardian signatures checked, None when the update was verified in full.
        feed_id: 32 bytes.
        price, conf: the price and its confidence interval, times 10^`exponent`; `ema_*` their averages.
        publish_time, prev_publish_time: seconds.
        posted_slot: when it was written.
        tail: the bytes behind, which mean nothing.
    """

    write_authority: Pubkey
    signatures: int | None
    feed_id: bytes
    price: int
    conf: int
    exponent: int
    publish_time: int
    prev_publish_time: int
    ema_price: int
    ema_conf: int
    posted_slot: int
    tail: bytes = b"\x00"

    def ratio(self) -> tuple[int, int]:
        """The price as an exact ratio: (quote units, base units), whole units such as dollars for one SOL.

        Raises:
            DecodeError: the price is not positive or its exponent is beyond reason.
        """
        return self._exact(self.price)

    def conf_ratio(self) -> tuple[int, int]:
        """The confidence interval, exact and in the same units; 0 where there is none.

        Raises:
            DecodeError: the exponent is beyond reason.
        """
        return self._exact(self.conf) if self.conf else (0, 1)

    def _exact(self, value: int) -> tuple[int, int]:
        if value <= 0 or abs(self.exponent) > MAX_EXPONENT:
            raise DecodeError(
                f"reading Pyth feed {self.feed_id.hex()}: {value} * 10^{self.exponent} is no price; "
                "do not trade by this feed"
            )
        power = 10 ** abs(self.exponent)
        return (value * power, 1) if self.exponent > 0 else (value, power)


def decode_price_update(data: bytes, owner: Pubkey) -> PriceUpdate:
    """Read a price update account (134 bytes).

    Raises:
        DecodeError: owner, length or discriminator are not a price update's, or its verification is unknown.
    """
    check_owner("Pyth price update", owner, (RECEIVER_ID,))
    check_data("Pyth price update", data, LENGTH, DISCRIMINATOR)
    _, authority = _AUTHORITY.unpack_from(data)
    level = data[_AUTHORITY.size]
    if level not in (_PARTIAL, _FULL):
        raise DecodeError(f"decoding a Pyth price update: verification {level} is unknown, expected 0 or 1")
    at = _AUTHORITY.size + (1 if level == _FULL else 2)
    signatures = None if level == _FULL else data[at - 1]
    values: list[Any] = [*_MESSAGE.unpack_from(data, at), bytes(data[at + _MESSAGE.size :])]
    return PriceUpdate(Pubkey(authority), signatures, *values)


def encode_price_update(update: PriceUpdate) -> bytes:
    """Write a price update account; `decode_price_update` gives it back."""
    level = bytes([_FULL]) if update.signatures is None else bytes([_PARTIAL, update.signatures])
    message = _MESSAGE.pack(
        update.feed_id,
        update.price,
        update.conf,
        update.exponent,
        update.publish_time,
        update.prev_publish_time,
        update.ema_price,
        update.ema_conf,
        update.posted_slot,
    )
    data = _AUTHORITY.pack(DISCRIMINATOR, bytes(update.write_authority)) + level + message
    return (data + update.tail).ljust(LENGTH, b"\x00")[:LENGTH]


def feed_address(feed_id: bytes, shard: int = 0) -> Pubkey:
    """Derive the address of a sponsored feed's price update."""
    return Pubkey.find_program_address([shard.to_bytes(2, "little"), feed_id], PUSH_ORACLE_ID)[0]
