"""Event objects to stored bytes and back: UTF-8 JSON, exact, the same bytes for the same event for ever.

A market event is the JSON object of its fields. An aggregate's event leaves out `originator_id` and
`originator_version`, which are columns of its row, and keeps `timestamp` as microseconds since the epoch.
Fields stand in the order of their declaration. Floats are refused when the type is first used.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Iterator
from operator import attrgetter
from typing import Any, Final, NamedTuple, Protocol, get_type_hints
from uuid import UUID

import msgspec

import domain.audit.events
import domain.market.events
import domain.strategies.events
import domain.trading.events
import domain.wallets.events  # noqa: F401 - importing the events modules fills the registry of types
from adapters.postgres.foreign import PREFIX, unpack
from adapters.postgres.upcasters import upcast
from domain.errors import DecodeError, InvalidInput, InvariantBroken
from domain.events import EVENT_TYPES, AggregateEvent, DomainEvent, to_datetime, to_microseconds

ROW_FIELDS: Final = ("originator_id", "originator_version")
"""Fields of an aggregate's event that its row holds in columns of their own."""

_CODECS: Final[dict[type[Any], EventCodec]] = {}
_SHAPES: Final[dict[type[Any], Shape]] = {}
_PLAIN: Final[dict[type[Any], Callable[[bytes], Any]]] = {}
"""Decoders of the classes that need nothing but the data: market events, nearly all of a replay."""
_encode: Final = msgspec.json.Encoder().encode


class EventCodec(Protocol):
    """Encodes and decodes one event class.

    Attributes:
        payload: the type whose JSON the data is.
    """

    payload: type[Any]

    def encode(self, event: Any) -> bytes:  # noqa: ANN401 - any event class
        """The event as JSON."""
        ...

    def decode(self, data: bytes, stream: Any, version: int) -> Any:  # noqa: ANN401 - any event class
        """The event from JSON of today's shape."""
        ...

    def convert(self, data: dict[str, Any], stream: Any, version: int) -> Any:  # noqa: ANN401 - any event class
        """The event from decoded, upcast data."""
        ...

    def restored(self, payload: Any, stream: Any, version: int) -> Any:  # noqa: ANN401 - any event class
        """The event from a decoded payload."""
        ...


class _PlainCodec:
    """A dataclass that is its own payload: market events."""

    def __init__(self, cls: type[Any]) -> None:
        self._cls = self.payload = cls
        self._decode: Callable[[bytes], Any] = msgspec.json.Decoder(cls).decode
        self.encode: Callable[[Any], bytes] = _encode

    def decode(self, data: bytes, _stream: Any, _version: int) -> Any:  # noqa: ANN401 - any event class
        return self._decode(data)

    def convert(self, data: dict[str, Any], _stream: Any, _version: int) -> Any:  # noqa: ANN401 - any event class
        return msgspec.convert(data, self._cls)

    def restored(self, payload: Any, _stream: Any, _version: int) -> Any:  # noqa: ANN401 - any event class
        return payload


class _AggregateCodec:
    """An aggregate's event: the payload is a struct of its fields without those of the row."""

    def __init__(self, cls: type[Any]) -> None:
        self._cls = cls
        fields = [(name, kind) for name, kind in _fields(cls) if name not in (*ROW_FIELDS, "timestamp")]
        self.payload: type[Any] = msgspec.defstruct(
            cls.__name__, [("timestamp", int), *fields], gc=False, forbid_unknown_fields=True
        )
        self._decode: Callable[[bytes], Any] = msgspec.json.Decoder(self.payload).decode
        names = [name for name, _ in fields]
        self._facts = attrgetter(*names) if len(names) > 1 else _few(names)

    def encode(self, event: Any) -> bytes:  # noqa: ANN401 - any event class
        return _encode(self.payload(to_microseconds(event.timestamp), *self._facts(event)))

    def decode(self, data: bytes, stream: Any, version: int) -> Any:  # noqa: ANN401 - any event class
        return self.restored(self._decode(data), stream, version)

    def convert(self, data: dict[str, Any], stream: Any, version: int) -> Any:  # noqa: ANN401 - any event class
        return self.restored(msgspec.convert(data, self.payload), stream, version)

    def restored(self, payload: Any, stream: Any, version: int) -> Any:  # noqa: ANN401 - a struct made above
        state = msgspec.structs.asdict(payload)
        state["timestamp"] = to_datetime(payload.timestamp)
        state["originator_id"] = stream
        state["originator_version"] = version
        event = object.__new__(self._cls)
        # As the library's own mapper does: the fields were checked by the decoder, and a frozen dataclass
        # would set them one by one.
        object.__setattr__(event, "__dict__", state)
        return event


class Shape(NamedTuple):
    """How the events of a class are stored.

    Attributes:
        topic: their type.
        class_version: of today's shape.
        encode: an event to its JSON.
        of_aggregate: whether stream and version stand in the event too.
    """

    topic: str
    class_version: int
    encode: Callable[[Any], bytes]
    of_aggregate: bool


def shape_of(cls: type[Any]) -> Shape:
    """How the events of a class are stored, made once.

    Raises:
        InvalidInput: for an unregistered class.
        InvariantBroken: for a field that is a float.
    """
    shape = _SHAPES.get(cls)
    if shape is None:
        topic = getattr(cls, "TOPIC", None)
        if topic is None or EVENT_TYPES.get(topic) is not cls:
            raise InvalidInput(f"{cls.__qualname__} is not a registered event type: give it @event_type(...)")
        of_aggregate = issubclass(cls, AggregateEvent)
        shape = _SHAPES[cls] = Shape(topic, cls.class_version, codec_for(cls).encode, of_aggregate)
    return shape


def encode(event: DomainEvent) -> bytes:
    """An event as the bytes that are stored and hashed.

    Raises:
        InvalidInput: for an unregistered type, or a field that JSON cannot hold.
    """
    shape = shape_of(type(event))
    try:
        return shape.encode(event)
    except UNSTORABLE as error:
        raise unstorable(shape.topic, error) from error


UNSTORABLE: Final = (TypeError, ValueError, AttributeError, OverflowError)
"""What an encoder says of a field that JSON cannot hold."""


def unstorable(topic: str, error: Exception) -> InvalidInput:
    """The refusal of an event that its encoder could not take."""
    return InvalidInput(f"event {topic!r} cannot be stored: {error}; fix the event's fields")


def decode(topic: str, class_version: int, data: bytes, stream: str, version: int, position: int = 0) -> Any:  # noqa: ANN401 - any event class
    """Stored bytes as an event of today's shape.

    Raises:
        DecodeError: naming position, stream and type, when the type is unknown or the bytes do not fit it.
    """
    cls = EVENT_TYPES.get(topic)
    try:
        if cls is not None and (plain := _PLAIN.get(cls)) and class_version == cls.class_version:
            return plain(data)
        if cls is None and topic.startswith(PREFIX):
            return unpack(topic, data)
        if cls is None:
            raise LookupError("no such event type in this version of daybook")
        return decode_as(cls, topic, class_version, data, stream, version)
    except (msgspec.MsgspecError, LookupError, TypeError, ValueError, OverflowError) as error:
        raise DecodeError(
            f"event {topic!r} (schema version {class_version}) at position {position}, version {version} "
            f"of stream {stream!r}, cannot be decoded: {error}; read it with the daybook that wrote it, or "
            "add the upcaster that is missing"
        ) from error


def decode_as(
    cls: type[Any], topic: str, class_version: int, data: bytes, originator_id: str | UUID, version: int
) -> Any:  # noqa: ANN401 - any event class
    """Stored bytes as an event of `cls`, upcast where they were written with an older version."""
    codec = codec_for(cls)
    today = getattr(cls, "class_version", 1)
    if class_version == today:
        return codec.decode(data, originator_id, version)
    if class_version > today:
        raise LookupError(f"it was written by a newer daybook: version {class_version}, known {today}")
    decoded = msgspec.json.decode(data, type=dict[str, Any])
    upcast(cls, topic, decoded, class_version)
    return codec.convert(decoded, originator_id, version)


class _Versioned(msgspec.Struct):
    class_version: int = 1


_version_of: Final = msgspec.json.Decoder(_Versioned).decode


def join_version(data: bytes, class_version: int) -> bytes:
    """The bytes with their schema version in them, where the library keeps it; version 1 goes unsaid."""
    return data if class_version == 1 else b'{"class_version":%d,' % class_version + data[1:]


def split_version(state: bytes) -> tuple[int, bytes]:
    """The schema version and the bytes without it.

    Raises:
        msgspec.MsgspecError: it is not a JSON object.
    """
    class_version = _version_of(state).class_version
    if class_version == 1:
        return 1, state
    fields = msgspec.json.decode(state, type=dict[str, msgspec.Raw])
    del fields["class_version"]
    return class_version, msgspec.json.encode(fields)


def codec_for(cls: type[Any]) -> EventCodec:
    """The codec of an event class, made once.

    Raises:
        InvariantBroken: when a field is a float: money and facts are whole numbers.
    """
    codec = _CODECS.get(cls)
    if codec is None:
        _refuse_floats(cls)
        aggregate = any(field.name == "originator_version" for field in dataclasses.fields(cls))
        codec = _CODECS[cls] = _AggregateCodec(cls) if aggregate else _PlainCodec(cls)
        if not aggregate:
            _PLAIN[cls] = msgspec.json.Decoder(cls).decode
    return codec


def _refuse_floats(cls: type[Any]) -> None:
    for name, kind in _fields(cls):
        parts = _parts(msgspec.inspect.type_info(kind))
        if any(isinstance(part, msgspec.inspect.FloatType) for part in parts):
            raise InvariantBroken(f"{cls.__qualname__}.{name} holds a float: record whole numbers")


def _fields(cls: type[Any]) -> Iterator[tuple[str, Any]]:
    """Names and types of the fields; a parameter that the library found without annotation is Any."""
    hints = get_type_hints(cls)
    for field in dataclasses.fields(cls):
        kind = hints[field.name]
        if field.name not in ROW_FIELDS:
            yield field.name, Any if kind is inspect.Parameter.empty else kind


def _few(names: list[str]) -> Callable[[Any], tuple[Any, ...]]:
    """As attrgetter, for no name and for one: always a tuple."""
    return lambda event: tuple(getattr(event, name) for name in names)


def _parts(kind: Any) -> Iterator[Any]:  # noqa: ANN401 - any node of msgspec's type tree
    """A type and everything it is made of; the events' types do not contain themselves."""
    yield kind
    for value in (
        getattr(kind, name, None) for name in ("types", "item_types", "item_type", "key_type", "value_type")
    ):
        for part in value if isinstance(value, tuple) else (value,):
            if part is not None:
                yield from _parts(part)
    for field in getattr(kind, "fields", ()):
        yield from _parts(field.type)
