"""The schema is a promise: its text stands in the docs, and a change of it is seen in a review."""

from __future__ import annotations

from pathlib import Path

import pytest
from graphql import BreakingChangeType, build_schema, find_breaking_changes

from api.graphql.schema import sdl

PUBLISHED = Path(__file__).parents[2] / "docs" / "reference" / "schema.graphql"


def test_the_published_schema_is_the_one_that_answers() -> None:
    """After a wanted change: `python -c "from api.graphql.schema import sdl; print(sdl(), end='')"`."""
    assert PUBLISHED.read_text() == sdl()


def test_nothing_that_clients_rely_on_is_taken_away() -> None:
    changes = find_breaking_changes(build_schema(PUBLISHED.read_text()), build_schema(sdl()))
    assert changes == []


def test_a_field_taken_away_would_be_found() -> None:
    """The check above can fail."""
    smaller = sdl().replace("  detectToLandUs: BigInt\n", "")
    changes = find_breaking_changes(build_schema(sdl()), build_schema(smaller))
    assert {change.type for change in changes} == {BreakingChangeType.FIELD_REMOVED}


@pytest.mark.parametrize("word", ["key", "secret", "seed", "password"])
def test_no_field_speaks_of_secrets(word: str) -> None:
    assert word not in sdl().lower()
