"""The library's persistence module on our log: `PERSISTENCE_MODULE=adapters.eventsourcing.factory`.

`DAYBOOK_DATABASE_URL` names a migrated database; with an application's name before it
(`COUNTERS_DAYBOOK_DATABASE_URL`) it is that application's alone. Applications on one database share one log:
each is notified of everything in it. docs/how-to/use-the-library.md shows it at work.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any, Final, TypeVar

from eventsourcing.persistence import (
    AggregateRecorder,
    ApplicationRecorder,
    InfrastructureFactory,
    InfrastructureFactoryError,
    ProcessRecorder,
)
from eventsourcing.utils import resolve_topic

from adapters.eventsourcing.engine import Engine
from adapters.eventsourcing.recorders import (
    LogAggregateRecorder,
    LogApplicationRecorder,
    LogProcessRecorder,
    LogTrackingRecorder,
)
from adapters.eventsourcing.snapshots import LogSnapshotRecorder

DATABASE_URL: Final = "DAYBOOK_DATABASE_URL"

R = TypeVar("R")


class LogFactory(InfrastructureFactory[LogTrackingRecorder]):
    """Builds recorders that share one open log; it opens with the first of them."""

    @cached_property
    def engine(self) -> Engine:
        """The open log and its thread.

        Raises:
            InfrastructureFactoryError: no database is named.
            SetupError: the database is not there or not migrated.
            OperationalError: no server answers.
        """
        url = self.env.get(DATABASE_URL)
        if not url:
            raise InfrastructureFactoryError(
                f"{DATABASE_URL} is not set: name a migrated PostgreSQL database"
            )
        return Engine(url)

    def close(self) -> None:
        """Close the log, if it was opened."""
        if "engine" in self.__dict__:
            self.engine.close()

    def aggregate_recorder(self, purpose: str = "events") -> AggregateRecorder:
        """Sequences in the log; for any other purpose than events, snapshots beside it."""
        if purpose == "events":
            return LogAggregateRecorder(self.engine)
        return LogSnapshotRecorder(self.engine)

    def application_recorder(self) -> ApplicationRecorder:
        """Sequences and the one order; `APPLICATION_RECORDER_TOPIC` may name a subclass."""
        return self._chosen(self.APPLICATION_RECORDER_TOPIC, LogApplicationRecorder)(self.engine)

    def tracking_recorder(
        self, tracking_recorder_class: type[LogTrackingRecorder] | None = None
    ) -> LogTrackingRecorder:
        """Followers' positions; a subclass, given or named by `TRACKING_RECORDER_TOPIC`, is a view."""
        chosen = tracking_recorder_class or self._chosen(self.TRACKING_RECORDER_TOPIC, LogTrackingRecorder)
        return chosen(self.engine)

    def process_recorder(self) -> ProcessRecorder:
        """Both in one transaction; `PROCESS_RECORDER_TOPIC` may name a subclass."""
        return self._chosen(self.PROCESS_RECORDER_TOPIC, LogProcessRecorder)(self.engine)

    def _chosen(self, setting: str, ours: type[R]) -> type[R]:
        topic = self.env.get(setting)
        chosen: Any = resolve_topic(topic) if topic else ours
        if not (isinstance(chosen, type) and issubclass(chosen, ours)):
            raise InfrastructureFactoryError(f"{setting} names {chosen}, which is no {ours.__name__}")
        return chosen
