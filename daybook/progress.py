"""How a long command shows where it is: a bar on a terminal, plain lines elsewhere; on standard error."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

PLAIN_EVERY_S: Final = 5.0
"""A log file wants a line now and then, not one a second."""

Report = Callable[[int, int], None]
"""Told how much is done, and how much there is."""


@contextmanager
def progress(what: str) -> Iterator[Report]:
    """Show `what` being done, as often as it is reported."""
    console = Console(file=sys.stderr)
    if not console.is_terminal:
        yield _plain(what)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _plain(what: str) -> Report:
    spoken = time.monotonic()

    def report(done: int, total: int) -> None:
        nonlocal spoken
        now = time.monotonic()
        if now - spoken >= PLAIN_EVERY_S:
            spoken = now
            sys.stderr.write(f"{what}: {done:,} of {total:,}\n")
            sys.stderr.flush()

    return report
