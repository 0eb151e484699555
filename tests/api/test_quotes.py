"""The quote service's doors: the same answer over REST and gRPC, and a refusal with its status in both."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import grpc
import httpx2
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from vector_book import Clock, vector_book

from adapters.quotes.service import Quotes
from api.grpc import quotes_pb2 as messages
from api.grpc import quotes_pb2_grpc as stubs
from api.grpc.server import SERVICE, grpc_server
from api.limits import MAX_BODY_BYTES
from api.quotes import QuoteServices
from api.rest.quotes import create_quotes_app
from api.services import Health
from domain.errors import SetupError
from domain.market.quotes import Quotation, QuoteRequest

PRICED = 11
"""Of the twelve vector pools one is empty on a side: it has no price."""
NOBODY = "Vote111111111111111111111111111111111111111"


@dataclass
class Doors:
    """Both doors of one service, and its clock."""

    http: httpx2.AsyncClient
    grpc: stubs.QuotesStub
    channel: Any
    clock: Clock
    question: dict[str, Any]

    async def post(self, path: str, body: object) -> tuple[int, dict[str, Any]]:
        """Status and answer."""
        answer = await self.http.post(path, json=body)
        return answer.status_code, answer.json()


@pytest.fixture
async def doors() -> AsyncIterator[Doors]:
    async with opened() as doors:
        yield doors


@asynccontextmanager
async def opened(kind: type[Quotes] = Quotes) -> AsyncIterator[Doors]:
    clock = Clock()
    quotes = kind(vector_book(clock, "raydium_cpmm"), clock, max_stale_us=5_000_000)
    services = QuoteServices(
        quotes,
        lambda: Health(quotes.oldest_us() <= 5_000_000, "as it is", {"pools": len(quotes.book.graph)}),
        quotes.metrics.registry,
        lambda: quotes.book.newest_slot,
    )
    transport = httpx2.ASGITransport(app=create_quotes_app(services), raise_app_exceptions=False)
    pool = quotes.pools()[0][0]
    question = {"input_mint": pool.mint_a, "output_mint": pool.mint_b, "amount": 1_000_000}
    async with (
        grpc_server(services, "127.0.0.1", 0) as port,
        grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel,
        httpx2.AsyncClient(transport=transport, base_url="http://quotes") as http,
    ):
        yield Doors(http, stubs.QuotesStub(channel), channel, clock, question)


async def test_both_doors_give_the_same_answer_with_its_slot_and_age(doors: Doors) -> None:
    doors.clock.now_us += 1_234_567
    status, rest = await doors.post("/v1/quote", doors.question)
    twin = await doors.grpc.Quote(messages.QuoteRequest(**doors.question))
    assert status == 200
    assert (rest["slot"], rest["newest_slot"], rest["stale_slots"], rest["stale_ms"]) == (100, 100, 0, 1_234)
    assert (twin.slot, twin.newest_slot, twin.stale_slots, twin.stale_ms) == (100, 100, 0, 1_234)
    assert int(rest["amount_out"]) == twin.amount_out > 0
    (leg,) = rest["paths"][0]["legs"]
    assert leg["pool"] == twin.paths[0].legs[0].pool
    assert int(leg["fee_in"]) == twin.paths[0].legs[0].fee_in > 0
    assert (rest["source"], twin.source) == ("local", "local")


async def test_an_exact_output_is_asked_for_by_its_mode(doors: Doors) -> None:
    wanted = {**doors.question, "amount": "1000", "mode": "exact_out", "max_legs": 1, "max_parts": 1}
    status, rest = await doors.post("/v1/quote", wanted)
    twin = await doors.grpc.Quote(
        messages.QuoteRequest(**{**wanted, "amount": 1_000, "mode": messages.MODE_EXACT_OUT})
    )
    assert (status, rest["amount_out"], rest["mode"]) == (200, "1000", "exact_out")
    assert int(rest["amount_in"]) == twin.amount_in


BAD: list[tuple[dict[str, Any], int, str, str]] = [
    ({"amount": 0}, 400, "bad_input", "INVALID_ARGUMENT"),
    ({"output_mint": "nonsense"}, 400, "bad_input", "INVALID_ARGUMENT"),
    ({"output_mint": NOBODY}, 404, "unknown_mint", "NOT_FOUND"),
    ({"max_legs": 9}, 400, "bad_input", "INVALID_ARGUMENT"),
    ({"amount": 2**64 - 1, "mode": "exact_out"}, 422, "no_route", "FAILED_PRECONDITION"),
]


@pytest.mark.parametrize(("changed", "status", "word", "code"), BAD, ids=[str(each[0]) for each in BAD])
async def test_bad_questions_are_refused_alike(
    doors: Doors, changed: dict[str, Any], status: int, word: str, code: str
) -> None:
    wanted = {**doors.question, **changed}
    found, rest = await doors.post("/v1/quote", wanted)
    assert (found, rest["error"]) == (status, word)
    assert rest.keys() == {"error", "detail", "hint"}
    asked = {key: value for key, value in wanted.items() if key != "mode"}
    if "mode" in wanted:
        asked["mode"] = messages.MODE_EXACT_OUT
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await doors.grpc.Quote(messages.QuoteRequest(**asked))
    assert refused.value.code().name == code
    assert refused.value.details() == rest["detail"]


async def test_one_token_for_itself_is_no_swap(doors: Doors) -> None:
    wanted = {**doors.question, "output_mint": doors.question["input_mint"]}
    status, rest = await doors.post("/v1/quote", wanted)
    assert (status, rest["error"], "itself" in rest["detail"]) == (400, "bad_input", True)
    with pytest.raises(grpc.aio.AioRpcError, match="itself"):
        await doors.grpc.Quote(messages.QuoteRequest(**wanted))


async def test_the_largest_amount_is_quoted(doors: Doors) -> None:
    status, rest = await doors.post("/v1/quote", {**doors.question, "amount": str(2**64 - 1)})
    twin = await doors.grpc.Quote(messages.QuoteRequest(**{**doors.question, "amount": 2**64 - 1}))
    assert (status, int(rest["amount_in"])) == (200, 2**64 - 1)
    assert int(rest["amount_out"]) == twin.amount_out


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff\xfe",
        b'{"input_mint": 5}',
        b'{"input_mint":"a","output_mint":"b","amount":1.5}',
        b'{"input_mint":"a","output_mint":"b","amount":true}',
        b'{"input_mint":"a","output_mint":"b","amount":"-1"}',
        b'{"input_mint":"a","output_mint":"b","amount":"' + "\u0661".encode() + b'"}',
        b'{"input_mint":"a","output_mint":"b","amount":"' + b"9" * 5_000 + b'"}',
        b'{"input_mint":"a","output_mint":"b","amount":' + b"9" * 5_000 + b"}",
        b'{"input_mint":"a","output_mint":"b","amount":1,"mode":"both"}',
        b'{"input_mint":"a","output_mint":"b","amount":1,"unknown":1}',
        b"[" * 60_000,
    ],
    ids=lambda body: str(body[:60]),
)
async def test_a_malformed_body_is_refused(doors: Doors, body: bytes) -> None:
    for path in ("/v1/quote", "/v1/quote/batch"):
        answer = await doors.http.post(path, content=body)
        assert (answer.status_code, answer.json()["error"]) == (400, "bad_input")


async def test_an_oversized_body_is_refused_by_both(doors: Doors) -> None:
    answer = await doors.http.post("/v1/quote", content=b" " * (MAX_BODY_BYTES + 1))
    assert (answer.status_code, answer.json()["error"]) == (413, "too_large")
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await doors.grpc.Quote(messages.QuoteRequest(input_mint="x" * (MAX_BODY_BYTES + 1)))
    assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"mode": 7}, "mode 7"),
        ({"input_mint": "x" * 20_000}, r"xxx\.\.\.' is no Solana address"),
        ({"input_mint": "y" * 20_000, "output_mint": "y" * 20_000}, "itself"),
    ],
    ids=["mode", "long", "twice"],
)
async def test_what_grpc_alone_can_say_is_refused_in_words(
    doors: Doors, changed: dict[str, Any], says: str
) -> None:
    """A mode of tomorrow, and texts that would not fit into a status."""
    with pytest.raises(grpc.aio.AioRpcError, match=says) as refused:
        await doors.grpc.Quote(messages.QuoteRequest(**{**doors.question, **changed}))
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_what_breaks_inside_stays_inside() -> None:
    """Over both doors: a reference, and nothing of the cause."""

    class Broken(Quotes):
        async def quote(self, _request: QuoteRequest) -> Quotation:
            raise RuntimeError("postgresql://daybook:hunter2@db/daybook")

    async with opened(Broken) as doors:
        status, rest = await doors.post("/v1/quote", doors.question)
        assert (status, rest["error"]) == (500, "internal")
        with pytest.raises(grpc.aio.AioRpcError, match="reference") as refused:
            await doors.grpc.Quote(messages.QuoteRequest(**doors.question))
        assert refused.value.code() is grpc.StatusCode.INTERNAL
        assert "hunter2" not in f"{rest} {refused.value}"


async def test_who_knocks_elsewhere_is_told_the_doors(doors: Doors) -> None:
    """The doors of this application, not of another one; and the methods of a door."""
    answer = await doors.http.post("/v2/quote")
    assert (answer.status_code, answer.json()["error"]) == (404, "not_found")
    assert "POST /v1/quote" in answer.json()["hint"]
    assert "graphql" not in answer.text
    answer = await doors.http.get("/v1/quote")
    assert (answer.status_code, answer.json()["error"]) == (405, "method_not_allowed")
    assert answer.headers["allow"] == "POST"


async def test_a_batch_keeps_its_order_and_its_bound(doors: Doors) -> None:
    """A bad question spoils no other; 100 are answered, 101 are not."""
    bad = {**doors.question, "amount": 0}
    status, rest = await doors.post("/v1/quote/batch", {"requests": [doors.question, bad]})
    assert status == 200
    assert [list(answer) for answer in rest["answers"]] == [["quotation"], ["refusal"]]
    twins = await doors.grpc.QuoteBatch(
        messages.QuoteBatchRequest(
            requests=[messages.QuoteRequest(**doors.question), messages.QuoteRequest(**bad)]
        )
    )
    assert [answer.WhichOneof("answer") for answer in twins.answers] == ["quotation", "refusal"]
    status, rest = await doors.post("/v1/quote/batch", {"requests": [doors.question] * 100})
    assert (status, len(rest["answers"])) == (200, 100)
    status, rest = await doors.post("/v1/quote/batch", {"requests": [doors.question] * 101})
    assert (status, rest["error"]) == (400, "bad_input")
    many = messages.QuoteBatchRequest(requests=[messages.QuoteRequest(**doors.question)] * 101)
    with pytest.raises(grpc.aio.AioRpcError, match="101"):
        await doors.grpc.QuoteBatch(many)


async def test_stale_pools_are_said_to_be_stale(doors: Doors) -> None:
    doors.clock.now_us += 60_000_000
    status, rest = await doors.post("/v1/quote", doors.question)
    assert (status, rest["error"]) == (503, "stale")
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await doors.grpc.Quote(messages.QuoteRequest(**doors.question))
    assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
    health = await doors.http.get("/v1/health")
    assert (health.status_code, health.json()["status"]) == (503, "failing")


async def test_pools_are_listed_by_token(doors: Doors) -> None:
    every = (await doors.http.get("/v1/pools")).json()
    mint = doors.question["input_mint"]
    some = (await doors.http.get(f"/v1/pools/{mint}")).json()
    twin = await doors.grpc.Pools(messages.PoolsRequest(mint=mint))
    assert len(every["pools"]) == PRICED
    assert [pool["pool"] for pool in some["pools"]] == [pool.pool for pool in twin.pools]
    assert all(mint in (pool["mint_a"], pool["mint_b"]) for pool in some["pools"])
    assert (every["newest_slot"], every["pools"][0]["stale_ms"]) == (100, 0)
    assert len((await doors.grpc.Pools(messages.PoolsRequest())).pools) == PRICED
    for unknown, status in ((NOBODY, 404), ("x", 400)):
        assert (await doors.http.get(f"/v1/pools/{unknown}")).status_code == status
        with pytest.raises(grpc.aio.AioRpcError):
            await doors.grpc.Pools(messages.PoolsRequest(mint=unknown))


async def test_health_metrics_and_the_description(doors: Doors) -> None:
    await doors.post("/v1/quote", doors.question)
    health = await doors.http.get("/v1/health")
    assert (health.status_code, health.json()["pools"]) == (200, PRICED)
    metrics = (await doors.http.get("/v1/metrics")).text
    assert 'daybook_quotes_answered_total{source="local"} 1.0' in metrics
    assert f"daybook_quote_pools {PRICED}.0" in metrics
    document = (await doors.http.get("/v1/openapi.json")).json()
    assert set(document["paths"]) == {
        "/v1/quote", "/v1/quote/batch", "/v1/pools", "/v1/pools/{mint}", "/v1/health", "/v1/metrics",
    }  # fmt: skip
    schemas = document["components"]["schemas"]
    assert {"QuoteBody", "BatchBody", "QuotationBody", "Answers", "Pools", "RefusalBody"} <= set(schemas)
    for reference in _references(document):
        assert reference.removeprefix("#/components/schemas/") in schemas


def _references(part: object) -> list[str]:
    if isinstance(part, dict):
        own = [part["$ref"]] if "$ref" in part else []
        return own + [each for value in part.values() for each in _references(value)]
    return [each for value in part for each in _references(value)] if isinstance(part, list) else []


async def test_grpc_says_that_it_lives_and_what_it_speaks(doors: Doors) -> None:
    health: Any = health_pb2_grpc.HealthStub(doors.channel)  # its stubs know neither call nor reflection's
    checked = await health.Check(health_pb2.HealthCheckRequest(service=SERVICE))
    assert checked.status == health_pb2.HealthCheckResponse.SERVING
    asked = reflection_pb2.ServerReflectionRequest(list_services="")
    server: Any = reflection_pb2_grpc
    listing = server.ServerReflectionStub(doors.channel).ServerReflectionInfo(iter([asked]))
    answer = await listing.read()
    named = {service.name for service in answer.list_services_response.service}
    assert {SERVICE, "grpc.health.v1.Health"} <= named


async def test_a_taken_port_is_said_so() -> None:
    clock = Clock()
    quotes = Quotes(vector_book(clock, "raydium_cpmm"), clock, max_stale_us=1)
    services = QuoteServices(quotes, lambda: Health(ok=True, detail=""), quotes.metrics.registry, lambda: 0)
    async with grpc_server(services, "127.0.0.1", 0) as port:
        with pytest.raises(SetupError, match=str(port)):
            async with grpc_server(services, "127.0.0.1", port):
                pass
