"""Whatever JSON comes in, the local node answers JSON-RPC: a result or an error, never a crash."""

from __future__ import annotations

import asyncio
from base64 import b64encode
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from localnets import SOL, LocalChain, local_chain
from solders.pubkey import Pubkey

from adapters.localnet.base58 import b58decode, b58encode
from adapters.localnet.bundles import BlockEngine
from adapters.localnet.cheats import CheatMethods
from adapters.localnet.faults import Faults
from adapters.localnet.params import Params
from adapters.localnet.pubsub import Subscriptions
from adapters.localnet.refusals import RpcRefusal
from adapters.localnet.rpc import Rpc
from adapters.localnet.rpc_accounts import AccountMethods
from adapters.localnet.rpc_blocks import BlockMethods
from adapters.localnet.rpc_bundles import BundleMethods
from adapters.localnet.rpc_chain import ChainMethods
from adapters.localnet.rpc_cluster import ClusterMethods
from adapters.localnet.rpc_transactions import TransactionMethods

WORDS = ["processed", "base64", "jsonParsed", "all", "dataSize", "memcmp", "abc", ""]
KEYS = [
    "commitment",
    "encoding",
    "filters",
    "limit",
    "dataSlice",
    "offset",
    "length",
    "bytes",
    "mint",
    "accounts",
]


@pytest.fixture(scope="module")
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as one:
        yield one


@pytest.fixture(scope="module")
def chain() -> LocalChain:
    return local_chain()


@pytest.fixture(scope="module")
def rpc(chain: LocalChain) -> Rpc:
    faults = Faults()
    cheats = CheatMethods(chain.ledger, chain.world, chain.faucet, faults).methods()
    for cheat in ("localnet_failNextCalls", "localnet_setFaults"):
        del cheats[cheat]  # its faults are failures on purpose
    transactions = TransactionMethods(chain.ledger, chain.faucet)
    bundles = BundleMethods(chain.ledger, BlockEngine(chain.ledger))
    readers = (AccountMethods, ChainMethods, ClusterMethods, BlockMethods)
    methods = {name: method for one in readers for name, method in one(chain.ledger).methods().items()}
    methods |= transactions.methods() | bundles.methods() | cheats
    return Rpc(chain.ledger, faults, methods, {"sendTransaction": transactions.accept, **bundles.sending()})


@pytest.fixture(scope="module")
def values(chain: LocalChain) -> st.SearchStrategy[Any]:
    """JSON that looks like parameters: addresses, numbers, words, and objects of the names nodes know."""
    pool = chain.world.pools[0]
    known = [str(key) for key in (chain.wallet, pool.address, pool.vault_a, Pubkey.default())]
    signed = b64encode(bytes(chain.sign(chain.pay(pool.address, SOL)))).decode()
    leaf = (
        st.sampled_from([*known, *WORDS, signed])
        | st.integers(-(2**70), 2**70)
        | st.integers(0, 200)
        | st.booleans()
        | st.none()
        | st.text(max_size=8)
        | st.floats(allow_nan=False, allow_infinity=False)
    )
    return st.recursive(
        leaf,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4),
        max_leaves=6,
    )


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_parameters_make_a_method_crash(
    runner: asyncio.Runner, rpc: Rpc, values: st.SearchStrategy[Any], data: st.DataObject
) -> None:
    method = data.draw(st.sampled_from(sorted(rpc._methods)))
    params = data.draw(st.lists(values, max_size=3) | values)
    answer = runner.run(rpc.answer({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}))
    assert ("result" in answer) != ("error" in answer)
    msgspec.json.encode(answer)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_parameters_make_a_subscription_crash(
    chain: LocalChain, values: st.SearchStrategy[Any], data: st.DataObject
) -> None:
    subscriptions = Subscriptions(chain.ledger)
    try:
        for kind in ("account", "logs", "program", "signature", "slot", "root"):
            params = data.draw(st.lists(values, max_size=2) | values)
            try:
                subscriptions.handle(f"{kind}Subscribe", Params(params), lambda _: None)
            except RpcRefusal:
                continue
        chain.ledger.advance()
        chain.land(chain.pay(chain.world.pools[0].address, 1), chain.unique())
        chain.ledger.advance()
    finally:
        chain.ledger._listeners.remove(subscriptions)


@given(body=st.binary(max_size=60))
def test_no_bytes_make_the_door_crash(runner: asyncio.Runner, rpc: Rpc, body: bytes) -> None:
    answer = runner.run(rpc.handle(body))
    assert b'"error"' in answer or b'"result"' in answer


@given(data=st.binary(max_size=80))
def test_base58_gives_back_what_it_was_given(data: bytes) -> None:
    assert b58decode(b58encode(data)) == data
    if len(data) == 32:
        assert b58encode(data) == str(Pubkey(data))


@settings(max_examples=150, deadline=None)
@given(at=st.integers(0, 400), put=st.binary(min_size=1, max_size=6), swap=st.booleans(), cut=st.booleans())
def test_no_spoilt_transaction_makes_the_node_crash(
    runner: asyncio.Runner, rpc: Rpc, chain: LocalChain, at: int, put: bytes, swap: bool, cut: bool
) -> None:
    """Sent without preflight, simulated without signatures: refused or failed, and no money made."""
    pool = chain.world.pools[0]
    right = bytes(chain.sign(chain.swap(pool, SOL, a_to_b=True) if swap else chain.pay(pool.address, SOL)))
    spoilt = right[:at] + put + (b"" if cut else right[at + len(put) :])
    options = {"encoding": "base64", "skipPreflight": True, "commitment": "processed"}
    before = chain.lamports(chain.wallet)
    for method in ("sendTransaction", "simulateTransaction", "getFeeForMessage"):
        params = [b64encode(spoilt).decode(), options]
        answer = runner.run(rpc.answer({"id": 1, "method": method, "params": params}))
        assert ("result" in answer) != ("error" in answer)
    unspoilt = spoilt.startswith(right)  # nodes ignore what follows a transaction
    assert unspoilt or chain.lamports(chain.wallet) == before
