"""The pool directory keeps what never changes and refuses pools that are not what they seem."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from struct import pack

import pytest
from cpmm_pools import MINT_A, MINT_B, NOBODY, a_pool, serve_pool
from scripted_node import ScriptedNode, scripted_node
from solders.system_program import ID as SYSTEM_PROGRAM
from solders.token import ID as TOKEN_PROGRAM

from adapters.solana.accounts import AccountReader
from adapters.solana.jsonrpc import JsonRpc
from adapters.solana.pool_directory import PoolDirectory
from adapters.solana.programs import raydium_cpmm, token
from domain.chain import USDC, WSOL, Address
from domain.errors import DecodeError, InvalidInput

POOL, STATE = a_pool(0)


@pytest.fixture
async def node() -> AsyncIterator[ScriptedNode]:
    async with scripted_node() as node:
        serve_pool(node, POOL, STATE, 1_000_000, 150_000)
        yield node


@pytest.fixture
async def directory(node: ScriptedNode) -> AsyncIterator[PoolDirectory]:
    rpc = JsonRpc(node.http_url)
    yield PoolDirectory(AccountReader(rpc))
    await rpc.aclose()


async def test_a_pool_is_read_once(node: ScriptedNode, directory: PoolDirectory) -> None:
    assert await directory.pool(POOL) == STATE
    asked = len(node.calls)
    assert await directory.vaults(POOL) == (str(STATE.vault_a), str(STATE.vault_b))
    assert len(node.calls) == asked


async def test_a_bad_pool_spoils_no_other(directory: PoolDirectory) -> None:
    missing = a_pool(9)[0]
    found = await directory.pools([missing, POOL])
    assert isinstance(found[missing], DecodeError)
    assert found[POOL] == STATE
    with pytest.raises(DecodeError, match="there is no such account"):
        await directory.vaults(missing)


def _with_fee(data: bytes) -> bytes:
    """A Token-2022 mint whose transfers cost 1 %."""
    body = pack("<72xQQHQQH", 0, 10, 0, 700, 10, 100)
    return data + bytes(165 - len(data)) + b"\x01" + pack("<HH", 1, len(body)) + body


def _foreign_pool(node: ScriptedNode) -> None:
    node.put(POOL, SYSTEM_PROGRAM, raydium_cpmm.encode_pool(STATE))


def _cut_pool(node: ScriptedNode) -> None:
    node.put(POOL, raydium_cpmm.PROGRAM_ID, raydium_cpmm.encode_pool(STATE)[:-1])


def _stolen_vault(node: ScriptedNode) -> None:
    node.put(STATE.vault_a, TOKEN_PROGRAM, token.encode_token_account(MINT_A, NOBODY, 1))


def _no_vault(node: ScriptedNode) -> None:
    del node.accounts[str(STATE.vault_b)]


def _no_config(node: ScriptedNode) -> None:
    node.put(STATE.amm_config, raydium_cpmm.PROGRAM_ID, b"x" * 236)


def _fee_mint(node: ScriptedNode) -> None:
    node.put(MINT_B, token.TOKEN_2022_PROGRAM, _with_fee(token.encode_mint(None, 1, 6)))


@pytest.mark.parametrize(
    ("break_it", "sentence"),
    [
        (_foreign_pool, "owned by 1111"),
        (_cut_pool, "found 636 bytes"),
        (_stolen_vault, "do not trade there"),
        (_no_vault, "does not exist"),
        (_no_config, "fee config"),
        (_fee_mint, "charges a fee on every transfer"),
    ],
)
async def test_a_pool_that_is_not_what_it_seems(
    node: ScriptedNode, directory: PoolDirectory, break_it: Callable[[ScriptedNode], None], sentence: str
) -> None:
    break_it(node)
    with pytest.raises(DecodeError, match=sentence):
        await directory.pool(POOL)


async def test_a_name_that_is_no_address(directory: PoolDirectory) -> None:
    with pytest.raises(InvalidInput, match="no Solana address"):
        await directory.pool(Address("pool"))


async def test_pools_of_a_pair_whichever_mint_comes_first(
    node: ScriptedNode, directory: PoolDirectory
) -> None:
    other, _ = a_pool(1)
    raw = {"account": node.accounts[POOL]}
    node.answers["getProgramAccounts"] = lambda _: [{"pubkey": other, **raw}, {"pubkey": POOL, **raw}]
    assert await directory.of_pair(USDC, WSOL) == sorted([POOL, other])
    _, (program, config) = node.calls[-1]
    assert program == str(raydium_cpmm.PROGRAM_ID)
    assert config["filters"] == [
        {"dataSize": 637},
        {"memcmp": {"offset": 168, "bytes": str(MINT_A), "encoding": "base58"}},
        {"memcmp": {"offset": 200, "bytes": str(MINT_B), "encoding": "base58"}},
    ]
