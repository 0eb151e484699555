"""What every test may ask for: one embedded stack for the whole session, and a fresh database in it."""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import structlog
from databases import fresh_database
from hypothesis import HealthCheck, settings

from adapters.embedded.stack import StackUrls, attach

# the same examples in every run, and no verdict on the clock: a busy machine is no failure
settings.register_profile(
    "daybook", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("daybook")


@pytest.fixture(autouse=True)
def logging_as_it_was() -> Iterator[None]:
    """A command run in this process sets its logging up for an output that is closed after the test."""
    yield
    structlog.reset_defaults()


@pytest.fixture(scope="session")
def stack_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """One data folder for the session, the same one for all workers of pytest-xdist."""
    base = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        yield base.parent / "stack"  # the others may still use it: pytest removes it some sessions later
    else:
        yield base / "stack"
        shutil.rmtree(base / "stack", ignore_errors=True)


@pytest.fixture(scope="session")
def stack(stack_folder: Path) -> Iterator[StackUrls]:
    """Real PostgreSQL, NATS and Valkey, shared by all tests: use names of your own in NATS and Valkey."""
    with attach(stack_folder) as urls:
        yield urls


@pytest.fixture
async def database(stack: StackUrls) -> AsyncIterator[str]:
    """The URL of an empty database that is gone after the test."""
    async with fresh_database(stack.database_url) as url:
        yield url


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how many vector cases passed; the figures travel with the reports, so xdist workers' count too."""
    reports = [report for outcome in ("passed", "failed") for report in terminalreporter.getreports(outcome)]
    figures = {text for report in reports for name, text in report.user_properties if name == "vectors"}
    if figures:
        terminalreporter.section("vectors")
        for text in sorted(map(str, figures)):
            terminalreporter.write_line(text)
