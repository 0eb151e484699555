"""Yesterday's bytes: each file is an event as it was once stored, never edited, and still read today.

A new schema version adds a file; the old one stays and is read through its upcaster.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from adapters.postgres.codec import decode, encode
from domain.events import EVENT_TYPES

FILES = sorted(Path(__file__).parent.glob("*.json"))


def test_every_event_type_has_a_golden_file_of_every_version() -> None:
    """From 1 to today's, and none for a type that does not exist."""
    wanted = {
        f"{topic}.v{version}.json"
        for topic, cls in EVENT_TYPES.items()
        for version in range(1, cls.class_version + 1)
        if not topic.startswith("test.")
    }
    assert {file.name for file in FILES} == wanted


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.stem))
def test_stored_bytes_are_still_read_and_written_the_same(file: Path) -> None:
    """Today's version gives back the very bytes; an older one at least an event of today's shape."""
    topic, _, version = file.stem.rpartition(".v")
    stored = file.read_bytes()
    event = decode(topic, int(version), stored, "golden-1", 3)
    assert type(event) is EVENT_TYPES[topic]
    if int(version) == EVENT_TYPES[topic].class_version:
        assert encode(event) == stored
