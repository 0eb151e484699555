"""Subscriptions that outlive their endpoint: ids stay, gaps are told, nothing is silent."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from rpc_nodes import Node, nodes, pool_over
from waiting import until

from adapters.rpcpool.outcome import Answer
from adapters.rpcpool.pool import RpcPool
from adapters.rpcpool.session import Session, SessionLimits
from adapters.rpcpool.slots import Standing


class Client:
    """What one client was told."""

    def __init__(self, session: Session, heard: list[dict[str, Any]], closed: list[str]) -> None:
        self.session = session
        self.heard = heard
        self.closed = closed

    async def subscribe(self, kind: str, *params: object) -> Answer:
        """The answer to a subscription."""
        answers: list[Answer] = []
        await self.session.subscribe(f"{kind}Subscribe", json.dumps(params).encode(), answers.append)
        await until(lambda: answers)
        assert len(answers) == 1
        return answers[0]

    async def number(self, kind: str, *params: object) -> int:
        answer = await self.subscribe(kind, *params)
        assert answer.result is not None, answer
        return int(answer.result)

    async def unsubscribe(self, kind: str, number: object) -> Answer:
        answers: list[Answer] = []
        await self.session.unsubscribe(f"{kind}Unsubscribe", json.dumps([number]).encode(), answers.append)
        return answers[0]

    def gaps(self) -> list[tuple[int, str]]:
        return [
            (message["params"]["subscription"], message["params"]["result"]["state"])
            for message in self.heard
            if message["method"] == "gapNotification"
        ]

    def told(self, kind: str) -> list[tuple[int, Any]]:
        return [
            (message["params"]["subscription"], message["params"]["result"])
            for message in self.heard
            if message["method"] == f"{kind}Notification"
        ]


@asynccontextmanager
async def client_of(pool: RpcPool, *, closes: bool = False) -> AsyncIterator[Client]:
    heard: list[dict[str, Any]] = []
    closed: list[str] = []
    on_gap = closed.append if closes else None
    async with pool.session(lambda message: heard.append(json.loads(message)), on_gap) as session:
        yield Client(session, heard, closed)


def serving(them: list[Node]) -> Node:
    """The node that serves now."""
    [found] = [node for node in them if node.sockets]
    return found


def account(slot: int) -> dict[str, Any]:
    return {"context": {"slot": slot}, "value": {"lamports": slot}}


async def test_notifications_come_under_the_clients_id() -> None:
    async with nodes(2) as them, pool_over(them) as pool, client_of(pool) as client:
        first, second = await client.number("account", "a"), await client.number("slot")
        assert (first, second) == (1, 2)
        node = serving(them)
        await node.notify("account", account(5))
        await until(lambda: client.told("account"))
        assert client.told("account") == [(first, account(5))]


async def test_a_lost_endpoint_costs_a_gap_and_no_subscription() -> None:
    async with nodes(3) as them, pool_over(them) as pool, client_of(pool) as client:
        numbers = [await client.number("account", "a"), await client.number("logs", "all")]
        lost = serving(them)
        await lost.notify("account", account(77))
        await until(lambda: client.told("account"))
        await lost.die()
        await until(lambda: len(client.gaps()) == 4)
        assert client.gaps() == [(n, state) for state in ("lost", "restored") for n in numbers]
        notice = next(message for message in client.heard if message["method"] == "gapNotification")
        assert notice["params"]["result"].keys() == {
            "state",
            "kind",
            "reason",
            "lostAtMs",
            "restoredAtMs",
            "lastSlot",
        }
        assert notice["params"]["result"]["lastSlot"] == 77
        await serving(them).notify("account", account(90))
        await until(lambda: len(client.told("account")) == 2)
        assert client.told("account")[1] == (numbers[0], account(90))


async def test_the_socket_alone_lost_is_noticed_too() -> None:
    async with nodes(2) as them, pool_over(them) as pool, client_of(pool) as client:
        number = await client.number("slot")
        first = serving(them)
        await first.drop()
        await until(lambda: (number, "restored") in client.gaps())
        assert serving(them) is not first


async def test_all_lost_and_one_back_again() -> None:
    """One "lost" however long it lasts, one "restored" at its end."""
    async with nodes(2) as them, pool_over(them) as pool, client_of(pool) as client:
        number = await client.number("account", "a")
        for node in them:
            await node.die()
        await until(client.gaps)
        await them[1].start()
        await until(lambda: (number, "restored") in client.gaps())
        assert client.gaps() == [(number, "lost"), (number, "restored")]


async def test_an_endpoint_that_falls_silent_is_left() -> None:
    """It keeps the connection and answers pings; only its slots stay away."""
    limits = SessionLimits(silence_s=0.15)
    async with nodes(2) as them, pool_over(them, session=limits) as pool, client_of(pool) as client:
        number = await client.number("account", "a")
        await until(lambda: (number, "restored") in client.gaps())
        [notice] = [m for m in client.heard if m["params"]["result"].get("state") == "lost"][:1]
        assert "says nothing" in notice["params"]["result"]["reason"]


async def test_an_endpoint_that_lies_is_left_for_one_that_does_not() -> None:
    async with nodes(2) as them, pool_over(them) as pool, client_of(pool) as client:
        number = await client.number("account", "a")
        liar = serving(them)
        pool.endpoints[them.index(liar)].health.stand(Standing.AHEAD)
        await liar.notify("account", account(10**12))
        await until(lambda: (number, "restored") in client.gaps())
        assert serving(them) is not liar


async def test_a_signature_is_told_once_and_then_forgotten() -> None:
    async with nodes(2) as them, pool_over(them) as pool, client_of(pool) as client:
        number = await client.number("signature", "s", {"enableReceivedNotification": True})
        node = serving(them)
        await node.notify("signature", {"context": {"slot": 1}, "value": "receivedSignature"})
        await node.notify("signature", {"context": {"slot": 2}, "value": {"err": None}})
        await until(lambda: len(client.told("signature")) == 2)
        await node.drop()
        answer = await client.unsubscribe("signature", number)
        assert b"Invalid subscription id" in (answer.error or b"")
        await client.number("slot")
        assert client.gaps() == []


async def test_unsubscribing_reaches_the_endpoint() -> None:
    async with nodes(1) as [node], pool_over([node]) as pool, client_of(pool) as client:
        number = await client.number("account", "a")
        assert (await client.unsubscribe("account", number)).result == b"true"
        await until(lambda: node.subscribed("account") == 0)
        assert b"-32602" in ((await client.unsubscribe("account", number)).error or b"")
        assert b"-32602" in ((await client.unsubscribe("account", "x")).error or b"")


async def test_a_refusal_is_the_clients() -> None:
    refusing = nodes(1, takes_subscriptions=False)
    async with refusing as them, pool_over(them) as pool, client_of(pool) as client:
        assert b"-32601" in ((await client.subscribe("block", "all")).error or b"")
        assert b"-32601" in ((await client.subscribe("nonsense")).error or b"")


async def test_who_would_not_take_it_over_is_passed_by() -> None:
    async with nodes(3) as them, pool_over(them) as pool, client_of(pool) as client:
        number = await client.number("account", "a")
        first = serving(them)
        others = [node for node in them if node is not first]
        others[0].takes_subscriptions = False
        await first.die()
        await until(lambda: (number, "restored") in client.gaps())
        assert others[1].subscribed("account") == 1


async def test_what_nobody_takes_over_ends_with_a_notice() -> None:
    async with nodes(2) as them, pool_over(them) as pool, client_of(pool) as client:
        number = await client.number("account", "a")
        for node in them:
            node.takes_subscriptions = False
        await serving(them).drop()
        await until(lambda: (number, "ended") in client.gaps())


async def test_a_refusal_costs_the_others_no_endless_moves_when_nobody_else_can_be_reached() -> None:
    """The one is ended with a notice; the other is served on by the endpoint that refuses the one."""
    async with nodes(2) as them, pool_over(them) as pool, client_of(pool) as client:
        kept, refused = await client.number("account", "a"), await client.number("logs", "all")
        first = serving(them)
        [second] = [node for node in them if node is not first]
        second.refused = frozenset({"logs"})
        await first.die()
        await until(lambda: (refused, "ended") in client.gaps())
        await until(lambda: second.subscribed("account") == 1)
        await until(lambda: client.gaps().count((kept, "lost")) == client.gaps().count((kept, "restored")))
        await second.notify("account", account(7))
        await until(lambda: client.told("account"))
        assert client.told("account")[-1] == (kept, account(7))
        assert second.subscribed("logs") == 0


async def test_an_endpoint_that_sends_no_text_is_left() -> None:
    """A result is passed on unread: were it no UTF-8, the client's own connection would break."""
    async with nodes(2) as them, pool_over(them) as pool, client_of(pool) as client:
        number = await client.number("account", "a")
        mangled = serving(them)
        [(socket, held)] = mangled.sockets.items()
        node_id = next(node_id for node_id, (method, _) in held.items() if method == "accountSubscribe")
        await socket.send_bytes(
            b'{"method":"accountNotification","params":{"subscription":%d,"result":"\xff"}}' % node_id
        )
        await until(lambda: (number, "restored") in client.gaps())
        assert client.told("account") == []
        assert serving(them) is not mangled


async def test_an_error_of_our_own_ends_the_subscriptions_aloud() -> None:
    """Whoever takes the messages breaks once; the client is told and can subscribe anew."""
    heard: list[dict[str, Any]] = []
    breaks = iter([True])

    def push(message: bytes) -> None:
        if next(breaks, False):
            raise ZeroDivisionError
        heard.append(json.loads(message))

    async with nodes(1) as [node], pool_over([node]) as pool, pool.session(push) as session:
        client = Client(session, heard, [])
        number = await client.number("account", "a")
        await node.notify("account", account(5))
        await until(lambda: (number, "ended") in client.gaps())
        again = await client.number("account", "a")
        await node.notify("account", account(6))
        await until(lambda: client.told("account"))
        assert client.told("account") == [(again, account(6))]


async def test_a_node_that_never_confirms_is_an_error_in_time() -> None:
    limits = SessionLimits(confirm_s=0.2)
    silent = nodes(1, takes_subscriptions="silent")
    async with silent as them, pool_over(them, session=limits) as pool, client_of(pool) as client:
        assert b"try again" in ((await client.subscribe("account", "a")).error or b"")


async def test_more_subscriptions_than_there_may_be() -> None:
    limits = SessionLimits(subscriptions=1)
    async with nodes(1) as them, pool_over(them, session=limits) as pool, client_of(pool) as client:
        await client.number("slot")
        assert b"the most there may be" in ((await client.subscribe("slot")).error or b"")


async def test_a_client_that_wants_to_be_cut_off_at_a_gap_is() -> None:
    async with nodes(2) as them, pool_over(them) as pool, client_of(pool, closes=True) as client:
        await client.number("account", "a")
        await serving(them).drop()
        await until(lambda: client.closed)
        assert client.gaps() == []


async def test_clients_are_spread_over_the_endpoints() -> None:
    async with nodes(2) as them, pool_over(them) as pool:
        async with client_of(pool) as one, client_of(pool) as two:
            await one.number("slot")
            await two.number("slot")
            assert all(node.sockets for node in them)
        await until(lambda: not any(node.sockets for node in them))


async def test_thousands_of_subscriptions_move_together() -> None:
    """More than the buffers of both sides hold; each keeps its id and none is asked for twice."""
    async with nodes(2) as them, pool_over(them) as pool, client_of(pool) as client:
        answers: list[Answer] = []
        for number in range(3_000):
            await client.session.subscribe("accountSubscribe", b'["a%d"]' % number, answers.append)
        await until(lambda: len(answers) == 3_000)
        first = serving(them)
        await first.die()
        await until(lambda: len(client.gaps()) == 6_000)
        [second] = [node for node in them if node is not first]
        assert second.subscribed("account") == 3_000
        assert {number for number, state in client.gaps() if state == "restored"} == set(range(1, 3_001))
