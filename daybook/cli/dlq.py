"""`daybook dlq list|show|retry|drop`: events that a read model or a consumer could not handle."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from adapters.embedded.stack import attach
from daybook.cli.output import DONE, NO, DataDir, JsonFlag, print_json, say
from daybook.settings import Settings, load_settings
from domain.errors import InvalidInput

if TYPE_CHECKING:
    from adapters.postgres.event_log import PostgresEventLog
    from adapters.postgres.read_store import PostgresReadStore
    from projections.ports import DeadLetter

LIMIT: Final = 1_000
"""Letters shown at once: more is no longer read by anybody."""

dlq_app = typer.Typer(help="Events that could not be handled: dead letters.", no_args_is_help=True)

Id = Annotated[int, typer.Argument(help="The letter's id, as `list` shows it.", min=1)]
Reason = Annotated[str, typer.Option(help="Why this event may be left out; kept with the letter.")]


@dlq_app.command("list")
def list_letters(
    *,
    of: Annotated[str | None, typer.Option(help="One read model or consumer only.")] = None,
    data_dir: DataDir = None,
    as_json: JsonFlag = False,
) -> None:
    """List the letters, oldest first; exit code 1 when some wait for a decision."""
    letters = asyncio.run(_letters(load_settings(data_dir=data_dir), of))
    waiting = sum(letter.state == "waiting" for letter in letters)
    if as_json:
        print_json({"waiting": waiting, "letters": [asdict(letter) for letter in letters]})
    else:
        for letter in letters:
            say(_line(letter))
        say(f"{waiting} waiting of {len(letters)}")
    raise typer.Exit(NO if waiting else DONE)


@dlq_app.command()
def show(letter_id: Id, *, data_dir: DataDir = None, as_json: JsonFlag = False) -> None:
    """Show a letter's error and its event."""
    shown = asyncio.run(_shown(load_settings(data_dir=data_dir), letter_id))
    if as_json:
        print_json(shown)
        return
    for name, value in shown.items():
        say(f"{name.replace('_', ' '):<14} {value}")


@dlq_app.command()
def retry(letter_id: Id, *, data_dir: DataDir = None, as_json: JsonFlag = False) -> None:
    """Have the event handled again: within a second where the services run, else when they start."""
    asyncio.run(_retry(load_settings(data_dir=data_dir), letter_id))
    _decided(letter_id, "retry", as_json=as_json)


@dlq_app.command()
def drop(letter_id: Id, *, reason: Reason, data_dir: DataDir = None, as_json: JsonFlag = False) -> None:
    """Leave the event out for good, and keep the reason; the event stays in the log."""
    if not reason.strip():
        raise InvalidInput(
            "--reason is empty: say why this event may be left out; it is kept with the letter"
        )
    asyncio.run(_drop(load_settings(data_dir=data_dir), letter_id, reason))
    _decided(letter_id, "dropped", as_json=as_json)


async def _letters(settings: Settings, of: str | None) -> list[DeadLetter]:
    async with _opened(settings) as (reads, _):
        return await reads.dead_letters(of, limit=LIMIT)


async def _shown(settings: Settings, letter_id: int) -> dict[str, Any]:
    async with _opened(settings) as (reads, log):
        letter = await _found(reads, letter_id)
        events = await log.read(letter.position - 1, 1, through=letter.position)
    event = events[0] if events else None
    return {
        **asdict(letter),
        "recorded_at": None if event is None else event.recorded_at,
        "event_id": None if event is None else str(event.event_id),
        "correlation_id": None if event is None else str(event.cause.correlation_id),
        "event": None if event is None else repr(event.event),
    }


async def _retry(settings: Settings, letter_id: int) -> None:
    async with _opened(settings) as (reads, _):
        if not await reads.retry_dead_letter(letter_id):
            raise _unknown(letter_id)


async def _drop(settings: Settings, letter_id: int, reason: str) -> None:
    async with _opened(settings) as (reads, _):
        if not await reads.drop_dead_letter(letter_id, reason):
            raise _unknown(letter_id)


async def _found(reads: PostgresReadStore, letter_id: int) -> DeadLetter:
    for letter in await reads.dead_letters(limit=LIMIT):
        if letter.id == letter_id:
            return letter
    raise _unknown(letter_id)


@asynccontextmanager
async def _opened(settings: Settings) -> AsyncIterator[tuple[PostgresReadStore, PostgresEventLog]]:
    from adapters.postgres.event_log import PostgresEventLog  # noqa: PLC0415 - only this command needs it
    from adapters.postgres.read_store import open_read_store  # noqa: PLC0415 - as above

    async with (
        _database(settings) as url,
        open_read_store(url, connections=1) as reads,
        await PostgresEventLog.open(url) as log,
    ):
        yield reads, log


@asynccontextmanager
async def _database(settings: Settings) -> AsyncIterator[str]:
    if settings.database_url is not None:
        yield settings.database_url
    else:
        async with attach(settings.data_dir) as urls:
            yield urls.database_url


def _unknown(letter_id: int) -> InvalidInput:
    return InvalidInput(f"there is no dead letter {letter_id}: `daybook dlq list` shows those there are")


def _decided(letter_id: int, state: str, *, as_json: bool) -> None:
    if as_json:
        print_json({"id": letter_id, "state": state})
    else:
        say(f"letter {letter_id}: {state}")


def _line(letter: DeadLetter) -> str:
    return (
        f"{letter.id:>6}  {letter.state:<8} {letter.name:<16} position {letter.position:<10} "
        f"{letter.topic:<24} {letter.attempts} attempts  {letter.error}"
    )
