"""When a read is asked twice: after a percentile of its like, within a budget."""

from __future__ import annotations

from adapters.rpcpool.hedging import BUDGET_MOST, LONGEST_S, SHORTEST_S, Hedging


def test_the_delay_is_the_percentile_of_the_method() -> None:
    hedging = Hedging(95)
    for number in range(100):
        hedging.answered("getBlock", 0.010 + number / 1_000)
        hedging.answered("getSlot", 0.001)
    assert 0.100 <= (hedging.delay_s("getBlock") or 0) <= 0.109
    assert hedging.delay_s("getSlot") == SHORTEST_S
    assert hedging.delay_s("getBalance") == LONGEST_S


def test_without_a_percentile_reads_are_never_hedged() -> None:
    assert Hedging(None).delay_s("getSlot") is None


def test_at_most_a_tenth_of_the_calls_is_hedged_in_the_long_run() -> None:
    hedging = Hedging(95)
    spent = 0
    for _ in range(10_000):
        hedging.called()
        spent += hedging.spend()
    assert 1_000 <= spent <= 1_000 + BUDGET_MOST
