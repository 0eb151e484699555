"""Some fields of an event as a struct: what nobody looks at is skipped, what is nested is a struct too."""

from __future__ import annotations

import dataclasses
from functools import cache
from typing import Any, get_args, get_origin, get_type_hints

import msgspec

from adapters.postgres.codec import ROW_FIELDS


def lean(cls: type[Any], names: tuple[str, ...] | None) -> type[msgspec.Struct]:
    """What an event class's stored JSON decodes to: these of its fields, under the same names.

    Args:
        cls: a registered event class.
        names: the fields; none means all that are stored, except the time it was decided.

    Raises:
        KeyError: the class has no such field: a mistake of the projection's author.
    """
    hints = get_type_hints(cls)
    stored = [
        field.name
        for field in dataclasses.fields(cls)
        if field.name not in (*ROW_FIELDS, "timestamp") and field.name in hints
    ]
    fields = [(name, _lean(hints[name])) for name in (stored if names is None else names)]
    return msgspec.defstruct(cls.__name__, fields, gc=False)


def _lean(kind: Any) -> Any:  # noqa: ANN401 - any type
    """The type with dataclasses in it as structs of the same fields, checked as strictly."""
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        return _struct(kind)
    arguments = get_args(kind)
    if get_origin(kind) is tuple:
        return tuple.__class_getitem__(tuple(_lean(argument) for argument in arguments))
    return kind


@cache
def _struct(cls: type[Any]) -> type[msgspec.Struct]:
    hints = get_type_hints(cls)
    fields = [(field.name, _lean(hints[field.name])) for field in dataclasses.fields(cls)]
    return msgspec.defstruct(cls.__name__, fields, gc=False)
