"""`daybook events export`: the log, or a selection of it, as one file that proves itself."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Collection
from difflib import get_close_matches
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from daybook.cli.log_database import log_database
from daybook.cli.moments import moment
from daybook.cli.output import DONE, NO, DataDir, JsonFlag, print_json, say
from daybook.cli.progress import Report, progress
from daybook.settings import load_settings
from domain.errors import InvalidInput

if TYPE_CHECKING:
    from adapters.event_files.files import EventFile
    from adapters.event_files.summary import Summary
    from adapters.postgres.exporting import Selection


class Category(StrEnum):
    """What an event speaks of."""

    MARKET = "market"
    DOMAIN = "domain"


MAX_POSITION: Final = 2**63 - 1
"""The database counts no further."""

After = Annotated[int, typer.Option(min=0, max=MAX_POSITION, help="Only events above this position.")]
Through = Annotated[
    int | None,
    typer.Option(min=1, max=MAX_POSITION, help="Only up to this position; the head unless given."),
]
Types = Annotated[list[str] | None, typer.Option("--type", help="Only this event type; may be repeated.")]
Streams = Annotated[list[str] | None, typer.Option("--stream", help="Only this stream; may be repeated.")]
Since = Annotated[
    str | None,
    typer.Option(
        help="Only recorded at or after this time, such as 2026-01-31T12:00:00Z; UTC unless it says."
    ),
]
Until = Annotated[str | None, typer.Option(help="Only recorded before this time, written in the same way.")]


def export(
    *,
    out: Annotated[Path, typer.Option(help="The file to write; it ends in .parquet or .ndjson.")],
    after: After = 0,
    through: Through = None,
    types: Types = None,
    streams: Streams = None,
    category: Annotated[Category | None, typer.Option(help="Only market events, or only the others.")] = None,
    since: Since = None,
    until: Until = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a file of that name.")] = False,
    data_dir: DataDir = None,
    as_json: JsonFlag = False,
) -> None:
    """Write the log, or a selection of it, to one file, proving every event on the way.

    The file appears when it is complete. An export without filters can be imported again. Where no event is
    as asked for, no file is written and the exit code is 1.
    """
    from adapters.event_files.files import EventFile  # noqa: PLC0415 - each command loads only what it needs

    if through is not None and after >= through:
        raise InvalidInput(
            f"no position is above --after {after} and not above --through {through}: give a higher --through"
        )
    wanted = selection(types, streams, category, since, until)
    settings = load_settings(data_dir=data_dir)
    with (
        EventFile(out, overwrite=force) as file,
        log_database(settings) as url,
        progress("exporting") as report,
    ):
        asyncio.run(_export(url, file, after, through, wanted, report))
        written = file.finish() if file.summary.rows else file.summary
    if written.rows == 0:
        sys.stderr.write(f"no event is as asked for: {out} was not written\n")
    elif not as_json:
        say(_line(out, written))
    if as_json:
        path = str(out) if written.rows else None
        print_json({"path": path, "contiguous": written.contiguous, **written.as_json()})
    raise typer.Exit(DONE if written.rows else NO)


def selection(
    types: Collection[str] | None,
    streams: Collection[str] | None,
    category: str | None,
    since: str | None,
    until: str | None,
) -> Selection:
    """What the filters of a command ask for; a type that this daybook does not know is told.

    Raises:
        InvalidInput: a time that is none, or a range that holds none.
    """
    from adapters.postgres.exporting import Selection  # noqa: PLC0415 - as in `export`

    begin, end = moment(since), moment(until)
    if begin is not None and end is not None and begin >= end:
        raise InvalidInput(f"no time is at or after --since {since} and before --until {until}: swap them")
    for topic in types or ():
        _tell_unknown(topic)
    return Selection(types or (), streams or (), category, begin, end)


def _tell_unknown(topic: str) -> None:
    """It may stand in the log all the same, written by another version or another program."""
    import adapters.postgres.codec  # noqa: F401, PLC0415 - as in `export`; it registers all types
    from domain.events import EVENT_TYPES  # noqa: PLC0415 - as above

    if topic not in EVENT_TYPES:
        close = "".join(f": did you mean {other}?" for other in get_close_matches(topic, EVENT_TYPES, 1))
        sys.stderr.write(f"this daybook knows no event type {topic!r}{close}\n")


async def _export(
    url: str,
    file: EventFile,
    after: int,
    through: int | None,
    wanted: Selection,
    report: Report,
) -> None:
    from adapters.postgres.event_log import PostgresEventLog  # noqa: PLC0415 - as in `export`
    from adapters.postgres.exporting import write_range  # noqa: PLC0415 - as in `export`

    async with await PostgresEventLog.open(url) as log:
        end = await log.head() if through is None else through
        await write_range(log, file, after, end, wanted.wants, report)


def _line(out: Path, written: Summary) -> str:
    kind = "every event" if written.contiguous else "a selection"
    return (
        f"{out}: {written.rows:,} events, {kind} from position {written.first_position} to "
        f"{written.last_position}, last hash {written.last_hash.hex()}"
    )
