"""Accounts decoded once: nothing but the same bytes of the same owner is taken for known."""

from __future__ import annotations

import pytest
from solders.pubkey import Pubkey

from adapters.solana.programs.remembered import REMEMBERED, WORTH_IT, remembered
from domain.errors import DecodeError

OWNER, OTHER = Pubkey(bytes([1] * 32)), Pubkey(bytes([2] * 32))
LONG = bytes(WORTH_IT + 1)


class Counter:
    """A decoder that counts; it refuses whatever `OTHER` owns."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, data: bytes, owner: Pubkey) -> tuple[bytes, Pubkey]:
        self.calls += 1
        if owner == OTHER:
            raise DecodeError("decoding a thing: not ours")
        return data, owner


def test_the_same_bytes_are_decoded_once_and_others_anew() -> None:
    decode = Counter()
    first = remembered(decode, LONG, OWNER)
    assert remembered(decode, bytes(bytearray(LONG)), OWNER) is first
    assert remembered(decode, LONG + b"\x01", OWNER) == (LONG + b"\x01", OWNER)
    assert decode.calls == 2


def test_another_decoder_is_not_given_the_first_ones_answer() -> None:
    one, other = Counter(), Counter()
    remembered(one, LONG, OWNER)
    remembered(other, LONG, OWNER)
    assert other.calls == 1


def test_an_owner_that_is_refused_stays_refused() -> None:
    decode = Counter()
    remembered(decode, LONG, OWNER)
    for _ in range(2):
        with pytest.raises(DecodeError, match="not ours"):
            remembered(decode, LONG, OTHER)
    assert decode.calls == 3


def test_what_was_not_asked_for_long_enough_is_forgotten() -> None:
    decode = Counter()
    for number in (*range(REMEMBERED + 1), 0):
        remembered(decode, LONG + number.to_bytes(4, "little"), OWNER)
    assert decode.calls == REMEMBERED + 2
