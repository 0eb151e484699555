"""Limits kept on our side: never more than a second's worth at once, never before the time asked for."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from adapters.rpcpool.bucket import LONGEST_PAUSE_S, TokenBucket


@given(
    rate=st.floats(0.5, 50.0),
    steps=st.lists(st.floats(0.0, 0.5), min_size=1, max_size=80),
)
def test_no_window_holds_more_than_the_rate_and_one_burst(rate: float, steps: list[float]) -> None:
    """Whoever sends whenever the bucket is ready stays below rate x time + burst."""
    bucket, now, sent = TokenBucket(rate, 0.0), 0.0, 0
    for step in steps:
        now += step
        while bucket.ready_at(now) <= now:
            bucket.take(now)
            sent += 1
    assert sent <= rate * now + max(1.0, rate) + 1e-6


def test_it_says_when_the_next_may_go() -> None:
    bucket = TokenBucket(2.0, 0.0)
    for _ in range(2):
        assert bucket.ready_at(0.0) <= 0.0
        bucket.take(0.0)
    assert bucket.ready_at(0.0) == 0.5
    assert bucket.ready_at(0.5) <= 0.5


def test_without_a_limit_everything_goes() -> None:
    bucket = TokenBucket(None, 0.0)
    for _ in range(1_000):
        bucket.take(0.0)
    assert bucket.ready_at(0.0) <= 0.0


def test_retry_after_is_kept_to_the_letter() -> None:
    bucket = TokenBucket(None, 0.0)
    bucket.refused(10.0, 7.0)
    assert bucket.ready_at(10.0) == 17.0
    bucket.refused(11.0, 1.0)  # a shorter one does not shorten it
    assert bucket.ready_at(11.0) == 17.0


def test_without_retry_after_pauses_grow_until_an_answer() -> None:
    bucket, now, pauses = TokenBucket(None, 0.0), 0.0, []
    for _ in range(8):
        bucket.refused(now, None)
        pauses.append(bucket.ready_at(now) - now)
        now = bucket.ready_at(now)
    assert pauses == [1.0, 2.0, 4.0, 8.0, 16.0, LONGEST_PAUSE_S, LONGEST_PAUSE_S, LONGEST_PAUSE_S]
    bucket.answered()
    bucket.refused(now, None)
    assert bucket.ready_at(now) == now + 1.0
