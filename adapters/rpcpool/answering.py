"""What a client is told in the end, from all that its call met."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import msgspec

from adapters.rpcpool.outcome import NO_ANSWER, Answer, Kind, Outcome, failure


def answer_read(method: str, outcomes: Sequence[Outcome]) -> Answer:
    """The final outcome, else the most telling refusal, else why there is none."""
    told = _told(outcomes, (Kind.ANSWERED, Kind.LACKS, Kind.ILL))
    return told or _nobody(method, outcomes)


def answer_sent(method: str, outcomes: Sequence[Outcome]) -> Answer:
    """As `answer_read`, but a refusal counts only when nobody may have carried it out."""
    if outcomes and outcomes[-1].good:
        return Answer(result=outcomes[-1].result)
    lost = [one for one in outcomes if one.kind is Kind.LOST or one.code == NO_ANSWER]
    refusal = _told(outcomes, (Kind.ANSWERED, Kind.LACKS, Kind.ILL))
    if not lost:
        return refusal or _nobody(method, outcomes)
    refused = None if refusal is None or refusal.error is None else msgspec.Raw(refusal.error)
    return failure(
        NO_ANSWER,
        f"{method}: {len(lost)} endpoints may have carried it out and did not answer ({_found(lost)}): "
        "the outcome is unknown; ask for the signature's status before sending anything else",
        503,
        data=None if refused is None else {"refusal": refused},
    )


def _told(outcomes: Sequence[Outcome], kinds: Sequence[Kind]) -> Answer | None:
    """The latest outcome of the first of these kinds there is."""
    for kind in kinds:
        for one in reversed(outcomes):
            if one.kind is kind:
                return Answer(result=one.result, error=one.error)
    return None


def _nobody(method: str, outcomes: Sequence[Outcome]) -> Answer:
    waits = [one.retry_after_s or 1.0 for one in outcomes if one.kind is Kind.LIMITED]
    if not outcomes or len(waits) == len(outcomes):
        limited = failure(
            NO_ANSWER,
            f"{method} was not sent: all endpoints are at their rate limits; ask again later",
            429,
        )
        return Answer(error=limited.error, status=429, retry_after_s=min(waits, default=1.0))
    return failure(
        NO_ANSWER,
        f"{method} got no answer from any endpoint ({_found(outcomes)}): the outcome is unknown; "
        "see /rpc/health",
        503,
    )


def _found(outcomes: Sequence[Outcome]) -> str:
    counts = Counter(one.found or f"refused with {one.code}" for one in outcomes)
    return ", ".join(f"{count} x {found}" for found, count in counts.most_common(4))
