"""Others' quotes on record: what was given out may decide a trade, and then the log must know it."""

from __future__ import annotations

from typing import Final
from uuid import UUID

from commands.ports import Clock, EventLog, StreamAppend
from domain.events import ANY_VERSION, Cause
from domain.market.events import OutsideQuote

ACTOR: Final = "quotes"


class QuoteRecorder:
    """Appends others' quotes, each before it is given out.

    Args:
        log: appended to.
        clock: stamps what is appended.
    """

    def __init__(self, log: EventLog, clock: Clock) -> None:
        self._log = log
        self._clock = clock

    async def record(self, quote: OutsideQuote, request_id: UUID) -> None:
        """Put `quote` on record; the same `request_id` again writes nothing.

        Raises:
            LogUnavailable: the log does not answer; the quote must not be given out.
        """
        append = StreamAppend(
            stream=f"quote-{quote.source}",
            expected_version=ANY_VERSION,
            events=[quote],
            cause=Cause(request_id, None, ACTOR),
            recorded_at=self._clock(),
            slot=quote.slot or None,
        )
        await self._log.append([append], append_id=request_id)
