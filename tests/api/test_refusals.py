"""What the doors refuse, and how they say so: a sentence, a code, a hint, and nothing of our insides."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest
from api_client import Client, client_of
from builders import History, landed_trade
from list_log import ListLog

from adapters.memory.read_store import MemoryReadStore


@pytest.fixture
def history() -> History:
    history = History()
    history.open_wallet()
    landed_trade(history, "one")
    return history


@pytest.fixture
async def ask(history: History) -> AsyncIterator[Client]:
    async with client_of(ListLog(history.events), MemoryReadStore()) as client:
        yield client


BAD: list[tuple[str, str]] = [
    ("{ trades(first: 0) { asOfPosition } }", "`first` is 0: ask for 1 to 500 at a time"),
    ("{ trades(first: 501) { asOfPosition } }", "`first` is 501"),
    ("{ opportunities(first: -1) { asOfPosition } }", "`first` is -1"),
    ("{ events(limit: 501) { asOfPosition } }", "`limit` is 501"),
    ('{ trades(after: "nonsense") { asOfPosition } }', "no cursor of trades"),
    ('{ trades(after: "") { asOfPosition } }', "no cursor of trades"),
    ('{ opportunities(after: "dHJhZGVzOjE6Mg") { asOfPosition } }', "no cursor of opportunities"),
    ('{ trades(filter: {since: "yesterday"}) { asOfPosition } }', "is not a time"),
    ('{ trades(filter: {since: "2026-01-01T00:00:00"}) { asOfPosition } }', "with its zone"),
    (
        '{ trades(filter: {since: "2026-01-02T00:00:00Z", until: "2026-01-01T00:00:00Z"}) { asOfPosition } }',
        "not before",
    ),
    ("{ trades(filter: {status: WON}) { asOfPosition } }", "WON"),
    ('{ trade(id: "7") { id } }', "no order's id"),
    ('{ pnl(from: "2026-02-01", to: "2026-01-01") { asOfPosition } }', "no day is in between"),
    ('{ pnl(from: "1 Jan") { asOfPosition } }', "1 Jan"),
    ('{ events(types: ["order.lost"]) { asOfPosition } }', "`types` names order.lost"),
    ("{ events(after: -1) { asOfPosition } }", "0 is the least"),
    ("{ events(after: 99999999999999999999) { asOfPosition } }", "0 is the least"),
    ('{ events(after: "ten") { asOfPosition } }', "not a whole number"),
    (
        '{ events(stream: "a", correlationId: "6f0d4c2e-5a53-5d0a-9f55-3d5f8e2a7b11") { asOfPosition } }',
        "one of them",
    ),
    (
        "{ a: trades(first: 500) { asOfPosition } b: events(limit: 500) { asOfPosition } "  # noqa: ISC004 - one document
        "c: opportunities(first: 1) { asOfPosition } }",
        "more than 1,000 items in all",
    ),
    ("{ nothing }", "Cannot query field 'nothing'"),
    ("{ trades {", "Syntax Error"),
    ("mutation { trades { asOfPosition } }", "mutation"),
    ("{ " + " ".join(f"a{n}: pnl {{ asOfPosition }}" for n in range(16)) + " }", "16 aliases found"),
    ("{ pnl { " + "asOfPosition " * 1_000 + "} }", "more than 1000 tokens"),
    ("query { " + "trades { nodes { " * 6 + "id" + " } }" * 6 + " }", "exceeds maximum operation depth of 8"),
]  # fmt: skip


@pytest.mark.parametrize(("query", "said"), BAD, ids=[said for _, said in BAD])
async def test_bad_questions_are_told_what_was_found(ask: Client, query: str, said: str) -> None:
    error = await ask.error(query)
    assert said in error["message"]
    assert error["extensions"]["code"] == "bad_input"
    assert error["extensions"]["hint"]


async def test_what_breaks_inside_stays_inside(history: History) -> None:
    class Broken(MemoryReadStore):
        async def select(self, *_args: Any, **_kwargs: Any) -> Any:  # noqa: ANN401 - it never answers
            raise RuntimeError("postgresql://daybook:hunter2@db/daybook")

    store = Broken()
    async with client_of(ListLog(history.events), store, fold=False) as client:
        answer = await client.post({"query": "{ pnl { asOfPosition } }"})
    assert "hunter2" not in answer.text
    (error,) = answer.json()["errors"]
    assert error["extensions"]["code"] == "internal"
    assert "reference" in error["message"]


async def test_a_read_model_that_stays_behind_is_said_to(
    history: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.graphql.context.WAIT_S", 0.05)
    async with client_of(ListLog(history.events), MemoryReadStore(), fold=False) as client:
        error = await client.error("{ trades(minPosition: 5) { asOfPosition } }")
    assert error["extensions"]["code"] == "behind"
    assert "trade_history was asked for position 5 and stands at 0" in error["message"]


@pytest.mark.parametrize(
    ("content_type", "body", "status", "word"),
    [
        ("application/json", b"{", 400, "bad_input"),
        ("application/json", b"\xff\xfe", 400, "bad_input"),
        ("application/json", b"[]", 400, "bad_input"),
        ("application/json", b"{}", 400, "bad_input"),
        ("application/json", b'{"query": 1}', 400, "bad_input"),
        ("application/json", b'{"query": "{ pnl { asOfPosition } }", "extra": 1}', 400, "bad_input"),
        ("text/plain", b'{"query": "{ pnl { asOfPosition } }"}', 415, "unsupported_media_type"),
        ("application/json", b" " * 70_000, 413, "too_large"),
    ],
)
async def test_bad_requests_have_one_shape(
    ask: Client, content_type: str, body: bytes, status: int, word: str
) -> None:
    answer = await ask.http.post("/graphql", content=body, headers={"content-type": content_type})
    assert answer.status_code == status
    assert answer.json().keys() == {"error", "detail", "hint"}
    assert answer.json()["error"] == word


async def test_reading_by_get_is_refused_with_a_sentence(ask: Client) -> None:
    answer = await ask.http.get("/graphql", params={"query": "{ pnl { asOfPosition } }"})
    assert answer.status_code == httpx2.codes.METHOD_NOT_ALLOWED
    assert answer.headers["allow"] == "POST"
    assert "sent by POST" in answer.json()["detail"]


async def test_an_unknown_door_is_said_to_be_unknown(ask: Client) -> None:
    answer = await ask.http.get("/docs")
    assert answer.status_code == httpx2.codes.NOT_FOUND
    assert answer.json()["error"] == "not_found"
    other = await ask.http.delete("/graphql")
    assert other.json()["error"] == "method_not_allowed"


BAD_VARIABLES: list[tuple[str, object, str]] = [
    ("query($x: Date) { pnl(from: $x) { asOfPosition } }", "1 Jan", "1 Jan"),
    ("query($x: BigInt!) { events(after: $x) { asOfPosition } }", "ten", "not a whole number"),
    ("query($x: BigInt!) { events(after: $x) { asOfPosition } }", True, "not a whole number"),
    ("query($x: UUID) { events(correlationId: $x) { asOfPosition } }", "7", "UUID"),
    ("query($x: Int!) { trades(first: $x) { asOfPosition } }", 2**40, "32-bit"),
    ("query($x: Int!) { trades(first: $x) { asOfPosition } }", None, "non-null"),
    ("query($x: TradeFilter) { trades(filter: $x) { asOfPosition } }", {"color": "red"}, "color"),
]


@pytest.mark.parametrize(("query", "value", "said"), BAD_VARIABLES)
async def test_bad_variables_are_told_what_was_found(
    ask: Client, query: str, value: object, said: str
) -> None:
    answer = await ask.post({"query": query, "variables": {"x": value}})
    error = answer.json()["errors"][0]
    assert error["extensions"]["code"] == "bad_input"
    assert said in error["message"]


async def test_an_answer_that_takes_too_long_is_given_up(
    history: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Stuck(MemoryReadStore):
        async def select(self, *_args: Any, **_kwargs: Any) -> Any:  # noqa: ANN401 - it never answers
            await asyncio.Event().wait()

    monkeypatch.setattr("api.graphql.route.REQUEST_S", 0.05)
    async with client_of(ListLog(history.events), Stuck(), fold=False) as client:
        answer = await client.post({"query": "{ pnl { asOfPosition } }"})
    assert answer.status_code == httpx2.codes.SERVICE_UNAVAILABLE
    assert answer.json()["error"] == "unavailable"


async def test_an_operation_that_is_not_there_is_named(ask: Client) -> None:
    answer = await ask.post(
        {"query": "query A { pnl { asOfPosition } } query B { pnl { asOfPosition } }", "operationName": "C"}
    )
    assert answer.status_code == httpx2.codes.BAD_REQUEST
    assert "no operation named 'C'" in answer.json()["detail"]
