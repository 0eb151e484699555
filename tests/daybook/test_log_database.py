"""A command that looks at what there is refuses a folder that holds nothing, and begins nothing there."""

from __future__ import annotations

from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from daybook.cli.audit import audit_app
from daybook.cli.dlq import dlq_app
from daybook.cli.events import events_app
from daybook.cli.projections import projections_app
from daybook.cli.stack import stack_app
from daybook.cli.strategies import strategies_app
from daybook.cli.wallets import wallets_app
from domain.errors import SetupError

ASKING = [
    (audit_app, "verify"),
    (audit_app, "checkpoint"),
    (dlq_app, "list"),
    (events_app, "list"),
    (events_app, "export", "--out", "log.parquet"),
    (projections_app, "status"),
    (projections_app, "rebuild"),
    (stack_app, "status"),
    (stack_app, "down"),
    (strategies_app, "list"),
    (wallets_app, "balances"),
    (wallets_app, "book", "a-signature"),
]


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder, and no database in the settings."""
    monkeypatch.delenv("DAYBOOK_DATABASE_URL", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def refused(app: typer.Typer, *arguments: str) -> str:
    """What the command says when it refuses."""
    result = CliRunner().invoke(app, arguments)
    assert isinstance(result.exception, SetupError), result.output
    return str(result.exception)


@pytest.mark.parametrize(("app", "arguments"), [(app, arguments) for app, *arguments in ASKING])
def test_a_mistyped_folder_is_named_and_not_made(place: Path, app: typer.Typer, arguments: list[str]) -> None:
    said = refused(app, *arguments, "--data-dir", "daybok")
    assert f"{place / 'daybok'} and found no such folder" in said
    assert "daybook migrate" in said
    assert list(place.iterdir()) == []


def test_a_folder_of_something_else_is_left_as_it_is(place: Path) -> None:
    (place / "photos").mkdir(mode=0o700)
    (place / "photos" / "cat.jpg").touch()
    assert "found a folder without it" in refused(audit_app, "verify", "--data-dir", "photos")
    assert [path.name for path in (place / "photos").iterdir()] == ["cat.jpg"]


def test_the_folder_of_the_settings_is_held_to_the_same(place: Path) -> None:
    assert str(place / ".daybook") in refused(projections_app, "list")
    assert list(place.iterdir()) == []
