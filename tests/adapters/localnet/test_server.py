"""The local node over its wire: solana-py's own clients, the node's error codes, subscriptions, faults."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from local_nodes import TIMEOUT_S, Node, in_base64, local_node
from localnets import NOW_US, SOL
from solana.rpc.commitment import Confirmed, Finalized, Processed
from solana.rpc.core import RPCException
from solana.rpc.models import MemcmpOpts, TokenAccountOpts, TxOpts
from solana.rpc.websocket_api import SolanaWsClient
from solders.keypair import Keypair
from solders.message import MessageV0
from solders.pubkey import Pubkey
from solders.rpc.responses import (
    AccountNotification,
    LogsNotification,
    ProgramNotification,
    SignatureNotification,
    SlotNotification,
)
from solders.transaction import VersionedTransaction

from adapters.localnet.blocks import MAX_AGE
from adapters.localnet.founding import USDC_MINT, WSOL_MINT
from adapters.localnet.server import LocalnetConfig, serve
from adapters.solana.programs import raydium_cpmm as cpmm
from adapters.solana.programs.associated_token import associated_address
from domain.errors import SetupError

STRANGER = Pubkey(bytes(31) + b"\x63")
AT_ONCE = TxOpts(preflight_commitment=Processed)
UNCHECKED = TxOpts(skip_preflight=True)

BAD_CALLS: list[tuple[str, list[object], int, str]] = [
    ("getNothing", [], -32601, "Method not found"),
    ("getBalance", [], -32602, "`params` should have at least 1 argument(s)"),
    ("getBalance", ["abc"], -32602, "Invalid param: WrongSize"),
    ("getBalance", [7], -32602, "Invalid params: invalid type: integer, expected a string."),
    ("getSlot", [{"commitment": "recent"}], -32602, "Invalid params: unknown variant `recent`"),
    ("getSlot", [{"minContextSlot": 10**12}], -32016, "Minimum context slot has not been reached"),
    ("getTokenAccountBalance", [str(STRANGER)], -32602, "Invalid param: could not find account"),
    (
        "getTokenAccountBalance",
        [str(cpmm.config_address(0))],
        -32602,
        "Invalid param: not a Token account",
    ),
    ("sendTransaction", ["!!", {"encoding": "base64"}], -32602, "invalid base64 encoding"),
    ("sendTransaction", ["abcd", {"encoding": "base64"}], -32602, "failed to deserialize"),
    ("sendTransaction", ["abcd", {"encoding": "hex"}], -32602, "unsupported encoding: hex"),
    ("sendTransaction", ["A" * 2_000, {"encoding": "base64"}], -32602, "decoded solana_transaction"),
    ("getTransaction", ["x"], -32602, "Invalid param: Invalid"),
    ("getSignaturesForAddress", [str(STRANGER), {"limit": 1_001}], -32602, "Invalid limit; max 1000"),
    ("getMultipleAccounts", [["a"] * 101], -32602, "Too many inputs provided; max 100"),
    ("getAccountInfo", [str(cpmm.config_address(0)), {"encoding": "base58"}], -32600, "Encoded binary"),
    (
        "getAccountInfo",
        [str(cpmm.config_address(0)), {"encoding": "hex"}],
        -32602,
        "Invalid params: unknown variant `hex`",
    ),
    ("getProgramAccounts", [str(STRANGER), {"filters": [{"dataSize": 1}] * 5}], -32602, "Too many filters"),
    ("getAccountInfo", [str(STRANGER)[:-1] + "0"], -32602, "Invalid param"),
    ("getBlockTime", [5], -32004, "Block not available for slot 5"),
    ("localnet_rollBack", [5], -32602, "rolling back 5 blocks"),
    ("localnet_failNextCalls", [{"kind": "explode"}], -32602, "unknown fault kind 'explode'"),
    ("localnet_fund", [str(STRANGER), {}], -32602, "funding"),
]


@pytest.fixture
async def node() -> AsyncIterator[Node]:
    async with local_node() as one:
        yield one


async def test_solana_py_reads_the_chain(node: Node) -> None:
    client, wallet = node.client, node.chain.wallet
    assert await client.is_connected()
    assert (await client.get_balance(wallet)).value == 10 * SOL
    assert (await client.get_slot()).value > (await client.get_block_height()).value
    assert (await client.get_minimum_balance_for_rent_exemption(165)).value == 2_039_280
    assert (await client.get_epoch_info()).value.absolute_slot == (await client.get_slot()).value
    assert (await client.get_genesis_hash()).value == node.handle.ledger.blocks.genesis
    pool = node.handle.world.pools[0]
    account = (await client.get_account_info(pool.address)).value
    assert account is not None
    assert cpmm.decode_pool(account.data, account.owner).vault_a == pool.vault_a
    several = (await client.get_multiple_accounts([pool.vault_a, STRANGER])).value
    assert [one is None for one in several] == [False, True]
    held = (await client.get_token_account_balance(associated_address(wallet, USDC_MINT))).value
    assert (held.amount, held.ui_amount_string) == (str(10**9), "1000")
    owned = await client.get_token_accounts_by_owner(wallet, TokenAccountOpts(mint=WSOL_MINT))
    assert [one.pubkey for one in owned.value] == [associated_address(wallet, WSOL_MINT)]
    filters: list[int | MemcmpOpts] = [cpmm.POOL_LENGTH, MemcmpOpts(offset=8, bytes=str(pool.config))]
    found = (await client.get_program_accounts(cpmm.PROGRAM_ID, filters=filters)).value
    assert [one.pubkey for one in found] == [pool.address]


async def test_solana_py_sends_and_follows_a_transaction(node: Node) -> None:
    """Sent, simulated, seen at each commitment, fetched with metadata, listed by address."""
    client, chain = node.client, node.chain
    await node.ok("localnet_advanceSlots", 1)
    signed = chain.sign(
        chain.swap(node.handle.world.pools[0], SOL // 10, a_to_b=True), chain.pay(STRANGER, SOL)
    )
    assert isinstance(signed.message, MessageV0)
    fee = (await client.get_fee_for_message(signed.message)).value
    simulated = (await client.simulate_transaction(signed)).value
    assert simulated.err is None
    signature = (await client.send_transaction(signed, AT_ONCE)).value
    statuses = []
    for slots in (0, 1, 31):
        await node.ok("localnet_advanceSlots", slots)
        status = (await client.get_signature_statuses([signature])).value[0]
        assert status is not None
        statuses.append((str(status.confirmation_status), status.confirmations))
    assert statuses == [
        ("TransactionConfirmationStatus.Processed", 0),
        ("TransactionConfirmationStatus.Confirmed", 1),
        ("TransactionConfirmationStatus.Finalized", None),
    ]
    found = (
        await client.get_transaction(signature, "json", Finalized, max_supported_transaction_version=0)
    ).value
    assert found is not None
    meta = found.transaction.meta
    assert meta is not None
    assert (meta.fee, meta.err) == (fee, None)
    assert meta.pre_balances[0] - meta.post_balances[0] == 5_000 + SOL
    assert meta.post_token_balances
    assert meta.inner_instructions
    listed = (await client.get_signatures_for_address(STRANGER, commitment=Confirmed)).value
    assert [one.signature for one in listed] == [signature]
    for encoding in ("base64", "jsonParsed"):
        again = await node.ok(
            "getTransaction", str(signature), {"encoding": encoding, "maxSupportedTransactionVersion": 0}
        )
        assert again["meta"]["computeUnitsConsumed"] == meta.compute_units_consumed


async def test_preflight_refuses_what_would_fail_and_skipping_it_pays(node: Node) -> None:
    client, chain = node.client, node.chain
    failing = chain.sign(chain.swap(node.handle.world.pools[0], SOL // 10, a_to_b=True, least=10**15))
    answer = await node.raw(
        "sendTransaction", in_base64(failing), {"encoding": "base64", "preflightCommitment": "processed"}
    )
    error = answer["error"]
    assert error["code"] == -32002
    assert error["message"] == (
        "Transaction simulation failed: Error processing Instruction 0: custom program error: 0x1775"
    )
    assert error["data"]["err"] == {"InstructionError": [0, {"Custom": 6005}]}
    assert any("ExceededSlippage" in line for line in error["data"]["logs"])
    with pytest.raises(RPCException):
        await client.send_transaction(failing, AT_ONCE)
    assert chain.lamports(chain.wallet) == 10 * SOL
    signature = (await client.send_transaction(failing, UNCHECKED)).value
    status = (await client.get_signature_statuses([signature])).value[0]
    assert status is not None
    assert "Custom(6005)" in str(status.err)
    assert chain.lamports(chain.wallet) == 10 * SOL - 5_000


async def test_a_second_send_and_an_old_blockhash_are_refused_as_a_node_does(node: Node) -> None:
    chain = node.chain
    once, old = chain.sign(chain.pay(STRANGER, SOL)), chain.sign(chain.pay(STRANGER, 2 * SOL))
    options = {"encoding": "base64", "preflightCommitment": "processed"}
    await node.ok("sendTransaction", in_base64(once), options)
    assert await node.refused("sendTransaction", in_base64(once), options) == (
        -32002,
        "Transaction simulation failed: This transaction has already been processed",
    )
    assert await node.ok("sendTransaction", in_base64(once), {**options, "skipPreflight": True})
    await node.ok("localnet_advanceSlots", MAX_AGE + 1)
    assert await node.refused("sendTransaction", in_base64(old), options) == (
        -32002,
        "Transaction simulation failed: Blockhash not found",
    )
    assert chain.lamports(STRANGER) == SOL
    valid = await node.ok("isBlockhashValid", str(once.message.recent_blockhash), {"commitment": "processed"})
    assert valid["value"] is False


async def test_preflight_looks_at_the_finalized_chain_unless_told_otherwise(node: Node) -> None:
    """The trap of real nodes: a blockhash of the newest block is unknown to the finalized one."""
    await node.ok("localnet_advanceSlots", 1)
    signed = in_base64(node.chain.sign(node.chain.pay(STRANGER, SOL)))
    assert (await node.refused("sendTransaction", signed, {"encoding": "base64"}))[1].endswith(
        "Blockhash not found"
    )


async def test_statuses_older_than_the_window_need_a_search_of_history(node: Node) -> None:
    signature = str(node.chain.land(node.chain.pay(STRANGER, SOL)).signature)
    await node.ok("localnet_advanceSlots", MAX_AGE + 1)
    assert (await node.ok("getSignatureStatuses", [signature]))["value"] == [None]
    found = await node.ok("getSignatureStatuses", [signature], {"searchTransactionHistory": True})
    assert found["value"][0]["confirmationStatus"] == "finalized"


async def test_bad_calls_are_answered_with_the_nodes_codes(node: Node) -> None:
    for method, params, code, message in BAD_CALLS:
        found = await node.refused(method, *params)
        assert (found[0], found[1][: len(message)]) == (code, message)


async def test_a_forged_signature_is_refused(node: Node) -> None:
    signed = node.chain.sign(node.chain.pay(STRANGER, SOL))
    forged = VersionedTransaction.populate(signed.message, [Keypair().sign_message(b"x")])
    options = {"encoding": "base64", "preflightCommitment": "processed"}
    assert (await node.refused("sendTransaction", in_base64(forged), options))[0] == -32003


async def test_batches_and_broken_requests(node: Node) -> None:
    url = node.handle.rpc_url
    batch = [{"jsonrpc": "2.0", "id": n, "method": m} for n, m in enumerate(("getHealth", "getVersion", "x"))]
    answers = (await node.http.post(url, json=batch)).json()
    assert [answer["id"] for answer in answers] == [0, 1, 2]
    assert answers[0]["result"] == "ok"
    assert answers[2]["error"]["code"] == -32601
    assert (await node.http.post(url, content=b"{nonsense")).json()["error"]["code"] == -32700
    assert (await node.http.post(url, json=[])).json()["error"]["code"] == -32600
    assert (await node.http.post(url, json={"id": 1})).json()["error"]["code"] == -32600
    assert (await node.http.get(url)).status_code == 405
    assert (await node.http.post(url, content=b" " * 60_000)).status_code == 413


async def next_of(client: SolanaWsClient, kind: type) -> Any:  # noqa: ANN401 - solders' notification of that kind
    async with asyncio.timeout(TIMEOUT_S):
        while not isinstance(notification := await client.recv(), kind):
            pass
    return notification


async def test_processed_subscriptions_hear_at_once(node: Node) -> None:
    """solana-py's WebSocket client, on the next port as on the RPC port itself."""
    chain, pool = node.chain, node.handle.world.pools[0]
    for url in (node.handle.ws_url, node.handle.rpc_url.replace("http", "ws")):
        async with SolanaWsClient(url) as client:
            await client.account_subscribe(pubkey=pool.vault_a, commitment=Processed)
            await client.program_subscribe(
                program_id=cpmm.PROGRAM_ID, commitment=Processed, filters=[cpmm.POOL_LENGTH]
            )
            await client.logs_subscribe(commitment=Processed)
            signed = chain.sign(chain.swap(pool, SOL // 100, a_to_b=True), chain.unique())
            await client.signature_subscribe(signature=signed.signatures[0], commitment=Processed)
            await node.client.send_transaction(signed, AT_ONCE)
            seen = [await client.recv() for _ in range(4)]
            kinds = {type(one) for one in seen}
            assert kinds == {
                AccountNotification,
                ProgramNotification,
                LogsNotification,
                SignatureNotification,
            }


async def test_confirmed_and_finalized_subscriptions_hear_when_it_is_so(node: Node) -> None:
    chain = node.chain
    async with SolanaWsClient(node.handle.ws_url) as client:
        await client.account_subscribe(pubkey=STRANGER, commitment=Confirmed)
        await client.account_subscribe(pubkey=STRANGER, commitment=Finalized)
        await client.slot_subscribe()
        landed = chain.land(chain.pay(STRANGER, SOL))
        chain.ledger.advance()
        chain.land(chain.pay(STRANGER, SOL), chain.unique())
        confirmed = await next_of(client, AccountNotification)
        assert (confirmed.result.context.slot, confirmed.result.value.lamports) == (landed.slot, SOL)
        subscription = await client.signature_subscribe(signature=landed.signature, commitment=Confirmed)
        known = await next_of(client, SignatureNotification)
        assert known.subscription == subscription.subscription_id
        for _ in range(31):
            chain.ledger.advance()
        seen = [await next_of(client, AccountNotification) for _ in range(2)]
        assert [one.result.value.lamports for one in seen] == [2 * SOL, SOL]
        chain.ledger.advance()
        slot = await next_of(client, SlotNotification)
        assert slot.result.parent == slot.result.slot - 1


async def test_unsubscribed_is_silent(node: Node) -> None:
    async with SolanaWsClient(node.handle.ws_url) as client:
        subscription = await client.account_subscribe(pubkey=STRANGER, commitment=Processed)
        await client.slot_subscribe()
        await client.unsubscribe(subscription)
        node.chain.land(node.chain.pay(STRANGER, SOL))
        node.handle.ledger.advance()
        assert isinstance(await client.recv(), SlotNotification)


async def test_a_rolled_back_fork_is_told_to_processed_readers(node: Node) -> None:
    chain = node.chain
    await node.ok("localnet_advanceSlots", 1)
    async with SolanaWsClient(node.handle.ws_url) as client:
        await client.account_subscribe(pubkey=STRANGER, commitment=Processed)
        signature = str(chain.land(chain.pay(STRANGER, SOL)).signature)
        await next_of(client, AccountNotification)
        await node.ok("localnet_rollBack", 1)
        gone = await next_of(client, AccountNotification)
        assert gone.result.value.lamports == 0
        statuses = await node.ok("getSignatureStatuses", [signature], {"searchTransactionHistory": True})
        assert statuses["value"] == [None]


async def test_faults_come_in_order_and_once(node: Node) -> None:
    """Each ordered fault hits one call of its method; what it does to the transaction is exact."""
    chain = node.chain
    options = {"encoding": "base64", "skipPreflight": True}

    def payment() -> str:
        return in_base64(chain.sign(chain.pay(STRANGER, SOL), chain.unique()))

    async def order(kind: str, **more: object) -> None:
        await node.ok("localnet_failNextCalls", {"kind": kind, **more})

    await order("drop")
    assert await node.ok("sendTransaction", payment(), options)
    assert chain.lamports(STRANGER) == 0
    await order("delay", slots=2)
    await node.ok("sendTransaction", payment(), options)
    await node.ok("localnet_advanceSlots", 1)
    assert chain.lamports(STRANGER) == 0
    await node.ok("localnet_advanceSlots", 1)
    assert chain.lamports(STRANGER) == SOL
    await order("lose_answer")
    with pytest.raises(httpx2.TransportError):
        await node.raw("sendTransaction", payment(), options)
    assert chain.lamports(STRANGER) == 2 * SOL
    await order("error_answer")
    assert await node.refused("sendTransaction", payment(), options) == (-32603, "Internal error")
    assert chain.lamports(STRANGER) == 3 * SOL
    await order("unhealthy", method="getSlot")
    assert await node.refused("getSlot") == (-32005, "Node is behind by 42 slots")
    assert await node.ok("getSlot")
    await order("late_answer", ms=50)
    assert await node.ok("sendTransaction", payment(), options)
    assert chain.lamports(STRANGER) == 4 * SOL


async def test_paused_swaps_are_not_approved(node: Node) -> None:
    assert await node.ok("localnet_setSwapsPaused", True)
    executed = node.chain.land(node.chain.swap(node.handle.world.pools[0], SOL // 100, a_to_b=True))
    assert executed.outcome.error == {"InstructionError": [0, {"Custom": 6000}]}


async def test_simulation_answers_accounts_and_a_fresh_blockhash(node: Node) -> None:
    chain = node.chain
    message = MessageV0.try_compile(
        chain.wallet, [chain.pay(STRANGER, SOL)], [], node.handle.ledger.blocks.genesis
    )
    await node.ok("localnet_advanceSlots", MAX_AGE + 1)
    unsigned = in_base64(VersionedTransaction.populate(message, [Keypair().sign_message(b"x")]))
    options = {
        "encoding": "base64",
        "commitment": "processed",
        "replaceRecentBlockhash": True,
        "innerInstructions": True,
        "accounts": {"encoding": "base64", "addresses": [str(STRANGER)]},
    }
    value = (await node.ok("simulateTransaction", unsigned, options))["value"]
    assert value["err"] is None
    assert value["accounts"][0]["lamports"] == SOL
    assert value["replacementBlockhash"]["blockhash"] == str(node.handle.ledger.blocks.open.blockhash)
    refused = await node.refused(
        "simulateTransaction", unsigned, {"encoding": "base64", "sigVerify": True, "commitment": "processed"}
    )
    assert refused[0] == -32003


async def test_a_port_in_use_is_said_and_nothing_starts() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(SetupError, match=f"port {port} on 127.0.0.1 cannot be used"):
            async with serve(LocalnetConfig(port=port)):
                pass


async def test_a_bad_market_is_said_and_nothing_starts(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="no such file"):
        async with serve(LocalnetConfig(port=0, market=tmp_path / "none")):
            pass


async def test_slots_and_the_crowd_go_by_themselves() -> None:
    config = LocalnetConfig(port=0, slot_ms=10, crowd_tps=200)
    async with serve(config) as handle, SolanaWsClient(handle.ws_url) as client:
        await client.account_subscribe(pubkey=handle.world.pools[0].vault_a, commitment=Finalized)
        await next_of(client, AccountNotification)
        totals = handle.totals()
    assert totals["swaps"] > 0
    assert totals["slots"] >= 32
    assert totals["transactions"] == totals["swaps"] + totals["price_updates"] + 8


async def test_a_clock_of_ones_own(node: Node) -> None:
    """Block times follow the clock that was handed in."""
    async with serve(LocalnetConfig(port=0, slot_ms=None, crowd_tps=0), clock=lambda: NOW_US) as handle:
        assert handle.ledger.blocks.open.unix_time == NOW_US // 1_000_000
    assert node.handle.ledger.blocks.open.unix_time > NOW_US // 1_000_000
