"""The rows of an append in PostgreSQL's own binary form, made in one pass.

asyncpg would look into every field of every row to find out how to send it, which costs more than all the
rest of an append. These are its formats: `array_recv` and `record_recv` for a statement's array of rows, and
the binary format of COPY (PostgreSQL documentation, "COPY", "File Formats").
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from struct import Struct
from typing import Final, TypeAlias

import asyncpg

from adapters.postgres.batch import Accepted
from adapters.postgres.chaining import Chained
from adapters.postgres.rows import KNOWN_NAMES, EncodedAppend

INT8: Final = 20
INT4: Final = 23
TEXT: Final = 25
BYTEA: Final = 17
UUID: Final = 2950
"""The types' numbers are the same on every server."""

COPY_BEGIN: Final = b"PGCOPY\n\xff\r\n\x00" + bytes(8)
COPY_END: Final = b"\xff\xff"
COPY_COLUMNS: Final = (
    "position", "version", "event_id", "hash", "data", "type", "schema_version", "category", "stream",
    "recorded_at", "causation_id", "correlation_id", "actor", "slot",
)  # fmt: skip

_FIELDS: Final = 13
_ROW: Final = Struct("!iIIiqIiqIi16sIi32sIi")
_COPIED: Final = Struct("!hiqiqi16si32si")
_COPIED_LENGTH: Final = len(COPY_COLUMNS)
_APPEND: Final = Struct("!iIIi16sIiqIiq")
_ARRAY: Final = Struct("!iiIii")
_TYPED: Final = Struct("!Ii")
_LENGTH: Final = Struct("!i")
_INT8: Final = Struct("!q")
_INT4: Final = Struct("!i")

_Field: TypeAlias = Callable[[int, bytes | None], bytes]


async def speak(connection: asyncpg.Connection[asyncpg.Record]) -> RowArrays:
    """Let a connection send arrays of rows and of append ids as the bytes made here.

    asyncpg takes codecs for base types alone, though its settings know them for any type; it is they that
    are asked.
    """
    oids = await connection.fetchrow(
        "SELECT 'new_event'::regtype::oid, 'new_event[]'::regtype::oid, 'appends'::regtype::oid, "
        "'appends[]'::regtype::oid"
    )
    assert oids is not None  # noqa: S101 - a SELECT without FROM gives one row
    event, events, append, appends = oids
    settings = connection._protocol.get_settings()  # type: ignore[attr-defined] # noqa: SLF001 - see above
    for oid, name in ((events, "_new_event"), (appends, "_appends")):
        settings.add_python_codec(oid, name, "public", [], "scalar", bytes, bytes, "binary")
    return RowArrays(event, append)


class RowArrays:
    """A statement's arrays of rows; the types' numbers are the database's own."""

    def __init__(self, event_type: int, append_type: int) -> None:
        self._event_type = event_type
        self._append_type = append_type

    def events(self, chained: Sequence[Chained]) -> bytes:
        """`new_event[]`: the rows of a batch."""
        parts = [b""]
        count = 0
        for append, links in chained:
            count += len(links)
            shared = _shared(append, _typed)
            for position, version, id_, hash_, topic, class_version, data in links:
                kind = _kind(topic, class_version)
                size = _ROW.size - 4 + len(data) + len(kind) + len(shared)
                head = _ROW.pack(
                    size, _FIELDS, INT8, 8, position, INT8, 8, version, UUID, 16, id_, BYTEA, 32, hash_,
                    BYTEA, len(data),
                )  # fmt: skip
                parts += (head, data, kind, shared)
        parts[0] = _ARRAY.pack(1, 0, self._event_type, count, 1)
        return b"".join(parts)

    def appends(self, accepted: Sequence[Accepted]) -> bytes:
        """`appends[]`: each append's id and positions."""
        parts = [_ARRAY.pack(1, 0, self._append_type, len(accepted), 1)]
        parts += [
            _APPEND.pack(
                _APPEND.size - 4, 3, UUID, 16, request.append_id.bytes, INT8, 8, first, INT8, 8, last
            )
            for request, first, last in accepted
        ]
        return b"".join(parts)


def copied(chained: Iterable[Chained]) -> bytes:
    """Rows for `COPY events (COPY_COLUMNS)`, without beginning and end."""
    parts: list[bytes] = []
    for append, links in chained:
        shared = _shared(append, _plain)
        for position, version, id_, hash_, topic, class_version, data in links:
            head = _COPIED.pack(_COPIED_LENGTH, 8, position, 8, version, 16, id_, 32, hash_, len(data))
            parts += (head, data, _copied_kind(topic, class_version), shared)
    return b"".join(parts)


def _shared(append: EncodedAppend, field: _Field) -> bytes:
    """What all events of an append have in common: stream, time, cause, actor and slot."""
    stream, _, _, cause, recorded_at, slot = append
    leader = cause.causation_id
    fields = (
        field(TEXT, stream.encode()),
        field(INT8, _INT8.pack(recorded_at)),
        field(UUID, None if leader is None else leader.bytes),
        field(UUID, cause.correlation_id.bytes),
        _actor(cause.actor, field),
        field(INT8, None if slot is None else _INT8.pack(slot)),
    )
    return b"".join(fields)


@lru_cache(KNOWN_NAMES)
def _actor(actor: str, field: _Field) -> bytes:
    return field(TEXT, actor.encode())


@lru_cache(KNOWN_NAMES)
def _kind(topic: str, class_version: int) -> bytes:
    return _typed(TEXT, topic.encode()) + _typed(INT4, _INT4.pack(class_version))


@lru_cache(KNOWN_NAMES)
def _copied_kind(topic: str, class_version: int) -> bytes:
    category = b"market" if topic.startswith("market.") else b"domain"
    fields = topic.encode(), _INT4.pack(class_version), category
    return b"".join(_plain(TEXT, field) for field in fields)


def _typed(oid: int, value: bytes | None) -> bytes:
    """A field of a row in an array: its type and length before it."""
    return _TYPED.pack(oid, -1) if value is None else _TYPED.pack(oid, len(value)) + value


def _plain(_oid: int, value: bytes | None) -> bytes:
    """A field of a copied row: its length before it."""
    return _LENGTH.pack(-1) if value is None else _LENGTH.pack(len(value)) + value
