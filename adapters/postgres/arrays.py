"""Arrays of parameters in PostgreSQL's own binary form, each made in one pass.

asyncpg asks of every element whether it is an array itself, by way of two abstract base classes: that costs
more than all the rest of a read model's write. These are the formats of `array_recv` for one dimension.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain, repeat
from struct import Struct
from typing import Any, Final

import asyncpg

_HEAD: Final = Struct("!iiIii")
_EMPTY: Final = Struct("!iiI")
_NULL: Final = Struct("!i").pack(-1)
_length: Final = Struct("!i").pack
_int8: Final = Struct("!iq").pack
_BOOLS: Final = {True: b"\0\0\0\1\1", False: b"\0\0\0\1\0", None: _NULL}

_BOOL, _INT8, _TEXT = 16, 20, 25
"""The types' numbers are the same on every server."""


async def speak(connection: asyncpg.Connection[asyncpg.Record]) -> None:
    """Let a connection send lists of text, whole numbers and truths as the bytes made here.

    asyncpg takes codecs for base types alone, though its settings know them for any type; it is they that
    are asked.
    """
    settings = connection._protocol.get_settings()  # type: ignore[attr-defined] # noqa: SLF001 - see above
    for oid, name, element, write in _ARRAYS:
        settings.add_python_codec(
            oid, name, "pg_catalog", [], "scalar", _encoder(element, write), bytes, "binary"
        )


def _encoder(element: int, write: Callable[[Sequence[Any]], bytes]) -> Callable[[Sequence[Any]], bytes]:
    def encode(values: Sequence[Any]) -> bytes:
        if not values:
            return _EMPTY.pack(0, 0, element)
        try:
            data = write(values)
        except (AttributeError, KeyError) as error:
            raise TypeError(f"a value does not fit its column: {error}") from error
        return _HEAD.pack(1, None in values, element, len(values), 1) + data

    return encode


def _texts(values: Sequence[str | None]) -> bytes:
    if None in values:
        data = [None if value is None else value.encode() for value in values]
        return b"".join([_NULL if text is None else _length(len(text)) + text for text in data])
    texts = [value.encode() for value in values if value is not None]
    return b"".join(chain.from_iterable(zip(map(_length, map(len, texts)), texts, strict=True)))


def _ints(values: Sequence[int | None]) -> bytes:
    if None in values:
        return b"".join([_NULL if value is None else _int8(8, value) for value in values])
    return b"".join(map(_int8, repeat(8), values))


def _bools(values: Sequence[bool | None]) -> bytes:
    return b"".join([_BOOLS[value] for value in values])


_ARRAYS: Final = (
    (1_000, "_bool", _BOOL, _bools),
    (1_016, "_int8", _INT8, _ints),
    (1_009, "_text", _TEXT, _texts),
)
