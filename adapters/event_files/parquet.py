"""Events in Parquet: the log's columns, row groups in position order, the claims in the metadata."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import msgspec
import pyarrow as pa  # type: ignore[import-untyped] # pyarrow ships no types
import pyarrow.compute as pc  # type: ignore[import-untyped] # pyarrow ships no types
import pyarrow.parquet as pq  # type: ignore[import-untyped] # pyarrow ships no types
from asyncpg.pgproto.pgproto import UUID  # ten times as quick to make as the standard one, and a subclass

from adapters.event_files.summary import FORMAT, Linked, Summary, summary_of
from adapters.postgres.rows import COLUMNS, StoredEvent
from domain.errors import InvalidInput, LogCorrupt

NAMES: Final = (*COLUMNS.split(", "), "previous_hash")
_UUIDS: Final = ("event_id", "causation_id", "correlation_id")
_NULLABLE: Final = ("causation_id", "slot", "previous_hash")
_KINDS: Final = {
    **dict.fromkeys(("position", "version", "recorded_at", "slot"), pa.int64()),
    "schema_version": pa.int32(),
    **dict.fromkeys(("stream", "type", "actor"), pa.string()),
    **dict.fromkeys(_UUIDS, pa.binary(16)),
    "data": pa.binary(),
    **dict.fromkeys(("hash", "previous_hash"), pa.binary(32)),
}
SCHEMA: Final = pa.schema([pa.field(name, _KINDS[name], nullable=name in _NULLABLE) for name in NAMES])

_SMALL: Final = ["stream", "type", "actor"]
"""Names repeat within a row group; ids, hashes and data do not, and a dictionary of them costs twice."""

_CLAIMS: Final = "daybook"
_BROKEN: Final = (pa.ArrowException, OSError)


class ParquetWriter:
    """Writes one row group for each call of `write`."""

    def __init__(self, path: Path) -> None:
        self._writer = pq.ParquetWriter(
            path, SCHEMA, compression="zstd", use_dictionary=_SMALL, write_page_checksum=True
        )

    def write(self, rows: Sequence[Linked]) -> None:
        """One row group."""
        columns: list[Sequence[Any]] = list(zip(*(row for row, _ in rows), strict=True))
        for place, name in enumerate(NAMES[:-1]):
            if name in _UUIDS:
                columns[place] = [None if id_ is None else id_.bytes for id_ in columns[place]]
        columns.append([before for _, before in rows])
        arrays = [pa.array(column, _KINDS[name]) for column, name in zip(columns, NAMES, strict=True)]
        self._writer.write_table(pa.Table.from_arrays(arrays, schema=SCHEMA))

    def close(self, summary: Summary | None) -> None:
        """Write the claims and the footer."""
        if summary is not None:
            claims = {"format": FORMAT, **summary.as_json()}
            self._writer.add_key_value_metadata({_CLAIMS: msgspec.json.encode(claims)})
        self._writer.close()


class ParquetReader:
    """A Parquet file of events, open.

    Raises:
        InvalidInput: the file is none, is cut off, or holds other columns.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._file = pq.ParquetFile(path, page_checksum_verification=True)
        except _BROKEN as error:
            raise InvalidInput(
                f"{path} cannot be read as Parquet: {_first_line(error)}; get an undamaged copy"
            ) from error
        if not self._file.schema_arrow.equals(SCHEMA):
            raise InvalidInput(
                f"{path} does not have the columns of an export: {', '.join(self._file.schema_arrow.names)}; "
                "see docs/reference/export-format.md"
            )
        self.summary = summary_of(self._claims(), path)
        self._bounds = self._group_bounds()

    def _claims(self) -> dict[str, Any]:
        raw = (self._file.metadata.metadata or {}).get(_CLAIMS.encode(), b"{}")
        try:
            claims = msgspec.json.decode(raw, type=dict[str, Any])
        except msgspec.MsgspecError as error:
            raise InvalidInput(f"{self.path} has unreadable metadata: {error}") from error
        if claims.get("format") != FORMAT:
            raise InvalidInput(f"{self.path} is not of format {FORMAT!r}: another program wrote it")
        return claims

    def _group_bounds(self) -> list[int]:
        """The last position of each row group, from the footer's statistics."""
        groups = self._file.metadata
        statistics = [groups.row_group(n).column(0).statistics for n in range(groups.num_row_groups)]
        if not all(one is not None and one.has_min_max for one in statistics):
            raise InvalidInput(f"{self.path} has no statistics of positions: another program wrote it")
        return [int(one.max) for one in statistics]

    def batches(self) -> Iterator[list[Linked]]:
        """See `EventReader.batches`: a row group at a time."""
        for number in range(len(self._bounds)):
            try:
                table = self._table(number)
            except _BROKEN as error:
                raise InvalidInput(
                    f"{self.path}, row group {number + 1} of {len(self._bounds)}: its bytes are damaged: "
                    f"{_first_line(error)}"
                ) from error
            yield list(zip(events(table), table["previous_hash"].to_pylist(), strict=True))

    def place(self, number: int) -> str:
        """See `EventReader.place`."""
        return f"row {number + 1}"

    @property
    def groups(self) -> int:
        """How many row groups it has."""
        return len(self._bounds)

    def first_of(self, number: int) -> int:
        """No position of a row group is below this one."""
        return self._bounds[number - 1] + 1 if number else self.summary.first_position

    def group_after(self, position: int) -> int | None:
        """The first row group with a position above this one."""
        number = bisect_right(self._bounds, position)
        return number if number < len(self._bounds) else None

    def group(self, number: int) -> Any:  # noqa: ANN401 - an untyped pyarrow.Table
        """One row group as an Arrow table.

        Raises:
            LogCorrupt: its bytes are damaged.
        """
        try:
            return self._table(number)
        except _BROKEN as error:
            raise LogCorrupt(
                self.first_of(number), f"{self.path} is damaged there: {_first_line(error)}"
            ) from error

    def _table(self, number: int) -> Any:  # noqa: ANN401 - as above
        return self._file.read_row_group(number, use_threads=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._file.close()


def events(table: Any) -> list[StoredEvent]:  # noqa: ANN401 - an untyped pyarrow.Table
    """The rows of an Arrow table of `SCHEMA`."""
    columns = [table[name].to_pylist() for name in NAMES[:-1]]
    for place, name in enumerate(NAMES[:-1]):
        if name in _UUIDS:
            columns[place] = [None if raw is None else UUID(raw) for raw in columns[place]]
    return [StoredEvent._make(row) for row in zip(*columns, strict=True)]


def page(
    table: Any,  # noqa: ANN401 - an untyped pyarrow.Table
    after: int,
    through: int,
    limit: int,
    topics: Collection[str] | None,
) -> list[StoredEvent]:
    """The first rows of a row group within a range of positions, decoding no others."""
    positions = table["position"].to_pylist()
    begin, end = bisect_right(positions, after), bisect_left(positions, through + 1)
    part = table.slice(begin, max(0, end - begin))
    if topics is not None:
        part = part.filter(pc.is_in(part["type"], value_set=pa.array(sorted(topics), pa.string())))
    return events(part.slice(0, limit))


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
