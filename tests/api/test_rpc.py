"""POST /rpc: JSON-RPC to the letter, batches, bad input with its code and status, figures without keys."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import pytest
from rpc_nodes import Node, Refused, nodes, pool_over

from api.rest.rpc_messages import MAX_BATCH, MAX_BODY_BYTES
from api.rpc_app import create_rpc_app

JSON = {"content-type": "application/json"}


@asynccontextmanager
async def door(them: Sequence[Node], **options: Any) -> AsyncIterator[httpx2.AsyncClient]:  # noqa: ANN401 - as `pool_over`
    async with pool_over(them, **options) as pool:
        transport = httpx2.ASGITransport(app=create_rpc_app(pool))
        async with httpx2.AsyncClient(transport=transport, base_url="http://proxy", timeout=20) as http:
            yield http


def call(method: str = "getSlot", number: object = 1, **parts: object) -> dict[str, object]:
    return {"jsonrpc": "2.0", "id": number, "method": method, **parts}


@pytest.mark.parametrize("number", [1, 0, -5, 2**80, 1.5, "text", 'a "quoted" ü', None])
async def test_the_id_comes_back_as_it_was(number: object) -> None:
    async with nodes(1) as them, door(them) as http:
        answer = await http.post("/rpc", json=call(number=number))
        assert answer.json() == {"jsonrpc": "2.0", "result": 1_000, "id": number}
        assert answer.headers["content-type"] == "application/json"


@pytest.mark.parametrize("params", [{}, {"params": []}, {"params": None}, {"params": {"a": [1]}}])
async def test_params_may_be_missing_empty_or_named(params: dict[str, object]) -> None:
    async with nodes(1) as them, door(them) as http:
        assert (await http.post("/rpc", json=call() | params)).json()["result"] == 1_000


@pytest.mark.parametrize(
    ("body", "code", "name"),
    [
        (b"", -32700, None),
        (b"{", -32700, None),
        (b"nonsense", -32700, None),
        (b"\xff\xfe", -32700, None),
        (b'{"jsonrpc":"2.0","id":1,"method":"getTransaction","params":["\xff"]}', -32700, None),
        (b'{"jsonrpc":"2.0","id":"\xff","method":"getSlot"}', -32700, None),
        (b'[{"jsonrpc":"2.0","id":"\xff","method":"getSlot"}]', -32700, None),
        (b"[" * 100_000, -32700, None),
        (b'{"jsonrpc":"2.0","id":1,"method":"getSlot","params":[1,}', -32700, None),
        (b"[1,", -32700, None),
        (b"[]", -32600, None),
        (b"7", -32600, None),
        (b"null", -32600, None),
        (b'"getSlot"', -32600, None),
        (b"{}", -32600, None),
        (b'{"jsonrpc":"2.0","id":9}', -32600, 9),
        (b'{"jsonrpc":"2.0","method":5,"id":"x"}', -32600, "x"),
        (b'{"jsonrpc":"1.0","method":"getSlot","id":3}', -32600, 3),
        (b'{"method":"getSlot","id":3}', -32600, 3),
        (b'{"jsonrpc":"2.0","method":"getSlot","id":[1]}', -32600, None),
        (b'{"jsonrpc":"2.0","method":"getSlot","id":true}', -32600, None),
        (b'{"jsonrpc":"2.0","method":"getSlot","id":3,"params":"x"}', -32600, 3),
        (b'{"jsonrpc":"2.0","method":"getSlot","id":3,"params":7}', -32600, 3),
    ],
)
async def test_a_malformed_request_is_400_and_goes_nowhere(body: bytes, code: int, name: object) -> None:
    async with nodes(1) as [node], door([node]) as http:
        answer = await http.post("/rpc", content=body, headers=JSON)
        assert answer.status_code == 400
        found = answer.json()
        assert (found["jsonrpc"], found["error"]["code"], found["id"]) == ("2.0", code, name)
        assert node.calls == []


async def test_a_body_too_long_is_413() -> None:
    async with nodes(1) as [node], door([node]) as http:
        long = json.dumps(call(params=["x" * MAX_BODY_BYTES])).encode()
        answer = await http.post("/rpc", content=long, headers=JSON)
        assert (answer.status_code, answer.json()["error"]["code"]) == (413, -32600)
        assert node.calls == []


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", ""])
async def test_anything_but_json_is_415(kind: str) -> None:
    """So that a web page in a browser cannot call a proxy on its visitor's machine."""
    async with nodes(1) as [node], door([node]) as http:
        headers = {"content-type": kind} if kind else {}
        answer = await http.post("/rpc", content=json.dumps(call()), headers=headers)
        assert (answer.status_code, answer.json()["error"]["code"]) == (415, -32600)
        assert node.calls == []


async def test_other_http_methods_are_405() -> None:
    async with nodes(1) as them, door(them) as http:
        assert (await http.get("/rpc")).status_code == 405


async def test_an_unknown_method_is_an_answer_as_a_node_gives_it() -> None:
    async with nodes(1) as [node], door([node]) as http:
        answer = await http.post("/rpc", json=call("getEverything"))
        assert answer.status_code == 200
        assert answer.json()["error"] == {"code": -32601, "message": "Method not found"}
        assert node.calls == []


async def test_a_refusal_of_the_node_keeps_its_code_message_and_data() -> None:
    error = {"code": -32602, "message": "Invalid param: Invalid", "data": {"a": [1]}}
    async with nodes(1) as [node], door([node]) as http:
        node.answers["getBalance"] = Refused(error)
        answer = await http.post("/rpc", json=call("getBalance"))
        assert (answer.status_code, answer.json()["error"]) == (200, error)


async def test_numbers_pass_unrounded() -> None:
    async with nodes(1) as [node], door([node]) as http:
        node.answers["getBalance"] = {"value": 2**64 - 1, "ui": 0.1}
        answer = await http.post("/rpc", json=call("getBalance"))
        assert answer.json()["result"] == {"value": 2**64 - 1, "ui": 0.1}


async def test_a_batch_is_answered_in_its_order_whatever_its_parts_are() -> None:
    async with nodes(2) as them, door(them) as http:
        batch = [call(number=1), 7, call("nothing", "two"), {"id": 3}, call(number=4)]
        answer = await http.post("/rpc", json=batch)
        assert answer.status_code == 200
        told = [(each["id"], each.get("result"), each.get("error", {}).get("code")) for each in answer.json()]
        assert told == [
            (1, 1_000, None),
            (None, None, -32600),
            ("two", None, -32601),
            (3, None, -32600),
            (4, 1_000, None),
        ]


async def test_the_longest_batch_and_one_more() -> None:
    async with nodes(1) as [node], door([node]) as http:
        batch = [call(number=number) for number in range(MAX_BATCH)]
        answer = await http.post("/rpc", json=batch)
        assert [each["id"] for each in answer.json()] == list(range(MAX_BATCH))
        before = len(node.calls)
        answer = await http.post("/rpc", json=[*batch, call()])
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, -32600)
        assert len(node.calls) == before


async def test_a_notification_gets_no_answer() -> None:
    async with nodes(1) as them, door(them) as http:
        quiet = {"jsonrpc": "2.0", "method": "getSlot"}
        alone = await http.post("/rpc", json=quiet)
        assert (alone.status_code, alone.content) == (204, b"")
        both = await http.post("/rpc", json=[quiet, quiet])
        assert (both.status_code, both.content) == (204, b"")
        mixed = await http.post("/rpc", json=[quiet, call(number=8)])
        assert [each["id"] for each in mixed.json()] == [8]


async def test_no_endpoint_left_is_503_and_limits_are_429_with_retry_after() -> None:
    async with nodes(1, mode="cut") as [node], door([node], timeout_s=1.0) as http:
        answer = await http.post("/rpc", json=call())
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, -32603)
        node.mode, node.retry_after = "limited", "40"
        answer = await http.post("/rpc", json=call())
        assert (answer.status_code, answer.json()["error"]["code"]) == (429, -32603)
        assert int(answer.headers["retry-after"]) >= 39


async def test_health_names_each_endpoint_and_no_key() -> None:
    async with nodes(2) as them, pool_over(them) as pool:
        await pool.monitor.check()
        transport = httpx2.ASGITransport(app=create_rpc_app(pool))
        async with httpx2.AsyncClient(transport=transport, base_url="http://proxy") as http:
            good = await http.get("/rpc/health")
            assert good.status_code == 200
            assert good.json()["endpoints"].keys() == {"n0", "n1"}
            assert good.json()["head_slot"] == 1_000
            assert "secret" not in good.text
            for node in them:
                node.mode = "cut"
            await pool.monitor.check()
            bad = await http.get("/rpc/health")
            assert (bad.status_code, bad.json()["status"], bad.json()["well"]) == (503, "failing", 0)


async def test_metrics_are_prometheus_text_without_keys() -> None:
    async with nodes(1) as them, door(them) as http:
        await http.post("/rpc", json=call())
        text = (await http.get("/rpc/metrics")).text
        assert 'daybook_rpc_calls_total{method="getSlot",outcome="result"} 1.0' in text
        assert 'daybook_rpc_attempts_total{endpoint="n0",outcome="answered"} 1.0' in text
        assert 'daybook_rpc_endpoint_up{endpoint="n0"} 1.0' in text
        assert "daybook_rpc_call_seconds_bucket" in text
        assert "secret" not in text
