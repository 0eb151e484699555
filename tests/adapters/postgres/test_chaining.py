"""Chaining in one pass gives the ids and hashes that are written down."""

from __future__ import annotations

from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from adapters.postgres.batch import Plan
from adapters.postgres.chaining import Chain, pieces, rows
from adapters.postgres.hash_chain import GENESIS, link
from adapters.postgres.rows import EncodedAppend
from domain.events import Cause, event_id

NAMES = st.text(min_size=1, max_size=60).filter(str.isprintable)


@given(
    stream=NAMES,
    version=st.integers(0, 2**40),
    events=st.lists(st.tuples(NAMES, st.integers(1, 9), st.binary(max_size=400)), min_size=1, max_size=5),
    cause=st.builds(Cause, st.uuids(), st.none() | st.uuids(), NAMES),
    slot=st.none() | st.integers(0, 2**63 - 1),
    size=st.integers(1, 6),
)
def test_ids_and_hashes_are_those_of_the_reference(
    stream: str,
    version: int,
    events: list[tuple[str, int, bytes]],
    cause: Cause,
    slot: int | None,
    size: int,
) -> None:
    """What `link` and `event_id` say one by one, a chain says of a whole append, also piece by piece."""
    append = EncodedAppend(stream, version, events, cause, 7, slot)
    placed = [(append, version, 40)]
    made = Plan((40, GENESIS), 40 + len(events), placed)
    chain, in_pieces = Chain(made), Chain(made)
    found = list(rows(chain.links(placed)))
    cut = [row for piece in pieces(placed, size) for row in rows(in_pieces.links(piece))]
    assert (cut, in_pieces.hash) == (found, chain.hash)
    before = GENESIS
    for row, (topic, class_version, data) in zip(found, events, strict=True):
        assert row.event_id == event_id(stream, row.version)
        assert UUID(bytes=row.event_id.bytes).version == 5
        assert row.hash == link(before, row[:-1])
        assert (row.topic, row.class_version, row.data) == (topic, class_version, data)
        before = row.hash
    assert [row.position for row in found] == list(range(41, 41 + len(events)))
    assert chain.hash == before
