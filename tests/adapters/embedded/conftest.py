"""Helpers of the embedded stack's tests: other processes, what they leave, and waiting until."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from adapters.embedded.stack import attach, down

PATIENCE_S = 30.0  # a busy machine; normally a tenth of a second

HOLDER = """
import sys
from pathlib import Path
from adapters.embedded.stack import attach
with attach(Path(sys.argv[1])) as urls:
    print(urls.database_url, flush=True)
    sys.stdin.read()
"""

Hold = Callable[[Path], "subprocess.Popen[str]"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A data folder whose first start is behind it, so that each test starts it in half a second."""
    made = tmp_path_factory.mktemp("embedded") / "data"
    with attach(made):
        pass
    yield made
    down(made)
    shutil.rmtree(made)


@pytest.fixture
def hold() -> Iterator[Hold]:
    """Start a process that attaches to a folder and stays; returns once it has its URLs."""
    started: list[subprocess.Popen[str]] = []

    def start(folder: Path) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", HOLDER, str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline().startswith("postgresql://")
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture
def until() -> Callable[[Callable[[], object]], None]:
    """Wait until a question is answered with yes."""

    def wait(question: Callable[[], object]) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not question():
            assert time.monotonic() < deadline, "waited too long"
            time.sleep(0.02)

    return wait


@pytest.fixture
def state() -> Callable[[Path], dict[str, Any]]:
    """Read stack.json of a folder."""

    def read(folder: Path) -> dict[str, Any]:
        content: dict[str, Any] = json.loads((folder / "stack.json").read_text())
        return content

    return read


@pytest.fixture
def processes_of() -> Callable[[Path], list[int]]:
    """The pids of every process of a folder: its servers, their children, its supervisor."""

    def find(folder: Path) -> list[int]:
        found = []
        for process in psutil.process_iter(["cwd", "cmdline", "status"]):
            inside = (process.info["cwd"] or "").startswith(str(folder))
            supervises = "adapters.embedded.supervisor" in (process.info["cmdline"] or []) and any(
                str(folder) in argument for argument in process.info["cmdline"]
            )
            if (inside or supervises) and process.info["status"] != psutil.STATUS_ZOMBIE:
                found.append(process.pid)
        return found

    return find
