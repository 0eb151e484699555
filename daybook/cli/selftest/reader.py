"""The tailing reader of the self-test, a process of its own: follows the log and tells what it saw.

    python -m daybook.cli.selftest.reader '{"url": ..., "control": null}'

It says where it stands a few times a second, one JSON object a line. A line on standard input names the
position and the number of events to end at; its last line is the result.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import uvloop

from daybook.cli.output import configure_logging, print_json
from daybook.cli.selftest import naive
from daybook.cli.selftest.orders import orders
from daybook.cli.selftest.writer import opened

TELL_S: Final = 0.25
"""Between two lines about where it stands."""

SILENCE_S: Final = 20.0
"""After the end was named: without news for so long there will be none. A restarted server is quicker."""


class Seen(NamedTuple):
    """One event as a tailing reader needs it."""

    position: int
    stream: str
    version: int
    identity: bytes


@dataclass(slots=True)
class Tally:
    """What a reader saw.

    Attributes:
        seen: different events.
        doubled: events that came again.
        disordered: events that came behind a later one.
        stream_gaps: events that did not follow the version before in their stream.
        last: the highest position.
    """

    seen: int = 0
    doubled: int = 0
    disordered: int = 0
    stream_gaps: int = 0
    last: int = 0
    _marks: bytearray = field(default_factory=bytearray)
    _versions: dict[str, int] = field(default_factory=dict)
    _digest: Any = field(default_factory=hashlib.sha256)

    def take(self, event: Seen) -> None:
        """Count one event."""
        if event.position >= len(self._marks):
            self._marks.extend(bytes(max(event.position, 1_000_000)))
        if self._marks[event.position]:
            self.doubled += 1
            return
        self._marks[event.position] = 1
        self.seen += 1
        self.disordered += event.position < self.last
        self.last = max(self.last, event.position)
        self.stream_gaps += self._versions.get(event.stream, 0) + 1 != event.version
        self._versions[event.stream] = event.version
        self._digest.update(event.identity)

    def result(self) -> dict[str, Any]:
        """All figures, and the digest of the events' identities in the order they came."""
        names = ("seen", "doubled", "disordered", "stream_gaps", "last")
        return {name: getattr(self, name) for name in names} | {"digest": self._digest.hexdigest()}


async def follow_log(url: str) -> AsyncIterator[list[Seen]]:
    """Batches of the log from its first event on, for ever."""
    async with await opened(url) as log:
        async for batch in log.follow(0, limit=1_000):
            yield [Seen(e.position, e.stream, e.version, e.event_id.bytes) for e in batch]


async def read(config: dict[str, Any]) -> None:
    """Follow until the named end, or until nothing comes any more."""
    tally = Tally()
    source = naive.follow(config["url"]) if config["control"] else follow_log(config["url"])
    taking = asyncio.create_task(_take(source, tally))
    telling = asyncio.create_task(_tell(tally))
    try:
        end = await (await orders()).readline()
        await _until(int(end or 0), tally, taking)
    finally:
        for task in (taking, telling):
            task.cancel()
        await asyncio.gather(taking, telling, return_exceptions=True)
    print_json({"result": tally.result()})


async def _take(source: AsyncIterator[list[Any]], tally: Tally) -> None:
    async for batch in source:
        for event in batch:
            tally.take(Seen(*event))


async def _tell(tally: Tally) -> None:
    while True:
        await asyncio.sleep(TELL_S)
        print_json({"seen": tally.seen, "last": tally.last})


async def _until(end: int, tally: Tally, taking: asyncio.Task[None]) -> None:
    """Until `last` has reached the end; then a moment more, in which what comes late would come."""
    with contextlib.suppress(TimeoutError):
        while tally.last < end:
            before = tally.seen
            async with asyncio.timeout(SILENCE_S):
                while tally.seen == before and not taking.done():  # noqa: ASYNC110 - the tally tells nobody
                    await asyncio.sleep(0.01)
            if taking.done():
                taking.result()
    await asyncio.wait([taking], timeout=2 * TELL_S)


def main() -> None:
    """Run the process."""
    configure_logging("error", "json")
    uvloop.run(read(json.loads(sys.argv[1])))


if __name__ == "__main__":
    main()
