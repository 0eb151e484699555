"""What came of one call to one endpoint, and what that means for asking another."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import msgspec

METHOD_NOT_FOUND: Final = -32601
NO_ANSWER: Final = -32603
"""JSON-RPC's internal error: Solana clients take it as an open outcome, which it is."""


class Kind(StrEnum):
    """How an attempt ended.

    - ANSWERED: a result, or a refusal of the question itself.
    - LACKS: a refusal for what a healthy node may lack: another may have it.
    - ILL: a refusal that tells of the node's health; it may have been carried out when the code is -32603.
    - LIMITED: refused for its rate; it was not carried out.
    - UNSENT: no connection; it was not carried out.
    - LOST: sent and not answered, or with something unreadable: it may have been carried out.
    """

    ANSWERED = "answered"
    LACKS = "lacks"
    ILL = "ill"
    LIMITED = "limited"
    UNSENT = "unsent"
    LOST = "lost"


@dataclass(frozen=True, slots=True)
class Outcome:
    """One attempt's end.

    Attributes:
        endpoint: who was asked.
        result: JSON text of the result, when there is one.
        error: JSON text of the JSON-RPC error object, when there is one.
        code: the error's code.
        found: what was found, in words, when there is neither; names no URL.
        retry_after_s: how long a rate-limited endpoint asked for.
    """

    kind: Kind
    endpoint: str
    result: bytes | None = None
    error: bytes | None = None
    code: int | None = None
    found: str = ""
    retry_after_s: float | None = None

    @property
    def good(self) -> bool:
        """Whether it brought a result."""
        return self.result is not None

    @property
    def final(self) -> bool:
        """Whether no other endpoint need be asked."""
        return self.kind is Kind.ANSWERED


@dataclass(frozen=True, slots=True)
class Answer:
    """What the pool answers to a call: exactly one of `result` and `error` is set.

    Attributes:
        result: JSON text.
        error: JSON text of an error object.
        status: the HTTP status for a call that came alone.
        retry_after_s: for status 429, when to ask again.
    """

    result: bytes | None = None
    error: bytes | None = None
    status: int = 200
    retry_after_s: float | None = None


def failure(code: int, message: str, status: int = 200, *, data: object = None) -> Answer:
    """An answer of our own making."""
    error: dict[str, object] = {"code": code, "message": message}
    if data is not None:
        error["data"] = data
    return Answer(error=msgspec.json.encode(error), status=status)


def unknown_method() -> Answer:
    """What a node says to a method it does not know."""
    return failure(METHOD_NOT_FOUND, "Method not found")
