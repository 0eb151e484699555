"""Kamino flash loan vectors: both instructions, byte for byte and account for account."""

from __future__ import annotations

from typing import Any

from solders.pubkey import Pubkey
from vector_accounts import instruction_of

from adapters.solana.programs import kamino


def check(pool: dict[str, Any]) -> tuple[int, int]:
    """Grade a loan: how many instructions passed, how many could not be graded."""
    accounts = kamino.FlashAccounts(
        user=_key(pool, "user"),
        lending_market=_key(pool, "market"),
        reserve=_key(pool, "reserve"),
        mint=_key(pool, "mint"),
        supply_vault=_key(pool, "supplyVault"),
        user_account=_key(pool, "userAccount"),
        fee_vault=_key(pool, "feeReceiver"),
    )
    amount, index = int(pool["amount"]), int(pool["borrowInstructionIndex"])
    assert kamino.market_authority(accounts.lending_market) == _key(pool, "lendingMarketAuthority")
    borrow, repay = kamino.flash_borrow(accounts, amount), kamino.flash_repay(accounts, amount, index)
    assert kamino.decode_flash(borrow.data) == kamino.FlashArguments(amount)
    assert kamino.decode_flash(repay.data) == kamino.FlashArguments(amount, index)
    for built, said in ((borrow, pool["borrow"]), (repay, pool["repay"])):
        assert instruction_of(built) == said, f"{said['data']} was built otherwise"
        assert kamino.decode_flash_accounts([meta.pubkey for meta in built.accounts]) == accounts
    return 2, 0


def _key(pool: dict[str, Any], name: str) -> Pubkey:
    return Pubkey.from_string(pool[name])
