"""`daybook dlq list|show|retry|drop`: events that a read model or a consumer could not handle."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from daybook.cli.log_database import log_database
from daybook.cli.moments import iso
from daybook.cli.output import DONE, NO, DataDir, JsonFlag, print_json, say
from daybook.settings import Settings, load_settings
from domain.errors import InvalidInput
from projections.catalogue import named

if TYPE_CHECKING:
    from adapters.postgres.event_log import PostgresEventLog
    from adapters.postgres.read_store import PostgresReadStore
    from adapters.postgres.rows import StoredEvent
    from projections.ports import DeadLetter

LIMIT: Final = 1_000
"""Letters shown at once: more is no longer read by anybody."""

dlq_app = typer.Typer(help="Events that could not be handled: dead letters.", no_args_is_help=True)

Id = Annotated[int, typer.Argument(help="The letter's id, as `list` shows it.", min=1, max=2**63 - 1)]
Reason = Annotated[str, typer.Option(help="Why this event may be left out; kept with the letter.")]


@dlq_app.command("list")
def list_letters(
    *,
    of: Annotated[str | None, typer.Option(help="Only of this read model.")] = None,
    data_dir: DataDir = None,
    as_json: JsonFlag = False,
) -> None:
    """List the letters, oldest first; exit code 1 when some wait for a decision."""
    letters = asyncio.run(_letters(load_settings(data_dir=data_dir), of))
    waiting = sum(letter.state == "waiting" for letter in letters)
    if as_json:
        print_json({"waiting": waiting, "letters": [asdict(letter) for letter in letters]})
    else:
        for line in _table(letters):
            say(line)
        say(_count(waiting, len(letters)))
    raise typer.Exit(NO if waiting else DONE)


@dlq_app.command()
def show(letter_id: Id, *, data_dir: DataDir = None, as_json: JsonFlag = False) -> None:
    """Show a letter's error and its event."""
    letter, event = asyncio.run(_shown(load_settings(data_dir=data_dir), letter_id))
    if as_json:
        print_json(_as_json(letter, event))
        return
    for name, value in _for_people(letter, event).items():
        say(f"{name:<13} {value}")


@dlq_app.command()
def retry(letter_id: Id, *, data_dir: DataDir = None, as_json: JsonFlag = False) -> None:
    """Have the event handled again: within a second where the services run, else when they start."""
    asyncio.run(_retry(load_settings(data_dir=data_dir), letter_id))
    if as_json:
        print_json({"id": letter_id, "state": "retry"})
    else:
        say(f"the event of letter {letter_id} will be handled again")


@dlq_app.command()
def drop(letter_id: Id, *, reason: Reason, data_dir: DataDir = None, as_json: JsonFlag = False) -> None:
    """Leave the event out for good, and keep the reason; the event stays in the log."""
    if not reason.strip():
        raise InvalidInput(
            "--reason is empty: say why this event may be left out; it is kept with the letter"
        )
    asyncio.run(_drop(load_settings(data_dir=data_dir), letter_id, reason))
    if as_json:
        print_json({"id": letter_id, "state": "dropped"})
    else:
        say(f"the event of letter {letter_id} is left out for good; it stays in the log")


async def _letters(settings: Settings, of: str | None) -> list[DeadLetter]:
    async with _opened(settings) as (reads, _):
        letters = await reads.dead_letters(of, limit=LIMIT)
    if not letters:  # letters of a read model that this version no longer has are listed
        named(of)
    return letters


async def _shown(settings: Settings, letter_id: int) -> tuple[DeadLetter, StoredEvent | None]:
    async with _opened(settings) as (reads, log):
        letter = await _found(reads, letter_id)
        rows = await log.read_rows(letter.position - 1, 1, through=letter.position)
    return letter, rows[0] if rows else None


def _as_json(letter: DeadLetter, row: StoredEvent | None) -> dict[str, Any]:
    """The letter and its event, as the log holds it; none where it is not in the log."""
    return {
        **asdict(letter),
        "recorded_at": None if row is None else row.recorded_at,
        "event_id": None if row is None else str(row.event_id),
        "correlation_id": None if row is None else str(row.correlation_id),
        "event": None if row is None else _data(row),
    }


def _for_people(letter: DeadLetter, row: StoredEvent | None) -> dict[str, object]:
    """By label."""
    shown: dict[str, object] = {
        "letter": letter.id,
        "state": letter.state.value,
        "read model": f"{letter.name}, version {letter.version}, generation {letter.generation}",
        "attempts": letter.attempts,
        "error": letter.error,
        "position": letter.position,
        "type": letter.topic,
        "stream": letter.stream,
    }
    if letter.reason is not None:
        shown["reason"] = letter.reason
    if row is None:
        return {**shown, "event": "it is not in the log"}
    return {
        **shown,
        "recorded at": iso(row.recorded_at),
        "event id": row.event_id,
        "story": row.correlation_id,
        "event": _data(row),
    }


def _data(row: StoredEvent) -> str:
    """The event's own JSON, whatever it says: it may be one that cannot be decoded."""
    return row.data.decode(errors="replace")


async def _retry(settings: Settings, letter_id: int) -> None:
    async with _opened(settings) as (reads, _):
        if not await reads.retry_dead_letter(letter_id):
            raise _unknown(letter_id)


async def _drop(settings: Settings, letter_id: int, reason: str) -> None:
    async with _opened(settings) as (reads, _):
        if not await reads.drop_dead_letter(letter_id, reason):
            raise _unknown(letter_id)


async def _found(reads: PostgresReadStore, letter_id: int) -> DeadLetter:
    for letter in await reads.dead_letters(limit=letter_id):  # ids count from 1: it is among them
        if letter.id == letter_id:
            return letter
    raise _unknown(letter_id)


@asynccontextmanager
async def _opened(settings: Settings) -> AsyncIterator[tuple[PostgresReadStore, PostgresEventLog]]:
    from adapters.postgres.event_log import PostgresEventLog  # noqa: PLC0415 - only this command needs it
    from adapters.postgres.read_store import open_read_store  # noqa: PLC0415 - as above

    with log_database(settings) as url:
        async with open_read_store(url, connections=1) as reads, await PostgresEventLog.open(url) as log:
            yield reads, log


def _unknown(letter_id: int) -> InvalidInput:
    return InvalidInput(f"there is no dead letter {letter_id}: `daybook dlq list` shows those there are")


def _count(waiting: int, listed: int) -> str:
    if listed == 0:
        return "there are no dead letters"
    of = f"of the first {LIMIT:,} letters" if listed == LIMIT else f"of {listed:,}"
    return f"{waiting:,} {of} waiting for a decision"


def _table(letters: list[DeadLetter]) -> list[str]:
    """A line each, as wide as what stands in it; an error of several lines becomes one."""
    rows = [
        (
            f"{letter.id}",
            letter.state.value,
            letter.name,
            f"position {letter.position}",
            letter.topic,
            f"{letter.attempts} {'attempt' if letter.attempts == 1 else 'attempts'}",
        )
        for letter in letters
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join([*map(str.ljust, row, widths), " ".join(letter.error.split())])
        for row, letter in zip(rows, letters, strict=True)
    ]
