"""The library's recorders over our log: same tables, same writer, same order, same chain."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from itertools import count
from typing import Any, Final
from uuid import UUID, uuid4

from eventsourcing.persistence import (
    AggregateRecorder,
    ApplicationRecorder,
    ListenNotifySubscription,
    Notification,
    ProcessRecorder,
    StoredEvent,
    Subscription,
    Tracking,
    TrackingRecorder,
)

from adapters.eventsourcing.engine import Engine
from adapters.eventsourcing.stored import from_row, stream_of, to_append, to_notification, types_of
from adapters.postgres.batch import Track
from adapters.postgres.tracking import Statement, advance, tracked
from domain.errors import ConcurrencyError

_NO_LIMIT: Final = 2**31 - 1
"""A sequence is read whole, as the library asks; ours end long before."""


class _OnTheLog:
    """What all recorders share.

    Args:
        engine: of the factory.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine


class LogAggregateRecorder(_OnTheLog, AggregateRecorder):
    """Sequences of events. Inserts give no notification ids, as the library wants of this one."""

    def insert_events(self, stored_events: Sequence[StoredEvent], **kwargs: Any) -> Sequence[int] | None:  # noqa: ANN401 - the library's signature
        """Append to one or several sequences, all or nothing.

        Raises:
            IntegrityError: a version is taken, or does not follow on the last one.
            OperationalError: the log's database is away.
            DataError: an over-long name or state.
        """
        self._insert(stored_events, **kwargs)
        return None

    def _insert(self, stored_events: Sequence[StoredEvent], tracking: Tracking | None = None) -> list[int]:
        track = None if tracking is None else Track(*_follower(tracking))
        if not stored_events:
            if track is not None:
                self._engine.run(advance(self._engine.log.pool, track))
            return []
        return self._engine.run(self._append(stored_events, track))

    async def _append(self, events: Sequence[StoredEvent], track: Track | None) -> list[int]:
        sequences: dict[UUID | str, list[StoredEvent]] = defaultdict(list)
        for event in events:
            sequences[event.originator_id].append(event)
        try:
            first = await self._append_from({}, sequences, track)
        except ConcurrencyError:
            began = await self._beginnings(sequences)
            if all(version == 1 for version in began.values()):
                raise
            first = await self._append_from(began, sequences, track)
        ordered = [
            (event.originator_id, event.originator_version) for all_ in sequences.values() for event in all_
        ]
        positions = dict(zip(ordered, count(first)))
        return [positions[event.originator_id, event.originator_version] for event in events]

    async def _append_from(
        self,
        began: dict[UUID | str, int],
        sequences: dict[UUID | str, list[StoredEvent]],
        track: Track | None,
    ) -> int:
        """Append sequences that began at these versions, 1 unless said otherwise; the first position."""
        appends = [
            to_append(id_, sequence, began.get(id_, min(sequence[0].originator_version, 1)))
            for id_, sequence in sequences.items()
        ]
        log = self._engine.log
        return (await log.append_rows(appends, append_id=uuid4(), track=track)).first_position

    async def _beginnings(self, sequences: dict[UUID | str, list[StoredEvent]]) -> dict[UUID | str, int]:
        """Where sequences in the log began; asked only when counting from 1 did not fit."""
        began = {}
        for id_ in sequences:
            for row in await self._engine.log.read_stream_rows(stream_of(id_), limit=1):
                began[id_] = from_row(row).originator_version
        return began

    def select_events(
        self,
        originator_id: UUID | str,
        *,
        gt: int | None = None,
        lte: int | None = None,
        desc: bool = False,
        limit: int | None = None,
    ) -> Sequence[StoredEvent]:
        """The events of one sequence with `gt` < version <= `lte`, oldest first unless `desc`."""
        # A row's version is the event's, or one more where the sequence began at 0: read by the wider bounds.
        rows = self._engine.run(
            self._engine.log.read_stream_rows(
                stream_of(originator_id),
                after_version=max(gt or 0, 0),
                through_version=None if lte is None else lte + 1,
                newest_first=desc,
                limit=_NO_LIMIT if limit is None else limit + 1,
            )
        )
        events = [from_row(row) for row in rows]
        wanted = [
            event
            for event in events
            if (gt is None or event.originator_version > gt)
            and (lte is None or event.originator_version <= lte)
        ]
        return wanted if limit is None else wanted[:limit]


class LogApplicationRecorder(LogAggregateRecorder, ApplicationRecorder):
    """Sequences, and all events in the log's one order: a notification's id is the position."""

    def insert_events(self, stored_events: Sequence[StoredEvent], **kwargs: Any) -> Sequence[int] | None:  # noqa: ANN401 - the library's signature
        """As for sequences; returns the positions, in the order the events were given."""
        return self._insert(stored_events, **kwargs)

    def select_notifications(
        self,
        start: int | None,
        limit: int,
        stop: int | None = None,
        topics: Sequence[str] = (),
        *,
        inclusive_of_start: bool = True,
    ) -> Sequence[Notification]:
        """A page of the log, of everything in it, not of one application's events alone."""
        after = max((start or 0) - (1 if inclusive_of_start else 0), 0)
        log = self._engine.log
        rows = self._engine.run(log.read_rows(after, limit, through=stop, topics=types_of(topics)))
        return [to_notification(row) for row in rows]

    def max_notification_id(self) -> int | None:
        """The newest position; none for an empty log."""
        return self._engine.run(self._engine.log.head()) or None

    def subscribe(
        self, gt: int | None = None, topics: Sequence[str] = ()
    ) -> Subscription[ApplicationRecorder]:
        """History after `gt`, then live, woken by the log's own notices."""
        return LogSubscription(self, self._engine, gt, topics)


class LogSubscription(ListenNotifySubscription[ApplicationRecorder]):
    """The library's pulling thread, woken whenever any process has appended."""

    def __init__(
        self, recorder: LogApplicationRecorder, engine: Engine, gt: int | None, topics: Sequence[str]
    ) -> None:
        super().__init__(recorder=recorder, gt=gt, topics=topics)
        self._waking = engine.wake(self._has_been_notified)

    def stop(self) -> None:
        """Stop pulling; may be called before the first event and more than once."""
        super().stop()
        self._waking.cancel()


class LogTrackingRecorder(_OnTheLog, TrackingRecorder):
    """How far followers have come. A view of one's own derives from it and writes through `commit`."""

    def insert_tracking(self, tracking: Tracking) -> None:
        """Move a follower.

        Raises:
            IntegrityError: it stands there already, or further.
        """
        self._engine.run(advance(self._engine.log.pool, Track(*_follower(tracking))))

    def max_tracking_id(self, application_name: str) -> int | None:
        """Where a follower stands; none when it never moved."""
        return self._engine.run(tracked(self._engine.log.pool, application_name))

    def commit(self, tracking: Tracking, statements: Sequence[Statement]) -> None:
        """Run statements and move the follower, in one transaction.

        Raises:
            IntegrityError: it stands there already, or further; nothing was done.
        """
        self._engine.run(advance(self._engine.log.pool, Track(*_follower(tracking)), statements))

    def query(self, sql: str, *arguments: Any) -> list[tuple[Any, ...]]:  # noqa: ANN401 - SQL's values
        """The rows of a question to the view."""
        return [tuple(row) for row in self._engine.run(self._fetch(sql, arguments))]

    async def _fetch(self, sql: str, arguments: tuple[Any, ...]) -> list[Any]:
        return await self._engine.log.pool.fetch(sql, *arguments)


class LogProcessRecorder(LogTrackingRecorder, LogApplicationRecorder, ProcessRecorder):
    """Events and the follower's position that led to them, in one transaction."""


def _follower(tracking: Tracking) -> tuple[str, int]:
    return tracking.application_name, tracking.notification_id
