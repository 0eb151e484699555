"""Events to bytes and back: exact, strict, and readable for ever."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from logged import AT, order_placed, pool_updated

from adapters.postgres.codec import codec_for, decode, encode
from adapters.postgres.upcasters import UPCASTERS, upcaster
from domain.errors import DecodeError, InvalidInput, InvariantBroken
from domain.events import EVENT_TYPES, AggregateEvent, MarketEvent, event_type, to_datetime
from domain.trading.events import OrderPlaced


@pytest.fixture(autouse=True)
def _registries() -> Iterator[None]:
    """Types and upcasters that a test registers are gone after it."""
    types, steps = dict(EVENT_TYPES), dict(UPCASTERS)
    yield
    for registry, before in ((EVENT_TYPES, types), (UPCASTERS, steps)):
        registry.clear()
        registry.update(before)  # type: ignore[arg-type] # each gets its own back


def test_a_market_event_is_the_object_of_its_fields() -> None:
    """In the order of their declaration, without blanks."""
    data = encode(pool_updated(2**64 - 1))
    assert data.startswith(b'{"protocol":"raydium_cpmm","pool":"Pool1","slot":7,')
    assert json.loads(data)["reserve_a"] == 2**64 - 1
    assert decode("market.pool_updated", 1, data, "pool-1", 1) == pool_updated(2**64 - 1)


def test_an_aggregates_event_leaves_out_what_its_row_holds() -> None:
    """Stream and version are columns; the time is kept to the microsecond."""
    data = encode(order_placed("order-1"))
    fields = json.loads(data)
    assert fields["timestamp"] == AT
    assert not {"originator_id", "originator_version"} & fields.keys()
    event = decode("order.placed", 1, data, "order-1", 1)
    assert event == order_placed("order-1")
    assert type(event) is OrderPlaced
    assert event.timestamp == to_datetime(AT)


def test_a_decoded_event_is_as_frozen_as_any() -> None:
    """Decoding goes round the constructor, not round the rules."""
    event = decode("order.placed", 1, encode(order_placed("order-1")), "order-1", 1)
    with pytest.raises(AttributeError):
        event.wallet = "other"


@pytest.mark.parametrize(
    ("topic", "version", "data"),
    [
        ("order.unheard_of", 1, b"{}"),
        ("market.pool_updated", 1, b"{}"),
        ("market.pool_updated", 1, b"not json"),
        ("market.gap", 1, b'{"feed":"f","dropped":1.5,"since":1,"until":2,"reason":"r"}'),
        ("order.rolled_back", 1, b'{"timestamp":1,"attempt":1,"slot":1,"extra":1}'),
        ("order.rolled_back", 2, b'{"timestamp":1,"attempt":1,"slot":1}'),
    ],
    ids=["unknown type", "missing fields", "not json", "float", "extra field", "newer version"],
)
def test_bytes_that_do_not_fit_say_where_they_stand(topic: str, version: int, data: bytes) -> None:
    """Position, stream and type are in the sentence."""
    with pytest.raises(DecodeError, match=rf"{topic}.*position 17, version 4 of stream 'order-9'"):
        decode(topic, version, data, "order-9", 4, position=17)


def test_an_unregistered_event_is_refused() -> None:
    """Only names that will still be known tomorrow are stored."""

    @dataclass(frozen=True, slots=True)
    class Homeless(MarketEvent):
        number: int

    with pytest.raises(InvalidInput, match="not a registered event type"):
        encode(Homeless(1))


def test_a_float_is_refused_wherever_it_hides() -> None:
    """Also in a list of an inner class."""

    @dataclass(frozen=True, slots=True)
    class Inner:
        amounts: tuple[float, ...]

    @event_type("test.floating")
    @dataclass(frozen=True, slots=True)
    class Floating(MarketEvent):
        inner: Inner

    Floating.__annotations__["inner"] = Inner
    with pytest.raises(InvariantBroken, match=r"Floating\.inner holds a float"):
        codec_for(Floating)


def test_a_field_json_cannot_hold_is_the_callers_mistake() -> None:
    """The sentence names the type."""

    @event_type("test.odd")
    @dataclass(frozen=True, slots=True)
    class Odd(MarketEvent):
        anything: Any

    with pytest.raises(InvalidInput, match=r"test\.odd"):
        encode(Odd(object()))


def test_an_older_version_is_upcast_step_by_step() -> None:
    """From 1 over 2 to 3, by the registry and by the class, while stored bytes stay as they are."""

    @event_type("test.grown", version=3)
    @dataclass(frozen=True, kw_only=True)
    class Grown(AggregateEvent):
        first: int
        second: int
        third: int

        @staticmethod
        def upcast_v2_v3(data: dict[str, Any]) -> None:
            data["third"] = data["second"] + 1

    @upcaster("test.grown", from_version=1)
    def add_second(data: dict[str, Any]) -> None:
        data["second"] = data["first"] + 1

    old = b'{"timestamp":%d,"first":1}' % AT
    expected = Grown(
        originator_id="grown-1", originator_version=2, timestamp=to_datetime(AT), first=1, second=2, third=3
    )
    assert decode("test.grown", 1, old, "grown-1", 2) == expected
    assert decode("test.grown", 3, encode(expected), "grown-1", 2) == expected


def test_a_missing_upcaster_is_named() -> None:
    """Rather than a puzzle about fields."""

    @event_type("test.jumped", version=2)
    @dataclass(frozen=True, slots=True)
    class Jumped(MarketEvent):
        number: int

    assert Jumped.class_version == 2
    with pytest.raises(DecodeError, match=r"no upcaster of 'test\.jumped' from version 1"):
        decode("test.jumped", 1, b'{"number":1}', "x-1", 1)


def test_one_step_has_one_upcaster() -> None:
    """A second one for the same step is a mistake of the author."""
    upcaster("test.twice", from_version=1)(lambda data: data.clear())
    with pytest.raises(InvariantBroken, match="two upcasters"):
        upcaster("test.twice", from_version=1)(lambda data: data.update(x=1))
