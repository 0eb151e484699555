"""The SQL of the read store: schema objects, set-based reads and writes, keyset queries. Text only, no I/O.

Names come from the projections' own tables and are checked; values always travel as parameters.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from domain.errors import InvalidInput
from projections.ports import Column, Condition, Projection, Table, check_order

BOOKKEEPING: Final = """
create schema if not exists daybook_read;
create table if not exists daybook_read.read_models (
    name text not null,
    version bigint not null,
    checkpoint bigint not null default 0,
    live boolean not null,
    shape text not null,
    primary key (name, version)
);
create unique index if not exists one_live_version on daybook_read.read_models (name) where live;
create table if not exists daybook_read.dead_letters (
    name text not null,
    version bigint not null,
    position bigint not null,
    topic text not null,
    stream text not null,
    error text not null,
    attempts bigint not null,
    set_aside_at timestamptz not null default now(),
    primary key (name, version, position)
);
"""

_TYPES: Final = {
    "bigint": "bigint",
    "numeric": "numeric",
    "text": "text",
    "boolean": "boolean",
    "json": "jsonb",
}
_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,48}")


def schema_of(projection: Projection) -> str:
    """The schema that holds this version's tables, e.g. `rm_pnl_v1`."""
    return f"rm_{_checked(projection.name)}_v{projection.version}"


def qualified(projection: Projection, table: Table) -> str:
    """A table's full name."""
    return f'{schema_of(projection)}."{_checked(table.name)}"'


def shape_of(projection: Projection) -> str:
    """The tables written out: another shape under the same version is a mistake to be found."""
    return "\n".join(_create_table(projection, table) for table in projection.tables)


def create_tables(projection: Projection) -> str:
    """Statements that create the version's schema, tables and indexes where they are missing."""
    statements = [f"create schema if not exists {schema_of(projection)}"]
    for table in projection.tables:
        statements.append(_create_table(projection, table))
        statements += [_create_index(projection, table, names) for names in table.indexes]
    return ";\n".join(statements)


def _create_table(projection: Projection, table: Table) -> str:
    lines = [_column(column) for column in table.columns]
    lines.append(f"primary key ({_names(table.key)})")
    return f"create table if not exists {qualified(projection, table)} ({', '.join(lines)})"


def _column(column: Column) -> str:
    # text is ordered by its bytes on every server, as it is in memory
    collation = ' collate "C"' if column.kind == "text" else ""
    return (
        f'"{_checked(column.name)}" {_TYPES[column.kind]}{collation}{"" if column.nullable else " not null"}'
    )


def _create_index(projection: Projection, table: Table, names: Sequence[str]) -> str:
    index = _checked("_".join((table.name, *names))[:49])
    return f'create index if not exists "{index}" on {qualified(projection, table)} ({_names(names)})'


def fetch(projection: Projection, table: Table, length: int) -> str:
    """Rows whose key begins with one of many prefixes of `length` values: one array for each column."""
    columns = [table.column(name) for name in table.key[:length]]
    if length == 1:
        wanted = f'"{columns[0].name}" = any($1::{_TYPES[columns[0].kind]}[])'
    else:
        arrays = ", ".join(f"${n}::{_TYPES[column.kind]}[]" for n, column in enumerate(columns, 1))
        wanted = f"({_names(table.key[:length])}) in (select * from unnest({arrays}))"  # noqa: S608 - checked
    return f"select * from {qualified(projection, table)} where {wanted}"  # noqa: S608 - checked names


def upsert(projection: Projection, table: Table) -> str:
    """Many whole rows in one statement: one array for each column."""
    names = [column.name for column in table.columns]
    # an array of jsonb would be written as text and parsed twice; text arrays are cast row by row
    arrays = ", ".join(
        f"${n}::{'text' if column.kind == 'json' else _TYPES[column.kind]}[]"
        for n, column in enumerate(table.columns, 1)
    )
    values = ", ".join(
        f'"{column.name}"::jsonb' if column.kind == "json" else f'"{column.name}"' for column in table.columns
    )
    changes = [f'"{name}" = excluded."{name}"' for name in names if name not in table.key]
    conflict = f"do update set {', '.join(changes)}" if changes else "do nothing"
    return (
        f"insert into {qualified(projection, table)} ({_names(names)}) "  # noqa: S608 - checked names
        f"select {values} from unnest({arrays}) as new({_names(names)}) "
        f"on conflict ({_names(table.key)}) {conflict}"
    )


@dataclass(slots=True)
class Query:
    """A statement under construction with its parameters."""

    parameters: list[Any] = field(default_factory=list)

    def bind(self, value: object, kind: str, *, many: bool = False) -> str:
        """Add a parameter; returns its typed placeholder."""
        self.parameters.append(value)
        return f"${len(self.parameters)}::{_TYPES[kind]}{'[]' if many else ''}"


def select(
    projection: Projection,
    table: Table,
    where: Sequence[Condition],
    order_by: Sequence[tuple[str, bool]],
    limit: int,
    after: Mapping[str, Any] | None,
) -> tuple[str, list[Any]]:
    """One statement that answers the checkpoint and the rows from one snapshot; with its parameters.

    Raises:
        InvalidInput: an unknown column or operator, or an `after` that does not fit the order.
    """
    check_order(table, order_by, after)
    query = Query()
    model = (
        f"{query.bind(projection.name, 'text')} and m.version = {query.bind(projection.version, 'bigint')}"
    )
    conditions = [_condition(query, table, condition) for condition in where]
    if after is not None:
        conditions.append(_behind(query, table, order_by, after))
    filters = f" where {' and '.join(conditions)}" if conditions else ""
    limited = f" limit {query.bind(limit, 'bigint')}"
    names = f"{filters}{_ordered(table, order_by, 't')}{limited}"
    rows = f"select true as present, t.* from {qualified(projection, table)} t{names}"  # noqa: S608 - checked
    joined = f"daybook_read.read_models m left join lateral ({rows}) rows on true"
    order = _ordered(table, order_by, "rows")
    text = f"select m.checkpoint, rows.* from {joined} where m.name = {model}{order}"  # noqa: S608 - checked
    return text, query.parameters


def _ordered(table: Table, order_by: Sequence[tuple[str, bool]], alias: str) -> str:
    terms = [f'{alias}."{table.column(name).name}"{" desc" if down else ""}' for name, down in order_by]
    return f" order by {', '.join(terms)}" if terms else ""


def _condition(query: Query, table: Table, condition: Condition) -> str:
    column = table.column(condition.column)
    if condition.operator == "in":
        return f'"{column.name}" = any({query.bind(list(condition.value), column.kind, many=True)})'
    return f'"{column.name}" {condition.operator} {query.bind(condition.value, column.kind)}'


def _behind(
    query: Query, table: Table, order_by: Sequence[tuple[str, bool]], after: Mapping[str, Any]
) -> str:
    """Rows behind a cursor, written so that an index scan starts at the cursor.

    `(a, b) < (x, y)` beside another bound on `a` makes PostgreSQL 18 start at that bound and walk to the
    cursor; `a <= x and not (a = x and not b < y)` starts at the cursor.
    """
    (name, down), rest = order_by[0], order_by[1:]
    column = table.column(name)
    value = query.bind(after[name], column.kind)
    if not rest:
        return f'"{name}" {"<" if down else ">"} {value}'
    behind = _behind(query, table, rest, {key: after[key] for key, _ in rest})
    return f'("{name}" {"<=" if down else ">="} {value} and not ("{name}" = {value} and not ({behind})))'


def _names(names: Sequence[str]) -> str:
    return ", ".join(f'"{_checked(name)}"' for name in names)


def _checked(name: str) -> str:
    if _NAME.fullmatch(name) is None:
        raise InvalidInput(
            f"{name!r} cannot name a read model, table or column: use lower-case letters, digits and _, "
            "at most 49, beginning with a letter"
        )
    return name
