"""Noting something personal of a subject, reading it, and forgetting it while the record stays as it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Protocol
from uuid import UUID

from commands.ports import Clock, EventLog, StreamAppend
from domain.audit.events import NoteWritten, SubjectErased, note_stream
from domain.errors import InvalidInput
from domain.events import ANY_VERSION, Cause, RecordedEvent, derived_id
from domain.personal import Personal

MAX_SUBJECT_CHARS: Final = 64
MAX_TEXT_CHARS: Final = 10_000
"""A note, not a document."""

MAX_LABEL_CHARS: Final = 64
MAX_ADDRESS_CHARS: Final = 255
"""A host's name has no more."""

MAX_NAME_BYTES: Final = 200
"""What the log takes for the names of a stream and an actor, in UTF-8."""

PAGE: Final = 500


class Vault(Protocol):
    """Keeps the keys of personal fields."""

    async def seal(self, subject: str, text: str, *, first: bool) -> Personal:
        """Encrypt under the subject's key, made for the first note; InvalidInput when it was erased."""
        ...

    async def open(self, personal: Personal) -> str | None:
        """The text; none when the subject was erased."""
        ...

    async def erase(self, subject: str, at: int) -> bool:
        """Destroy the key; false when it was destroyed before."""
        ...


@dataclass(frozen=True, slots=True)
class Note:
    """What was noted.

    Attributes:
        position: of the event.
        recorded_at: microseconds since the epoch.
        actor: who noted it.
        text: none when the subject was erased.
        label, client_address: none when the subject was erased, or none was given.
    """

    position: int
    recorded_at: int
    actor: str
    text: str | None
    label: str | None
    client_address: str | None


class Notes:
    """The commands on notes.

    Args:
        log: appended to.
        vault: seals and opens.
        clock: stamps what is appended.
    """

    def __init__(self, log: EventLog, vault: Vault, clock: Clock) -> None:
        self._log = log
        self._vault = vault
        self._clock = clock

    async def write(
        self,
        subject: str,
        text: str,
        *,
        actor: str,
        note_id: UUID,
        label: str | None = None,
        client_address: str | None = None,
    ) -> int:
        """Record a note, sealed; returns its position. The same `note_id` again records nothing new.

        Args:
            subject: a pseudonym.
            text: of the note.
            actor: who notes it; readable for ever.
            note_id: names the note.
            label: a short word to find or group it by, sealed as the text is.
            client_address: where the client wrote from, sealed as the text is.

        Raises:
            InvalidInput: an empty or over-long subject, text, label, address or actor; or an erased subject.
            LogError: the key of what was noted before is not there.
        """
        _check(subject, text)
        _check_recordable(subject, actor)
        _check_sealable("label", label, MAX_LABEL_CHARS)
        _check_sealable("client address", client_address, MAX_ADDRESS_CHARS)
        first = not await self.is_noted(subject)
        event = NoteWritten(
            subject,
            await self._vault.seal(subject, text, first=first),
            await self._sealed(subject, label),
            await self._sealed(subject, client_address),
        )
        return await self._append(subject, event, actor, note_id)

    async def is_noted(self, subject: str) -> bool:
        """Whether anything was ever recorded of a subject, its erasure included."""
        return bool(await self._log.read_stream(note_stream(subject), 0, 1))

    async def read(self, subject: str) -> list[Note]:
        """What was noted of a subject, oldest first.

        Raises:
            InvalidInput: the subject is none.
            LogError: the subject's key is not there, and was not destroyed.
        """
        _check(subject, "-")
        notes: list[Note] = []
        version = 0
        while page := await self._log.read_stream(note_stream(subject), version, PAGE):
            notes += [await self._opened(each) for each in page if isinstance(each.event, NoteWritten)]
            version = page[-1].version
        return notes

    async def erase(self, subject: str, *, actor: str) -> bool:
        """Forget everything personal of a subject for ever; false when that was done before.

        The erasure is recorded even if a former call died between destroying the key and recording it.

        Raises:
            InvalidInput: the subject or the actor is none: nothing was destroyed.
        """
        _check(subject, "-")
        _check_recordable(subject, actor)  # before the key is destroyed: the log must not refuse it then
        erased = await self._vault.erase(subject, self._clock())
        await self._append(subject, SubjectErased(subject), actor, derived_id("erase", subject))
        return erased

    async def _append(self, subject: str, event: NoteWritten | SubjectErased, actor: str, id_: UUID) -> int:
        cause = Cause(id_, None, actor)
        append = StreamAppend(note_stream(subject), ANY_VERSION, [event], cause, self._clock())
        return (await self._log.append([append], append_id=id_)).first_position

    async def _sealed(self, subject: str, text: str | None) -> Personal | None:
        return None if text is None else await self._vault.seal(subject, text, first=False)

    async def _opened(self, recorded: RecordedEvent) -> Note:
        note: NoteWritten = recorded.event
        sealed = (note.text, note.label, note.client_address)
        opened = [None if each is None else await self._vault.open(each) for each in sealed]
        return Note(recorded.position, recorded.recorded_at, recorded.cause.actor, *opened)


def _check(subject: str, text: str) -> None:
    if not 0 < len(subject) <= MAX_SUBJECT_CHARS or not subject.isprintable() or subject != subject.strip():
        raise InvalidInput(
            f"subject {subject[:80]!r} is none: give a pseudonym of 1 to {MAX_SUBJECT_CHARS} printable "
            "characters without outer blanks; it stays readable for ever, so it must not be personal itself"
        )
    if not 0 < len(text) <= MAX_TEXT_CHARS:
        raise InvalidInput(f"a note of {len(text)} characters was given: write 1 to {MAX_TEXT_CHARS}")


def _check_recordable(subject: str, actor: str) -> None:
    """Whether the log will take what is to be recorded of the subject by this actor."""
    for what, name in (("stream", note_stream(subject)), ("actor", actor)):
        size = len(name.encode(errors="replace"))
        if not 0 < size <= MAX_NAME_BYTES or not name.isprintable() or name != name.strip():
            raise InvalidInput(
                f"{what} {name[:80]!r} of {size} bytes cannot be recorded: a name has 1 to {MAX_NAME_BYTES} "
                "bytes, printable, without blanks around it; nothing was done"
            )


def _check_sealable(what: str, text: str | None, at_most: int) -> None:
    if text is not None and not 0 < len(text) <= at_most:
        raise InvalidInput(f"a {what} of {len(text)} characters was given: give 1 to {at_most}, or none")
