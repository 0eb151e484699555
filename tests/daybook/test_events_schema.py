"""`daybook events schema`: what it prints is what the docs hold, the codec reads and the relay sends."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from typer.testing import CliRunner

from adapters.jetstream.asyncapi import HEADERS, OPTIONAL, asyncapi
from adapters.jetstream.headers import headers_of
from adapters.jetstream.streams import root_of, subject_of
from adapters.postgres.event_schemas import event_types, json_schema
from adapters.postgres.rows import StoredEvent
from daybook.cli.events import events_app
from domain.events import EVENT_TYPES

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "tests" / "golden"


def printed(*arguments: str) -> str:
    result = CliRunner().invoke(events_app, ["schema", *arguments])
    assert result.exception is None, result.exception
    return result.stdout


@pytest.mark.parametrize(
    ("kind", "file"),
    [("json-schema", "events.schema.json"), ("asyncapi", "asyncapi.json"), ("markdown", "events.md")],
)
def test_the_reference_is_what_the_command_prints(kind: str, file: str) -> None:
    """After a wanted change: `daybook events schema --format KIND > docs/reference/FILE`."""
    assert (ROOT / "docs" / "reference" / file).read_text() == printed("--format", kind)


@pytest.mark.parametrize("kind", ["json-schema", "asyncapi", "markdown"])
def test_json_is_one_line(kind: str) -> None:
    (line,) = printed("--format", kind, "--json").splitlines()
    document = json.loads(line)
    made = {"json-schema": json_schema, "asyncapi": asyncapi}.get(kind)
    assert document == made() if made else set(document) == {"text"}


@pytest.mark.parametrize("topic", event_types())
def test_stored_bytes_fit_the_schema(topic: str) -> None:
    """Today's golden bytes: every field is described, with its type, and none is missing."""
    version = EVENT_TYPES[topic].class_version
    schema = json_schema()
    data = json.loads((GOLDEN / f"{topic}.v{version}.json").read_bytes())
    fits(data, schema["$defs"][topic], schema)
    with pytest.raises(AssertionError):
        fits({**data, next(iter(data)): 1.5}, schema["$defs"][topic], schema)


TYPES = {"string": str, "integer": int, "boolean": bool, "object": dict, "array": list, "null": type(None)}


def fits(value: Any, schema: dict[str, Any], document: dict[str, Any]) -> None:  # noqa: ANN401 - any JSON
    """As much of JSON Schema as our schemas use."""
    if "$ref" in schema:
        fits(value, document["$defs"][schema["$ref"].rpartition("/")[2]], document)
    elif "anyOf" in schema:
        plain = [
            one for one in schema["anyOf"] if "$ref" not in one and isinstance(value, TYPES[one["type"]])
        ]
        matching = plain or [one for one in schema["anyOf"] if "$ref" in one]
        assert matching
        fits(value, matching[0], document)
    elif "enum" in schema:
        assert value in schema["enum"]
    else:
        assert isinstance(value, TYPES[schema["type"]])
        assert schema["type"] == "boolean" or not isinstance(value, bool)
    if schema.get("type") == "object":
        assert value.keys() == schema["properties"].keys()
        for name, one in schema["properties"].items():
            assert one.get("description") or "$ref" in one or name
            fits(value[name], one, document)
    for item in value if schema.get("type") == "array" else ():
        fits(item, schema["items"], document)


@pytest.mark.parametrize("topic", event_types())
def test_every_event_comes_by_the_channel_that_lists_it(topic: str) -> None:
    """A real name in the subject instead of the braces."""
    (channel,) = [one for one in asyncapi()["channels"].values() if topic in one["messages"]]
    place = "audit-anchors" if topic == "audit.anchored" else f"{topic.partition('.')[0]}-abc"
    subject = subject_of(topic, place, b'{"protocol":"raydium_cpmm","strategy":"strategy-main"}')
    pattern = re.sub(r"\\\{\w+\\\}", r"[^.]+", re.escape(channel["address"]))
    assert re.fullmatch(pattern, subject)
    assert root_of(topic) == subject.partition(".")[0]


def test_the_headers_are_those_of_the_relay() -> None:
    """All of them, and the optional ones only where they say something."""
    row = StoredEvent(1, "s-1", 1, "t", 1, 1, uuid4(), uuid4(), uuid4(), "a", 7, b"{}", bytes(32))
    assert names(row) == HEADERS.keys()
    assert names(row._replace(causation_id=None, slot=None)) == HEADERS.keys() - set(OPTIONAL)
    described = asyncapi()["components"]["schemas"]["headers"]
    assert set(described["required"]) == HEADERS.keys() - set(OPTIONAL)


def names(row: StoredEvent) -> set[str]:
    """Of the headers that the relay sends with a row."""
    return {line.partition(":")[0] for line in headers_of(row).decode().split("\r\n") if line}


def test_references_lead_somewhere() -> None:
    """In both documents."""
    for document in (json_schema(), asyncapi()):
        for target in re.findall(r'"\$ref": "#/([^"]+)"', json.dumps(document)):
            found: Any = document
            for part in target.split("/"):
                found = found[part]
