"""Who tells the truth about its slot: the majority, never the highest claim."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from adapters.rpcpool.slots import Standing, judge

LAG = 50


@given(
    head=st.integers(10**6, 10**9),
    lags=st.lists(st.integers(0, LAG // 2), min_size=3, max_size=60),
    lies=st.lists(st.integers(2 * LAG, 10**12), max_size=20),
)
def test_a_minority_far_ahead_is_found_out_and_costs_no_honest_endpoint(
    head: int, lags: list[int], lies: list[int]
) -> None:
    lies = lies[: (len(lags) - 1) // 2]
    honest = {f"honest{number}": head - lag for number, lag in enumerate(lags)}
    liars = {f"liar{number}": head + lie for number, lie in enumerate(lies)}
    verdict = judge(honest | liars, {}, LAG, 30.0)
    assert {verdict.standings[name] for name in honest} == {Standing.TRUSTED}
    assert all(verdict.standings[name] is Standing.AHEAD for name in liars)
    assert verdict.head == max(honest.values())


def test_who_is_behind_the_majority_lags() -> None:
    verdict = judge({"a": 1_000, "b": 1_001, "c": 800}, {}, LAG, 30.0)
    assert verdict.standings["c"] is Standing.LAGGING


def test_one_slot_beyond_a_wide_group_is_no_lie() -> None:
    """Slots spread over the whole allowed lag: the edges of the group are as good as its middle."""
    reports = {f"n{slot}": slot for slot in range(1_000, 1_053)}
    assert set(judge(reports, {}, LAG, 30.0).standings.values()) == {Standing.TRUSTED}


def test_who_goes_back_alone_is_found_out_even_within_the_lag() -> None:
    before = {"a": 1_000, "b": 1_000, "c": 1_000}
    verdict = judge({"a": 1_010, "b": 1_012, "c": 985}, before, LAG, 4.0)
    assert verdict.standings == {"a": Standing.TRUSTED, "b": Standing.TRUSTED, "c": Standing.BACKWARDS}


def test_a_short_fork_is_forgiven() -> None:
    before = {"a": 1_000, "b": 1_000, "c": 1_000}
    assert judge({"a": 1_001, "b": 1_001, "c": 995}, before, LAG, 0.4).standings["c"] is Standing.TRUSTED


def test_a_chain_that_begins_anew_accuses_nobody() -> None:
    before = dict.fromkeys("abc", 10**6)
    verdict = judge({"a": 5, "b": 6, "c": 5}, before, LAG, 30.0)
    assert set(verdict.standings.values()) == {Standing.TRUSTED}
    assert verdict.head == 6


def test_two_that_differ_make_no_majority() -> None:
    verdict = judge({"a": 1_000, "b": 9_000}, {}, LAG, 30.0)
    assert verdict.head is None
    assert set(verdict.standings.values()) == {Standing.TRUSTED}


def test_of_two_the_one_that_leaps_is_found_out_by_its_own_past() -> None:
    before = {"a": 1_000, "b": 1_000}
    verdict = judge({"a": 1_075, "b": 9_000}, before, LAG, 30.0)
    assert verdict.standings == {"a": Standing.TRUSTED, "b": Standing.AHEAD}


def test_one_alone_and_none_at_all() -> None:
    assert judge({"a": 7}, {}, LAG, 0.0).head == 7
    assert judge({}, {}, LAG, 0.0).head is None
