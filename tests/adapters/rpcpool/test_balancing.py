"""Whose turn it is: by weight, by latency, by standing, within every limit."""

from __future__ import annotations

from collections import Counter

import pytest

from adapters.rpcpool.balancing import picker
from adapters.rpcpool.choosing import Chooser
from adapters.rpcpool.endpoint import CONNECTIONS, Endpoint, EndpointConfig, named
from adapters.rpcpool.slots import Standing
from domain.errors import SetupError


def endpoints(*weights: int, rate: float | None = None) -> list[Endpoint]:
    configs = [
        EndpointConfig(f"http://10.0.0.{number}/k", weight=weight, requests_per_second=rate)
        for number, weight in enumerate(weights, 1)
    ]
    return named(configs, 0.0)


def choosing(them: list[Endpoint], balancing: str = "round_robin", now: float = 0.0) -> Chooser:
    pick = picker("least_latency" if balancing == "least_latency" else "round_robin")
    return Chooser(them, pick, lambda: now)


def chosen(chooser: Chooser, tried: frozenset[str] = frozenset()) -> Endpoint:
    found = chooser.choose(tried)
    assert isinstance(found, Endpoint)
    return found


def test_round_robin_gives_each_its_weight_and_spreads_the_turns() -> None:
    chooser = choosing(endpoints(5, 1, 1))
    turns = [chosen(chooser).name for _ in range(7)]
    assert Counter(turns) == {"10.0.0.1": 5, "10.0.0.2": 1, "10.0.0.3": 1}
    assert turns[:2] == ["10.0.0.1", "10.0.0.1"]
    assert "10.0.0.1" in turns[-2:]


def test_least_latency_prefers_the_quick_until_it_is_busy() -> None:
    quick, slow = them = endpoints(1, 1)
    for _ in range(5):
        quick.health.record(ok=True, took_s=0.010)
        slow.health.record(ok=True, took_s=0.025)
    chooser = choosing(them, "least_latency")
    assert chosen(chooser) is quick
    quick.in_flight = 2
    assert chosen(chooser) is slow


def test_who_lied_about_its_slot_comes_last_even_after_the_broken() -> None:
    liar, broken = them = endpoints(1, 1)
    liar.health.stand(Standing.AHEAD)
    for _ in range(5):
        broken.breaker.failed(0.0)
    chooser = choosing(them)
    assert chosen(chooser) is broken
    assert chosen(chooser, frozenset({broken.name})) is liar
    assert chooser.choose(frozenset({broken.name, liar.name})) is None


def test_who_lied_is_believed_again_after_three_good_rounds() -> None:
    [liar] = endpoints(1)
    liar.health.stand(Standing.BACKWARDS)
    for _ in range(2):
        liar.health.stand(Standing.TRUSTED)
        assert liar.health.doubtful
    liar.health.stand(Standing.TRUSTED)
    assert not liar.health.doubtful


def test_a_laggard_is_asked_when_nobody_else_is_left() -> None:
    old, young = them = endpoints(1, 1)
    old.health.stand(Standing.LAGGING)
    chooser = choosing(them)
    assert {chosen(chooser).name for _ in range(4)} == {young.name}
    assert chosen(chooser, frozenset({young.name})) is old


def test_a_share_of_failures_puts_an_endpoint_behind_until_rounds_pass() -> None:
    [bad] = endpoints(1)
    for number in range(20):
        bad.health.record(ok=number % 3 == 0, took_s=0.01)
    assert bad.health.rank == 1
    for _ in range(2):
        bad.health.age()
    assert bad.health.rank == 0


def test_limits_are_waited_for_and_never_broken() -> None:
    chooser = choosing(endpoints(1, rate=1.0))
    first = chosen(chooser)
    first.bucket.take(0.0)
    assert chooser.choose(frozenset()) == 1.0


def test_a_worse_endpoint_is_asked_when_the_better_ones_limit_is_far() -> None:
    limited, lagging = them = endpoints(1, 1)
    limited.bucket.refused(0.0, 60.0)
    lagging.health.stand(Standing.LAGGING)
    assert chosen(choosing(them)) is lagging


def test_a_hundred_calls_under_way_are_enough_for_one() -> None:
    full, free = them = endpoints(1, 1)
    full.in_flight = CONNECTIONS
    chooser = choosing(them)
    assert {chosen(chooser).name for _ in range(4)} == {free.name}


def test_names_are_hosts_and_never_keys() -> None:
    configs = [EndpointConfig("https://rpc.example/key-1"), EndpointConfig("https://rpc.example/key-2")]
    them = named([*configs, EndpointConfig("http://h:9/k", name="mine")], 0.0)
    assert [one.name for one in them] == ["rpc.example", "rpc.example#2", "mine"]
    assert "key" not in repr(them[0].config)


@pytest.mark.parametrize("url", ["ftp://x/key", "http:///key", "key", "http://h:99999/key", "ws://h/key"])
def test_a_url_that_names_no_node_is_refused_without_being_shown(url: str) -> None:
    with pytest.raises(SetupError, match=r"endpoint 1 of .*its url is not http") as refused:
        named([EndpointConfig(url)], 0.0)
    assert "key" not in str(refused.value)
    with pytest.raises(SetupError, match="its ws_url is not ws"):
        named([EndpointConfig("http://h", ws_url=url.replace("ws:", "http:"))], 0.0)
