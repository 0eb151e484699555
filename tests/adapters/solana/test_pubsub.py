"""Subscriptions that heal themselves, against a node that drops, refuses and babbles."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from itertools import count

import pytest
from scripted_node import ScriptedNode, scripted_node, send
from waiting import until
from websockets.asyncio.server import ServerConnection
from websockets.asyncio.server import serve as serve_websocket

from adapters.solana import pubsub as module
from adapters.solana.pubsub import PubSub
from domain.chain import Address, Commitment, Signature
from domain.errors import ChainError, ChainUnavailable, SetupError

POOL, VAULT = Address("P" * 43), Address("V" * 43)
SIGNATURE = Signature("5" * 88)


@pytest.fixture
async def node() -> AsyncIterator[ScriptedNode]:
    async with scripted_node() as node:
        yield node


@pytest.fixture
async def pubsub(node: ScriptedNode) -> AsyncIterator[PubSub]:
    ticks = count(1_000)
    async with PubSub(node.ws_url, clock=lambda: next(ticks)) as pubsub, asyncio.timeout(20):
        yield pubsub


async def test_a_watch_wakes_with_the_newest_slot_of_each_account(node: ScriptedNode, pubsub: PubSub) -> None:
    async with pubsub.watch_accounts([POOL, VAULT]) as watch:
        for slot in (7, 8, 6):
            await node.notify(POOL, slot=slot)
        await node.notify(VAULT, slot=8)
        seen: dict[Address, int] = {}
        while VAULT not in seen:
            seen |= (await watch.changes()).slots
        assert seen == {POOL: 8, VAULT: 8}
    await until(lambda: not node.subscriptions())


async def test_a_slow_reader_gets_one_entry_per_account_and_a_count(
    node: ScriptedNode, pubsub: PubSub
) -> None:
    async with pubsub.watch_accounts([POOL]) as watch:
        for slot in range(1, 501):
            await node.notify(POOL, slot=slot)
        await until(lambda: watch.conflated == 499)
        assert (await watch.changes()).slots == {POOL: 500}


async def test_a_lost_connection_comes_back_with_its_subscriptions_and_says_so(
    node: ScriptedNode, pubsub: PubSub
) -> None:
    async with pubsub.watch_accounts([POOL, VAULT]) as watch:
        await node.drop()
        changes = await watch.changes()
        assert changes.lost is not None
        assert 1_000 <= changes.lost.since < changes.lost.until
        assert changes.lost.reason
        await node.notify(VAULT, slot=9)
        assert (await watch.changes()).slots == {VAULT: 9}
    assert pubsub.reconnects == 1


async def test_a_watch_that_does_not_last_ends_with_its_connection(
    node: ScriptedNode, pubsub: PubSub
) -> None:
    """It is not subscribed again; who wants to look on asks again."""
    async with pubsub.watch_accounts([POOL], lasting=False) as watch:
        await node.drop()
        with pytest.raises(ChainUnavailable, match="subscribe again"):
            await watch.changes()
        await pubsub.connected()
        await pubsub.round_trip()
        assert not node.subscriptions()
    async with pubsub.watch_accounts([POOL], lasting=False) as watch:
        await node.notify(POOL, slot=9)
        assert (await watch.changes()).slots == {POOL: 9}


async def test_two_losses_unread_are_one_gap_from_the_first(node: ScriptedNode, pubsub: PubSub) -> None:
    async with pubsub.watch_accounts([POOL]) as watch:
        await node.drop()
        await until(lambda: pubsub.reconnects == 1 and node.subscriptions())
        await node.drop()
        await until(lambda: pubsub.reconnects == 2 and node.subscriptions())
        changes = await watch.changes()
        while changes.lost is None:
            changes = await watch.changes()
        assert changes.lost.since < 1_010


@pytest.mark.parametrize(
    "babble",
    [
        "",
        "no json",
        "[]",
        "5",
        "[" * 100_000,
        '{"method":"accountNotification"}',
        '{"method":"accountNotification","params":{"subscription":1,"result":{}}}',
        '{"method":"accountNotification","params":{"subscription":1,"result":{"context":{"slot":"x"}}}}',
        '{"method":"accountNotification","params":{"subscription":{},"result":5}}',
        '{"id":1,"result":{}}',
        '{"id":[],"result":1}',
    ],
)
async def test_babble_is_counted_and_passed_over(node: ScriptedNode, pubsub: PubSub, babble: str) -> None:
    async with pubsub.watch_accounts([POOL]) as watch:
        [(socket, *_)] = node.subscriptions()
        await socket.send(babble)
        await node.notify(POOL, slot=3)
        assert (await watch.changes()).slots == {POOL: 3}
    assert (pubsub.malformed, pubsub.reconnects) == (1, 0)


async def test_a_refused_watch_says_why(node: ScriptedNode, pubsub: PubSub) -> None:
    node.refuse_subscriptions = True
    async with pubsub.watch_accounts([POOL]) as watch:
        with pytest.raises(ChainError, match="accountSubscribe was refused"):
            await watch.changes()


async def test_a_node_that_never_confirms(
    node: ScriptedNode, pubsub: PubSub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CONFIRM_TIMEOUT_S", 0.1)
    node.confirm_subscriptions = False
    with pytest.raises(ChainUnavailable, match="not answered within"):
        async with pubsub.watch_accounts([POOL]):
            pytest.fail("entered without a confirmation")


async def test_a_signature_is_followed_to_its_end(node: ScriptedNode, pubsub: PubSub) -> None:
    reached = pubsub.signature_commitments(SIGNATURE, timeout_s=10)
    first = asyncio.ensure_future(anext(reached))
    await until(lambda: len(node.subscriptions()) == 3)
    for socket, number, method, _ in node.subscriptions():
        assert method == "signatureSubscribe"
        await send(socket, "signatureNotification", number, {"context": {"slot": 5}, "value": {"err": None}})
    assert [await first, *[commitment async for commitment in reached]] == list(Commitment)


async def test_a_signature_that_never_lands_ends_in_time(node: ScriptedNode, pubsub: PubSub) -> None:
    assert [one async for one in pubsub.signature_commitments(SIGNATURE, timeout_s=0.05)] == []
    await until(lambda: not node.subscriptions())


async def test_a_refused_signature_ends_at_once(node: ScriptedNode, pubsub: PubSub) -> None:
    node.refuse_subscriptions = True
    assert [one async for one in pubsub.signature_commitments(SIGNATURE, timeout_s=10)] == []


async def test_a_node_that_is_not_there() -> None:
    async with PubSub("ws://127.0.0.1:1/?key=hunter2", clock=lambda: 0) as pubsub:
        with pytest.raises(ChainUnavailable, match=r"connecting to ws://127.0.0.1:1 did not") as caught:
            await pubsub.connected(timeout_s=0.3)
    assert "hunter2" not in str(caught.value)


async def test_a_ping_that_is_not_answered() -> None:
    """A connection that stands and says nothing: a cut cable shows no other way."""
    answered = asyncio.Event()

    async def mute(socket: ServerConnection) -> None:
        socket.transport.pause_reading()
        await answered.wait()

    async with (
        serve_websocket(mute, "127.0.0.1", 0, close_timeout=0.1) as server,
        PubSub(f"ws://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}", clock=lambda: 0) as pubsub,
    ):
        await pubsub.connected()
        with pytest.raises(ChainUnavailable, match=r"did not answer a ping within 0\.2 s"):
            await pubsub.round_trip(timeout_s=0.2)
        answered.set()


async def test_a_ping_brings_all_that_was_said_before(node: ScriptedNode, pubsub: PubSub) -> None:
    async with pubsub.watch_accounts([POOL]) as watch:
        await node.notify(POOL, slot=7)
        await pubsub.round_trip()
        assert (await watch.changes()).slots == {POOL: 7}


def test_a_url_of_another_scheme() -> None:
    with pytest.raises(SetupError, match="ws://HOST"):
        PubSub("http://127.0.0.1", clock=lambda: 0)
