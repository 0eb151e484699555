"""JSON Schema of every event's data, from the very types that encode and decode it."""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Iterator
from typing import Any, Final, get_type_hints

import msgspec

from adapters.postgres.codec import codec_for
from domain.events import EVENT_TYPES

Schema = dict[str, Any]
"""A JSON object."""

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"

_ATTRIBUTES: Final = re.compile(r"^Attributes:\n((?:    .*\n?|\n)+)", re.MULTILINE)
_ATTRIBUTE: Final = re.compile(r"^ {4}(\w[\w, ]*): (.*(?:\n {8}.*)*)", re.MULTILINE)
_OF_AGGREGATES: Final = {"timestamp": "When it was decided, microseconds since the epoch."}


def event_types() -> list[str]:
    """The names of all event types of daybook, sorted; those that tests made up are left out."""
    return sorted(topic for topic in EVENT_TYPES if not topic.startswith("test."))


def json_schema() -> Schema:
    """One document: `$defs` holds each event's data under its type, and the types it is made of."""
    schemas = definitions("#/$defs/")
    return {
        "$schema": DIALECT,
        "title": "Events of daybook",
        "description": "The data of every event type, today's version. Whole numbers may need 64 bits.",
        "anyOf": [{"$ref": f"#/$defs/{topic}"} for topic in event_types()],
        "$defs": schemas,
    }


def definitions(prefix: str) -> dict[str, Schema]:
    """Schemas by name: events under their type, the parts they share under their class.

    Args:
        prefix: of references from one to the other.
    """
    payloads = {topic: codec_for(EVENT_TYPES[topic]).payload for topic in event_types()}
    _, found = msgspec.json.schema_components(payloads.values(), ref_template=f"{prefix}{{name}}")
    events = {topic: _event_schema(topic, found.pop(kind.__name__)) for topic, kind in payloads.items()}
    for kind in _parts(payloads.values()):
        _describe(found[kind.__name__], kind)
    return {**events, **dict(sorted(found.items()))}


def _event_schema(topic: str, schema: Schema) -> Schema:
    cls = EVENT_TYPES[topic]
    _describe(schema, cls)
    for name, text in _OF_AGGREGATES.items():
        if name in schema["properties"]:
            schema["properties"][name] = {**schema["properties"][name], "description": text}
    return {**schema, "title": topic, "x-schema-version": cls.class_version}


def _describe(schema: Schema, cls: type[Any]) -> None:
    """Say what the class and its fields mean, in the words of its docstring."""
    doc = inspect.cleandoc(cls.__doc__ or "")
    schema["description"] = doc.split("\n\n")[0].replace("\n", " ")
    for name, text in _attributes(doc):
        if name in schema.get("properties", {}):
            schema["properties"][name] = {**schema["properties"][name], "description": text}


def _attributes(doc: str) -> Iterator[tuple[str, str]]:
    section = _ATTRIBUTES.search(doc)
    for names, text in _ATTRIBUTE.findall(section[1]) if section else ():
        for name in names.split(", "):
            yield name, " ".join(text.split())


def _parts(kinds: Any) -> Iterator[type[Any]]:  # noqa: ANN401 - any iterable of classes
    """The dataclasses that the payloads are made of, each once."""
    seen: set[type[Any]] = set()
    waiting = [hint for kind in kinds for hint in get_type_hints(kind).values()]
    while waiting:  # every type is looked into once
        hint = waiting.pop()
        waiting += getattr(hint, "__args__", ())
        if isinstance(hint, type) and dataclasses.is_dataclass(hint) and hint not in seen:
            seen.add(hint)
            waiting += get_type_hints(hint).values()
            yield hint
