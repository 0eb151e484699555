"""Decides a batch of waiting appends: where each stands in the log, and who is refused. Both logs use it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple
from uuid import UUID

from adapters.postgres.rows import EncodedAppend
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
        count, size: events and bytes.
    """

    appends: list[EncodedAppend]
    append_id: UUID
    fence: Fence | None
    answer: asyncio.Future[Appended]
    deadline: float
    track: Track | None = None

    count: int = field(init=False, default=0)
    size: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        for append in self.appends:
            self.count += len(append.events)
            for event in append.events:
                self.size += len(event[2])

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


class Placed(NamedTuple):
    """An append where it will stand.

    Attributes:
        append: what is written.
        version: of its stream, before it.
        position: of the head, before it.
    """

    append: EncodedAppend
    version: int
    position: int


class Accepted(NamedTuple):
    """A request and where its events will stand: all positions from the first to the last."""

    request: Request
    first: int
    last: int


@dataclass(slots=True)
class Plan:
    """What a batch comes to.

    Attributes:
        before: position and hash of the head it follows on.
        position: of the head, after the batch.
        placed: the appends in position order.
        accepted: requests that will be written.
        repeated: requests whose events were in the log before, and where.
        twins: requests with the append id of one that is accepted in this batch.
        refused: each refused request and why.
        unseen: versions that callers expect of streams that were not looked up: the log must compare them.
        fences: epochs of leases that were not looked up: the log must compare them.
        versions: of the streams, after the batch.
        tracked: positions of followers, after the batch.
    """

    before: tuple[int, bytes]
    position: int
    placed: list[Placed] = field(default_factory=list)
    accepted: list[Accepted] = field(default_factory=list)
    repeated: list[tuple[Request, Appended]] = field(default_factory=list)
    twins: list[tuple[Request, Accepted]] = field(default_factory=list)
    refused: list[tuple[Request, DaybookError]] = field(default_factory=list)
    unseen: dict[str, int] = field(default_factory=dict)
    fences: dict[str, int] = field(default_factory=dict)
    versions: dict[str, int] = field(default_factory=dict)
    tracked: dict[str, int] = field(default_factory=dict)

    @property
    def count(self) -> int:
        """How many events are to be written."""
        return self.position - self.before[0]


def plan(batch: Sequence[Request], known: Known) -> Plan:
    """Decide every request in turn, each against what the ones before it made of the log.

    A request that cannot be decided on what is known is believed, and what it believes is noted for the log
    to compare (`unseen`, `fences`). Nothing can be believed of a writer that expects any version: its streams
    must be known; so must the followers whose positions it moves.
    """
    made = Plan((known.position, known.hash), known.position)
    taken: dict[UUID, Accepted] = {}
    for request in batch:
        if (earlier := known.appended.get(request.append_id)) is not None:
            made.repeated.append((request, earlier._replace(repeated=True)))
        elif (twin := taken.get(request.append_id)) is not None:
            made.twins.append((request, twin))
        elif (error := _refusal(request, known, made)) is not None:
            made.refused.append((request, error))
        else:
            taken[request.append_id] = accepted = _accept(request, known, made)
            made.accepted.append(accepted)
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


def _accept(request: Request, known: Known, made: Plan) -> Accepted:
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
        made.placed.append(Placed(append, version, made.position))
        made.position += len(append.events)
        made.versions[stream] = version + len(append.events)
    return Accepted(request, first, made.position)
