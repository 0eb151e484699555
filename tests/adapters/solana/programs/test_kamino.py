"""Kamino bytes: flash instructions as the SDK builds them, reserves where the program keeps their fields."""

from __future__ import annotations

from dataclasses import replace
from struct import calcsize
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st
from solders.pubkey import Pubkey

from adapters.solana.programs import kamino
from domain.errors import DecodeError

KEYS: Final = [Pubkey(bytes([number]) * 32) for number in range(1, 7)]
RESERVE: Final = kamino.new_reserve(*KEYS[:4], available=23_000_000, flash_loan_rate=11_529_215_046_068)
DATA: Final = kamino.encode_reserve(RESERVE)

LIQUIDITY = "32s32s32sQ16s16s4Q48s16s16s16s16s32sQ400s512s"
COLLATERAL = "32sQ32s512s512s"
PRICING = "32s3Q3Q32s4H4H32s32s32sB7s152s"
FEES = "QQ8s"
CONFIG = "BBHHBBBB3s5B3HQQ" + FEES + "22I3Q" + PRICING + "qqQQqqQQ20s4BQ32Q5Q"
"""The structs of klend's published source, field for field in their order."""


def test_the_offsets_are_the_sums_of_the_programs_structs() -> None:
    head = calcsize("<8sQ16s32s32s32s")
    config = head + calcsize("<" + LIQUIDITY + "1200s" + COLLATERAL + "1200s")
    assert calcsize("<" + CONFIG) == 952
    assert config + calcsize("<" + CONFIG + "896sQ32Q3Q1632s") == kamino.RESERVE_LENGTH
    assert head == DATA.index(bytes(KEYS[1]))
    assert head + calcsize("<32s32s32s") == DATA.index((23_000_000).to_bytes(8, "little"))
    assert DATA.index((11_529_215_046_068).to_bytes(8, "little")) == config + calcsize("<BBHHBBBB3s5B3HQQQ")
    assert kamino.encode_reserve(replace(RESERVE, status=2))[config] == 2
    assert DATA.index(bytes(RESERVE.token_program)) == head + calcsize("<32s32s32sQ16s16s4Q48s16s16s16s16s")


@given(data=st.binary(min_size=1, max_size=400), at=st.integers(16, kamino.RESERVE_LENGTH - 1))
def test_a_reserve_decodes_and_encodes_back_with_every_byte_we_do_not_know(data: bytes, at: int) -> None:
    whole = (DATA[:at] + data + DATA[at + len(data) :])[: len(DATA)]
    assert kamino.encode_reserve(kamino.decode_reserve(whole, kamino.PROGRAM_ID)) == whole


def test_a_reserve_names_the_accounts_of_its_loans() -> None:
    found = kamino.decode_reserve(DATA, kamino.PROGRAM_ID)
    assert found == RESERVE
    accounts = kamino.flash_accounts(KEYS[4], found, KEYS[5], KEYS[0])
    keys = [meta.pubkey for meta in kamino.flash_repay(accounts, 5, 2).accounts]
    assert kamino.decode_flash_accounts(keys) == accounts
    referred = replace(accounts, referrer_state=KEYS[2], referrer=KEYS[3])
    metas = kamino.flash_borrow(referred, 5).accounts
    assert [meta.is_writable for meta in metas[8:10]] == [True, True]
    assert kamino.decode_flash_accounts([meta.pubkey for meta in metas]) == referred


def test_what_is_no_reserve_or_no_flash_loan_is_refused_in_a_sentence() -> None:
    with pytest.raises(DecodeError, match="is owned by 1111"):
        kamino.decode_reserve(DATA, Pubkey.default())
    with pytest.raises(DecodeError, match="found 8623 bytes, expected 8624"):
        kamino.decode_reserve(DATA[:-1], kamino.PROGRAM_ID)
    with pytest.raises(DecodeError, match="it starts with 0000000000000000"):
        kamino.decode_reserve(bytes(8) + DATA[8:], kamino.PROGRAM_ID)
    with pytest.raises(DecodeError, match="version 2 is unknown"):
        kamino.decode_reserve(DATA[:8] + b"\x02" + DATA[9:], kamino.PROGRAM_ID)
    with pytest.raises(DecodeError, match="which is no Kamino flash loan"):
        kamino.decode_flash(b"12345678")
    with pytest.raises(DecodeError, match="found 16 bytes, expected 17"):
        kamino.decode_flash(kamino.FLASH_REPAY + bytes(8))
    with pytest.raises(DecodeError, match="found 11 accounts, expected 12"):
        kamino.decode_flash_accounts([KEYS[0]] * 11)
    with pytest.raises(DecodeError, match="are not those of market"):
        kamino.decode_flash_accounts([KEYS[0]] * 12)


@given(data=st.binary(max_size=200), at=st.integers(0, 8_623), keep=st.booleans())
def test_malformed_bytes_raise_nothing_but_decode_errors(data: bytes, at: int, keep: bool) -> None:
    spoilt = (DATA[:at] + data + DATA[at + len(data) :])[: len(DATA)] if keep else data
    for decode in (
        lambda raw: kamino.decode_reserve(raw, kamino.PROGRAM_ID),
        lambda raw: kamino.decode_flash(kamino.FLASH_BORROW + raw),
        lambda raw: kamino.decode_flash(kamino.FLASH_REPAY + raw),
        kamino.decode_flash,
    ):
        try:
            decode(spoilt)
        except DecodeError:
            continue
