"""Events of the `eventsourcing` library that are none of ours: any topic, any bytes, yet JSON in the row.

Their rows have type `library.<topic>`. The data is an object: `json` holds a state that is JSON, exactly as
it came; `base64` any other (compressed, encrypted); `first` the version of the sequence's first event where
that is not 1. So the view `events_json` shows every row, and no name of theirs can be mistaken for ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import msgspec
from msgspec import UNSET, UnsetType

PREFIX: Final = "library."
"""Of the types of their rows."""


@dataclass(frozen=True, slots=True)
class ForeignEvent:
    """What a reader of the log gets for such a row.

    Attributes:
        topic: as the library knows it.
        state: as its mapper made it.
        first: the version its sequence began with; the row's version counts from 1.
    """

    topic: str
    state: bytes
    first: int = 1


class _Packed(msgspec.Struct, omit_defaults=True, forbid_unknown_fields=True):
    json: msgspec.Raw | UnsetType = UNSET
    base64: bytes | UnsetType = UNSET
    first: int = 1


_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(_Packed).decode


def pack(state: bytes, first: int) -> bytes:
    """A state as the data of a row."""
    if b"\\u" not in state:  # an escape may name a character that PostgreSQL's jsonb cannot hold
        packed = _encode(_Packed(json=msgspec.Raw(state), first=first))
        try:
            if _state(packed) == state and state.decode():
                return packed
        except (msgspec.MsgspecError, UnicodeDecodeError):
            pass  # not JSON, then
    return _encode(_Packed(base64=state, first=first))


def unpack(topic: str, data: bytes) -> ForeignEvent:
    """The event of a row.

    Args:
        topic: the row's type, with the prefix.
        data: the row's data.

    Raises:
        msgspec.MsgspecError: the data was not made by `pack`.
    """
    return ForeignEvent(topic.removeprefix(PREFIX), _state(data), _decode(data).first)


def _state(data: bytes) -> bytes:
    packed = _decode(data)
    if isinstance(packed.base64, bytes):
        return packed.base64
    if isinstance(packed.json, msgspec.Raw):
        return bytes(packed.json)
    raise msgspec.ValidationError("neither `json` nor `base64` is there")
