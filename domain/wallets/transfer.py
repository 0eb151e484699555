"""From a transaction's balance changes to a balanced booking, to the last base unit.

A token account of wrapped SOL carries its tokens a second time as lamports; those are taken out, so that each
wrapped lamport is counted once. What remains of a mint - tokens issued or burned, SOL wrapped or unwrapped -
stands against the mint itself, and anything that belongs to nobody we know against `outside:<account>`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from domain.chain import NATIVE, WSOL, Address, Mint
from domain.transactions import BalanceChange, TransactionRecord
from domain.wallets.events import Posting, TokenAccount
from domain.wallets.ledger import (
    NETWORK_FEES,
    merged,
    outside_account,
    pool_account,
    sums,
    tips_account,
    wallet_account,
)


def postings_of(
    record: TransactionRecord,
    *,
    wallet: Address,
    token_accounts: Collection[TokenAccount],
    vaults: Mapping[Address, Address] | None = None,
    tipped: Collection[Address] = (),
) -> tuple[Posting, ...]:
    """The booking of a transaction.

    Args:
        record: the transaction.
        wallet: whose books these are.
        token_accounts: the wallet's token accounts that count as its holdings.
        vaults: vault account to pool account, for the pools traded with.
        tipped: accounts whose lamports received are a tip.

    Returns:
        Lines that sum to 0 for each mint, one for each account and mint.
    """
    names = {wallet: wallet_account(wallet)}
    names |= {held.account: wallet_account(wallet) for held in token_accounts}
    names |= {vault: pool_account(pool) for vault, pool in (vaults or {}).items()}
    names |= {account: tips_account(account) for account in tipped}
    lines = [
        Posting(_name(names, change, wallet), change.mint, change.change)
        for change in _counted_once(record.changes)
    ]
    lines.append(Posting(NETWORK_FEES, NATIVE, record.fee_lamports))
    return merged([*lines, *_issued(lines)])


def _name(names: Mapping[Address, str], change: BalanceChange, wallet: Address) -> str:
    """Whose change it is; lamports of a token account are its rent, which is nobody's holding."""
    if change.mint == NATIVE and change.account != wallet:
        name = names.get(change.account, "")
        return name if name.startswith("tips:") else outside_account(change.account)
    return names.get(change.account, outside_account(change.account))


def _counted_once(changes: Iterable[BalanceChange]) -> list[BalanceChange]:
    """The changes without the lamports that only mirror wrapped SOL."""
    changes = list(changes)
    mirrored = {c.account: c.change for c in changes if c.mint == WSOL}
    counted = []
    for change in changes:
        mirror = mirrored.get(change.account, 0) if change.mint == NATIVE else 0
        counted.append(BalanceChange(change.account, change.owner, change.mint, change.change - mirror))
    seen = {c.account for c in changes if c.mint == NATIVE}
    silent = [
        a for a in mirrored if a not in seen
    ]  # wrapped and paid for rent alike: the lamports stood still
    counted += [BalanceChange(a, a, NATIVE, -mirrored[a]) for a in silent]
    return counted


def _issued(lines: Iterable[Posting]) -> list[Posting]:
    """What each mint issued (or took back) so that the books balance; for lamports, wrapped SOL did."""
    return [
        Posting(outside_account(_issuer(mint)), mint, -total) for mint, total in sums(lines).items() if total
    ]


def _issuer(mint: Mint) -> Mint:
    return WSOL if mint == NATIVE else mint
