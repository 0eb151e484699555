"""Settings: one frozen tree, no silent defaults for mistyped names."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import BaseModel, ValidationError

from daybook.settings import PREFIX, Settings, load_settings
from domain.errors import SetupError

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No `.env` of the developer's reaches these tests."""
    monkeypatch.chdir(tmp_path)


def test_defaults_trade_on_the_embedded_servers() -> None:
    settings = load_settings()
    assert (settings.database_url, settings.nats_url, settings.redis_url) == (None, None, None)


def test_a_nested_setting_is_read_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAYBOOK_RISK__MAX_OPEN_ORDERS", "3")
    assert load_settings().risk.max_open_orders == 3


def test_an_unknown_setting_is_refused_with_the_name_it_resembles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAYBOOK_RISK__MAX_OPEN_ORDER", "3")
    with pytest.raises(SetupError, match="did you mean DAYBOOK_RISK__MAX_OPEN_ORDERS"):
        load_settings()


def test_a_folder_of_servers_and_another_database_are_not_both_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One of the two would be ignored without a word, and the answer come from the wrong log."""
    monkeypatch.setenv("DAYBOOK_DATABASE_URL", "postgresql://here/log")
    assert load_settings().database_url is not None
    with pytest.raises(SetupError, match="--data-dir names the embedded servers of"):
        load_settings(data_dir=tmp_path)


def test_an_unknown_setting_in_the_env_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("DAYBOOK_MAXIMUM_LOSS=1\n")
    with pytest.raises(SetupError, match="MAXIMUM_LOSS"):
        load_settings()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DATABASE_URL", "mysql://x"),
        ("NATS_URL", "http://x"),
        ("REDIS_URL", "nats://x"),
        ("RPC_URL", "ws://x"),
    ],
)
def test_a_wrong_url_names_the_setting_and_what_it_must_begin_with(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(PREFIX + name, value)
    with pytest.raises(SetupError, match=f"{PREFIX}{name}: must begin with"):
        load_settings()


def test_a_url_with_a_password_is_never_repeated_in_the_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAYBOOK_DATABASE_URL", "mysql://me:secret@host/db")
    with pytest.raises(SetupError) as caught:
        load_settings()
    assert "secret" not in str(caught.value)


def test_a_number_out_of_range_says_what_was_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAYBOOK_RISK__MAX_OPEN_ORDERS", "4000")
    with pytest.raises(SetupError, match="found '4000'"):
        load_settings()


@pytest.mark.parametrize("name", ["POOLS", "ARBITRAGE", "RISK"])
def test_a_value_that_is_no_json_is_a_sentence_with_an_example(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(PREFIX + name, "notjson")
    with pytest.raises(SetupError, match=f"{PREFIX}{name}: what was found is no JSON; write a list as"):
        load_settings()


def test_settings_cannot_be_changed_after_they_were_read() -> None:
    with pytest.raises(ValidationError):
        load_settings().api_port = 1  # type: ignore[misc] # that it cannot be assigned is the point


def test_the_example_file_and_the_reference_name_every_setting() -> None:
    names = []
    for name, field in Settings.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            names += [f"{PREFIX}{name}__{part}".upper() for part in field.annotation.model_fields]
        else:
            names.append(f"{PREFIX}{name}".upper())
    for document in (".env.example", "docs/reference/settings.md"):
        text = (ROOT / document).read_text()
        assert [name for name in names if name not in text] == [], document
