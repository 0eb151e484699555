"""Numbers and times as they travel: exact in every language, so as decimal strings and RFC 3339 text.

JavaScript keeps only 53 bits of a JSON number and GraphQL's own Int only 31; a lamport lost on the way is
still lost.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any, Final, NewType

import strawberry
from strawberry.schema.config import StrawberryConfig

from domain.errors import InvalidInput
from domain.events import to_datetime, to_microseconds

BigInt = NewType("BigInt", int)
Lamports = NewType("Lamports", int)
Time = NewType("Time", int)
Json = NewType("Json", object)

_WHOLE: Final = re.compile(r"-?[0-9]{1,39}")


def _whole(value: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and _WHOLE.fullmatch(value):
        return int(value)
    raise InvalidInput(f"{value!r} is not a whole number: write digits, with or without quotes")


def _microseconds(value: object) -> int:
    try:
        at = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        at = None
    if at is None or at.tzinfo is None:
        raise InvalidInput(f"{value!r} is not a time: write it like 2026-01-31T12:00:00Z, with its zone")
    return to_microseconds(at)


def _rfc3339(at_us: Any) -> str:  # noqa: ANN401 - whatever a resolver returned
    return to_datetime(at_us).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


CONFIG: Final = StrawberryConfig(
    scalar_map={
        BigInt: strawberry.scalar(
            name="BigInt",
            description="A whole number of any size, as a decimal string; a number is accepted too.",
            serialize=str,
            parse_value=_whole,
        ),
        Lamports: strawberry.scalar(
            name="Lamports",
            description="10^-9 SOL, a whole number as a decimal string.",
            serialize=str,
            parse_value=_whole,
        ),
        Time: strawberry.scalar(
            name="Time",
            description="A moment in UTC to the microsecond, e.g. 2026-01-31T12:00:00.000000Z (RFC 3339).",
            serialize=_rfc3339,
            parse_value=_microseconds,
        ),
        Json: strawberry.scalar(
            name="JSON",
            description="Any JSON. Whole numbers in it are JSON numbers of any size: parse them as such.",
            serialize=lambda value: value,
        ),
    }
)
