"""Faults for tests of clients: on order for the next calls, or standing, by chance and seed."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from random import Random
from typing import Final

from adapters.localnet.blocks import FINALIZED_AFTER, MAX_STALE
from adapters.localnet.encoding import Json
from adapters.localnet.params import Params
from adapters.localnet.refusals import invalid_params
from domain.errors import InvalidInput

MAX_PENDING: Final = 10_000
"""Faults waiting for one method; more is a mistake in a test."""
MAX_LATE_MS: Final = 60_000
"""The longest an answer can be held back: no client waits for more."""
MAX_DELAY_SLOTS: Final = 1_000
"""Beyond the 150 blocks a blockhash lives, a delayed transaction never lands anyway."""


class FaultKind(StrEnum):
    """What goes wrong; `amount` is slots or milliseconds where the kind takes one.

    - DROP: `sendTransaction` or `sendBundle` checks and answers, but nothing ever lands.
    - DELAY: the same, and it lands `amount` slots later, if it is still valid then.
    - LOSE_ANSWER: the call is carried out; the connection is cut before the answer.
    - LATE_ANSWER: the call is carried out; the answer comes `amount` milliseconds later.
    - ERROR_ANSWER: the call is carried out; the answer is an internal error (-32603).
    - UNHEALTHY: the call is not carried out; the answer is -32005, node behind.
    - RATE_LIMITED: the call is not carried out; the answer is HTTP 429 with Retry-After.
    - STALE: the call is answered as a node `amount` slots behind would.
    - FORK: standing only: with the chance given for each slot, the newest `amount` blocks become a dead fork.
    """

    DROP = "drop"
    DELAY = "delay"
    LOSE_ANSWER = "lose_answer"
    LATE_ANSWER = "late_answer"
    ERROR_ANSWER = "error_answer"
    UNHEALTHY = "unhealthy"
    RATE_LIMITED = "rate_limited"
    STALE = "stale"
    FORK = "fork"


SENDING: Final = ("sendTransaction", "sendBundle")
"""The methods whose effect can be dropped or delayed."""

_SENDING_KINDS: Final = (FaultKind.DROP, FaultKind.DELAY)
_AMOUNTS: Final = {
    FaultKind.DELAY: (1, MAX_DELAY_SLOTS),
    FaultKind.LATE_ANSWER: (1_000, MAX_LATE_MS),
    FaultKind.STALE: (10, MAX_STALE),
    FaultKind.FORK: (2, FINALIZED_AFTER - 1),
}
"""Default and largest amount of the kinds that take one."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault; `amount` is 0 for kinds that take none."""

    kind: FaultKind
    amount: int = 0


@dataclass(frozen=True, slots=True)
class Standing:
    """A fault that strikes by chance: in `percent` of all calls, or for FORK of all slots."""

    fault: Fault
    percent: int


class AnswerLost(Exception):
    """The call was carried out and its answer is to be lost."""


class RateLimited(Exception):
    """The call is to be refused with HTTP 429."""


def read_standing(text: str) -> Standing:
    """Read `kind=percent` or `kind=percent:amount`, e.g. `drop=5`, `stale=20:8`, `fork=2:3`.

    Raises:
        InvalidInput: the kind is unknown, or a number is missing or out of range.
    """
    name, _, value = text.partition("=")
    percent_text, colon, amount_text = value.partition(":")
    kind = _kind(name, text)
    percent = _number(percent_text, 0, 100, text, "a percentage")
    default, largest = _AMOUNTS.get(kind, (0, 0))
    if colon and not largest:
        raise InvalidInput(f"setting the fault {text!r}: {kind} takes no amount after the percentage")
    unit = "milliseconds" if kind is FaultKind.LATE_ANSWER else "slots"
    amount = _number(amount_text, 1, largest, text, f"a number of {unit}") if colon else default
    return Standing(Fault(kind, amount), percent)


class Faults:
    """Faults on order, by method, each call taking the first; then the standing ones by chance."""

    def __init__(self, standing: Sequence[Standing] = (), *, seed: int = 0) -> None:
        self._waiting: dict[str, deque[Fault]] = {}
        self._standing = {item.fault.kind: item for item in standing}
        self._rng = Random(seed)  # noqa: S311 - repeatable misfortune, no secrets

    def order(self, params: Params) -> int:
        """Serve `localnet_failNextCalls`: {method, kind, count=1, slots, ms}; answers how many wait.

        Raises:
            RpcRefusal: the kind is unknown, unfit for the method, or too many are asked for.
        """
        wanted = params.config(0)
        method = wanted.text("method", "sendTransaction")
        name = wanted.text("kind", "")
        if name not in {kind.value for kind in FaultKind}:
            raise invalid_params(f"unknown fault kind {name!r}; known: {', '.join(FaultKind)}")
        kind = FaultKind(name)
        if kind is FaultKind.FORK or (kind in _SENDING_KINDS and method not in SENDING):
            raise invalid_params(f"{method} cannot {kind}: {_where(kind)}")
        asked = wanted.integer("count")
        count = 1 if asked is None else asked
        waiting = self._waiting.setdefault(method, deque())
        if len(waiting) + count > MAX_PENDING:
            raise invalid_params(f"{count} more faults for {method}: at most {MAX_PENDING} can wait")
        default, largest = _AMOUNTS.get(kind, (0, 0))
        amount = wanted.integer("ms" if kind is FaultKind.LATE_ANSWER else "slots") or default
        waiting.extend([Fault(kind, min(amount, largest))] * count)
        return len(waiting)

    def set_standing(self, params: Params) -> Json:
        """Serve `localnet_setFaults`: {kind: "percent" or "percent:amount"} replaces all; answers them.

        Raises:
            RpcRefusal: one of them cannot be read; nothing changed.
        """
        raw: Mapping[str, object] = params.config(0).raw
        try:
            standing = [read_standing(f"{kind}={value}") for kind, value in raw.items()]
        except InvalidInput as error:
            raise invalid_params(str(error)) from error
        self._standing = {item.fault.kind: item for item in standing}
        return {
            kind.value: {"percent": item.percent, "amount": item.fault.amount}
            for kind, item in self._standing.items()
        }

    def take(self, method: str) -> Fault | None:
        """Take the next fault for a call of `method`; chance spares the network's own methods."""
        waiting = self._waiting.get(method)
        if waiting:
            return waiting.popleft()
        if not self._standing or method.startswith("localnet_"):
            return None
        for kind, item in self._standing.items():
            fits = kind is not FaultKind.FORK and (kind not in _SENDING_KINDS or method in SENDING)
            if fits and self._strikes(item):
                return item.fault
        return None

    def fork_depth(self) -> int:
        """How many blocks become a dead fork now that a slot has passed; mostly 0."""
        item = self._standing.get(FaultKind.FORK)
        return item.fault.amount if item is not None and self._strikes(item) else 0

    def _strikes(self, item: Standing) -> bool:
        return self._rng.randrange(100) < item.percent


def _kind(name: str, text: str) -> FaultKind:
    try:
        return FaultKind(name)
    except ValueError:
        raise InvalidInput(
            f"setting the fault {text!r}: {name!r} is no kind of fault; known: {', '.join(FaultKind)}"
        ) from None


def _number(digits: str, least: int, most: int, text: str, what: str) -> int:
    if not digits.isdecimal() or not least <= int(digits) <= most:
        raise InvalidInput(f"setting the fault {text!r}: {digits!r} is not {what} from {least} to {most}")
    return int(digits)


def _where(kind: FaultKind) -> str:
    if kind is FaultKind.FORK:
        return "forks are standing faults, or made by localnet_rollBack"
    return f"only {' and '.join(SENDING)} can"
