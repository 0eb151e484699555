"""Chaining in one pass gives the ids and hashes that are written down."""

from __future__ import annotations

from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from adapters.postgres.chaining import chain
from adapters.postgres.hash_chain import GENESIS, link
from adapters.postgres.rows import EncodedAppend, StoredEvent
from domain.events import Cause, event_id

NAMES = st.text(min_size=1, max_size=60).filter(str.isprintable)


@given(
    stream=NAMES,
    version=st.integers(0, 2**40),
    events=st.lists(st.tuples(NAMES, st.integers(1, 9), st.binary(max_size=400)), min_size=1, max_size=5),
    cause=st.builds(Cause, st.uuids(), st.none() | st.uuids(), NAMES),
    slot=st.none() | st.integers(0, 2**63 - 1),
)
def test_ids_and_hashes_are_those_of_the_reference(
    stream: str, version: int, events: list[tuple[str, int, bytes]], cause: Cause, slot: int | None
) -> None:
    """What `link` and `event_id` say one by one, `chain` says of a whole append."""
    rows: list[StoredEvent] = []
    head = chain(EncodedAppend(stream, version, events, cause, 7, slot), version, 40, GENESIS, rows)
    before = GENESIS
    for row, (topic, class_version, data) in zip(rows, events, strict=True):
        assert row.event_id == event_id(stream, row.version)
        assert UUID(bytes=row.event_id.bytes).version == 5
        assert row.hash == link(before, row[:-1])
        assert (row.topic, row.class_version, row.data) == (topic, class_version, data)
        before = row.hash
    assert [row.position for row in rows] == list(range(41, 41 + len(events)))
    assert head == before
