"""What a read model is made of: tables, rows, and the rows of one batch."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from domain.errors import InvalidInput

Row = dict[str, Any]
"""Column name to value: int, str, bool, bytes, None, or a JSON-able list/dict where the column says so."""

Key = tuple[Any, ...]
"""The values of a table's key columns, in order. In `Projection.keys` a shorter one names every row whose key
begins with it: an event seldom knows the whole key of each row it touches."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a read model.

    Attributes:
        name: its name.
        kind: `bigint`, `numeric` (whole numbers of any size), `text`, `boolean`, `json`.
        nullable: whether it may be empty.
    """

    name: str
    kind: str
    nullable: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """A table of a read model.

    Attributes:
        name: its name.
        columns: all of them.
        key: names of the key columns.
        indexes: column lists to index for the queries.
    """

    name: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    indexes: tuple[tuple[str, ...], ...] = ()

    def column(self, name: str) -> Column:
        """The column of that name.

        Raises:
            InvalidInput: there is none.
        """
        for column in self.columns:
            if column.name == name:
                return column
        known = ", ".join(column.name for column in self.columns)
        raise InvalidInput(f"table {self.name!r} has no column {name!r}: it has {known}")


@dataclass(slots=True)
class Rows:
    """The rows of one batch: those fetched for it, and those it changed. Keys are (table name, key)."""

    fetched: dict[tuple[str, Key], Row] = field(default_factory=dict)
    changed: dict[tuple[str, Key], Row] = field(default_factory=dict)

    def get(self, table: str, key: Key) -> Row | None:
        """The row as it stands after what this batch has folded so far."""
        found = self.changed.get((table, key))
        return self.fetched.get((table, key)) if found is None else found

    def own(self, table: str, key: Key) -> Row | None:
        """The row as `get` gives it, to be changed in place: a copy, made once for the batch.

        What the row holds is replaced, not changed.
        """
        row = self.changed.get((table, key))
        if row is None:
            fetched = self.fetched.get((table, key))
            if fetched is None:
                return None
            row = self.changed[(table, key)] = fetched.copy()
        return row

    def put(self, table: str, key: Key, row: Row) -> None:
        """Write the whole row, key columns included."""
        self.changed[(table, key)] = row
