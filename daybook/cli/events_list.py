"""`daybook events list`: what is in the log, one event a line; with --follow also what comes."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any, Final
from uuid import UUID

import typer

from daybook.cli.events_export import After, Since, Streams, Types, Until, selection
from daybook.cli.log_database import log_database
from daybook.cli.moments import iso
from daybook.cli.output import DataDir, JsonFlag, print_json, say
from daybook.settings import load_settings
from domain.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from adapters.postgres.listing import Listing
    from adapters.postgres.rows import StoredEvent

LISTED: Final = 100
"""Events, unless more are asked for: a few screens."""


def list_(
    *,
    after: After = 0,
    limit: Annotated[
        int | None,
        typer.Option(min=1, help="At most so many: 100, or with --follow all that come, unless given."),
    ] = None,
    types: Types = None,
    streams: Streams = None,
    correlation: Annotated[UUID | None, typer.Option(help="Only the events of this story.")] = None,
    since: Since = None,
    until: Until = None,
    follow: Annotated[bool, typer.Option("--follow", help="Go on with what is appended.")] = False,
    data_dir: DataDir = None,
    as_json: JsonFlag = False,
) -> None:
    """Print events, one a line, in log order; with --since or --until in the order of time.

    With --json each event is one object on a line of its own, and the last line is
    {"listed": how many, "last_position": of the last one, "head": of the log}.
    """
    from adapters.postgres.listing import Listing  # noqa: PLC0415 - each command loads only what it needs

    if follow and until is not None:
        raise InvalidInput("--follow goes on for ever and --until ends: give one of them")
    listing = Listing(selection(types, streams, None, since, until), after, correlation)
    at_most = limit or (sys.maxsize if follow else LISTED)
    with log_database(load_settings(data_dir=data_dir)) as url:
        asyncio.run(_list(url, listing, at_most, follow=follow, as_json=as_json))


async def _list(url: str, listing: Listing, limit: int, *, follow: bool, as_json: bool) -> None:
    from adapters.postgres.event_log import PostgresEventLog  # noqa: PLC0415 - as in `list_`
    from adapters.postgres.exporting import refuse_beyond  # noqa: PLC0415 - as in `list_`
    from adapters.postgres.listing import followed, selected  # noqa: PLC0415 - as in `list_`

    async with await PostgresEventLog.open(url) as log:
        if not follow:
            refuse_beyond(await log.head(), listing.after)
        pages: Any = (followed if follow else selected)(log, listing)
        listed, last = await _print(pages, limit, as_json=as_json)
        if as_json:
            print_json({"listed": listed, "last_position": last, "head": await log.head()})
        elif not follow:
            _hint(listed, limit)


def _hint(listed: int, limit: int) -> None:
    """On standard error, so that what is listed can be read by a program."""
    if listed == 0:
        sys.stderr.write("no event is as asked for\n")
    elif listed == limit:
        sys.stderr.write(f"these were the first {limit:,}: raise --limit to see whether there are more\n")


async def _print(pages: AsyncGenerator[list[StoredEvent]], limit: int, *, as_json: bool) -> tuple[int, int]:
    """How many were printed, and the position of the last; ends early, in good order, on Ctrl-C."""
    listed, last = 0, 0
    with contextlib.suppress(asyncio.CancelledError):
        async with contextlib.aclosing(pages):
            async for page in pages:
                for row in islice(page, limit - listed):
                    _print_row(row, as_json=as_json)
                    listed, last = listed + 1, row.position
                if listed == limit:
                    break
    return listed, last


def _print_row(row: StoredEvent, *, as_json: bool) -> None:
    from adapters.event_files.ndjson import line_of  # noqa: PLC0415 - as in `list_`

    if as_json:
        say(line_of(row).decode())
    else:
        where = f"{row.topic} {row.stream}@{row.version} {row.actor}"
        say(f"{row.position:>9} {iso(row.recorded_at)} {where} {row.data.decode(errors='replace')}")
