"""An event type through three versions: yesterday's bytes stay as they are and are read as today's event."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from eventsourcing.persistence import StoredEvent
from logged import AT, new_id, to

from adapters.eventsourcing.stored import from_row
from adapters.memory.event_log import MemoryEventLog
from adapters.postgres.codec import decode, decode_as
from adapters.postgres.mapper import LogMapper
from adapters.postgres.upcasters import UPCASTERS, upcaster
from domain.events import EVENT_TYPES, AggregateEvent, event_type, to_datetime

GOLDEN = {
    1: b'{"timestamp":%d,"price":7}' % AT,
    2: b'{"timestamp":%d,"price":7,"mint":"SOL"}' % AT,
    3: b'{"timestamp":%d,"amount":7,"mint":"SOL"}' % AT,
}
"""The made-up event's bytes of every version, as tests/golden keeps them of real ones."""


@dataclass(frozen=True, kw_only=True)
class Priced1(AggregateEvent):
    """As it was first."""

    price: int


@dataclass(frozen=True, kw_only=True)
class Priced3(AggregateEvent):
    """Today: version 2 added the mint, version 3 renamed the price."""

    amount: int
    mint: str

    @staticmethod
    def upcast_v1_v2(data: dict[str, Any]) -> None:
        """The step from the first version, as the library has it: on the class."""
        data["mint"] = "SOL"


def rename(data: dict[str, Any]) -> None:
    """The step to the third, in the registry."""
    data["amount"] = data.pop("price")


TODAY = Priced3(
    originator_id="quote-1", originator_version=1, timestamp=to_datetime(AT), amount=7, mint="SOL"
)


@pytest.fixture(autouse=True)
def _registries() -> Iterator[None]:
    types, steps = dict(EVENT_TYPES), dict(UPCASTERS)
    yield
    for registry, before in ((EVENT_TYPES, types), (UPCASTERS, steps)):
        registry.clear()
        registry.update(before)  # type: ignore[arg-type] # each gets its own back


def release_version_3() -> None:
    """Tomorrow's daybook knows the type by its new shape."""
    EVENT_TYPES.pop("test.priced", None)
    event_type("test.priced", version=3)(Priced3)
    upcaster("test.priced", from_version=2)(rename)


@pytest.mark.parametrize("version", GOLDEN)
def test_every_version_is_todays_event_by_every_way(version: int) -> None:
    """By the log's codec and by the library's mapper: one set of upcasters, one result."""
    release_version_3()
    stored = GOLDEN[version]
    assert decode("test.priced", version, stored, "quote-1", 1) == TODAY
    state = stored if version == 1 else b'{"class_version":%d,' % version + stored[1:]
    mapper = LogMapper[str]()
    assert mapper.to_domain_event(StoredEvent("quote-1", 1, "test.priced", state)) == TODAY
    assert mapper.to_stored_event(TODAY).state == b'{"class_version":3,' + GOLDEN[3][1:]


@pytest.mark.parametrize("version", GOLDEN)
def test_the_versions_bytes_are_pinned(version: int) -> None:
    """Each fits only its own version: version 1's bytes are not version 3's."""
    release_version_3()
    for other in GOLDEN:
        if other > version:
            with pytest.raises(ValueError, match=r"[Oo]bject"):
                decode_as(Priced3, "test.priced", 3, GOLDEN[version], "quote-1", 1)


async def test_a_log_outlives_its_shapes() -> None:
    """Written by version 1, read by version 3: same bytes, same hash, new event; new ones stand beside."""
    event_type("test.priced")(Priced1)
    log = MemoryEventLog()
    first = Priced1(originator_id="quote-1", originator_version=1, timestamp=to_datetime(AT), price=7)
    await log.append([to("quote-1", first, expected=0)], append_id=new_id())
    before = await log.verify()
    row = log._rows[0]
    assert row.data == GOLDEN[1]

    release_version_3()
    (record,) = await log.read()
    assert (record.class_version, record.event) == (1, TODAY)
    assert (await log.verify(), log._rows[0]) == (before, row)
    second = Priced3(
        originator_id="quote-1", originator_version=2, timestamp=to_datetime(AT), amount=8, mint="SOL"
    )
    await log.append([to("quote-1", second, expected=1)], append_id=new_id())
    assert [(one.class_version, one.event) for one in await log.read()] == [(1, TODAY), (3, second)]
    assert from_row(log._rows[1]).state.startswith(b'{"class_version":3,')
