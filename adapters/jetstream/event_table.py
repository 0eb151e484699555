"""The reference page of all event types, written from the types themselves."""

from __future__ import annotations

from typing import Final

from adapters.jetstream.asyncapi import address_of, place_of
from adapters.postgres.event_schemas import Schema, definitions, event_types

_HEAD: Final = """\
# Event types

Written by `daybook events schema --format markdown`; a test holds it to the code. The same as JSON Schema:
[events.schema.json](events.schema.json), with subjects and headers: [asyncapi.json](asyncapi.json).
Amounts are whole numbers of up to 64 bits: read them with a parser that keeps them exact.
How an old version is read today: [change an event](../how-to/change-an-event.md).
"""


def markdown() -> str:
    """A section for each event type: what it says, where it stands, its fields."""
    schemas = definitions("#")
    parts = sorted(name for name in schemas if "." not in name and "properties" in schemas[name])
    events = [_event(topic, schemas[topic]) for topic in event_types()]
    return "\n".join(
        [_HEAD, *events, "## What they are made of\n", *(_part(name, schemas[name]) for name in parts)]
    )


def _event(topic: str, schema: Schema) -> str:
    where = f"Version {schema['x-schema-version']}. Stream `{_angled(place_of(topic))}`, subject "
    where += f"`{_angled(address_of(topic))}`."
    return f"## `{topic}`\n\n{schema['description']}\n\n{where}\n\n{_fields(schema)}"


def _part(name: str, schema: Schema) -> str:
    return f"### `{name}`\n\n{schema['description']}\n\n{_fields(schema)}"


def _fields(schema: Schema) -> str:
    rows = [
        f"| `{name}` | {_type(field)} | {_one_line(field.get('description', ''))} |"
        for name, field in schema["properties"].items()
    ]
    return "\n".join(["| field | type | meaning |", "|---|---|---|", *rows, ""])


def _type(field: Schema) -> str:
    if "$ref" in field:
        return f"`{field['$ref'].removeprefix('#')}`"
    if "anyOf" in field:
        return " or ".join(_type(one) for one in field["anyOf"])
    if field.get("type") == "array":
        return f"list of {_type(field['items'])}"
    return {"null": "nothing"}.get(field.get("type", "any"), str(field.get("type", "any")))


def _one_line(text: str) -> str:
    return text.replace("|", "\\|")


def _angled(text: str) -> str:
    return text.replace("{", "<").replace("}", ">")
