"""What callers were told, written down line by line so that a killed writer has still said it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple
from uuid import UUID


class Acknowledged(NamedTuple):
    """An append the log said yes to, and where it said it stands."""

    append_id: UUID
    first: int
    last: int


@dataclass(slots=True)
class Outcomes:
    """Everything the callers were told.

    Attributes:
        acknowledged: once for each append.
        conflicts: refusals of a stale expected version.
        repeats: repeated appends that got their first answer.
        wrong_repeats: repeated appends that got another answer: must be none.
        outages: appends that had to be tried again because the log was away.
    """

    acknowledged: list[Acknowledged] = field(default_factory=list)
    conflicts: int = 0
    repeats: int = 0
    wrong_repeats: int = 0
    outages: int = 0

    def read(self, folder: Path) -> None:
        """Take what every writer wrote into the folder; a last line cut short by a kill says nothing."""
        for path in sorted(folder.glob("*.outcomes")):
            for line in path.read_text().splitlines(keepends=True):
                if line.endswith("\n"):
                    self._take(line.split())

    def _take(self, words: list[str]) -> None:
        if words[0] == "acknowledged":
            self.acknowledged.append(Acknowledged(UUID(words[1]), int(words[2]), int(words[3])))
        elif words[0] == "conflict":
            self.conflicts += 1
        elif words[0] == "outage":
            self.outages += 1
        elif words[0] == "repeated":
            self.repeats += 1
        else:
            self.wrong_repeats += 1

    def events(self) -> Iterator[int]:
        """Events of each acknowledged append."""
        return (ack.last - ack.first + 1 for ack in self.acknowledged)


class Notebook:
    """A file that each line reaches before the next thing happens; a kill of the process loses none."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def note(self, *words: object) -> None:
        """Write one line."""
        os.write(self._file, (" ".join(map(str, words)) + "\n").encode())
