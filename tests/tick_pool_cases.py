"""What the tests of both programs with tick arrays share: a chain and requests."""

from __future__ import annotations

from typing import Any

from amm_checks.cases import accounts_of, address_of
from solders.pubkey import Pubkey

from adapters.solana.accounts import Account
from adapters.solana.pool_program import PoolProgram, SwapRequest

Chain = dict[Pubkey, Account | None]


def read_around(program: PoolProgram, vector: dict[str, Any]) -> tuple[Chain, int]:
    """Read what the program names until it names nothing more; also how many readings that took."""
    chain, known, readings = accounts_of(vector), Chain(), 0
    while missing := program.around(address_of(vector), known):
        known |= {key: chain.get(key) for key in missing}
        readings += 1
    return known, readings


def request_of(vector: dict[str, Any], wanted: dict[str, Any], accounts: Chain) -> SwapRequest:
    """The swap an instruction of the vectors was built for."""
    a_to_b = wanted["name"].endswith("a_to_b")
    first, second = (
        ("userIn", "userOut") if "userIn" in wanted else ("userA", "userB")[:: 1 if a_to_b else -1]
    )
    return SwapRequest(
        address_of(vector),
        accounts,
        Pubkey.from_string(wanted["user"]),
        Pubkey.from_string(wanted[first]),
        Pubkey.from_string(wanted[second]),
        a_to_b,
        wanted.get("isBaseInput", True),
        int(wanted["amount"]),
        int(wanted["otherAmountThreshold"]),
    )


def changed(accounts: Chain, key: Pubkey, data: bytes) -> Chain:
    """The accounts with other bytes in one of them."""
    account = accounts[key]
    assert account
    return {**accounts, key: Account(account.lamports, account.owner, data)}
