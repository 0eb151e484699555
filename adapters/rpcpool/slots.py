"""Which endpoints tell the truth about their slot: judged by the majority and by each one's own past.

A node's slot is its claim to be up to date, so the pool must not prefer whoever claims most. The majority
is the largest group of endpoints whose slots lie within the allowed lag of each other. Who is behind it
lags; who is far ahead lies, for no node can know slots that most have not seen; who goes back while most do
not serves from nodes that disagree. Without a majority (two endpoints that differ) an endpoint is judged by
its own past alone: a slot that leaps is no node's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

BACKWARDS_SLOTS: Final = 10
"""A short fork or a provider's second node takes a slot back by a few; more is no accident."""
FASTEST_SLOTS_PER_S: Final = 5
"""Twice as fast as Solana's 0.4 s slots: an endpoint that moved faster did not follow the chain."""


class Standing(StrEnum):
    """What its slot says of an endpoint.

    - TRUSTED: with the majority, or not judged.
    - LAGGING: behind it by more than allowed: its answers are old.
    - AHEAD: before it by more than allowed: its slot is no node's.
    - BACKWARDS: it went back while the majority did not.
    """

    TRUSTED = "trusted"
    LAGGING = "lagging"
    AHEAD = "ahead"
    BACKWARDS = "backwards"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one round of questions found.

    Attributes:
        head: the majority's newest slot; None when there is no majority.
        standings: by endpoint name.
    """

    head: int | None
    standings: dict[str, Standing]


def judge(
    reports: Mapping[str, int], before: Mapping[str, int], max_lag_slots: int, elapsed_s: float
) -> Verdict:
    """Judge the slots of one round, asked at the same time.

    Args:
        reports: the slots, by endpoint.
        before: those of the round before.
        max_lag_slots: how far an endpoint may be from the majority.
        elapsed_s: since the round before.
    """
    group = _majority(reports, max_lag_slots)
    centre = None if group is None else sorted(group)[len(group) // 2]
    back = {name for name, slot in reports.items() if slot < before.get(name, 0) - BACKWARDS_SLOTS}
    # a chain that begins anew, or a deep fork, takes most endpoints back: then none of them lies
    restarted = 2 * len(back) > len(reports)
    leap = max_lag_slots + int(elapsed_s * FASTEST_SLOTS_PER_S)
    standings = {}
    for name, slot in reports.items():
        standing = _beside(slot, before.get(name), centre, max_lag_slots, leap)
        backwards = name in back and not restarted and standing is Standing.TRUSTED
        standings[name] = Standing.BACKWARDS if backwards else standing
    return Verdict(None if group is None else max(group), standings)


def _beside(slot: int, before: int | None, centre: int | None, lag: int, leap: int) -> Standing:
    """A slot beside the majority's; without one, beside what its own past allows."""
    if centre is None:
        leapt = before is not None and slot > before + leap
        return Standing.AHEAD if leapt else Standing.TRUSTED
    if slot > centre + lag:
        return Standing.AHEAD
    return Standing.LAGGING if slot < centre - lag else Standing.TRUSTED


def _majority(reports: Mapping[str, int], lag: int) -> list[int] | None:
    """The slots of the largest group within the lag; None when another, apart from it, is as large."""
    slots = sorted(reports.values())
    groups = [[slot for slot in slots if low <= slot <= low + lag] for low in slots]
    best = max(groups, key=len, default=[])
    apart = [slot for slot in slots if slot not in best]
    rivals = [[slot for slot in apart if low <= slot <= low + lag] for low in apart]
    tied = any(len(rival) >= len(best) for rival in rivals)
    return None if tied or not best else best
