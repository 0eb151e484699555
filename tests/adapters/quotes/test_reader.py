"""Whole pools in one slot: what is around them grows with their price, and never beyond one call."""

from __future__ import annotations

import pytest
from scripted_node import scripted_node
from solders.pubkey import Pubkey

from adapters.quotes.clock_sysvar import CLOCK
from adapters.quotes.reader import ROUNDS, FoundPool, PoolReader, known_around
from adapters.solana.accounts import Account, AccountReader
from adapters.solana.jsonrpc import JsonRpc
from adapters.solana.pool_program import Accounts, ChainTime, PoolProgram, SwapRequest
from domain.chain import Address
from domain.errors import QuoteError
from domain.market.amm.pool import Pool

POOL = Pubkey(bytes([1]) * 32)
OWNER = Pubkey(bytes([2]) * 32)
ARRAYS = 40


def _arrays(first: int) -> tuple[Pubkey, ...]:
    return tuple(Pubkey(number.to_bytes(32, "big")) for number in range(first, first + ARRAYS))


def _around(pool: Pubkey, accounts: Accounts) -> tuple[Pubkey, ...]:
    """Forty arrays from where the pool's price stands; for ever more where it stands at 200."""
    account = accounts[pool]
    assert account is not None
    first = len(accounts) * 100 if account.data[0] == 200 else account.data[0] * ARRAYS + 1_000
    return tuple(key for key in _arrays(first) if key not in accounts)


def _no_quote(_pool: Pubkey, _accounts: Accounts, _time: ChainTime) -> Pool:
    raise QuoteError("it is only read")


def _no_swap(_request: SwapRequest) -> object:
    raise QuoteError("it is only read")


PROGRAM = PoolProgram("moving", OWNER, (1,), b"", (0, 0), _around, _no_quote, _no_swap)  # type: ignore[arg-type] # never asked for


@pytest.mark.parametrize("way", [(0, 1, 2, 3, 4, 5), (5, 0, 5, 0)], ids=["onward", "to and fro"])
async def test_a_pool_whose_price_wanders_is_read_for_ever(way: tuple[int, ...]) -> None:
    """What it left behind goes when a call has no more room; what it needs now is always there."""
    async with scripted_node() as node:
        node.put(CLOCK, OWNER, bytes(40))
        rpc = JsonRpc(node.http_url)
        reader = PoolReader(AccountReader(rpc))
        found = known_around(Address(str(POOL)), PROGRAM, Account(1, OWNER, bytes([way[0]])))
        for stands in way:
            node.put(POOL, OWNER, bytes([stands]))
            (reading,) = await reader.read_batch([found])
            found = reading.found
            assert set(_arrays(stands * ARRAYS + 1_000)) <= reading.accounts.keys()
            assert len(found.keys) < 100
        await rpc.aclose()


async def test_a_pool_that_never_has_enough_is_left_out() -> None:
    async with scripted_node() as node:
        node.put(CLOCK, OWNER, bytes(40))
        node.put(POOL, OWNER, bytes([200]))
        rpc = JsonRpc(node.http_url)
        found = FoundPool(Address(str(POOL)), PROGRAM, (POOL,))
        assert await PoolReader(AccountReader(rpc)).read_batch([found]) == []
        assert len(node.calls) == ROUNDS
        await rpc.aclose()
