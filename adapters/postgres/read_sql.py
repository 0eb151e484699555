"""The SQL of the read store: schema objects, set-based reads and writes, keyset queries. Text only, no I/O.

Names come from the projections' own tables and are checked; values always travel as parameters.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final

from domain.errors import InvalidInput, NotServedYet
from projections.ports import Column, Condition, Generation, Table, check_order

_TYPES: Final = {
    "bigint": "bigint",
    "numeric": "numeric",
    "text": "text",
    "boolean": "boolean",
    "json": "jsonb",
}
_AS_TEXT: Final = frozenset({"numeric", "json"})
"""Kinds that travel as text: the driver's own numerics cost it more than all other columns of a row."""

_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,48}")


def schema_of(generation: Generation) -> str:
    """The schema that holds this generation's tables, e.g. `rm_pnl_v1_g1`."""
    return f"rm_{checked(generation.name)}_v{generation.version}_g{generation.number}"


def qualified(generation: Generation, table: Table) -> str:
    """A table's full name."""
    return f'{schema_of(generation)}."{checked(table.name)}"'


def create_tables(generation: Generation) -> str:
    """Statements that create the generation's schema, tables and indexes."""
    statements = [f"create schema {schema_of(generation)}"]
    for table in generation.tables:
        statements.append(_create_table(generation, table))
        statements += [_create_index(generation, table, names) for names in table.indexes]
    return ";\n".join(statements)


def _create_table(generation: Generation, table: Table) -> str:
    lines = [_column(column) for column in table.columns]
    lines.append(f"primary key ({_names(table.key)})")
    return f"create table {qualified(generation, table)} ({', '.join(lines)})"


def _column(column: Column) -> str:
    # text is ordered by its bytes on every server, as it is in memory
    collation = ' collate "C"' if column.kind == "text" else ""
    return (
        f'"{checked(column.name)}" {_TYPES[column.kind]}{collation}{"" if column.nullable else " not null"}'
    )


def _create_index(generation: Generation, table: Table, names: Sequence[str]) -> str:
    index = checked("_".join((table.name, *names))[:49])
    return f'create index "{index}" on {qualified(generation, table)} ({_names(names)})'


def create_views(generation: Generation, before: Generation | None) -> str:
    """Statements that let the views for people, e.g. `rm_pnl.daily`, show this generation.

    A view whose columns stay is replaced, so that what people built on it and granted goes on; only one whose
    columns go is dropped, which PostgreSQL refuses while something depends on it.
    """
    schema = f"rm_{checked(generation.name)}"
    old = () if before is None else before.tables
    gone = [table for table in old if not any(_begins_with(new, table) for new in generation.tables)]
    return ";\n".join(
        [
            f"create schema if not exists {schema}",
            *(f'drop view if exists {schema}."{checked(table.name)}"' for table in gone),
            *(
                f'create or replace view {schema}."{checked(table.name)}" as '
                f"table {qualified(generation, table)}"
                for table in generation.tables
            ),
        ]
    )


def _begins_with(new: Table, old: Table) -> bool:
    """Whether a view of `new` may replace one of `old`: the same columns, more only behind them."""
    shape = [(column.name, column.kind) for column in old.columns]
    return new.name == old.name and shape == [(c.name, c.kind) for c in new.columns][: len(shape)]


def drop_tables(generation: Generation) -> str:
    """Statements that remove the generation's schema; refused where anything else depends on it."""
    tables = ", ".join(qualified(generation, table) for table in generation.tables)
    schema = schema_of(generation)
    return f"drop table if exists {tables};\ndrop schema if exists {schema}"


@lru_cache(maxsize=256)
def fetch(generation: Generation, table: Table, length: int) -> str:
    """Rows whose key begins with one of many prefixes of `length` values: one array for each column."""
    columns = [table.column(name) for name in table.key[:length]]
    if length == 1:
        wanted = f'"{columns[0].name}" = any($1::{_TYPES[columns[0].kind]}[])'
    else:
        arrays = ", ".join(f"${n}::{_TYPES[column.kind]}[]" for n, column in enumerate(columns, 1))
        wanted = f"({_names(table.key[:length])}) in (select * from unnest({arrays}))"  # noqa: S608 - checked
    return f"select {_outputs(table)} from {qualified(generation, table)} where {wanted}"  # noqa: S608 - checked


def everything(generation: Generation, table: Table) -> str:
    """All rows of a table in key order."""
    return (
        f"select {_outputs(table)} from {qualified(generation, table)} "  # noqa: S608 - checked names
        f"order by {_names(table.key)}"
    )


def count_to(generation: Generation) -> str:
    """How many rows the tables hold together; no more than the parameter's number are looked at."""
    rows = " union all ".join(f"select from {qualified(generation, table)}" for table in generation.tables)
    return f"select count(*) from ({rows} limit $1) rows"  # noqa: S608 - checked names


def _outputs(table: Table) -> str:
    return ", ".join(
        f'"{column.name}"::text as "{column.name}"' if column.kind in _AS_TEXT else f'"{column.name}"'
        for column in table.columns
    )


MOVE: Final = """
update daybook_models.generations set checkpoint = $5
where name = $1 and version = $2 and number = $3 and checkpoint = $4
and state in ('live', 'building') and not paused
returning 1
"""
_GIVEN: Final = 5


@lru_cache(maxsize=256)
def commit(generation: Generation, tables: tuple[str, ...]) -> str:
    """Move the checkpoint and write rows of these tables, in one statement: all of it or nothing.

    Parameters: name, version, number, checkpoint before and after, then an array for each column of each
    table. It answers 0 when the checkpoint could not be moved, and then has written nothing.
    """
    steps, used = [f"moved as ({MOVE})"], _GIVEN
    for number, name in enumerate(tables):
        table = generation.table(name)
        condition = "where exists (select from moved)"
        steps.append(f"t{number} as ({_upsert(generation, table, used, condition)})")
        used += len(table.columns)
    return f"with {', '.join(steps)} select count(*) from moved"  # noqa: S608 - checked names


@lru_cache(maxsize=256)
def upsert(generation: Generation, table: Table) -> str:
    """Many whole rows in one statement: one array for each column."""
    return _upsert(generation, table, 0, "")


def _upsert(generation: Generation, table: Table, used: int, condition: str) -> str:
    names = [column.name for column in table.columns]
    arrays = ", ".join(
        f"${n}::{'text' if column.kind in _AS_TEXT else _TYPES[column.kind]}[]"
        for n, column in enumerate(table.columns, used + 1)
    )
    values = ", ".join(
        f'"{column.name}"::{_TYPES[column.kind]}' if column.kind in _AS_TEXT else f'"{column.name}"'
        for column in table.columns
    )
    changes = [f'"{name}" = excluded."{name}"' for name in names if name not in table.key]
    conflict = f"do update set {', '.join(changes)}" if changes else "do nothing"
    return (
        f"insert into {qualified(generation, table)} ({_names(names)}) "  # noqa: S608 - checked names
        f"select {values} from unnest({arrays}) as new({_names(names)}) {condition} "
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
    live: Generation,
    table: Table,
    where: Sequence[Condition],
    order_by: Sequence[tuple[str, bool]],
    limit: int,
    after: Mapping[str, Any] | None,
) -> tuple[str, list[Any]]:
    """One statement that answers the checkpoint and the rows from one snapshot; with its parameters.

    It answers no row at all when `live` no longer is: whoever asks looks up the live one again.

    Args:
        live: the generation taken for live.
        table: as the asker knows it; `live` may have been made with other columns.
        where: all of them hold.
        order_by: (column, descending).
        limit: rows at most.
        after: the row to go on behind, by the columns of the order.

    Raises:
        InvalidInput: an unknown column or operator, or an `after` that does not fit the order.
        NotServedYet: `live` lacks the table, or a column to order by.
    """
    check_order(table, order_by, after)
    served = _served(live, table, order_by)
    query = Query()
    this = (
        f"m.name = {query.bind(live.name, 'text')} and m.version = {query.bind(live.version, 'bigint')} "
        f"and m.number = {query.bind(live.number, 'bigint')} and m.state = 'live'"
    )
    conditions = [_condition(query, table, condition, served) for condition in where]
    if after is not None:
        conditions.append(_behind(query, table, order_by, after))
    filters = f" where {' and '.join(conditions)}" if conditions else ""
    limited = f" limit {query.bind(limit, 'bigint')}"
    names = f"{filters}{_ordered(table, order_by, 't')}{limited}"
    source = qualified(live, table)
    rows = f"select true as present, {_answers(table, served)} from {source} t{names}"  # noqa: S608 - checked
    joined = f"daybook_models.generations m left join lateral ({rows}) rows on true"
    order = _ordered(table, order_by, "rows")
    text = f"select m.checkpoint, rows.* from {joined} where {this}{order}"  # noqa: S608 - checked
    return text, query.parameters


def _served(live: Generation, table: Table, order_by: Sequence[tuple[str, bool]]) -> frozenset[str]:
    """The columns of `table` that the live generation has, as the same kind."""
    made = next((made for made in live.tables if made.name == table.name), None)
    kinds = {column.name: column.kind for column in made.columns} if made is not None else {}
    served = frozenset(column.name for column in table.columns if kinds.get(column.name) == column.kind)
    lacking = [name for name, _ in order_by if name not in served]
    if made is None or lacking:
        raise NotServedYet(
            f"{live} answers until the new version is built, and has no {lacking or 'table'} of "
            f"{table.name!r}: ask again when `daybook projections status {live.name}` shows the new one live"
        )
    return served


def _answers(table: Table, served: frozenset[str]) -> str:
    return ", ".join(
        f"{f't.{quoted}' if column.name in served else 'null'}::"
        f"{'text' if column.kind == 'json' else _TYPES[column.kind]} as {quoted}"
        for column in table.columns
        for quoted in [f'"{column.name}"']
    )


def _ordered(table: Table, order_by: Sequence[tuple[str, bool]], alias: str) -> str:
    terms = [f'{alias}."{table.column(name).name}"{" desc" if down else ""}' for name, down in order_by]
    return f" order by {', '.join(terms)}" if terms else ""


def _condition(query: Query, table: Table, condition: Condition, served: frozenset[str]) -> str:
    column = table.column(condition.column)
    if column.name not in served:
        return "false"  # an empty column meets no condition
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
    return ", ".join(f'"{checked(name)}"' for name in names)


def checked(name: str) -> str:
    """The name, which may stand in SQL.

    Raises:
        InvalidInput: it may not.
    """
    if _NAME.fullmatch(name) is None:
        raise InvalidInput(
            f"{name!r} cannot name a read model, table or column: use lower-case letters, digits and _, "
            "at most 49, beginning with a letter"
        )
    return name
