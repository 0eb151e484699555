"""Reads against nodes that die, hang, limit and talk nonsense: one that lives is enough."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import msgspec
import pytest
from rpc_nodes import Mode, Node, Refused, nodes, pool_over
from waiting import until

from adapters.rpcpool.endpoint import CONNECTIONS
from adapters.rpcpool.outcome import Answer, Kind
from adapters.rpcpool.pool import RpcPool, open_pool
from adapters.rpcpool.reading import SAME_LACK
from adapters.rpcpool.slots import Standing
from adapters.rpcpool.transport import interpret, retry_after_s

BROKEN: tuple[Mode, ...] = (
    "cut",
    "hang",
    "limited",
    "broken",
    "garbage",
    "mangled",
    "unhealthy",
    "forbidden",
)


async def read(pool: RpcPool, method: str = "getSlot", *params: object) -> Answer:
    return await pool.call(method, msgspec.json.encode(params))


def result(answer: Answer) -> object:
    assert answer.result is not None, answer
    return msgspec.json.decode(answer.result)


def error(answer: Answer) -> dict[str, Any]:
    assert answer.error is not None, answer
    found: dict[str, Any] = msgspec.json.decode(answer.error)
    return found


def figure(pool: RpcPool, name: str, **labels: str) -> float:
    return pool.registry.get_sample_value(f"daybook_rpc_{name}", labels) or 0.0


@pytest.mark.parametrize("mode", [mode for mode in BROKEN if mode != "hang"])
async def test_a_read_that_fails_is_answered_by_another(mode: Mode) -> None:
    async with nodes(2) as them, pool_over(them) as pool:
        them[0].mode = mode
        for _ in range(4):
            assert result(await read(pool)) == 1_000


async def test_a_dead_endpoint_is_not_noticed_by_the_client() -> None:
    async with nodes(2) as them, pool_over(them) as pool:
        await them[0].die()
        for _ in range(10):
            assert result(await read(pool)) == 1_000
        assert pool.endpoints[0].state(time.monotonic()) in ("open", "half_open")


async def test_a_slow_read_is_asked_a_second_time() -> None:
    """The percentile of the method decides when; the endpoint that hangs does not hold the client up."""
    async with nodes(2) as them, pool_over(them, hedge_percentile=95) as pool:
        for _ in range(40):
            await read(pool)
        them[0].mode = "hang"
        for _ in range(4):
            assert result(await read(pool)) == 1_000
        assert figure(pool, "hedges_total") >= 1
        assert figure(pool, "hedged_answers_total") >= 1


async def test_without_hedging_a_hanging_read_waits_its_time() -> None:
    async with nodes(1) as them, pool_over(them, timeout_s=0.2) as pool:
        them[0].mode = "hang"
        answer = await read(pool)
        assert answer.status == 503
        assert "outcome is unknown" in error(answer)["message"]


async def test_when_all_fail_the_client_is_told_with_503_and_no_key() -> None:
    async with nodes(2, mode="broken") as them, pool_over(them) as pool:
        answer = await read(pool)
        assert (answer.status, error(answer)["code"]) == (503, -32603)
        assert "HTTP 500" in error(answer)["message"]
        assert b"secret" not in (answer.error or b"")
        assert {len(node.calls) for node in them} == {4}, "each is asked four times"


async def test_a_single_endpoint_that_stumbles_is_asked_again() -> None:
    async with nodes(1) as [node], pool_over([node]) as pool:
        answers = iter([Refused({"code": -32603, "message": "Internal error"}), 7])
        node.answers["getBalance"] = lambda _: next(answers)
        assert result(await read(pool, "getBalance")) == 7


async def test_retry_after_is_respected() -> None:
    """Nothing is sent before the time the endpoint asked for; when that is too far for all: 429."""
    now = [100.0]
    async with nodes(2) as them, pool_over(them, clock=lambda: now[0]) as pool:
        for node in them:
            node.mode, node.retry_after = "limited", "60"
        answer = await read(pool)
        assert (answer.status, answer.retry_after_s) == (429, 60.0)
        assert [len(node.calls) for node in them] == [1, 1]
        now[0] += 20.0
        assert (await read(pool)).status == 429
        assert [len(node.calls) for node in them] == [1, 1]
        now[0] += 40.0
        for node in them:
            node.mode = "ok"
        assert result(await read(pool)) == 1_000


async def test_our_own_limit_is_kept_without_an_error_for_the_client() -> None:
    """Also by calls that come all at once: each token goes to one of them."""
    async with nodes(2) as them:
        configs = [node.config(requests_per_second=50.0) for node in them]
        async with open_pool(configs) as pool:
            began = time.monotonic()
            answers = await asyncio.gather(*(read(pool) for _ in range(120)))
            took_s = time.monotonic() - began
        assert {result(answer) for answer in answers} == {1_000}
        sent = [len(node.calls) for node in them]
        assert all(count <= 50 * took_s + 50 for count in sent)


async def test_more_calls_than_may_be_under_way_are_refused_unsent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("adapters.rpcpool.pool.MAX_CALLS", 1)
    async with nodes(1, mode="hang") as [node], pool_over([node]) as pool:
        asking = asyncio.create_task(read(pool))
        await until(lambda: node.calls)
        answer = await read(pool)
        assert (answer.status, error(answer)["code"]) == (503, -32603)
        assert "was not sent" in error(answer)["message"]
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        assert len(node.calls) == 1


async def test_a_refusal_of_the_question_is_the_answer() -> None:
    async with nodes(3) as them, pool_over(them) as pool:
        for node in them:
            node.answers["getBalance"] = Refused({"code": -32602, "message": "Invalid param: WrongSize"})
        answer = await read(pool, "getBalance", "x")
        assert (answer.status, error(answer)["code"]) == (200, -32602)
        assert sum(len(node.calls) for node in them) == 1


async def test_what_one_node_lacks_another_has() -> None:
    async with nodes(3) as them, pool_over(them) as pool:
        for node in them[:2]:
            node.answers["getBlock"] = Refused({"code": -32001, "message": "Block 5 cleaned up"})
        them[2].answers["getBlock"] = {"blockhash": "x"}
        for _ in range(3):
            assert result(await read(pool, "getBlock", 5)) == {"blockhash": "x"}


async def test_a_skipped_slot_is_not_asked_of_everybody() -> None:
    async with nodes(12) as them, pool_over(them) as pool:
        for node in them:
            node.answers["getBlock"] = Refused({"code": -32007, "message": "Slot 5 was skipped"})
        answer = await read(pool, "getBlock", 5)
        assert (answer.status, error(answer)["code"]) == (200, -32007)
        assert sum(len(node.calls) for node in them) == SAME_LACK


async def test_an_unknown_method_is_refused_here_and_sent_nowhere() -> None:
    async with nodes(1) as [node], pool_over([node], extra_methods=frozenset({"getAsset"})) as pool:
        answer = await read(pool, "getEverything")
        assert (answer.status, error(answer)["code"]) == (200, -32601)
        assert node.calls == []
        node.answers["getAsset"] = {"id": 1}
        assert result(await read(pool, "getAsset", "x")) == {"id": 1}
        assert figure(pool, "calls_total", method="unknown", outcome="refused") == 1


async def test_final_answers_come_from_the_cache_and_failures_do_not() -> None:
    async with nodes(1) as [node], pool_over([node]) as pool:
        node.answers["getTransaction"] = None
        assert result(await read(pool, "getTransaction", "sig")) is None
        node.answers["getTransaction"] = Refused({"code": -32602, "message": "no"})
        assert error(await read(pool, "getTransaction", "sig"))
        node.answers["getTransaction"] = {"slot": 5}
        assert result(await read(pool, "getTransaction", "sig")) == {"slot": 5}
        asked = len(node.calls)
        node.answers["getTransaction"] = {"slot": 6}
        assert result(await read(pool, "getTransaction", "sig")) == {"slot": 5}
        assert result(await read(pool, "getTransaction", "sig", {"commitment": "confirmed"})) == {"slot": 6}
        assert len(node.calls) == asked + 1
        assert figure(pool, "cache_hits_total") == 1


async def test_answers_of_an_endpoint_that_lies_are_not_kept() -> None:
    async with nodes(1) as [node], pool_over([node]) as pool:
        pool.endpoints[0].health.stand(Standing.AHEAD)
        node.answers["getGenesisHash"] = "forged"
        assert result(await read(pool, "getGenesisHash")) == "forged"
        node.answers["getGenesisHash"] = "true"
        assert result(await read(pool, "getGenesisHash")) == "true"


async def test_headers_go_to_their_endpoint_and_are_shown_nowhere() -> None:
    async with nodes(1) as [node], open_pool([node.config(headers={"x-token": "hush"})]) as pool:
        await read(pool)
        assert node.headers[0]["x-token"] == "hush"
        assert "hush" not in str(pool.health())
        assert "secret" not in str(pool.health())
        assert "hush" not in repr(pool.endpoints[0].config)


async def test_ninety_six_endpoints_of_which_one_lives() -> None:
    """Every read is answered, whatever the other ninety-five do at the time."""
    patient: dict[str, Any] = {"hedge_percentile": 95, "health_timeout_s": 2.0, "timeout_s": 60.0}
    async with nodes(96) as them, pool_over(them, **patient) as pool:
        for number, node in enumerate(them[:95]):
            node.mode = BROKEN[number % len(BROKEN)]
        await pool.monitor.check()
        answers = await asyncio.gather(*(read(pool) for _ in range(200)))
        assert {result(answer) for answer in answers} == {1_000}
        ok, found = pool.health()
        assert ok
        assert found["endpoints"]["n95"]["state"] == "ok"


async def test_more_calls_than_an_endpoint_takes_wait_for_room_and_are_woken() -> None:
    """The first hundred are under way; each that ends lets one of the others go."""
    async with nodes(1) as [node], pool_over([node], timeout_s=60.0) as pool:
        answers = await asyncio.gather(*(read(pool) for _ in range(3 * CONNECTIONS)))
        assert {result(answer) for answer in answers} == {1_000}
        assert len(node.calls) == 3 * CONNECTIONS
        assert pool.endpoints[0].in_flight == 0


async def test_a_hang_does_not_outlive_the_pool() -> None:
    async with nodes(1, mode="hang") as [node]:
        async with pool_over([node]) as pool:
            asking = asyncio.create_task(read(pool))
            await until(lambda: node.calls)
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)
        assert pool.endpoints[0].in_flight == 0


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (200, b'{"result":null}', Kind.ANSWERED),
        (200, b'{"result":1,"error":null}', Kind.ANSWERED),
        (200, b'{"error":{"code":-32002,"message":"x"}}', Kind.ANSWERED),
        (400, b'{"error":{"code":-32602,"message":"x"}}', Kind.ANSWERED),
        (200, b'{"error":{"code":-32016,"message":"x"}}', Kind.LACKS),
        (503, b'{"error":{"code":-32005,"message":"x"}}', Kind.ILL),
        (200, b'{"error":{"code":429,"message":"x"}}', Kind.LIMITED),
        (429, b"", Kind.LIMITED),
        (200, b"{}", Kind.LOST),
        (200, b'{"error":"no"}', Kind.LOST),
        (200, b"[" * 200_000, Kind.LOST),
        (200, b"\xff", Kind.LOST),
        (502, b'{"result":1}', Kind.LOST),
        (403, b"forbidden", Kind.UNSENT),
    ],
)
def test_what_an_http_answer_means(status: int, body: bytes, kind: Kind) -> None:
    assert interpret("n", status, {}, body).kind is kind


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        (None, None),
        ("7", 7.0),
        ("-3", 0.0),
        ("Thu, 01 Jan 1970 00:01:40 GMT", 40.0),
        ("Thu, 01 Jan 1970 00:00:10 GMT", 0.0),
        ("soon", None),
        ("nan", None),
        ("inf", None),
        ("9" * 400, 3_600.0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 3_600.0),
        ("1 Jan 99999999999999999999 00:00:00", None),
    ],
)
def test_retry_after_in_both_its_forms(text: str | None, seconds: float | None) -> None:
    assert retry_after_s(text, 60.0) == seconds


def test_nodes_answer_as_they_are_told() -> None:
    """The stand-in itself: what it does not know it refuses."""
    assert Node()._answer({"method": "nothing", "params": []})["error"]["code"] == -32601
