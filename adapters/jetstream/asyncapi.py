"""AsyncAPI of everything the relay delivers: channels are the subjects, messages the events with headers."""

from __future__ import annotations

import re
from importlib import metadata
from typing import Any, Final

from adapters.jetstream.streams import STREAMS, subject_of
from adapters.postgres.event_schemas import Schema, definitions, event_types
from domain.audit.events import ANCHORS
from domain.events import EVENT_TYPES

HEADERS: Final = {
    "Nats-Msg-Id": "The event's id, a UUID; the same wherever it is computed.",
    "Daybook-Position": "Its place in the log.",
    "Daybook-Stream": "Its stream in the log.",
    "Daybook-Version": "Its place in that stream.",
    "Daybook-Type": "The event type.",
    "Daybook-Schema-Version": "The version of the type that the payload was written with.",
    "Daybook-Recorded-At": "When it was recorded, microseconds since 1970-01-01 UTC.",
    "Daybook-Correlation-Id": "The story it belongs to, a UUID.",
    "Daybook-Actor": "Who recorded it.",
    "Daybook-Causation-Id": "The event or command that led to it, a UUID; none at the root of a story.",
    "Daybook-Slot": "The slot it speaks of, where it speaks of the chain.",
}
"""What each header says; all are text."""

OPTIONAL: Final = ("Daybook-Causation-Id", "Daybook-Slot")

_PLACES: Final = {
    "market.pool_updated": "pool-{pool}",
    "market.gap": "feed-{feed}",
    "market.outside_quote": "quote-{source}",
    "audit.anchored": ANCHORS,
}
"""Streams of the log, where they are not named after the kind of event."""

_SCHEMAS: Final = "#/components/schemas/"


def asyncapi() -> Schema:
    """The document, version 3.0.0."""
    channels = _channels()
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Events of daybook",
            "version": metadata.version("daybook"),
            "description": "Every event of the log, delivered by the relay in the order of the log. At least "
            "once for whoever consumes: keep a checkpoint by Daybook-Position.",
        },
        "defaultContentType": "application/json",
        "channels": {name: _channel(address, topics) for name, (address, topics) in channels.items()},
        "operations": {
            f"deliver-{name}": {
                "action": "send",
                "channel": {"$ref": f"#/channels/{name}"},
                "summary": f"The relay delivers events to {address}.",
            }
            for name, (address, _) in channels.items()
        },
        "components": {
            "messages": {topic: _message(topic) for topic in event_types()},
            "schemas": {"headers": _header_schema(), **definitions(_SCHEMAS)},
        },
    }


def _channels() -> dict[str, tuple[str, list[str]]]:
    """Subjects with the event types that come by them, under a name of the subject's fixed tokens."""
    by_address: dict[str, list[str]] = {}
    for topic in event_types():
        by_address.setdefault(address_of(topic), []).append(topic)
    return {
        re.sub(r"\.\{\w+\}", "", address): (address, topics) for address, topics in sorted(by_address.items())
    }


def address_of(topic: str) -> str:
    """The subject of an event type, its changing tokens in braces: what `subject_of` makes of such names."""
    return subject_of(topic, place_of(topic), b'{"protocol":"{protocol}","strategy":"{strategy}"}')


def place_of(topic: str) -> str:
    """The log's stream of an event type, its changing part in braces."""
    kind = topic.partition(".")[0]
    return _PLACES.get(topic, f"{kind}-{{{kind}}}")


def _channel(address: str, topics: list[str]) -> Schema:
    parameters = re.findall(r"\{(\w+)\}", address)
    stream = STREAMS[address.partition(".")[0]]
    channel: dict[str, Any] = {
        "address": address,
        "description": f"On JetStream stream {stream.name}, kept {stream.max_age_s / 86_400:g} days.",
        "messages": {topic: {"$ref": f"#/components/messages/{topic}"} for topic in topics},
    }
    if parameters:
        channel["parameters"] = {
            name: {"description": f"The {name}; dots, blanks and wildcards in it become _."}
            for name in parameters
        }
    return channel


def _message(topic: str) -> Schema:
    doc = EVENT_TYPES[topic].__doc__ or ""
    return {
        "name": topic,
        "title": EVENT_TYPES[topic].__name__,
        "summary": doc.strip().splitlines()[0],
        "contentType": "application/json",
        "headers": {"$ref": f"{_SCHEMAS}headers"},
        "payload": {"$ref": f"{_SCHEMAS}{topic}"},
    }


def _header_schema() -> Schema:
    return {
        "type": "object",
        "properties": {name: {"type": "string", "description": text} for name, text in HEADERS.items()},
        "required": [name for name in HEADERS if name not in OPTIONAL],
    }
