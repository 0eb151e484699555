"""What subscribers are told of an account, and that none can ask for something that stops the chain."""

from __future__ import annotations

from base64 import b64decode
from typing import Any

import msgspec
import pytest
from localnets import SOL, LocalChain, local_chain
from pyarrow import Codec  # type: ignore[import-untyped] # pyarrow ships no types

from adapters.localnet.base58 import b58decode
from adapters.localnet.encoding import ENCODINGS
from adapters.localnet.params import Params
from adapters.localnet.pubsub import Subscriptions
from adapters.localnet.refusals import RpcRefusal
from adapters.solana.programs import raydium_cpmm as cpmm

TOO_LARGE = "error: data too large for bs58 encoding"


@pytest.fixture
def chain() -> LocalChain:
    return local_chain()


def told(chain: LocalChain, kind: str, key: object, **config: object) -> dict[str, Any]:
    """The account of the first notification after a swap, for a subscription with `config`."""
    heard: list[bytes] = []
    subscriptions = Subscriptions(chain.ledger)
    subscriptions.handle(
        f"{kind}Subscribe", Params([str(key), {"commitment": "processed", **config}]), heard.append
    )
    chain.land(chain.swap(chain.world.pools[0], SOL, a_to_b=True), chain.unique())
    value: dict[str, Any] = msgspec.json.decode(heard[0])["params"]["result"]["value"]
    account: dict[str, Any] = value["account"] if kind == "program" else value
    return account


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("kind", ["account", "program"])
def test_every_encoding_is_served(chain: LocalChain, kind: str, encoding: str) -> None:
    pool = chain.world.pools[0].address
    key = pool if kind == "account" else cpmm.PROGRAM_ID
    filters = [{"dataSize": cpmm.POOL_LENGTH}] if kind == "program" else []
    found = told(chain, kind, key, encoding=encoding, filters=filters)["data"]
    account = chain.ledger.account(pool)
    assert account is not None
    if encoding == "base64+zstd":
        text, name = found
        whole = Codec("zstd").decompress(b64decode(text), len(account.data), asbytes=True)
        assert (whole, name) == (account.data, encoding)
    elif encoding in ("base64", "jsonParsed"):  # nobody parses a pool
        assert (b64decode(found[0]), found[1]) == (account.data, "base64")
    else:
        assert found == (TOO_LARGE if encoding == "binary" else [TOO_LARGE, "base58"])


def test_a_slice_fits_base58_where_the_whole_does_not(chain: LocalChain) -> None:
    pool = chain.world.pools[0].address
    found = told(chain, "account", pool, encoding="base58", dataSlice={"offset": 8, "length": 32})["data"]
    account = chain.ledger.account(pool)
    assert account is not None
    assert (b58decode(found[0]), found[1]) == (account.data[8:40], "base58")


@pytest.mark.parametrize(
    "config",
    [
        {"encoding": "hex"},
        {"encoding": 1},
        {"dataSlice": {"offset": -8, "length": 8}},
        {"dataSlice": {"offset": 0}},
        {"filters": [{"dataSize": -1}]},
        {"filters": [{"dataSize": 1}] * 5},
        {"filters": [{"memcmp": {"offset": 0, "bytes": "A" * 200, "encoding": "base64"}}]},
        {"commitment": "certain"},
    ],
    ids=str,
)
@pytest.mark.parametrize("kind", ["account", "program"])
def test_what_cannot_be_served_is_refused_when_it_is_asked_for(
    chain: LocalChain, kind: str, config: dict[str, object]
) -> None:
    subscriptions = Subscriptions(chain.ledger)
    with pytest.raises(RpcRefusal) as refused:
        subscriptions.handle(f"{kind}Subscribe", Params([str(cpmm.PROGRAM_ID), config]), lambda _: None)
    assert refused.value.code == -32602
