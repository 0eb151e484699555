"""Faults by chance: read from flags and calls, as often as said, and each does what its name says."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from local_nodes import Node, in_base64, local_node
from localnets import SOL
from solders.pubkey import Pubkey

from adapters.localnet.blocks import MAX_STALE
from adapters.localnet.faults import Fault, FaultKind, Faults, Standing, read_standing
from adapters.localnet.server import LocalnetConfig
from domain.errors import InvalidInput

STRANGER = Pubkey(bytes(31) + b"\x63")
FAST = {"encoding": "base64", "preflightCommitment": "processed"}


@pytest.fixture
async def node() -> AsyncIterator[Node]:
    async with local_node() as one:
        yield one


@pytest.mark.parametrize(
    ("text", "kind", "percent", "amount"),
    [
        ("drop=5", FaultKind.DROP, 5, 0),
        ("delay=10", FaultKind.DELAY, 10, 1),
        ("delay=10:30", FaultKind.DELAY, 10, 30),
        ("late_answer=100:50", FaultKind.LATE_ANSWER, 100, 50),
        ("stale=20:64", FaultKind.STALE, 20, 64),
        ("fork=0", FaultKind.FORK, 0, 2),
    ],
)
def test_a_fault_is_read(text: str, kind: FaultKind, percent: int, amount: int) -> None:
    assert read_standing(text) == Standing(Fault(kind, amount), percent)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("explode=5", "'explode' is no kind of fault; known: drop, delay"),
        ("drop", "'' is not a percentage from 0 to 100"),
        ("drop=101", "'101' is not a percentage"),
        ("drop=-1", "'-1' is not a percentage"),
        ("drop=5:1", "drop takes no amount"),
        ("stale=5:65", f"'65' is not a number of slots from 1 to {MAX_STALE}"),
        ("stale=5:", "'' is not a number of slots"),
        ("late_answer=5:60001", "'60001' is not a number of milliseconds"),
        ("fork=5:32", "'32' is not a number of slots from 1 to 31"),
    ],
)
def test_what_is_no_fault_is_refused(text: str, said: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        read_standing(text)
    assert said in str(caught.value)
    assert repr(text) in str(caught.value)


def test_chance_is_the_seeds_and_as_often_as_said() -> None:
    def struck(seed: int) -> list[bool]:
        faults = Faults([read_standing("error_answer=30")], seed=seed)
        return [faults.take("getSlot") is not None for _ in range(2_000)]

    assert struck(1) == struck(1)
    assert struck(1) != struck(2)
    assert 500 < sum(struck(1)) < 700


def test_chance_spares_what_cannot_fail_that_way() -> None:
    faults = Faults([read_standing("drop=100"), read_standing("fork=100")])
    assert faults.take("getSlot") is None
    assert faults.take("sendBundle") == Fault(FaultKind.DROP)
    assert faults.take("localnet_info") is None
    assert faults.fork_depth() == 2


async def test_a_stale_node_answers_of_the_past(node: Node) -> None:
    """Slot, balance and blockhash are those of eight slots ago, and it knows no newer blockhash."""
    await node.ok("localnet_advanceSlots", 20)
    slot = node.handle.ledger.blocks.open.slot
    signed = node.chain.sign(node.chain.pay(STRANGER, SOL))
    assert node.handle.ledger.submit(signed)
    assert await node.ok("localnet_setFaults", {"stale": "100:8"}) == {"stale": {"percent": 100, "amount": 8}}
    processed = {"commitment": "processed"}
    assert await node.ok("getSlot", processed) == slot - 8
    assert (await node.ok("getBalance", str(STRANGER), processed))["value"] == 0
    names = [str(signed.signatures[0])]
    assert (await node.ok("getSignatureStatuses", names))["value"] == [None]
    new = node.chain.sign(node.chain.pay(STRANGER, SOL), node.chain.unique())
    code, said = await node.refused("sendTransaction", in_base64(new), FAST)
    assert (code, "Blockhash not found" in said) == (-32002, True)
    assert await node.ok("localnet_setFaults", {}) == {}
    assert await node.ok("getSlot", processed) == slot
    assert (await node.ok("getBalance", str(STRANGER), processed))["value"] == SOL


async def test_finalized_accounts_are_as_stale_as_their_slot(node: Node) -> None:
    await node.ok("localnet_advanceSlots", 40)
    node.chain.land(node.chain.pay(STRANGER, SOL))
    await node.ok("localnet_advanceSlots", 40)
    assert (await node.ok("getBalance", str(STRANGER)))["value"] == SOL
    await node.ok("localnet_setFaults", {"stale": "100:20"})
    answer = await node.ok("getBalance", str(STRANGER))
    assert (answer["value"], answer["context"]["slot"]) == (0, node.handle.ledger.blocks.open.slot - 52)


async def test_a_rate_limit_is_http_429_with_a_time_to_wait(node: Node) -> None:
    await node.ok("localnet_failNextCalls", {"method": "getSlot", "kind": "rate_limited"})
    body = {"jsonrpc": "2.0", "id": 1, "method": "getSlot"}
    answer = await node.http.post(node.handle.rpc_url, json=body)
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "1")
    assert answer.json()["error"]["code"] == 429
    assert (await node.http.post(node.handle.rpc_url, json=body)).status_code == 200


async def test_bad_standing_faults_change_nothing(node: Node) -> None:
    await node.ok("localnet_setFaults", {"error_answer": "0"})
    code, said = await node.refused("localnet_setFaults", {"drop": "5", "stale": "x"})
    assert (code, "'x' is not a percentage" in said) == (-32602, True)
    assert (await node.refused("localnet_failNextCalls", {"kind": "fork"}))[0] == -32602


async def test_forks_by_flag_leave_dead_slots_behind() -> None:
    """Every slot's newest two blocks die: heights fall behind slots, and getBlock says what was skipped."""
    faults = (read_standing("fork=100:2"),)
    config = LocalnetConfig(port=0, slot_ms=None, crowd_tps=0, faults=faults)
    async with local_node(config) as node:
        blocks = node.handle.ledger.blocks
        slot, height = blocks.open.slot, blocks.open.height
        await node.ok("localnet_advanceSlots", 10)
        assert blocks.open.slot == slot + 20
        assert blocks.open.height <= height + 1
        await node.ok("localnet_setFaults", {})
        await node.ok("localnet_advanceSlots", 40)
        skipped = blocks.open.slot - 45
        assert (await node.refused("getBlock", skipped))[0] == -32007


async def test_health_is_also_a_page(node: Node) -> None:
    answer = await node.http.get(node.handle.rpc_url + "/health")
    assert (answer.status_code, answer.text) == (200, "ok")
    assert (await node.http.get(node.handle.rpc_url)).status_code == 405
