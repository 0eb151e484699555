"""The generations of a read model, and the events one of them could not fold."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from domain.errors import InvalidInput
from projections.ports.tables import Table


class State(StrEnum):
    """What a generation is for."""

    LIVE = "live"
    BUILDING = "building"
    OLD = "old"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Generation:
    """One set of a read model's tables; a rebuild makes a new one beside the one that answers.

    Attributes:
        name: the read model's name.
        version: of the projection that folds it.
        number: counts the generations of this version, from 1.
        state: it answers, it is being built, it was swapped out and waits to be dropped, or its rebuild
            failed and it is kept only to be looked at.
        checkpoint: the last position absorbed when this was read.
        paused: whether its runner was told to rest; only a live one is.
        tables: the tables as they were made, whatever today's code says.
        failure: why its rebuild failed, in words.
    """

    name: str
    version: int
    number: int
    state: State
    checkpoint: int
    paused: bool
    tables: tuple[Table, ...]
    failure: str | None = None

    def table(self, name: str) -> Table:
        """The generation's table of that name.

        Raises:
            InvalidInput: it has none.
        """
        for table in self.tables:
            if table.name == name:
                return table
        known = ", ".join(table.name for table in self.tables)
        raise InvalidInput(f"read model {self.name!r} has no table {name!r}: it has {known}")

    def __str__(self) -> str:
        """`pnl version 2, generation 1`."""
        return f"{self.name} version {self.version}, generation {self.number}"


class LetterState(StrEnum):
    """What shall become of a dead letter."""

    WAITING = "waiting"
    RETRY = "retry"
    DROPPED = "dropped"


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """An event that a read model could not fold, or a consumer of JetStream not handle.

    Attributes:
        id: names it, for `retry_dead_letter` and `drop_dead_letter`.
        name, version: the read model or consumer.
        generation: which of its generations.
        position, topic, stream: the event, which stays where it is in the log.
        error: why, in words.
        attempts: how often it was tried.
        state: waiting for somebody, to be tried again, or left out for good.
        reason: why it was left out; none before that.
    """

    id: int
    name: str
    version: int
    generation: int
    position: int
    topic: str
    stream: str
    error: str
    attempts: int
    state: LetterState
    reason: str | None = None
