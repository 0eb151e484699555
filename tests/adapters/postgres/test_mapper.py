"""The library's own machinery works on our bytes, with our events and with its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID

import pytest
from eventsourcing.application import Application
from eventsourcing.compressor import ZlibCompressor
from eventsourcing.domain import Aggregate, event
from eventsourcing.persistence import MapperDeserialisationError, StoredEvent
from logged import order_placed

from adapters.postgres.codec import encode
from adapters.postgres.mapper import LogMapper


class Dog(Aggregate):
    """The library's documentation's favourite aggregate."""

    @event("Registered")
    def __init__(self, name: str) -> None:
        self.name = name
        self.tricks: list[str] = []

    @event("TrickAdded")
    def add_trick(self, trick: str) -> None:
        """One more."""
        self.tricks.append(trick)


class Kennel(Application[UUID]):
    """An application of the library on our mapper."""

    env = {"MAPPER_TOPIC": "adapters.postgres.mapper:LogMapper"}  # noqa: RUF012 - as the library documents


def test_our_events_have_the_logs_bytes() -> None:
    """One encoding, whichever door it leaves by."""
    mapper = LogMapper[str]()
    placed = order_placed("order-1")
    stored = mapper.to_stored_event(placed)
    assert stored == StoredEvent("order-1", 1, "order.placed", encode(placed))
    assert mapper.to_domain_event(stored) == placed


def test_an_application_of_the_library_runs_on_it() -> None:
    """Save, load, and read the notifications."""
    kennel = Kennel()
    dog = Dog("Fido")
    dog.add_trick("roll over")
    kennel.save(dog)
    loaded: Dog = kennel.repository.get(dog.id)
    assert (loaded.name, loaded.tricks, loaded.version) == ("Fido", ["roll over"], 2)
    assert kennel.notification_log.select(1, 10)[1].state.endswith(b'"trick":"roll over"}')


def test_states_may_be_compressed() -> None:
    """As the library's factory configures it."""
    mapper = LogMapper[str](compressor=ZlibCompressor())
    placed = order_placed("order-1")
    stored = mapper.to_stored_event(placed)
    assert stored.state != encode(placed)
    assert mapper.to_domain_event(stored) == placed


def test_the_librarys_way_of_upcasting_works() -> None:
    """A class of version 2 reads what version 1 wrote, and marks what it writes."""

    class Cat(Aggregate):
        @dataclass(frozen=True)
        class Named(Aggregate.Event):
            name: str
            lives: int
            class_version = 2

            @staticmethod
            def upcast_v1_v2(state: dict[str, Any]) -> None:
                state["lives"] = 9

    mapper = LogMapper[UUID]()
    named = Cat.Named(
        originator_id=UUID(int=1),
        originator_version=2,
        timestamp=Cat.Event.create_timestamp(),
        name="Tom",
        lives=9,
    )
    stored = mapper.to_stored_event(named)
    assert stored.state.startswith(b'{"class_version":2,')
    assert mapper.to_domain_event(stored) == named
    state = stored.state.replace(b'"class_version":2,', b"").replace(b',"lives":9', b"")
    assert mapper.to_domain_event(StoredEvent(named.originator_id, 2, stored.topic, state)) == named


@pytest.mark.parametrize(
    "stored", [("order.placed", b"{}"), ("no.such:Thing", b"{}"), ("order.placed", b"x")]
)
def test_what_cannot_be_read_is_the_librarys_error(stored: tuple[str, bytes]) -> None:
    """So that its tools report it as their own."""
    with pytest.raises(MapperDeserialisationError, match="version 3 of 'order-1'"):
        LogMapper[str]().to_domain_event(StoredEvent("order-1", 3, *stored))
