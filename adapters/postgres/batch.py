"""Turns a batch of waiting appends into chained rows and refuses the losers one by one. Both logs use it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple
from uuid import UUID

from adapters.postgres.chaining import chain
from adapters.postgres.rows import EncodedAppend, StoredEvent
from commands.ports import Appended, Fence
from domain.errors import AlreadyTracked, ConcurrencyError, DaybookError, FencedOut
from domain.events import ANY_VERSION


class Track(NamedTuple):
    """How far a follower has come, to be committed with what it made of it: its name and the position."""

    name: str
    position: int


@dataclass(slots=True, eq=False)
class Request:
    """One caller's append, waiting.

    Attributes:
        appends: what to append, all or nothing.
        append_id: the caller's id.
        fence: the lease it was decided under.
        answer: what the caller awaits.
        deadline: the loop's time after which it is no longer retried.
        track: a follower's position that must grow with it.
    """

    appends: list[EncodedAppend]
    append_id: UUID
    fence: Fence | None
    answer: asyncio.Future[Appended]
    deadline: float
    track: Track | None = None

    def weight(self) -> tuple[int, int]:
        """Events and bytes."""
        count, size = 0, 0
        for append in self.appends:
            for _, _, data in append.events:
                count, size = count + 1, size + len(data)
        return count, size

    def resolve(self, result: Appended | DaybookError) -> None:
        """Answer the caller, unless it has gone away."""
        if self.answer.done():
            return
        if isinstance(result, DaybookError):
            self.answer.set_exception(result)
        else:
            self.answer.set_result(result)


@dataclass(slots=True)
class Known:
    """What is known of the log where a batch begins.

    Attributes:
        position: of the head.
        hash: of the head.
        versions: of streams; a stream that is not in it has not been looked up.
        epochs: of leases, where they were looked up.
        appended: results of append ids that are in the log, where they were looked up.
        tracked: positions of followers; every follower a request names must be looked up.
    """

    position: int
    hash: bytes
    versions: dict[str, int]
    epochs: dict[str, int] = field(default_factory=dict)
    appended: dict[UUID, Appended] = field(default_factory=dict)
    tracked: dict[str, int] = field(default_factory=dict)


@dataclass(slots=True)
class Plan:
    """What a batch comes to.

    Attributes:
        position, hash: of the head, after the batch.
        before: position and hash it follows on.
        rows: in position order, from the head on, chained.
        results: each accepted request and where its events stand; `repeated` where they did before.
        refused: each refused request and why.
        unseen: versions that callers expect of streams that were not looked up: the log must compare them.
        fences: epochs of leases that were not looked up: the log must compare them.
        versions: of the streams, after the batch.
        tracked: positions of followers, after the batch.
    """

    position: int
    hash: bytes
    before: tuple[int, bytes]
    rows: list[StoredEvent] = field(default_factory=list)
    results: list[tuple[Request, Appended]] = field(default_factory=list)
    refused: list[tuple[Request, DaybookError]] = field(default_factory=list)
    unseen: dict[str, int] = field(default_factory=dict)
    fences: dict[str, int] = field(default_factory=dict)
    versions: dict[str, int] = field(default_factory=dict)
    tracked: dict[str, int] = field(default_factory=dict)

    @property
    def head(self) -> tuple[int, bytes]:
        """Position and hash after the batch."""
        return self.position, self.hash


def plan(batch: Sequence[Request], known: Known) -> Plan:
    """Decide every request in turn, each against what the ones before it made of the log.

    A request that cannot be decided on what is known is believed, and what it believes is noted for the log
    to compare (`unseen`, `fences`). Nothing can be believed of a writer that expects any version: its streams
    must be known; so must the followers whose positions it moves.
    """
    made = Plan(known.position, known.hash, (known.position, known.hash))
    appended = known.appended.copy()
    for request in batch:
        earlier = appended.get(request.append_id)
        if earlier is not None:
            made.results.append((request, replace(earlier, repeated=True)))
            continue
        error = _refusal(request, known, made)
        if error is not None:
            made.refused.append((request, error))
            continue
        appended[request.append_id] = result = _accept(request, known, made)
        made.results.append((request, result))
    return made


def _refusal(request: Request, known: Known, made: Plan) -> DaybookError | None:
    """Why a request cannot be; most have neither fence nor follower."""
    if request.fence is not None and (error := _fence_error(request.fence, known, made)):
        return error
    if request.track is not None and (late := _track_error(request.track, known, made)):
        return late
    return _version_error(request.appends, known, made)


def _fence_error(fence: Fence, known: Known, made: Plan) -> FencedOut | None:
    current = known.epochs.get(fence.lease, made.fences.get(fence.lease))
    if current is not None and current != fence.epoch:
        return FencedOut(fence.lease, fence.epoch, current)
    return None


def _version_error(appends: Sequence[EncodedAppend], known: Known, made: Plan) -> ConcurrencyError | None:
    for append in appends:
        expected = append.expected_version
        actual = _version(append.stream, known, made)
        if actual is not None and expected not in (actual, ANY_VERSION):
            return ConcurrencyError(append.stream, expected, actual)
    return None


def _track_error(track: Track, known: Known, made: Plan) -> AlreadyTracked | None:
    found = made.tracked.get(track.name, known.tracked.get(track.name))
    if found is not None and found >= track.position:
        return AlreadyTracked(track.name, track.position, found)
    return None


def _version(stream: str, known: Known, made: Plan) -> int | None:
    version = made.versions.get(stream)
    return known.versions.get(stream) if version is None else version


def _accept(request: Request, known: Known, made: Plan) -> Appended:
    first = made.position + 1
    if request.fence is not None:
        made.fences[request.fence.lease] = request.fence.epoch
    if request.track is not None:
        made.tracked[request.track.name] = request.track.position
    for append in request.appends:
        stream = append.stream
        version = _version(stream, known, made)
        if version is None:
            made.unseen[stream] = version = append.expected_version
        made.hash = chain(append, version, made.position, made.hash, made.rows)
        made.position += len(append.events)
        made.versions[stream] = version + len(append.events)
    ids = tuple([row.event_id for row in made.rows[first - made.position - 1 :]])
    return Appended(first, made.position, ids)
