"""How a long command shows where it is: a bar on a terminal, plain lines elsewhere; on standard error."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Final, Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

PLAIN_EVERY_S: Final = 5.0
"""A log file wants a line now and then, not one a second; and one at the end."""

Report = Callable[[int, int], None]
"""Told how much is done, and how much there is."""


@contextmanager
def progress(what: str) -> Iterator[Report]:
    """Show `what` being done, as often as it is reported."""
    console = Console(file=sys.stderr)
    if not console.is_terminal:
        yield _plain(what)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        RateColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


class Phases:
    """Shows each phase of a work with a bar of its own.

    Args:
        what: is worked on.
    """

    def __init__(self, what: str) -> None:
        self._what = what
        self._stack = ExitStack()
        self._phase: str | None = None
        self._report: Report | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self._stack.close()

    def __call__(self, phase: str, done: int, total: int) -> None:
        """How far a phase is."""
        if phase != self._phase or self._report is None:
            self._stack.close()
            self._phase = phase
            self._report = self._stack.enter_context(progress(f"{self._what}: {phase}"))
        self._report(done, total)


class RateColumn(ProgressColumn):
    """How many a second, lately."""

    def render(self, task: Task) -> Text:
        """`12,345/s`, once it is known."""
        return Text("" if task.speed is None else f"{task.speed:,.0f}/s")


def _plain(what: str) -> Report:
    spoken = begun = time.monotonic()
    ended = False
    first: int | None = None

    def report(done: int, total: int) -> None:
        nonlocal spoken, first, ended
        now = time.monotonic()
        first = done if first is None else first
        if now - spoken >= PLAIN_EVERY_S or (done >= total and not ended):
            spoken = now
            rate = (done - first) / (now - begun)
            left = f", {rate:,.0f}/s, {(total - done) / rate:,.0f} s left" if rate else ""
            sys.stderr.write(f"{what}: {done:,} of {total:,}{left}\n")
            sys.stderr.flush()
        ended = done >= total

    return report
