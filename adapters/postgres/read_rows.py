"""Rows of read models on their way to and from PostgreSQL, exact and cheap."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, Final

import asyncpg
import msgspec

from projections.ports import Row, Table

_decode: Final = msgspec.json.Decoder().decode
_encode: Final = msgspec.json.Encoder().encode


def row_of(table: Table, record: asyncpg.Record) -> Row:
    """A row as the fold knows it: whole numbers of any size are int, JSON is what it says."""
    row = {column.name: record[column.name] for column in table.columns}
    for name, read in _readers(table):
        if row[name] is not None:
            row[name] = read(row[name])
    return row


@lru_cache(maxsize=256)
def _readers(table: Table) -> tuple[tuple[str, Callable[[Any], Any]], ...]:
    """What columns need that do not arrive as they are; the driver's Decimal and text both become int."""
    kinds: dict[str, Callable[[Any], Any]] = {"numeric": int, "json": _decode}
    return tuple((column.name, kinds[column.kind]) for column in table.columns if column.kind in kinds)


def arrays_of(table: Table, rows: Sequence[Row]) -> list[list[Any]]:
    """One array for each column; numbers of any size and JSON travel as text."""
    return [_array(column.name, column.kind, rows) for column in table.columns]


def _array(name: str, kind: str, rows: Sequence[Row]) -> list[Any]:
    values = [row[name] for row in rows]
    if kind == "json":
        return [_encode(value).decode() for value in values]
    if kind == "numeric":
        return [None if value is None else str(value) for value in values]
    return values
