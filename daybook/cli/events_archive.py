"""`daybook events archive` and `restore`: old market events into files beside the database, and back."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from daybook.cli.log_database import log_database
from daybook.cli.output import DataDir, JsonFlag, print_json, say
from daybook.cli.progress import Phases, progress
from daybook.settings import load_settings
from domain.errors import InvalidInput

if TYPE_CHECKING:
    from adapters.postgres.archiving import Archived

DAY_US: Final = 86_400_000_000

Before = Annotated[int | None, typer.Option(min=1, help="Partitions wholly below this position.")]
OlderThan = Annotated[
    int | None,
    typer.Option(min=0, help="Partitions whose newest event is older, in days; DAYBOOK_ARCHIVE_AFTER_DAYS."),
]


def archive(
    *,
    before: Before = None,
    older_than: OlderThan = None,
    to: Annotated[Path | None, typer.Option(help="The folder for the files; DAYBOOK_ARCHIVE_DIR.")] = None,
    data_dir: DataDir = None,
    as_json: JsonFlag = False,
) -> None:
    """Move closed market partitions into Parquet files; the log reads and verifies on as before.

    Each file is read back and proven before its partition is dropped. Orders, wallets and all else that
    daybook decided stay in the database.
    """
    if before is not None and older_than is not None:
        raise InvalidInput("--before and --older-than were both given: choose one")
    settings = load_settings(data_dir=data_dir)
    folder = to or settings.archive_dir or settings.data_dir / "archive"
    age = None if before is not None else (settings.archive_after_days if older_than is None else older_than)
    with _telling("archived", _archived_line, as_json=as_json) as done, log_database(settings) as url:
        asyncio.run(_archive(url, folder, before, age, done))
    if not (done or as_json):
        say("nothing to archive: no closed market partition is as old as asked for")


async def _archive(
    url: str, folder: Path, before: int | None, days: int | None, done: list[Archived]
) -> None:
    """Append to `done` what is archived."""
    from adapters.postgres.archiving import archivist  # noqa: PLC0415 - each command loads only what it needs

    oldest = None if days is None else time.time_ns() // 1_000 - days * DAY_US
    async with archivist(url) as works:
        for leaf in await works.closed_leaves(before, oldest):
            with Phases(leaf.name) as phases:
                done.append(await works.archive(leaf, folder, phases))


def restore(
    what: Annotated[str, typer.Argument(help="An archive's file, or positions such as 1-5000.")],
    *,
    data_dir: DataDir = None,
    as_json: JsonFlag = False,
) -> None:
    """Bring archived market partitions back into the database; their files stay."""
    settings = load_settings(data_dir=data_dir)
    with _telling("restored", _restored_line, as_json=as_json) as done, log_database(settings) as url:
        asyncio.run(_restore(url, what, done))


async def _restore(url: str, what: str, done: list[Archived]) -> None:
    """Append to `done` what is restored."""
    from adapters.postgres.archiving import archivist, choose  # noqa: PLC0415 - as in `_archive`

    async with archivist(url) as works:
        for one, path in choose(await works.archived(), what):
            with progress(f"restoring {one.partition}") as report:
                done.append(await works.restore(one, path, report))


@contextmanager
def _telling(name: str, line: Callable[[Archived], str], *, as_json: bool) -> Iterator[list[Archived]]:
    """A list to be filled; what is in it is told at the end, also where the next one failed."""
    done: list[Archived] = []
    try:
        yield done
    except BaseException:
        if done:
            _tell(name, line, done, as_json=as_json)
        raise
    _tell(name, line, done, as_json=as_json)


def _tell(name: str, line: Callable[[Archived], str], done: Sequence[Archived], *, as_json: bool) -> None:
    if as_json:
        print_json({name: [_as_json(one) for one in done]})
        return
    for one in done:
        say(line(one))


def _archived_line(one: Archived) -> str:
    return f"{one.path}: {one.summary.rows:,} market events, {_range(one)}"


def _restored_line(one: Archived) -> str:
    return f"{one.partition}: {one.summary.rows:,} market events, {_range(one)}, are in the database again"


def _range(one: Archived) -> str:
    return f"positions {one.summary.first_position} to {one.summary.last_position}"


def _as_json(one: Archived) -> dict[str, Any]:
    return {"partition": one.partition, "path": str(one.path), **one.summary.as_json()}
