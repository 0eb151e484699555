"""How a decision says no: a value that names the rule and the figures, never an exception."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Refusal:
    """No, and why.

    Attributes:
        reason: a short stable word, e.g. `insufficient_funds`.
        found: what was found against what limit, in words.
    """

    reason: str
    found: str
