"""The demo's live line: redrawn on a terminal, a plain line a few times a minute elsewhere."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Final, Self

from rich.console import Console
from rich.live import Live
from rich.text import Text

from daybook.demo.tally import Tally
from domain.money import format_units

PLAIN_EVERY_S: Final = 5.0
"""A log file wants a line now and then, not one a second."""


LEAST_S: Final = 0.5
"""A rate over less than this says nothing."""


class Progress:
    """Shows events a second, opportunities, trades and P&L; use as a context manager."""

    def __init__(self, *, enabled: bool) -> None:
        self._console = Console(file=sys.stderr)
        self._live = Live(console=self._console, transient=True) if self._console.is_terminal else None
        self._enabled = enabled
        self._last = (time.monotonic(), 0)
        self._spoken = 0.0

    def __enter__(self) -> Self:
        if self._live is not None and self._enabled:
            self._live.start()
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        if self._live is not None and self._enabled:
            self._live.stop()

    def show(self, tally: Tally, realised_lamports: int, left_s: float) -> None:
        """Show where it stands; call it about once a second."""
        now = time.monotonic()
        since, before = self._last
        rate = round((tally.position - before) / (now - since)) if now - since > LEAST_S else 0
        self._last = (now, tally.position)
        line = (
            f"{left_s:4.0f} s left  {rate:5} events/s  {tally.of('opportunity.found')} opportunities  "
            f"{tally.of('order.landed')} landed  {tally.of('order.failed')} failed  "
            f"{len(tally.open_orders)} open  {format_units(realised_lamports, 9)} SOL"
        )
        if self._live is not None and self._enabled:
            self._live.update(Text(line))
        elif now - self._spoken >= PLAIN_EVERY_S:
            self._spoken = now
            sys.stderr.write(line + "\n")
