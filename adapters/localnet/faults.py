"""Faults on order, for tests of clients: the next calls of a method go wrong in a named way."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from adapters.localnet.params import Params
from adapters.localnet.refusals import invalid_params

MAX_PENDING: Final = 10_000
"""Faults waiting for one method; more is a mistake in a test."""
MAX_LATE_MS: Final = 60_000
"""The longest an answer can be held back: no client waits for more."""


class FaultKind(StrEnum):
    """What goes wrong.

    - DROP: `sendTransaction` checks and answers the signature, but the transaction never lands.
    - DELAY: the same, and it lands `slots` slots later, if it is still valid then.
    - LOSE_ANSWER: the call is carried out; the connection is cut before the answer.
    - LATE_ANSWER: the call is carried out; the answer comes `ms` milliseconds later.
    - ERROR_ANSWER: the call is carried out; the answer is an internal error (-32603).
    - UNHEALTHY: the call is not carried out; the answer is -32005, node behind.
    """

    DROP = "drop"
    DELAY = "delay"
    LOSE_ANSWER = "lose_answer"
    LATE_ANSWER = "late_answer"
    ERROR_ANSWER = "error_answer"
    UNHEALTHY = "unhealthy"


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault; `slots` is for DELAY, `ms` for LATE_ANSWER."""

    kind: FaultKind
    slots: int = 1
    ms: int = 1_000


class AnswerLost(Exception):
    """The call was carried out and its answer is to be lost."""


class Faults:
    """Faults waiting, by method; each call takes the first of its method."""

    def __init__(self) -> None:
        self._waiting: dict[str, deque[Fault]] = {}

    def order(self, params: Params) -> int:
        """Serve `localnet_failNextCalls`: {method, kind, count=1, slots=1, ms=1000}; answers how many wait.

        Raises:
            RpcRefusal: the kind is unknown, unfit for the method, or too many are asked for.
        """
        wanted = params.config(0)
        method = wanted.text("method", "sendTransaction")
        name = wanted.text("kind", "")
        if name not in {kind.value for kind in FaultKind}:
            raise invalid_params(f"unknown fault kind {name!r}; known: {', '.join(FaultKind)}")
        kind = FaultKind(name)
        if kind in (FaultKind.DROP, FaultKind.DELAY) and method != "sendTransaction":
            raise invalid_params(f"{method} cannot {kind}: only sendTransaction can")
        asked = wanted.integer("count")
        count = 1 if asked is None else asked
        waiting = self._waiting.setdefault(method, deque())
        if len(waiting) + count > MAX_PENDING:
            raise invalid_params(f"{count} more faults for {method}: at most {MAX_PENDING} can wait")
        fault = Fault(kind, wanted.integer("slots") or 1, min(wanted.integer("ms") or 1_000, MAX_LATE_MS))
        waiting.extend([fault] * count)
        return len(waiting)

    def take(self, method: str) -> Fault | None:
        """Take the next fault for a call of `method`."""
        waiting = self._waiting.get(method)
        return waiting.popleft() if waiting else None
