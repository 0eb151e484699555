"""Where a page ended, as an opaque text that is parsed strictly when it comes back."""

from __future__ import annotations

import base64
import binascii
from typing import Final

from domain.errors import InvalidInput

_BIGGEST: Final = 2**63 - 1


def encode(kind: str, *numbers: int) -> str:
    """A cursor of a kind, e.g. `encode("trades", placed_at, position)`."""
    text = ":".join((kind, *map(str, numbers)))
    return base64.urlsafe_b64encode(text.encode()).rstrip(b"=").decode()


def decode(kind: str, cursor: str, length: int) -> tuple[int, ...]:
    """The numbers of a cursor of this kind.

    Raises:
        InvalidInput: it is not exactly what `encode` makes for this kind.
    """
    try:
        text = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode("ascii")
        found, *parts = text.split(":")
        numbers = tuple(int(part) for part in parts if part.isdecimal())
    except (binascii.Error, ValueError):
        found, numbers = "", ()
    if found != kind or len(numbers) != length or max(numbers) > _BIGGEST or encode(kind, *numbers) != cursor:
        raise InvalidInput(
            f"`after` is {cursor[:80]!r}, which is no cursor of {kind}: use the endCursor of a former page, "
            "or leave it out"
        )
    return numbers
