"""`daybook events import`: an exported log into an empty one, or a piece onto the log it continues."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from daybook.cli.log_database import log_database
from daybook.cli.output import DataDir, JsonFlag, print_json, say
from daybook.cli.progress import progress
from daybook.settings import load_settings


def import_(
    file: Annotated[Path, typer.Argument(help="A .parquet or .ndjson file of `daybook events export`.")],
    *,
    data_dir: DataDir = None,
    as_json: JsonFlag = False,
) -> None:
    """Take a file into the log as it was: positions, ids and hashes kept; all of it or nothing.

    The log must be empty, or end right before the file begins. Every event is proven before it is kept.
    """
    from adapters.event_files.files import open_events  # noqa: PLC0415 - each command loads only what it needs
    from adapters.postgres.importing import import_events  # noqa: PLC0415 - as above

    settings = load_settings(data_dir=data_dir)
    with open_events(file) as reader, log_database(settings) as url, progress("importing") as report:
        done = asyncio.run(import_events(url, reader, report))
    if as_json:
        print_json({"path": str(file), **done.as_json()})
    else:
        say(f"imported {done.rows:,} events: the log stands at position {done.last_position}")
