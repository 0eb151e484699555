"""/health and /metrics: each dependency by name, and figures that the read models hold."""

from __future__ import annotations

import asyncio

import pytest
from api_client import NOW_US, client_of
from builders import History, Story, landed_trade
from list_log import ListLog
from prometheus_client import CollectorRegistry, Gauge
from prometheus_client.parser import text_string_to_metric_families
from running import run_until_halted

from adapters.memory.read_store import MemoryReadStore
from api.services import Health, runner_check
from projections import wallet_balances
from projections.runner import ProjectionRunner


@pytest.fixture
def history() -> History:
    history = History()
    history.open_wallet()
    for number in range(3):
        landed_trade(history, f"landed-{number}")
    Story(history, "declined").found().declined()
    return history


async def well() -> Health:
    return Health(ok=True, detail="answers", figures={"connections": 3})


async def broken() -> Health:
    raise ConnectionRefusedError("nobody listens on 127.0.0.1:4222")


async def stuck() -> Health:
    await asyncio.Event().wait()
    raise AssertionError


async def test_health_names_each_dependency_and_read_model(history: History) -> None:
    async with client_of(ListLog(history.events), MemoryReadStore(), checks={"postgres": well}) as ask:
        answer = await ask.http.get("/health")
    assert answer.status_code == 200
    body = answer.json()
    assert (body["status"], body["at_us"]) == ("ok", NOW_US)
    assert body["checks"]["postgres"]["connections"] == 3
    assert body["checks"]["projection:pnl"]["lag"] == 0
    assert set(body["checks"]) == {
        "postgres",
        *(f"projection:{name}" for name in (
            "wallet_balances", "pnl", "trade_history", "opportunities", "stories"
        )),
    }  # fmt: skip


async def test_health_says_who_fails_and_who_hangs(history: History, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.rest.health.CHECK_S", 0.05)
    checks = {"postgres": well, "nats": broken, "solana": stuck}
    async with client_of(ListLog(history.events), MemoryReadStore(), checks=checks) as ask:
        answer = await ask.http.get("/health")
    assert answer.status_code == 503
    found = answer.json()["checks"]
    assert found["postgres"]["ok"] is True
    assert found["nats"]["detail"] == "ConnectionRefusedError: nobody listens on 127.0.0.1:4222"
    assert found["solana"]["detail"] == "did not answer within 0.05 s"


async def test_a_read_model_far_behind_fails(history: History, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.rest.health.MAX_LAG", 10)
    async with client_of(ListLog(history.events), MemoryReadStore(), fold=False) as ask:
        answer = await ask.http.get("/health")
    assert answer.status_code == 503
    found = answer.json()["checks"]["projection:pnl"]
    assert found["lag"] == len(history.events)
    assert "more than 10" in found["detail"]


async def test_a_halted_runner_fails_and_says_on_which_event() -> None:
    """Its lag may be small in a quiet log; it is its halt that matters."""
    history = History()
    Story(history, "lost").found().released()
    log, store = ListLog(history.events), MemoryReadStore()
    runner = ProjectionRunner(wallet_balances.READ_MODEL, log, store)
    await run_until_halted(runner)
    checks = {"runner:wallet_balances": runner_check(runner)}
    async with client_of(log, store, fold=False, checks=checks) as ask:
        answer = await ask.http.get("/health")
    found = answer.json()["checks"]["runner:wallet_balances"]
    assert (answer.status_code, found["ok"], found["checkpoint"]) == (503, False, 2)
    assert "halted: read model 'wallet_balances' cannot fold wallet.funds_released" in found["detail"]


async def test_metrics_tell_the_log_the_orders_the_money_and_the_times(history: History) -> None:
    registry = CollectorRegistry()
    Gauge("daybook_relay_lag", "Positions not yet delivered.", registry=registry).set(2)
    checks = {"relay": well, "nats": broken}
    async with client_of(ListLog(history.events), MemoryReadStore(), checks=checks, registry=registry) as ask:
        answer = await ask.http.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    figures = {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }
    assert figures["daybook_log_head_position",] == len(history.events)
    assert figures["daybook_projection_lag", "pnl"] == 0
    assert figures["daybook_projection_checkpoint", "trade_history"] == len(history.events)
    assert figures["daybook_orders", "landed"] == 3
    assert figures["daybook_orders", "submitted"] == 0
    assert figures["daybook_opportunities", "declined"] == 1
    assert figures["daybook_realised_pnl_lamports",] == 3 * 42_000
    assert figures["daybook_wallet_discrepancies",] == 0
    assert figures["daybook_detect_to_land_seconds_bucket", "0.05"] == 0
    assert figures["daybook_detect_to_land_seconds_bucket", "0.1"] == 3
    assert figures["daybook_detect_to_land_seconds_bucket", "+Inf"] == 3
    assert figures["daybook_detect_to_land_seconds_count",] == 3
    assert figures["daybook_detect_to_land_seconds_sum",] == pytest.approx(0.18)
    assert figures["daybook_relay_lag",] == 2
    assert figures["daybook_dependency_up", "relay"] == 1
    assert figures["daybook_dependency_up", "nats"] == 0
    assert figures["daybook_dependency_figure", "relay", "connections"] == 3


async def test_no_door_names_a_foreign_host(history: History) -> None:
    async with client_of(ListLog(history.events), MemoryReadStore()) as ask:
        pages = [await ask.http.get(path) for path in ("/graphql", "/graphql/schema", "/health", "/metrics")]
    assert [page.status_code for page in pages] == [405, 200, 200, 200]
    assert all("http" not in page.text for page in pages)
