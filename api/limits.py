"""How much one request may ask for: each number with its reason, and how it is held."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from starlette.requests import Request
from strawberry.extensions import (
    AddValidationRules,
    MaxAliasesLimiter,
    MaxTokensLimiter,
    ParserCache,
    QueryDepthLimiter,
    SchemaExtension,
    ValidationCache,
)

from api.errors import Refused
from domain.errors import InvalidInput

MAX_BODY_BYTES: Final = 64 * 1024
"""A request of 1,000 tokens and its variables takes a few kB."""

MAX_DEPTH: Final = 8
"""The deepest useful question, a trade's cause's opportunity's legs, takes 5."""

MAX_ALIASES: Final = 15
"""A page of figures side by side needs a handful."""

MAX_TOKENS: Final = 1_000
"""The longest question of the docs has about 150; parsing 1,000 takes a millisecond."""

MAX_PAGE: Final = 500
"""Items of one page: some 500 kB of JSON."""

MAX_ROWS: Final = 1_000
"""Items of one request over all its pages: about a second of Python on one core."""

REQUEST_S: Final = 10.0
"""No answer takes longer: a page is read in milliseconds, and a caller has gone away by then."""

WAIT_S: Final = 5.0
"""How long an answer waits for `minPosition`: read models are milliseconds behind, or something is wrong."""

CACHED_DOCUMENTS: Final = 256
"""Parsed and validated questions that are kept: programs ask the same few."""


# made once: the validation cache knows a document by these very rules
_RULES: Final = [
    *QueryDepthLimiter(max_depth=MAX_DEPTH).validation_rules,
    *MaxAliasesLimiter(max_alias_count=MAX_ALIASES).validation_rules,
]


def extensions() -> list[Callable[[], SchemaExtension]]:
    """What holds the limits of a GraphQL document before anything of it runs; made anew for each request."""
    return [
        lambda: MaxTokensLimiter(max_token_count=MAX_TOKENS),
        lambda: ParserCache(maxsize=CACHED_DOCUMENTS),
        lambda: AddValidationRules(_RULES),
        lambda: ValidationCache(maxsize=CACHED_DOCUMENTS),
    ]


async def read_body(request: Request) -> bytes:
    """The whole body, refused as soon as it is too long.

    Raises:
        Refused: 413.
    """
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY_BYTES:
            raise Refused(413, f"The request has more than {MAX_BODY_BYTES:,} bytes.")
    return bytes(body)


class Budget:
    """Items one request may still ask for."""

    def __init__(self) -> None:
        self._left = MAX_ROWS

    def spend(self, items: int, name: str = "first") -> int:
        """Take a page of `items` from the budget; returns `items`.

        Raises:
            InvalidInput: the page is not between 1 and `MAX_PAGE`, or the budget is spent.
        """
        if not 1 <= items <= MAX_PAGE:
            raise InvalidInput(f"`{name}` is {items}: ask for 1 to {MAX_PAGE} at a time")
        self.charge(items)
        return items

    def charge(self, items: int) -> None:
        """Take items from the budget that were asked for without a number.

        Raises:
            InvalidInput: the budget is spent.
        """
        self._left -= items
        if self._left < 0:
            raise InvalidInput(
                f"one request asks for more than {MAX_ROWS:,} items in all: narrow it, or ask in turns"
            )
