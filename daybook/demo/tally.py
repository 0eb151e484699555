"""Counts what happens in the log as it happens: the demo's progress line, and its summary's figures."""

from __future__ import annotations

from dataclasses import dataclass, field

from commands.ports import EventLog
from domain.events import RecordedEvent
from domain.trading.events import OrderObserved, OrderPlaced


@dataclass(slots=True)
class Tally:
    """What the log showed so far.

    Attributes:
        position: the last position counted.
        counts: events by topic.
        open_orders: orders placed and not yet closed.
        detect_to_land_us: for each order that was executed without error, from the recording of the market
            event that led to it to the recording of its first observation on chain, in microseconds.
    """

    position: int = 0
    counts: dict[str, int] = field(default_factory=dict)
    open_orders: set[str] = field(default_factory=set)
    detect_to_land_us: list[int] = field(default_factory=list)
    _seen_at: dict[str, int] = field(default_factory=dict)

    async def follow(self, log: EventLog) -> None:
        """Count until cancelled."""
        async for batch in log.follow(self.position):
            for recorded in batch:
                self.add(recorded)

    def add(self, recorded: RecordedEvent) -> None:
        """Count one event."""
        self.position = recorded.position
        self.counts[recorded.topic] = self.counts.get(recorded.topic, 0) + 1
        match recorded.event:
            case OrderPlaced() as placed:
                self.open_orders.add(recorded.stream)
                self._seen_at[recorded.stream] = placed.seen_at
            case OrderObserved(error=None):
                self._landed(recorded)
            case _ if recorded.topic in {"order.landed", "order.failed", "order.abandoned"}:
                self._landed(recorded)
                self.open_orders.discard(recorded.stream)
                self._seen_at.pop(recorded.stream, None)
            case _:
                pass

    def _landed(self, recorded: RecordedEvent) -> None:
        if recorded.topic in {"order.observed", "order.landed"} and recorded.stream in self._seen_at:
            self.detect_to_land_us.append(recorded.recorded_at - self._seen_at.pop(recorded.stream))

    def of(self, topic: str) -> int:
        """How many events of one topic."""
        return self.counts.get(topic, 0)

    @property
    def market_events(self) -> int:
        """Events of the market category."""
        return sum(count for topic, count in self.counts.items() if topic.startswith("market."))

    def detect_to_land_ms(self) -> dict[str, float | None]:
        """Median and 99th percentile in milliseconds, by nearest rank; none before the first trade."""
        ordered = sorted(self.detect_to_land_us)
        return {name: _rank(ordered, share) for name, share in (("p50", 50), ("p99", 99))}


def _rank(ordered: list[int], percent: int) -> float | None:
    if not ordered:
        return None
    index = max(0, -(-len(ordered) * percent // 100) - 1)
    return ordered[index] / 1000
