"""What one caller of the self-test does: singles, batches, conflicts and repeats, all from one seed.

Every event carries its append's id as correlation id, so the log itself tells which append it came from.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random
from typing import Final
from uuid import UUID

from adapters.postgres.session import COPY_FROM
from commands.ports import Appended, StreamAppend
from domain.chain import Address, Mint, Slot
from domain.events import Cause, DomainEvent, to_datetime
from domain.market.events import PoolFees, PoolUpdated
from domain.strategies.events import StrategyStopped

HOT_STREAMS: Final = 4
"""Streams that all callers of all processes want: expected versions collide there all the time."""

BATCH_EVENTS: Final = 50
"""The largest batch append of a caller, most of the time."""

LARGE_SHARE: Final = 0.01
LARGE_EVENTS: Final = (COPY_FROM, 2 * COPY_FROM)
"""Of some appends: so large that the log copies them, in several steps between which it may be killed."""

_FEES: Final = PoolFees(2_500, 120_000, 40_000)


@dataclass(frozen=True, slots=True)
class Step:
    """One append to make.

    Attributes:
        append_id: its id; a repeat carries the id of an append that was acknowledged.
        appends: what to append.
        first_answer: what a repeat must be told; none for a new append.
    """

    append_id: UUID
    appends: list[StreamAppend]
    first_answer: Appended | None = None


@dataclass(slots=True)
class Caller:
    """Decides the next append; told the outcome of each.

    Attributes:
        name: unique in the run, part of its streams' names.
        random: its own.
    """

    name: str
    random: Random
    _versions: dict[str, int] = field(default_factory=dict)
    _done: tuple[Step, Appended] | None = None

    def next_step(self, now_us: int) -> Step:
        """Mostly one event on a stream of its own; else a batch, two streams, a conflict or a repeat."""
        chance = self.random.random()
        if chance < 0.1 and self._done is not None:
            step, answer = self._done
            return Step(step.append_id, step.appends, answer)
        append_id = UUID(int=self.random.getrandbits(128))
        market, domain = f"pool-{self.name}", f"strategy-{self.name}"
        if chance < 0.2:
            hot = f"pool-hot-{self.random.randrange(HOT_STREAMS)}"
            appends = [self._append(append_id, hot, 1, now_us)]
        elif chance < 0.35:
            many = LARGE_EVENTS if chance > 0.35 - LARGE_SHARE else (2, BATCH_EVENTS)
            appends = [self._append(append_id, market, self.random.randint(*many), now_us)]
        elif chance < 0.5:
            appends = [self._append(append_id, stream, 1, now_us) for stream in (market, domain)]
        else:
            appends = [self._append(append_id, self.random.choice((market, domain)), 1, now_us)]
        return Step(append_id, appends)

    def acknowledged(self, step: Step, answer: Appended) -> None:
        """Remember where the streams stand now."""
        for append in step.appends:
            if step.first_answer is None:
                self._versions[append.stream] = append.expected_version + len(append.events)
        self._done = (step, answer)

    def conflicted(self, stream: str, actual: int) -> None:
        """Somebody else was quicker: go on from where the stream really stands."""
        self._versions[stream] = actual

    def _append(self, append_id: UUID, stream: str, count: int, now_us: int) -> StreamAppend:
        version = self._versions.get(stream, 0)
        events = [_event(stream, version + place, now_us) for place in range(1, count + 1)]
        return StreamAppend(stream, version, events, Cause(append_id, None, "selftest"), now_us)


def _event(stream: str, version: int, now_us: int) -> DomainEvent:
    if stream.startswith("strategy-"):
        return StrategyStopped(
            originator_id=stream,
            originator_version=version,
            timestamp=to_datetime(now_us),
            reason=f"the self-test's number {version}",
        )
    return PoolUpdated(
        "selftest",
        Address(stream),
        Slot(version),
        Mint("A"),
        Mint("B"),
        version,
        2 * version,
        _FEES,
        open=True,
    )
