"""States of our aggregates to bytes and back, for snapshots: the annotated fields of the class, as JSON.

Disposable: bytes of another class version, or that do not fit, are thrown away and never migrated.
"""

from __future__ import annotations

import inspect
from functools import cache
from typing import Any, ClassVar, Final, TypeVar, get_origin, get_type_hints

import msgspec
from eventsourcing.domain import BaseAggregate

from domain.errors import InvariantBroken
from domain.events import to_datetime, to_microseconds

A = TypeVar("A", bound=BaseAggregate[str])

_encode: Final = msgspec.json.Encoder(order="deterministic").encode


def class_version_of(kind: type[Any]) -> int:
    """Of an aggregate's fields and fold; 1 where it says nothing."""
    return int(getattr(kind, "class_version", 1))


def encode_state(aggregate: BaseAggregate[str]) -> bytes:
    """The state of an aggregate without events that wait to be appended; the same bytes for the same state.

    Raises:
        InvariantBroken: it has decided what is not appended yet, or its class does not annotate its fields.
    """
    if aggregate.pending_events:
        raise InvariantBroken(f"{aggregate.id} has events that are not in the log: append them first")
    shape = _shape(type(aggregate))
    fields = {name: getattr(aggregate, name) for name in shape.__struct_fields__[2:]}
    created, modified = to_microseconds(aggregate.created_on), to_microseconds(aggregate.modified_on)
    return _encode(shape(created, modified, **fields))


def decode_state(kind: type[A], stream: str, version: int, state: bytes) -> A:
    """The aggregate that `encode_state` was given.

    Raises:
        msgspec.MsgspecError: the bytes do not fit.
    """
    shape = _shape(kind)
    found = msgspec.json.decode(state, type=shape)
    fields = {name: getattr(found, name) for name in shape.__struct_fields__[2:]}
    aggregate = object.__new__(kind)
    # As the library's own snapshots do: the constructor would begin a new aggregate.
    aggregate.__dict__.update(
        _id=stream,
        _version=version,
        _created_on=to_datetime(found.created_on),
        _modified_on=to_datetime(found.modified_on),
        _pending_events=[],
        **fields,
    )
    return aggregate


@cache
def _shape(kind: type[Any]) -> type[Any]:
    """A struct of two times and the fields that the class annotates."""
    hints = get_type_hints(kind)
    own = [
        (name, hints[name])
        for name in inspect.get_annotations(kind)
        if get_origin(hints[name]) is not ClassVar
    ]
    if not own:
        raise InvariantBroken(
            f"{kind.__qualname__} annotates no fields: annotate them to take snapshots of it"
        )
    times = [("created_on", int), ("modified_on", int)]
    return msgspec.defstruct(f"{kind.__name__}State", [*times, *own], forbid_unknown_fields=True)
