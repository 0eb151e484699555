"""The rows of an append in PostgreSQL's own binary form, made in one pass.

asyncpg would look into every field of every row to find out how to send it, which costs more than all the
rest of an append. These are its formats: `array_recv` and `record_recv` for a statement's array of rows, and
the binary format of COPY (PostgreSQL documentation, "COPY", "File Formats").
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from struct import Struct
from typing import Final

import asyncpg

from adapters.postgres.batch import Accepted
from adapters.postgres.chaining import Link, Shared
from adapters.postgres.rows import KNOWN_NAMES

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
_ROW_REST: Final = _ROW.size - 4
_pack_row: Final = _ROW.pack
_pack_copied: Final = Struct("!hiqiqi16si32si").pack
_COPIED_LENGTH: Final = len(COPY_COLUMNS)
_APPEND: Final = Struct("!iIIi16sIiqIiq")
_APPEND_REST: Final = _APPEND.size - 4
_pack_append: Final = _APPEND.pack
_TYPED_STORY: Final = Struct("!IiqIiIi16sIi")
_TYPED_LED: Final = Struct("!IiqIi16sIi16sIi")
_TYPED_INT8: Final = Struct("!Iiq")
_ARRAY: Final = Struct("!iiIii")
_TYPED: Final = Struct("!Ii")
_LENGTH: Final = Struct("!i")
_INT8: Final = Struct("!q")
_INT4: Final = Struct("!i")


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

    def events(self, links: Sequence[Link]) -> bytes:
        """`new_event[]`: the rows of a batch."""
        parts = [_ARRAY.pack(1, 0, self._event_type, len(links), 1)]
        current, shared = None, b""
        for of, position, version, id_, hash_, topic, class_version, data in links:
            if of is not current:
                current, shared = of, _typed_shared(of)
            kind = _kind(topic, class_version)
            size = _ROW_REST + len(data) + len(kind) + len(shared)
            head = _pack_row(
                size, _FIELDS, INT8, 8, position, INT8, 8, version, UUID, 16, id_, BYTEA, 32, hash_, BYTEA,
                len(data),
            )  # fmt: skip
            parts += (head, data, kind, shared)
        return b"".join(parts)

    def appends(self, accepted: Sequence[Accepted]) -> bytes:
        """`appends[]`: each append's id and positions."""
        parts = [_ARRAY.pack(1, 0, self._append_type, len(accepted), 1)]
        parts += [
            _pack_append(_APPEND_REST, 3, UUID, 16, request.append_id, INT8, 8, first, INT8, 8, last)
            for request, first, last in accepted
        ]
        return b"".join(parts)


def copied(links: Iterable[Link]) -> bytes:
    """Rows for `COPY events (COPY_COLUMNS)`, without beginning and end."""
    parts: list[bytes] = []
    current, shared = None, b""
    for of, position, version, id_, hash_, topic, class_version, data in links:
        if of is not current:
            current, shared = of, _plain_shared(of)
        head = _pack_copied(_COPIED_LENGTH, 8, position, 8, version, 16, id_, 32, hash_, len(data))
        parts += (head, data, _copied_kind(topic, class_version), shared)
    return b"".join(parts)


def _typed_shared(shared: Shared) -> bytes:
    """What all events of an append have in common, as fields of a row in an array: stream to slot."""
    append, stream, actor, story, leader = shared
    recorded_at, slot = append[4], append[5]
    return b"".join(
        (
            _TYPED.pack(TEXT, len(stream)), stream,
            _TYPED_STORY.pack(INT8, 8, recorded_at, UUID, -1, UUID, 16, story, TEXT, len(actor))
            if leader is None
            else _TYPED_LED.pack(INT8, 8, recorded_at, UUID, 16, leader, UUID, 16, story, TEXT, len(actor)),
            actor,
            _TYPED.pack(INT8, -1) if slot is None else _TYPED_INT8.pack(INT8, 8, slot),
        )
    )  # fmt: skip


def _plain_shared(shared: Shared) -> bytes:
    """The same, as fields of a copied row."""
    append, stream, actor, story, leader = shared
    recorded_at, slot = append[4], append[5]
    return b"".join(
        (
            _plain(stream), _plain(_INT8.pack(recorded_at)), _plain(leader), _plain(story), _plain(actor),
            _plain(None if slot is None else _INT8.pack(slot)),
        )
    )  # fmt: skip


@lru_cache(KNOWN_NAMES)
def _kind(topic: str, class_version: int) -> bytes:
    return _typed(TEXT, topic.encode()) + _typed(INT4, _INT4.pack(class_version))


@lru_cache(KNOWN_NAMES)
def _copied_kind(topic: str, class_version: int) -> bytes:
    category = b"market" if topic.startswith("market.") else b"domain"
    fields = topic.encode(), _INT4.pack(class_version), category
    return b"".join(_plain(field) for field in fields)


def _typed(oid: int, value: bytes) -> bytes:
    """A field of a row in an array: its type and length before it."""
    return _TYPED.pack(oid, len(value)) + value


def _plain(value: bytes | None) -> bytes:
    """A field of a copied row: its length before it."""
    return _LENGTH.pack(-1) if value is None else _LENGTH.pack(len(value)) + value
