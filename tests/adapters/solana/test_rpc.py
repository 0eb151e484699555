"""The Chain port over JSON-RPC, against the answers a healthy node never gives."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scripted_node import Raw, Refusal, ScriptedNode, scripted_node
from solders.hash import Hash
from solders.keypair import Keypair
from solders.message import Message
from solders.pubkey import Pubkey
from solders.system_program import ID as SYSTEM_PROGRAM
from solders.system_program import TransferParams, transfer
from solders.token import ID as TOKEN_PROGRAM
from solders.transaction import VersionedTransaction

from adapters.solana.accounts import AccountReader
from adapters.solana.jsonrpc import JsonRpc
from adapters.solana.programs.token import encode_token_account
from adapters.solana.pubsub import PubSub
from adapters.solana.records import record_of, status_of
from adapters.solana.rpc import RpcChain
from commands.ports import BalanceChange, ChainPoint
from domain.chain import NATIVE, Address, Commitment, Mint, Signature, Slot
from domain.errors import ChainError, ChainUnavailable, DecodeError, InvalidInput, SetupError

SIGNATURE = Signature("5" * 88)
OTHER = Address("9" * 43)


@pytest.fixture
async def node() -> AsyncIterator[ScriptedNode]:
    async with scripted_node() as node:
        yield node


@pytest.fixture
async def chain(node: ScriptedNode) -> AsyncIterator[RpcChain]:
    rpc = JsonRpc(node.http_url, timeout_s=2.0)
    async with PubSub(node.ws_url, clock=lambda: 0) as pubsub:
        yield RpcChain(rpc, pubsub)
    await rpc.aclose()


def signed_transfer() -> tuple[Signature, bytes]:
    payer = Keypair.from_seed(bytes(range(32)))
    move = transfer(TransferParams(from_pubkey=payer.pubkey(), to_pubkey=Pubkey(bytes(32)), lamports=1))
    message = Message.new_with_blockhash([move], payer.pubkey(), Hash.default())
    transaction = VersionedTransaction(message, [payer])
    return Signature(str(transaction.signatures[0])), bytes(transaction)


async def test_blockhash_and_tip(node: ScriptedNode, chain: RpcChain) -> None:
    node.answers["getLatestBlockhash"] = lambda _: {
        "context": {"slot": 5},
        "value": {"blockhash": "h", "lastValidBlockHeight": 155},
    }
    node.answers["getEpochInfo"] = lambda _: {"absoluteSlot": 205, "blockHeight": 190, "epoch": 0}
    recent = await chain.latest_blockhash()
    assert (recent.blockhash, recent.last_valid_block_height) == ("h", 155)
    assert await chain.tip(Commitment.FINALIZED) == ChainPoint(Slot(205), 190)  # type: ignore[arg-type] # a plain height
    assert node.calls[-1] == ("getEpochInfo", [{"commitment": "finalized"}])


async def test_send_gives_the_signature_known_before(node: ScriptedNode, chain: RpcChain) -> None:
    signature, transaction = signed_transfer()
    node.answers["sendTransaction"] = lambda _: signature
    assert await chain.send(transaction) == signature
    _, (_, config) = node.calls[-1]
    assert config == {"encoding": "base64", "skipPreflight": False, "preflightCommitment": "processed"}


async def test_send_refuses_what_is_no_transaction(chain: RpcChain) -> None:
    with pytest.raises(InvalidInput, match="no signed transaction"):
        await chain.send(b"\x00" * 40)


async def test_a_send_answered_with_another_signature_is_unknown(node: ScriptedNode, chain: RpcChain) -> None:
    node.answers["sendTransaction"] = lambda _: "1" * 64
    with pytest.raises(ChainUnavailable, match="outcome is unknown"):
        await chain.send(signed_transfer()[1])


async def test_a_refusal_carries_code_and_cause(node: ScriptedNode, chain: RpcChain) -> None:
    node.answers["sendTransaction"] = lambda _: Refusal(
        {
            "code": -32002,
            "message": "Transaction simulation failed",
            "data": {"err": {"InstructionError": [2, {"Custom": 6005}]}, "logs": []},
        }
    )
    with pytest.raises(ChainError, match=r"PREFLIGHT_FAILURE.*instruction 2: program error 6005") as caught:
        await chain.send(signed_transfer()[1])
    assert caught.value.code == -32002
    assert not isinstance(caught.value, ChainUnavailable)


@pytest.mark.parametrize("error", [{"code": -32601, "message": "x"}, {}, "no", 5, {"code": "c"}])
async def test_any_error_object_is_a_refusal(node: ScriptedNode, chain: RpcChain, error: object) -> None:
    node.answers["getEpochInfo"] = lambda _: Refusal(error)
    with pytest.raises(ChainError, match="getEpochInfo was refused"):
        await chain.tip(Commitment.FINALIZED)


@pytest.mark.parametrize("status", [429, 503])
async def test_a_busy_node_gave_no_answer(node: ScriptedNode, chain: RpcChain, status: int) -> None:
    node.answers["getEpochInfo"] = lambda _: Raw(b"busy", status)
    with pytest.raises(ChainUnavailable, match=f"HTTP {status}"):
        await chain.tip(Commitment.FINALIZED)


async def test_a_forbidden_call_is_a_refusal(node: ScriptedNode, chain: RpcChain) -> None:
    node.answers["getEpochInfo"] = lambda _: Raw(b"who are you", 403)
    with pytest.raises(ChainError, match="API key") as caught:
        await chain.tip(Commitment.FINALIZED)
    assert not isinstance(caught.value, ChainUnavailable)


GARBAGE: list[Any] = [
    Raw(b""),
    Raw(b"<html>"),
    Raw(b"[]"),
    Raw(b'{"jsonrpc":"2.0"}'),
    Raw(b"\xff"),
    Raw(b"[" * 100_000),
    None,
    5,
    "x",
    [],
    {},
    {"context": {}, "value": None},
    {"context": {"slot": 1}, "value": {}},
    {"context": {"slot": 1}, "value": [{}, {}]},
    {"context": {"slot": 1}, "value": [5]},
]


@pytest.mark.parametrize("garbage", GARBAGE, ids=lambda garbage: repr(garbage)[:40])
async def test_an_unreadable_answer_is_none(node: ScriptedNode, chain: RpcChain, garbage: object) -> None:
    for method in ("getLatestBlockhash", "getEpochInfo", "getSignatureStatuses", "getMultipleAccounts"):
        node.answers[method] = lambda _: garbage
    node.answers["getTransaction"] = lambda _: {"meta": garbage} if not isinstance(garbage, Raw) else garbage
    for ask in (
        chain.latest_blockhash(),
        chain.tip(Commitment.CONFIRMED),
        chain.status(SIGNATURE),
        chain.balances(Address(str(Pubkey(bytes(32)))), []),
        chain.transaction(SIGNATURE, Commitment.FINALIZED),
    ):
        with pytest.raises(ChainUnavailable):
            await ask


async def test_a_silent_node_is_given_up_in_time(node: ScriptedNode) -> None:
    node.answers["getEpochInfo"] = lambda _: asyncio.sleep(60)
    rpc = JsonRpc(node.http_url, timeout_s=0.1)
    async with asyncio.timeout(5):
        with pytest.raises(ChainUnavailable, match="outcome unknown"):
            await rpc.call("getEpochInfo")
    await rpc.aclose()


async def test_a_node_that_is_not_there_and_its_key_stays_secret() -> None:
    rpc = JsonRpc("http://127.0.0.1:1/v1?api-key=hunter2")
    with pytest.raises(ChainUnavailable, match=r"http://127.0.0.1:1 got no answer") as caught:
        await rpc.call("getSlot")
    assert "hunter2" not in str(caught.value) + repr(rpc)
    await rpc.aclose()


@pytest.mark.parametrize("url", ["", "localhost:8899", "ftp://x", "http://", "http://[::1", "http://x:99999"])
def test_a_url_that_names_no_node(url: str) -> None:
    with pytest.raises(SetupError, match="correct the setting"):
        JsonRpc(url)


async def test_status_known_unknown_and_failed(node: ScriptedNode, chain: RpcChain) -> None:
    value: list[Any] = [None]
    node.answers["getSignatureStatuses"] = lambda _: {"context": {"slot": 9}, "value": value}
    unknown = await chain.status(SIGNATURE, search_history=True, min_slot=Slot(9))
    assert (unknown.asked_slot, unknown.slot, unknown.commitment, unknown.error) == (9, None, None, None)
    assert node.calls[-1][1] == [[SIGNATURE], {"searchTransactionHistory": True}]
    value[0] = {"slot": 8, "confirmations": 1, "err": None, "confirmationStatus": "confirmed"}
    assert (await chain.status(SIGNATURE)).commitment is Commitment.CONFIRMED
    value[0] = {"slot": 8, "confirmations": None, "err": "AccountInUse", "confirmationStatus": None}
    failed = await chain.status(SIGNATURE)
    assert (failed.commitment, failed.error) == (Commitment.FINALIZED, "AccountInUse")


async def test_a_node_behind_is_no_proof(node: ScriptedNode, chain: RpcChain) -> None:
    node.answers["getSignatureStatuses"] = lambda _: {"context": {"slot": 9}, "value": [None]}
    with pytest.raises(ChainError, match="the node is behind") as caught:
        await chain.status(SIGNATURE, min_slot=Slot(10))
    assert caught.value.code == -32016


async def test_balances_in_one_slot(node: ScriptedNode, chain: RpcChain) -> None:
    wallet, tokens, missing, prefunded, foreign = (Pubkey(bytes([n]) * 32) for n in range(1, 6))
    node.put(wallet, SYSTEM_PROGRAM, b"", lamports=7)
    node.put(tokens, TOKEN_PROGRAM, encode_token_account(foreign, wallet, 42))
    node.put(prefunded, SYSTEM_PROGRAM, b"", lamports=3)
    node.put(foreign, foreign, b"abc")
    ask = [Address(str(key)) for key in (tokens, missing, prefunded)]
    assert await chain.balances(Address(str(wallet)), ask) == (100, [7, 42, 0, 0])
    assert node.calls[-1][1][1]["commitment"] == "finalized"
    with pytest.raises(DecodeError, match="no token account"):
        await chain.balances(Address(str(wallet)), [Address(str(foreign))])


async def test_account_reads_are_bounded(node: ScriptedNode) -> None:
    rpc = JsonRpc(node.http_url)
    reader = AccountReader(rpc)
    with pytest.raises(InvalidInput, match="at most 100"):
        await reader.read([Address(str(Pubkey(bytes(32))))] * 101)
    with pytest.raises(InvalidInput, match="no Solana address"):
        await reader.read([Address("0OIl")])
    await rpc.aclose()


# --- records ---


def transaction(**meta: object) -> dict[str, Any]:
    return {
        "slot": 77,
        "blockTime": None,
        "transaction": {"message": {"accountKeys": ["payer", "a"]}, "signatures": [SIGNATURE]},
        "meta": {
            "err": None,
            "fee": 5_000,
            "preBalances": [10_000, 0, 5],
            "postBalances": [4_000, 1_000, 5],
            "loadedAddresses": {"writable": ["b"], "readonly": []},
            **meta,
        },
    }


def token_entry(index: int, amount: int, mint: str = "m") -> dict[str, Any]:
    return {"accountIndex": index, "mint": mint, "owner": "o", "uiTokenAmount": {"amount": str(amount)}}


def test_a_record_has_every_change_and_no_zero() -> None:
    """Lamports with the payer's fee; tokens of accounts that were opened, moved and closed, by table too."""
    record = record_of(
        SIGNATURE,
        transaction(
            preTokenBalances=[token_entry(1, 5), token_entry(2, 9, "n"), token_entry(2, 4)],
            postTokenBalances=[token_entry(2, 12), token_entry(1, 5), token_entry(0, 1)],
        ),
    )
    assert (record.slot, record.fee_lamports, record.error) == (77, 5_000, None)
    assert record.changes == (
        BalanceChange(Address("payer"), Address("payer"), NATIVE, -6_000),
        BalanceChange(Address("a"), Address("a"), NATIVE, 1_000),
        BalanceChange(Address("payer"), Address("o"), Mint("m"), 1),
        BalanceChange(Address("b"), Address("o"), Mint("m"), 8),
        BalanceChange(Address("b"), Address("o"), Mint("n"), -9),
    )


def test_a_failed_transaction_has_its_fee_and_its_error() -> None:
    record = record_of(
        SIGNATURE,
        transaction(
            err={"InstructionError": [1, "InvalidArgument"]},
            preBalances=[9_000, 0, 0],
            postBalances=[4_000, 0, 0],
        ),
    )
    assert record.error == "instruction 1: InvalidArgument"
    assert [change.change for change in record.changes] == [-5_000]


@pytest.mark.parametrize(
    "broken",
    [
        transaction(preBalances=[1]),
        transaction(preTokenBalances=[{}]),
        transaction(preTokenBalances=[token_entry(9, 1)]),
        transaction(fee="x"),
        {"slot": 1, "meta": None, "transaction": {}},
        [],
    ],
)
def test_a_broken_record_is_no_answer(broken: object) -> None:
    with pytest.raises(ChainUnavailable, match="getTransaction"):
        record_of(SIGNATURE, broken)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "slot",
                    "meta",
                    "err",
                    "fee",
                    "transaction",
                    "message",
                    "accountKeys",
                    "preBalances",
                    "value",
                ]
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=12,
)


@settings(deadline=None)
@given(JSON)
def test_no_answer_escapes_the_error_tree(answer: object) -> None:
    for read in (lambda: record_of(SIGNATURE, answer), lambda: status_of(Slot(1), answer)):
        try:
            read()
        except ChainUnavailable:
            continue
