"""How long a base58 text is in bytes: enough to tell a signature from a slip of the keyboard."""

from __future__ import annotations

from typing import Final

ALPHABET: Final = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"

MAX_CHARACTERS: Final = 128
"""Longer than any key or signature; decoding takes time that grows with the square."""


def bytes_in(text: str) -> int | None:
    """The number of bytes that a base58 text stands for; none where it is no base58, or too long."""
    if not text or len(text) > MAX_CHARACTERS or any(each not in ALPHABET for each in text):
        return None
    digits = text.lstrip("1")  # each leading 1 is a zero byte
    number = 0
    for each in digits:
        number = number * 58 + ALPHABET.index(each)
    return len(text) - len(digits) + (number.bit_length() + 7) // 8
