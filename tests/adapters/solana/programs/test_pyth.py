"""Pyth price updates: read where a partial verification moves everything by a byte, written back, refused."""

from __future__ import annotations

from base64 import b64decode
from dataclasses import replace
from fractions import Fraction
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st
from solders.pubkey import Pubkey
from vector_accounts import vector_pools

from adapters.solana.programs import pyth
from domain.errors import DecodeError

SAMPLES: Final = [b64decode(pool["data"]) for pool in vector_pools("pyth_price_update_v2")]
FULL: Final = next(data for data in SAMPLES if data[40] == 1)
PARTIAL: Final = next(data for data in SAMPLES if data[40] == 0)
UPDATE: Final = pyth.decode_price_update(FULL, pyth.RECEIVER_ID)
I64, U64 = st.integers(-(2**63), 2**63 - 1), st.integers(0, 2**64 - 1)


def test_a_partial_verification_moves_what_follows_by_one_byte() -> None:
    part = pyth.decode_price_update(PARTIAL, pyth.RECEIVER_ID)
    assert (UPDATE.signatures, part.signatures) == (None, 1)
    assert (UPDATE.tail, part.tail) == (FULL[133:], b"")
    moved = pyth.encode_price_update(replace(UPDATE, signatures=5, tail=b""))
    assert moved[40:42] == b"\x00\x05"
    assert moved[42:] == FULL[41:133]


@given(
    signatures=st.none() | st.integers(0, 255),
    price=I64,
    conf=U64,
    exponent=st.integers(-(2**31), 2**31 - 1),
    times=st.tuples(I64, I64),
    ema=st.tuples(I64, U64),
    slot=U64,
)
def test_decoding_what_was_encoded_gives_it_back(
    signatures: int | None,
    price: int,
    conf: int,
    exponent: int,
    times: tuple[int, int],
    ema: tuple[int, int],
    slot: int,
) -> None:
    update = pyth.PriceUpdate(
        pyth.PUSH_ORACLE_ID, signatures, bytes(range(32)), price, conf, exponent, *times, *ema, slot
    )
    update = replace(update, tail=b"\x00" if signatures is None else b"")
    assert pyth.decode_price_update(pyth.encode_price_update(update), pyth.RECEIVER_ID) == update


@pytest.mark.parametrize(
    ("price", "exponent", "worth"),
    [(14_512_345_678, -8, Fraction(14_512_345_678, 10**8)), (7, 0, Fraction(7)), (25, 2, Fraction(2_500))],
)
def test_a_price_is_an_exact_ratio(price: int, exponent: int, worth: Fraction) -> None:
    update = replace(UPDATE, price=price, conf=price, exponent=exponent)
    assert Fraction(*update.ratio()) == Fraction(*update.conf_ratio()) == worth


def test_what_is_no_price_is_refused_in_a_sentence() -> None:
    for price, exponent in ((0, -8), (-1, -8), (1, 31), (1, -(2**31))):
        with pytest.raises(DecodeError, match="is no price; do not trade by this feed"):
            replace(UPDATE, price=price, exponent=exponent).ratio()
    assert replace(UPDATE, conf=0).conf_ratio() == (0, 1)


def test_wrong_owner_length_type_and_verification_are_refused() -> None:
    with pytest.raises(DecodeError, match="is owned by 1111"):
        pyth.decode_price_update(FULL, Pubkey.default())
    with pytest.raises(DecodeError, match="found 133 bytes, expected 134"):
        pyth.decode_price_update(FULL[:-1], pyth.RECEIVER_ID)
    with pytest.raises(DecodeError, match="it starts with 0000000000000000"):
        pyth.decode_price_update(bytes(8) + FULL[8:], pyth.RECEIVER_ID)
    with pytest.raises(DecodeError, match="verification 2 is unknown"):
        pyth.decode_price_update(FULL[:40] + b"\x02" + FULL[41:], pyth.RECEIVER_ID)


def test_the_sponsored_sol_feed_is_where_pyth_publishes_it() -> None:
    """Shard 0 of SOL/USD, as Pyth's documentation lists it."""
    feed = bytes.fromhex("ef0d8b6fda2ceba41da15d4095d1da392a0d2f8ed0c6c7bc0f4cfac8c280b56d")
    assert str(pyth.feed_address(feed)) == "7UVimffxr9ow1uXYxsr4LHAcV58mLzhmwaeKvJ1pjLiE"


@given(data=st.binary(max_size=134), at=st.integers(0, 133), keep=st.booleans())
def test_malformed_accounts_raise_nothing_but_decode_errors(data: bytes, at: int, keep: bool) -> None:
    for sample in (FULL, PARTIAL):
        spoilt = (sample[:at] + data + sample[at + len(data) :])[:134] if keep else data
        try:
            update = pyth.decode_price_update(spoilt, pyth.RECEIVER_ID)
            assert pyth.encode_price_update(update) == spoilt
            update.ratio()
        except DecodeError:
            continue
