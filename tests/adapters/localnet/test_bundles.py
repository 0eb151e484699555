"""The block engine: bundles land whole and in order or not at all, tipped, once, before they expire."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import AsyncIterator
from hashlib import sha256
from typing import Any

import pytest
from local_nodes import Node, in_base64, local_node
from localnets import SOL
from solders.address_lookup_table_account import AddressLookupTableAccount
from solders.instruction import Instruction
from solders.message import MessageV0
from solders.pubkey import Pubkey
from solders.system_program import TransferParams, transfer
from solders.transaction import VersionedTransaction

from adapters.localnet.base58 import b58encode
from adapters.localnet.blocks import MAX_AGE
from adapters.localnet.bundles import KEPT_SLOTS, MIN_TIP_LAMPORTS, TIP_ACCOUNTS
from adapters.solana.programs.lookup_table import create_lookup_table, extend_lookup_table

STRANGER = Pubkey(bytes(31) + b"\x63")
BASE64 = {"encoding": "base64"}
TIP = 10_000


@pytest.fixture
async def node() -> AsyncIterator[Node]:
    async with local_node() as one:
        yield one


def payment(node: Node, lamports: int = SOL, *more: Instruction) -> VersionedTransaction:
    """A signed payment to a stranger."""
    return node.chain.sign(node.chain.pay(STRANGER, lamports), node.chain.unique(), *more)


def tip(node: Node, lamports: int = TIP) -> Instruction:
    return node.chain.pay(TIP_ACCOUNTS[3], lamports)


async def send(node: Node, *transactions: VersionedTransaction) -> str:
    name: str = await node.ok("sendBundle", [in_base64(one) for one in transactions], BASE64)
    return name


async def inflight(node: Node, name: str) -> tuple[str, int | None]:
    (one,) = (await node.ok("getInflightBundleStatuses", [name]))["value"]
    assert one["bundle_id"] == name
    return one["status"], one["landed_slot"]


async def landed(node: Node, name: str) -> dict[str, Any] | None:
    found: dict[str, Any] | None = (await node.ok("getBundleStatuses", [name]))["value"][0]
    return found


async def test_a_bundle_lands_in_order_in_the_next_block(node: Node) -> None:
    """The second transaction spends what only the first brought."""
    ledger = node.handle.ledger
    first, second = payment(node), payment(node, SOL, tip(node))
    name = await send(node, first, second)
    signatures = [str(one.signatures[0]) for one in (first, second)]
    assert name == sha256(",".join(signatures).encode()).hexdigest()
    assert await inflight(node, name) == ("Pending", None)
    assert await landed(node, name) is None
    await node.ok("localnet_advanceSlots", 1)
    slot = ledger.blocks.open.slot
    assert await inflight(node, name) == ("Landed", slot)
    assert [str(one.signature) for one in ledger.history.in_slot(slot)] == signatures
    assert node.chain.lamports(STRANGER) == 2 * SOL
    expected = {"bundle_id": name, "transactions": signatures, "slot": slot, "err": {"Ok": None}}
    for slots, commitment in ((0, "processed"), (1, "confirmed"), (31, "finalized")):
        await node.ok("localnet_advanceSlots", slots)
        assert await landed(node, name) == {**expected, "confirmation_status": commitment}


async def test_a_failing_transaction_in_the_middle_moves_nothing_at_all(node: Node) -> None:
    """Not even the fees of those before it."""
    before = node.chain.lamports(node.chain.wallet), node.chain.lamports(TIP_ACCOUNTS[3])
    name = await send(node, payment(node), payment(node, 10**15), payment(node, SOL, tip(node)))
    await node.ok("localnet_advanceSlots", 1)
    assert await inflight(node, name) == ("Failed", None)
    assert await landed(node, name) is None
    assert (node.chain.lamports(node.chain.wallet), node.chain.lamports(TIP_ACCOUNTS[3])) == before
    assert node.chain.lamports(STRANGER) == 0
    assert not node.handle.ledger.history.in_slot(node.handle.ledger.blocks.open.slot)


async def test_who_tips_too_little_is_taken_and_never_lands(node: Node) -> None:
    poor = await send(node, payment(node, SOL, tip(node, MIN_TIP_LAMPORTS - 1)))
    fair = await send(node, payment(node, SOL, tip(node, MIN_TIP_LAMPORTS)))
    await node.ok("localnet_advanceSlots", 1)
    assert (await inflight(node, poor))[0] == "Failed"
    assert (await inflight(node, fair))[0] == "Landed"
    assert node.chain.lamports(STRANGER) == SOL


async def test_what_the_engine_refuses_at_once(node: Node) -> None:
    tipped = in_base64(payment(node, SOL, tip(node)))
    forged = VersionedTransaction.populate(payment(node).message, payment(node, SOL, tip(node)).signatures)
    cases: list[tuple[list[str], str]] = [
        ([], "between 1 and 5"),
        ([tipped] * 6, "between 1 and 5"),
        ([tipped] * 2, "duplicate"),
        ([in_base64(payment(node))], "must write lock at least one tip account"),
        ([in_base64(forged)], "is invalid"),
        (["!!"], "invalid base64"),
        (["AAAA"], "failed to deserialize"),
    ]
    for texts, said in cases:
        code, message = await node.refused("sendBundle", texts, BASE64)
        assert code == -32602
        assert said in message


async def test_base58_is_the_encoding_of_old(node: Node) -> None:
    transaction = payment(node, SOL, tip(node))
    name = await node.ok("sendBundle", [b58encode(bytes(transaction))])
    await node.ok("localnet_advanceSlots", 1)
    assert (await inflight(node, name))[0] == "Landed"


async def test_a_tip_account_in_a_lookup_table_does_not_count(node: Node) -> None:
    chain, ledger = node.chain, node.handle.ledger
    create, table = create_lookup_table(chain.wallet, chain.wallet, ledger.blocks.open.slot - 1)
    chain.land(create, extend_lookup_table(table, chain.wallet, chain.wallet, [TIP_ACCOUNTS[0]]))
    ledger.advance()
    pay = transfer(TransferParams(from_pubkey=chain.wallet, to_pubkey=TIP_ACCOUNTS[0], lamports=TIP))
    lookup = AddressLookupTableAccount(table, [TIP_ACCOUNTS[0]])
    message = MessageV0.try_compile(chain.wallet, [pay], [lookup], ledger.blocks.open.blockhash)
    hidden = VersionedTransaction(message, [chain.keypair])
    code, said = await node.refused("sendBundle", [in_base64(hidden)], BASE64)
    assert (code, "tip account" in said) == (-32602, True)


async def test_a_bundle_sent_twice_lands_once(node: Node) -> None:
    transaction = payment(node, SOL, tip(node))
    assert await send(node, transaction) == await send(node, transaction)
    await node.ok("localnet_advanceSlots", 1)
    assert node.chain.lamports(STRANGER) == SOL
    assert await node.refused("sendBundle", [in_base64(transaction)], BASE64) == (
        -32602,
        "bundle contains an already processed transaction",
    )


async def test_a_bundle_expires_with_its_blockhash(node: Node) -> None:
    """Refused when it has expired; Failed when it expires while it waits."""
    await node.ok("localnet_failNextCalls", {"method": "sendBundle", "kind": "delay", "slots": MAX_AGE + 1})
    late, never = payment(node, SOL, tip(node)), payment(node, SOL, tip(node))
    name = await send(node, late)
    await node.ok("localnet_advanceSlots", MAX_AGE)
    assert (await inflight(node, name))[0] == "Pending"
    await node.ok("localnet_advanceSlots", 1)
    assert (await inflight(node, name))[0] == "Failed"
    refused = await node.refused("sendBundle", [in_base64(never)], BASE64)
    assert refused == (-32602, "bundle contains an expired blockhash")
    assert node.chain.lamports(STRANGER) == 0


async def test_a_dropped_bundle_was_never_heard_of_and_old_ones_are_forgotten(node: Node) -> None:
    await node.ok("localnet_failNextCalls", {"method": "sendBundle", "kind": "drop"})
    dropped = await send(node, payment(node, SOL, tip(node)))
    kept = await send(node, payment(node, SOL, tip(node)))
    await node.ok("localnet_advanceSlots", 1)
    assert (await inflight(node, dropped))[0] == "Invalid"
    assert (await inflight(node, kept))[0] == "Landed"
    await node.ok("localnet_advanceSlots", KEPT_SLOTS)
    assert (await inflight(node, kept))[0] == "Invalid"


async def test_a_bundle_on_a_dead_fork_has_failed(node: Node) -> None:
    name = await send(node, payment(node, SOL, tip(node)))
    await node.ok("localnet_advanceSlots", 1)
    assert (await inflight(node, name))[0] == "Landed"
    await node.ok("localnet_rollBack", 1)
    assert (await inflight(node, name))[0] == "Failed"
    assert node.chain.lamports(STRANGER) == 0


async def test_statuses_of_five_at_most(node: Node) -> None:
    for method in ("getBundleStatuses", "getInflightBundleStatuses"):
        assert (await node.refused(method, ["a"] * 6))[0] == -32602
        assert len((await node.ok(method, ["a"] * 5))["value"]) == 5


async def test_a_simulated_bundle_shows_each_step_and_leaves_no_trace(node: Node) -> None:
    first, second = payment(node), payment(node, 2 * SOL)
    watched = {"addresses": [str(STRANGER)]}
    bundle = {"encodedTransactions": [in_base64(first), in_base64(second)]}
    shown = await node.ok(
        "simulateBundle",
        bundle,
        {"preExecutionAccountsConfigs": [watched, watched], "postExecutionAccountsConfigs": [None, watched]},
    )
    assert shown["value"]["summary"] == "succeeded"
    one, two = shown["value"]["transactionResults"]
    assert (one["err"], one["preExecutionAccounts"], one["postExecutionAccounts"]) == (None, [None], None)
    assert two["preExecutionAccounts"][0]["lamports"] == SOL
    assert two["postExecutionAccounts"][0]["lamports"] == 3 * SOL
    assert node.chain.lamports(STRANGER) == 0
    assert (await landed(node, await send(node, payment(node, SOL, tip(node))))) is None


async def test_a_simulated_bundle_ends_with_the_first_failure(node: Node) -> None:
    transactions = [payment(node), payment(node, 10**15), payment(node)]
    shown = await node.ok("simulateBundle", {"encodedTransactions": [in_base64(one) for one in transactions]})
    failed = shown["value"]["summary"]["failed"]
    assert failed["tx_signature"] == str(transactions[1].signatures[0])
    errors = [one["err"] for one in shown["value"]["transactionResults"]]
    assert errors == [None, {"InstructionError": [0, {"Custom": 1}]}]
    wrong: list[dict[str, object]] = [{}, {"encodedTransactions": []}, {"encodedTransactions": "x"}]
    for bad in wrong:
        assert (await node.refused("simulateBundle", bad))[0] == -32602


async def test_the_engine_has_its_own_paths(node: Node) -> None:
    """As its HTTP clients call it; what belongs to the node is not served there."""
    url = node.handle.rpc_url
    tips = (await node.raw("getTipAccounts", path="/api/v1/getTipAccounts"))["result"]
    assert tips == [str(key) for key in TIP_ACCOUNTS]
    assert len(set(tips)) == 8
    transaction = payment(node, SOL, tip(node))
    sent = await node.raw("sendBundle", [in_base64(transaction)], BASE64, path="/api/v1/bundles")
    await node.ok("localnet_advanceSlots", 1)
    asked = await node.raw(
        "getInflightBundleStatuses", [sent["result"]], path="/api/v1/getInflightBundleStatuses"
    )
    assert asked["result"]["value"][0]["status"] == "Landed"
    assert (await node.raw("getSlot", path="/api/v1/bundles"))["error"]["code"] == -32601
    (floor,) = (await node.http.get(url + "/api/v1/bundles/tip_floor")).json()
    assert floor["landed_tips_50th_percentile"] == TIP / SOL
    assert {f"landed_tips_{percent}th_percentile" for percent in (25, 50, 75, 95, 99)} < set(floor)


async def test_a_transaction_alone_goes_as_a_bundle_of_one(node: Node) -> None:
    """`bundleOnly` wants a tip and reverts nothing into a fee; without it the transaction just lands."""
    url = node.handle.rpc_url + "/api/v1/transactions"
    alone, plain = payment(node, SOL, tip(node)), payment(node)

    async def post(transaction: VersionedTransaction, query: str) -> Any:  # noqa: ANN401 - the client's response
        params = [b64encode(bytes(transaction)).decode(), BASE64]
        body = {"jsonrpc": "2.0", "id": 1, "method": "sendTransaction", "params": params}
        return await node.http.post(url + query, json=body)

    answer = await post(alone, "?bundleOnly=true")
    assert answer.json()["result"] == str(alone.signatures[0])
    name = answer.headers["x-bundle-id"]
    assert (await inflight(node, name))[0] == "Pending"
    await node.ok("localnet_advanceSlots", 1)
    assert (await inflight(node, name))[0] == "Landed"
    assert "tip account" in (await post(plain, "?bundleOnly=true")).json()["error"]["message"]
    assert (await post(plain, "")).json()["result"] == str(plain.signatures[0])
    assert node.chain.lamports(STRANGER) == 2 * SOL
