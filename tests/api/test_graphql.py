"""GraphQL, as a client sees it: the answers are right, exact, paged, and say which position they reflect."""

from __future__ import annotations

from collections.abc import AsyncIterator

import asyncpg
import pytest
from api_client import Client, client_of
from builders import STRATEGY, WALLET, History, Story, landed_trade
from list_log import ListLog

from adapters.memory.read_store import MemoryReadStore
from adapters.postgres.read_store import PostgresReadStore
from domain.chain import USDC, WSOL
from projections.ports import ReadStore


@pytest.fixture(params=["memory", "postgres"])
def where(request: pytest.FixtureRequest) -> str | None:
    return str(request.getfixturevalue("database")) if request.param == "postgres" else None


@pytest.fixture
async def store(where: str | None) -> AsyncIterator[ReadStore]:
    if where is None:
        yield MemoryReadStore()
    else:
        async with asyncpg.create_pool(where, min_size=1, max_size=4) as pool:
            yield PostgresReadStore(pool)


@pytest.fixture
def history() -> History:
    """A wallet, five landed trades, a failed one, a declined opportunity, an open order."""
    history = History()
    history.open_wallet()
    for number in range(5):
        landed_trade(history, f"landed-{number}", profit_lamports=50_000 + number)
    Story(history, "failed").found().placed().signed().submitted().failed()
    Story(history, "declined").found().declined("stale")
    Story(history, "open", strategy="other").found().placed().signed().submitted()
    return history


@pytest.fixture
async def ask(history: History, store: ReadStore) -> AsyncIterator[Client]:
    async with client_of(ListLog(history.events), store) as client:
        yield client


async def test_trades_come_newest_first_with_exact_numbers(ask: Client, history: History) -> None:
    answer = await ask.data(
        """{ trades(first: 3) {
            nodes { id status strategy wallet attempts sends signature feeLamports tipLamports
                    expectedProfitLamports realisedProfitLamports detectToLandUs placedAt error
                    legs { mintIn amountIn minAmountOut } fills { leg mintOut amountOut } }
            pageInfo { hasNextPage } asOfPosition } }"""
    )
    newest, failed, landed = answer["trades"]["nodes"]
    assert (newest["status"], newest["strategy"]) == ("SUBMITTED", "other")
    assert (failed["status"], failed["error"], failed["feeLamports"]) == (
        "FAILED",
        "custom program error: 0x1775",
        "6000",
    )
    assert failed["realisedProfitLamports"] == "-6000"
    assert landed["id"] == Story(history, "landed-4").order_id
    assert (landed["status"], landed["strategy"], landed["wallet"]) == ("LANDED", STRATEGY, WALLET)
    assert landed["realisedProfitLamports"] == str(50_004 - 6_000 - 2_000)
    assert landed["expectedProfitLamports"] == landed["realisedProfitLamports"]
    assert landed["legs"][0] == {"mintIn": WSOL, "amountIn": "1000000000", "minAmountOut": "150000000"}
    assert [fill["amountOut"] for fill in landed["fills"]] == ["150000000", "1000050004"]
    assert landed["detectToLandUs"] == "60000"
    assert answer["trades"]["pageInfo"]["hasNextPage"] is True
    assert answer["trades"]["asOfPosition"] == str(len(history.events))


@pytest.mark.parametrize(
    ("which", "count"),
    [
        ("{}", 7),
        ("{status: LANDED}", 5),
        ('{strategy: "other"}', 1),
        ('{wallet: "nobody"}', 0),
        (f'{{wallet: "{WALLET}", status: FAILED}}', 1),
        ('{since: "2026-01-01T00:00:00Z", until: "2026-01-01T00:00:00.200000+00:00"}', 2),
        ('{until: "2025-12-31T23:59:59Z"}', 0),
    ],
)
async def test_filters(ask: Client, which: str, count: int) -> None:
    answer = await ask.data(f"{{ trades(filter: {which}) {{ nodes {{ id }} }} }}")
    assert len(answer["trades"]["nodes"]) == count


async def test_pages_walk_over_every_trade_once(ask: Client) -> None:
    seen: list[str] = []
    after: str | None = None
    for _ in range(10):
        answer = await ask.data(
            "query($after: String) { trades(first: 2, after: $after) "
            "{ edges { cursor node { id } } pageInfo { hasNextPage endCursor } } }",
            after=after,
        )
        page = answer["trades"]
        seen += [edge["node"]["id"] for edge in page["edges"]]
        after = page["pageInfo"]["endCursor"]
        assert after == page["edges"][-1]["cursor"]
        if not page["pageInfo"]["hasNextPage"]:
            break
    assert len(seen) == len(set(seen)) == 7


async def test_a_trade_tells_its_cause_from_tick_to_books(ask: Client, history: History) -> None:
    story = Story(history, "landed-2")
    answer = await ask.data(
        """query($id: ID!) { trade(id: $id) { status asOfPosition cause {
            opportunity { id status orderId expectedProfitLamports }
            events { type position causationId eventId } } } }""",
        id=story.order_id,
    )
    cause = answer["trade"]["cause"]
    assert cause["opportunity"]["id"] == story.opportunity_id
    assert (cause["opportunity"]["status"], cause["opportunity"]["orderId"]) == ("ORDERED", story.order_id)
    assert [event["type"] for event in cause["events"]] == [
        "market.pool_updated",
        "opportunity.found",
        "wallet.funds_reserved",
        "order.placed",
        "order.signed",
        "order.submitted",
        "order.observed",
        "order.landed",
        "order.filled",
        "order.filled",
        "wallet.transferred",
        "wallet.funds_released",
    ]
    known = {event["eventId"] for event in cause["events"]}
    assert all(event["causationId"] in known for event in cause["events"][1:])


async def test_an_unknown_trade_is_null(ask: Client) -> None:
    answer = await ask.data('{ trade(id: "6f0d4c2e-5a53-5d0a-9f55-3d5f8e2a7b11") { id } }')
    assert answer["trade"] is None


async def test_wallet_balances_count_what_is_reserved(ask: Client, history: History) -> None:
    answer = await ask.data(
        "query($w: String) { walletBalances(wallet: $w) { balances "
        "{ mint balance reserved available discrepancy } asOfPosition } }",
        w=WALLET,
    )
    held = {one["mint"]: one for one in answer["walletBalances"]["balances"]}
    gross = sum(50_000 + number for number in range(5))
    assert held[WSOL]["balance"] == str(10 * 10**9 + gross)
    assert held[WSOL]["reserved"] == "1000000000"
    assert held[WSOL]["available"] == str(9 * 10**9 + gross)
    assert held["native"]["balance"] == str(10 * 10**9 - 5 * 8_000 - 6_000)
    assert held["native"]["reserved"] == "8000"
    assert held[USDC] == {
        "mint": USDC,
        "balance": "15",
        "reserved": "0",
        "available": "15",
        "discrepancy": False,
    }
    assert answer["walletBalances"]["asOfPosition"] == str(len(history.events))


async def test_pnl_by_day_and_in_total(ask: Client) -> None:
    fields = """results { strategy wallet day landed failed wins grossLamports feeLamports tipLamports
        realisedLamports residuals { mint amount } } overall { strategy realisedLamports } asOfPosition"""
    answer = await ask.data(f"{{ day: pnl(by: DAY) {{ {fields} }} total: pnl {{ {fields} }} }}")
    gross = sum(50_000 + number for number in range(5))
    (day,) = answer["day"]["results"]
    assert day == {
        "strategy": STRATEGY,
        "wallet": WALLET,
        "day": "2026-01-01",
        "landed": 5,
        "failed": 1,
        "wins": 5,
        "grossLamports": str(gross),
        "feeLamports": "36000",
        "tipLamports": "10000",
        "realisedLamports": str(gross - 46_000),
        "residuals": [{"mint": USDC, "amount": "15"}],
    }
    (total,) = answer["total"]["results"]
    assert total == {**day, "day": None}
    assert answer["total"]["overall"] == {"strategy": None, "realisedLamports": str(gross - 46_000)}


async def test_pnl_of_days_without_trades_is_nothing(ask: Client) -> None:
    answer = await ask.data(
        '{ pnl(from: "2026-01-02", to: "2026-01-31") { results { day } overall { landed } } }'
    )
    assert answer["pnl"] == {"results": [], "overall": {"landed": 0}}


async def test_opportunities_by_status(ask: Client) -> None:
    answer = await ask.data(
        """{ declined: opportunities(status: DECLINED) { nodes { declineReason declineDetail orderId } }
             all: opportunities(first: 500) { nodes { status position } asOfPosition } }"""
    )
    assert answer["declined"]["nodes"] == [
        {"declineReason": "stale", "declineDetail": "9 slots, limit 5", "orderId": None}
    ]
    positions = [int(node["position"]) for node in answer["all"]["nodes"]]
    assert len(positions) == 8
    assert positions == sorted(positions, reverse=True)


async def test_events_by_position_stream_type_and_story(ask: Client, history: History) -> None:
    story = Story(history, "failed")
    correlation = next(e.cause.correlation_id for e in history.events if e.stream == story.order)
    answer = await ask.data(
        """query($stream: String!, $story: UUID!) {
            page: events(after: 3, limit: 2) { events { position type data } hasNextPage asOfPosition }
            typed: events(types: ["order.failed"])
                { events { position stream slot data } hasNextPage endCursor }
            stream: events(stream: $stream, after: "1", limit: 2, types: ["order.placed"])
                { events { version } hasNextPage endCursor }
            story: events(correlationId: $story) { events { type } } }""",
        stream=story.order,
        story=str(correlation),
    )
    assert [event["position"] for event in answer["page"]["events"]] == ["4", "5"]
    assert answer["page"]["hasNextPage"] is True
    assert answer["page"]["asOfPosition"] == str(len(history.events))
    assert answer["page"]["events"][0]["data"]["expected_profit_lamports"] == 42_000
    assert [event["stream"] for event in answer["typed"]["events"]] == [story.order]
    assert answer["typed"]["events"][0]["data"]["fee_lamports"] == 6_000
    assert answer["typed"]["endCursor"] == answer["typed"]["events"][0]["position"]
    assert answer["stream"] == {"events": [], "hasNextPage": True, "endCursor": "3"}
    assert len(answer["story"]["events"]) == 9


async def test_an_answer_waits_for_the_position_it_must_reflect(ask: Client, history: History) -> None:
    head = str(len(history.events))
    answer = await ask.data(
        """query($p: BigInt) {
            trades(minPosition: $p) { asOfPosition } pnl(minPosition: $p) { asOfPosition } }""",
        p=head,
    )
    assert answer["trades"]["asOfPosition"] == answer["pnl"]["asOfPosition"] == head
    error = await ask.error("{ trades(minPosition: 100000) { asOfPosition } }")
    assert "the log ends at" in error["message"]


async def test_the_schema_can_be_asked_for_by_tools(ask: Client) -> None:
    """Introspection is on and fits the limits."""
    from graphql import get_introspection_query  # noqa: PLC0415 - only this test speaks as a tool

    answer = await ask.data(get_introspection_query())
    assert answer["__schema"]["queryType"]["name"] == "Query"


async def test_variables_may_be_numbers_or_digits(ask: Client) -> None:
    for after in (3, "3"):
        answer = await ask.data(
            "query($a: BigInt!) { events(after: $a, limit: 1) { events { position } } }", a=after
        )
        assert answer["events"]["events"][0]["position"] == "4"
