"""The circuit breaker: opens after failures in a row, lets one trial through, closes when it is answered."""

from __future__ import annotations

from adapters.rpcpool.breaker import FAILURES, FIRST_OPEN_S, LONGEST_OPEN_S, TRIAL_S, Circuit, CircuitBreaker


def opened(now: float = 0.0) -> CircuitBreaker:
    breaker = CircuitBreaker()
    for _ in range(FAILURES):
        breaker.failed(now)
    return breaker


def test_it_opens_after_failures_in_a_row() -> None:
    breaker = CircuitBreaker()
    for _ in range(FAILURES - 1):
        breaker.failed(0.0)
    breaker.succeeded()
    for _ in range(FAILURES - 1):
        breaker.failed(0.0)
    assert breaker.state(0.0) is Circuit.CLOSED
    breaker.failed(0.0)
    assert breaker.state(0.0) is Circuit.OPEN
    assert not breaker.admits(0.0)


def test_half_open_it_admits_one_trial() -> None:
    breaker = opened()
    assert breaker.state(FIRST_OPEN_S) is Circuit.HALF_OPEN
    assert breaker.admits(FIRST_OPEN_S)
    breaker.started(FIRST_OPEN_S)
    assert not breaker.admits(FIRST_OPEN_S)
    breaker.succeeded()
    assert breaker.state(FIRST_OPEN_S) is Circuit.CLOSED


def test_each_failed_trial_doubles_the_wait_up_to_the_longest() -> None:
    breaker, now = opened(), 0.0
    waited = []
    for _ in range(8):
        began = now
        while not breaker.admits(now):
            now += 0.5
        waited.append(now - began)
        breaker.started(now)
        breaker.failed(now)
    assert waited == [2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0, 60.0]
    assert waited[-1] == LONGEST_OPEN_S


def test_a_trial_without_an_end_does_not_block_the_next_for_ever() -> None:
    breaker = opened()
    breaker.started(FIRST_OPEN_S)
    assert not breaker.admits(FIRST_OPEN_S + TRIAL_S - 1)
    assert breaker.admits(FIRST_OPEN_S + TRIAL_S)


def test_a_trial_that_was_refused_for_its_rate_decides_nothing() -> None:
    breaker = opened()
    breaker.started(FIRST_OPEN_S)
    breaker.undecided()
    assert breaker.state(FIRST_OPEN_S) is Circuit.HALF_OPEN
    assert breaker.admits(FIRST_OPEN_S)
