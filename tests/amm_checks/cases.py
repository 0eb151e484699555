"""What the checks of all swap protocols share: a vector's accounts as the chain would give them."""

from __future__ import annotations

from typing import Any

from solders.pubkey import Pubkey
from vector_accounts import account_bytes

from adapters.solana.accounts import Account
from adapters.solana.pool_program import Accounts, ChainTime, PoolProgram
from domain.errors import QuoteError
from domain.market.amm.pool import Pool, Quote


def accounts_of(pool: dict[str, Any]) -> dict[Pubkey, Account | None]:
    """Every raw account of a vector pool by its address; lists of accounts are taken apart."""
    raws: list[dict[str, Any]] = []
    for raw in pool["accounts"].values():
        raws += raw if isinstance(raw, list) else [raw]
    return {Pubkey.from_string(raw["pubkey"]): _account(raw) for raw in raws if raw}


def address_of(pool: dict[str, Any], name: str = "pool") -> Pubkey:
    """The address of one named account."""
    return Pubkey.from_string(pool["accounts"][name]["pubkey"])


def time_of(pool: dict[str, Any]) -> ChainTime:
    """The clock the vector's quotes were made with; far ahead where they do not depend on it."""
    return ChainTime(int(pool.get("timestamp", 2**40)), int(pool.get("epoch", 2**40)))


def quotable(program: PoolProgram, pool: dict[str, Any], accounts: Accounts | None = None) -> Pool:
    """The vector's pool through the program's own contract."""
    return program.quotable(address_of(pool), accounts or accounts_of(pool), time_of(pool))


def quoted(pool: Pool, case: dict[str, Any], *, a_to_b: bool) -> Quote | None:
    """Our answer to a case; None where we refuse."""
    quote = pool.quote_exact_in if case["mode"] == "exact_in" else pool.quote_exact_out
    try:
        return quote(int(case["amount"]), a_to_b=a_to_b)
    except QuoteError:
        return None


def check_run(case: dict[str, Any], quote: Quote) -> None:
    """Hold a quote to what the deployed program paid when it carried the case out.

    A run that failed proves nothing here: some were made with binaries older than the SDK.
    """
    run = case.get("program", {})
    if run.get("ok"):
        found = (quote.amount_in, quote.amount_out)
        assert found == (int(run["spent"]), int(run["received"])), f"{case} was run otherwise: {quote}"


def _account(raw: dict[str, Any]) -> Account:
    data, owner = account_bytes(raw)
    return Account(int(raw.get("lamports", 0)), owner, data)
