"""Decides a batch of waiting appends: where each stands in the log, and who is refused. Both logs use it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias
from uuid import UUID

from adapters.postgres.rows import EncodedAppend
from commands.ports import Appended, Fence
from domain.errors import AlreadyTracked, ConcurrencyError, DaybookError, FencedOut
from domain.events import ANY_VERSION


class Track(NamedTuple):
    """How far a follower has come, to be committed with what it made of it: its name and the position."""

    name: str
    position: int


class Request:
    """One caller's append, waiting.

    Attributes:
        appends: what to append, all or nothing.
        append_id: the caller's id, its 16 bytes.
        answer: what the caller awaits.
        deadline: the loop's time after which it is no longer retried.
        fence: the lease it was decided under.
        track: a follower's position that must grow with it.
        count, size: events and bytes.
    """

    __slots__ = ("answer", "append_id", "appends", "count", "deadline", "fence", "size", "track")

    def __init__(
        self,
        appends: list[EncodedAppend],
        append_id: UUID,
        answer: asyncio.Future[Appended],
        deadline: float,
        fence: Fence | None = None,
        track: Track | None = None,
    ) -> None:
        self.appends = appends
        self.append_id = append_id.bytes
        self.answer = answer
        self.deadline = deadline
        self.fence = fence
        self.track = track
        self.count = self.size = 0
        for append in appends:
            events = append[2]
            self.count += len(events)
            for event in events:
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
    appended: dict[bytes, Appended] = field(default_factory=dict)
    tracked: dict[str, int] = field(default_factory=dict)


Placed: TypeAlias = tuple[EncodedAppend, int, int]
"""An append where it will stand: the version of its stream before it, and the position of the head."""

Accepted: TypeAlias = tuple[Request, int, int]
"""A request and where its events will stand: all positions from the first to the last."""


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
        unsure: whether only a survey can decide it.
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
    unsure: bool = False

    @property
    def count(self) -> int:
        """How many events are to be written."""
        return self.position - self.before[0]


def plan(batch: Sequence[Request], known: Known) -> Plan:
    """Decide every request in turn, each against what the ones before it made of the log.

    A request that cannot be decided on what is known is believed, and what it believes is noted for the log
    to compare (`unseen`, `fences`). Nothing can be believed of a writer that expects any version, or that
    moves a follower: such a plan is `unsure`, unless it was made on a survey.
    """
    made = Plan((known.position, known.hash), known.position)
    taken: dict[bytes, Accepted] = {}
    appended = known.appended
    for request in batch:
        append_id = request.append_id
        if append_id in taken:
            made.twins.append((request, taken[append_id]))
        elif append_id in appended:
            made.repeated.append((request, appended[append_id]._replace(repeated=True)))
        else:
            versions = _versions(request, known, made)
            if isinstance(versions, DaybookError):
                made.refused.append((request, versions))
            else:
                taken[append_id] = accepted = _place(request, versions, made)
                made.accepted.append(accepted)
    return made


def _versions(request: Request, known: Known, made: Plan) -> list[int] | DaybookError:
    """The versions that a request's events follow on, one for each stream; or why it cannot be."""
    if (request.fence is not None or request.track is not None) and (late := _late(request, known, made)):
        return late
    versions = []
    for append in request.appends:
        stream, expected = append[0], append[1]
        version = made.versions.get(stream)
        if version is None:
            version = known.versions.get(stream)
        if version is None:
            made.unsure |= expected == ANY_VERSION
            made.unseen[stream] = version = expected
        elif expected not in (version, ANY_VERSION):
            return ConcurrencyError(stream, expected, version)
        versions.append(version)
    return versions


def _late(request: Request, known: Known, made: Plan) -> DaybookError | None:
    """Why a lease or a follower refuses a request; most have neither."""
    fence, track = request.fence, request.track
    if fence is not None:
        current = known.epochs.get(fence.lease, made.fences.get(fence.lease))
        if current is not None and current != fence.epoch:
            return FencedOut(fence.lease, fence.epoch, current)
    if track is not None:
        made.unsure = True
        found = made.tracked.get(track.name, known.tracked.get(track.name))
        if found is not None and found >= track.position:
            return AlreadyTracked(track.name, track.position, found)
    return None


def _place(request: Request, versions: list[int], made: Plan) -> Accepted:
    first = made.position + 1
    if request.fence is not None:
        made.fences[request.fence.lease] = request.fence.epoch
    if request.track is not None:
        made.tracked[request.track.name] = request.track.position
    for append, version in zip(request.appends, versions, strict=True):
        made.placed.append((append, version, made.position))
        count = len(append[2])
        made.position += count
        made.versions[append[0]] = version + count
    return request, first, made.position
