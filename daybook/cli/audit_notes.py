"""`daybook audit note|notes|erase`: personal remarks on the record, and forgetting them."""

from __future__ import annotations

import getpass
import sys
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, TypeVar
from uuid import uuid4

import typer

from daybook.cli.audit import AuditRoom, audit_app, with_room
from daybook.cli.output import DataDir, JsonFlag, print_json, say
from daybook.clock import now_us
from daybook.settings import load_settings
from domain.events import to_datetime

if TYPE_CHECKING:
    from commands.notes import Notes
    from daybook.settings import Settings

T = TypeVar("T")

SUBJECT = "A pseudonym: it stays readable for ever."


@audit_app.command()
def note(
    text: Annotated[str, typer.Argument(help="What to note; readable until the subject is erased.")],
    *,
    subject: Annotated[str, typer.Option(help=SUBJECT)],
    label: Annotated[str | None, typer.Option(help="A short word to group it by; encrypted too.")] = None,
    client_address: Annotated[
        str | None, typer.Option(help="Where the client wrote from, e.g. 192.0.2.7; encrypted too.")
    ] = None,
    data_dir: DataDir = None,
    as_json: JsonFlag = False,
) -> None:
    """Record a personal note, encrypted under its subject's key."""

    def write(notes: Notes) -> Awaitable[int]:
        return notes.write(
            subject, text, actor=_who(), note_id=uuid4(), label=label, client_address=client_address
        )

    position = _with_notes(load_settings(data_dir=data_dir), write)
    if as_json:
        print_json({"subject": subject, "position": position})
    else:
        say(f"noted at position {position}")


@audit_app.command()
def notes(
    subject: Annotated[str, typer.Argument(help=SUBJECT)],
    *,
    data_dir: DataDir = None,
    as_json: JsonFlag = False,
) -> None:
    """Read what was noted of a subject."""
    found = _with_notes(load_settings(data_dir=data_dir), lambda notes: notes.read(subject))
    if as_json:
        print_json({"subject": subject, "notes": [asdict(each) for each in found]})
        return
    if not found:
        sys.stderr.write(f"nothing was noted of {subject!r}\n")
    for each in found:
        when = to_datetime(each.recorded_at).isoformat(timespec="seconds")
        about = "".join(f" [{one}]" for one in (each.label, each.client_address) if one is not None)
        text = "(erased)" if each.text is None else each.text
        say(f"{each.position:>10}  {when}  {each.actor}{about}: {text}")


@audit_app.command()
def erase(
    subject: Annotated[str, typer.Argument(help=SUBJECT)],
    *,
    data_dir: DataDir = None,
    as_json: JsonFlag = False,
) -> None:
    """Destroy a subject's key: its personal fields can never be read again, the record stays valid."""

    async def act(notes: Notes) -> tuple[bool, bool]:
        noted = await notes.is_noted(subject)
        return noted, await notes.erase(subject, actor=_who())

    noted, erased = _with_notes(load_settings(data_dir=data_dir), act)
    if as_json:
        print_json({"subject": subject, "noted": noted, "erased": erased})
    elif not erased:
        say("was erased before")
    elif noted:
        say("erased for ever")
    else:
        say(f"nothing was noted of {subject!r}, and nothing can be from now on: was another name meant?")


def _with_notes(settings: Settings, act: Callable[[Notes], Awaitable[T]]) -> T:
    from adapters.postgres.vault import PostgresVault  # noqa: PLC0415 - each command loads only what it needs
    from commands.notes import Notes  # noqa: PLC0415 - as above

    def on_room(room: AuditRoom) -> Awaitable[T]:
        return act(Notes(room.log, PostgresVault(room.log.pool), now_us))

    return with_room(settings, on_room)


def _who() -> str:
    return f"operator:{getpass.getuser()}"
