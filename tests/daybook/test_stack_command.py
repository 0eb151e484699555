"""`daybook stack`: what it prints and how it exits."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from daybook.cli.stack import stack_app
from domain.errors import SetupError

runner = CliRunner()


def _run(*arguments: str) -> tuple[int, dict[str, Any]]:
    result = runner.invoke(stack_app, [*arguments, "--json"])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    answer: dict[str, Any] = json.loads(result.stdout.splitlines()[-1])
    return result.exit_code, answer


def test_up_status_down(tmp_path: Path) -> None:
    """The servers outlive the command that started them, until `down`; status says no after."""
    folder = ("--data-dir", str(tmp_path / "data"))
    try:
        code, urls = _run("up", *folder)
        assert (code, set(urls)) == (0, {"database_url", "nats_url", "redis_url"})
        assert _run("up", *folder) == (0, urls)
        code, found = _run("status", *folder)
        assert (code, found["up"], len(found["servers"])) == (0, True, 3)
        plain = runner.invoke(stack_app, ["status", *folder])
        assert "postgres  up    18." in plain.stdout
        assert "export DAYBOOK_NATS_URL='nats://" in runner.invoke(stack_app, ["up", *folder]).stdout
    finally:
        assert _run("down", *folder) == (0, {"stopped": True})
    assert _run("down", *folder) == (0, {"stopped": False})
    assert _run("status", *folder)[0] == 1


def test_a_refusal_is_a_setup_error(tmp_path: Path) -> None:
    """The command line turns it into one sentence and exit code 2."""
    (tmp_path / "file").touch()
    result = runner.invoke(stack_app, ["up", "--data-dir", str(tmp_path / "file")])
    assert isinstance(result.exception, SetupError)


@pytest.mark.parametrize("port", ["0", "65536", "nats"])
def test_a_port_is_a_port(port: str) -> None:
    """Checked before anything is started."""
    assert runner.invoke(stack_app, ["up", "--nats-port", port]).exit_code == 2
