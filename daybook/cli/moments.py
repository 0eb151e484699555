"""Times as people write them on the command line, and as events hold them."""

from __future__ import annotations

from datetime import UTC, datetime

from domain.errors import InvalidInput
from domain.events import to_datetime, to_microseconds


def moment(text: str | None) -> int | None:
    """An ISO time in microseconds since the epoch; UTC unless it says.

    Raises:
        InvalidInput: it is not a time.
    """
    if text is None:
        return None
    try:
        at = datetime.fromisoformat(text)
    except ValueError as error:
        raise InvalidInput(f"{text!r} is not a time: write it as 2026-01-31T12:00:00Z") from error
    return to_microseconds(at if at.tzinfo else at.replace(tzinfo=UTC))


def iso(at_us: int) -> str:
    """Microseconds since the epoch as an ISO time in UTC, always to the microsecond."""
    return to_datetime(at_us).isoformat(timespec="microseconds").removesuffix("+00:00") + "Z"
