"""The length of a base58 text: held against the library that signs."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from solders.pubkey import Pubkey
from solders.signature import Signature

from domain.base58 import bytes_in


@given(st.binary(min_size=64, max_size=64))
def test_every_signature_is_64_bytes(raw: bytes) -> None:
    assert bytes_in(str(Signature.from_bytes(raw))) == 64


@given(st.binary(max_size=31).map(lambda raw: bytes(32 - len(raw)) + raw))
def test_leading_zeros_are_counted(raw: bytes) -> None:
    assert bytes_in(str(Pubkey(raw))) == 32


@pytest.mark.parametrize("text", ["", "0", "O", "I", "l", "abc ", "ä", "1" * 129])
def test_what_is_no_base58_has_no_length(text: str) -> None:
    assert bytes_in(text) is None
