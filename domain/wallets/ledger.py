"""Double entry: every movement has two sides, and the lines of a booking sum to 0 for each mint."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from domain.chain import Address, Mint
from domain.errors import InvariantBroken
from domain.wallets.events import Posting

NETWORK_FEES = "fees:network"


def wallet_account(address: Address) -> str:
    """The book's name for a wallet."""
    return f"wallet:{address}"


def pool_account(pool: Address) -> str:
    """The book's name for a pool."""
    return f"pool:{pool}"


def tips_account(address: Address) -> str:
    """The book's name for who is tipped."""
    return f"tips:{address}"


def outside_account(address: str) -> str:
    """The book's name for everybody else."""
    return f"outside:{address}"


def sums(postings: Iterable[Posting]) -> dict[Mint, int]:
    """The sum of all lines for each mint; a proper booking has only zeros."""
    totals: dict[Mint, int] = defaultdict(int)
    for posting in postings:
        totals[posting.mint] += posting.amount
    return dict(totals)


def of_account(postings: Iterable[Posting], account: str) -> dict[Mint, int]:
    """What one account receives in all, for each mint."""
    return sums(posting for posting in postings if posting.account == account)


def merged(postings: Iterable[Posting]) -> tuple[Posting, ...]:
    """One line for each account and mint, without empty lines, sorted: the same facts give the same bytes."""
    totals: dict[tuple[str, Mint], int] = defaultdict(int)
    for posting in postings:
        totals[posting.account, posting.mint] += posting.amount
    return tuple(
        Posting(account, mint, amount) for (account, mint), amount in sorted(totals.items()) if amount
    )


def require_balanced(postings: Iterable[Posting]) -> None:
    """Refuse lines that make or lose money.

    Raises:
        InvariantBroken: some mint does not sum to 0.
    """
    residue = {mint: total for mint, total in sums(postings).items() if total}
    if residue:
        raise InvariantBroken(
            f"a booking must sum to 0 for each mint, but leaves {residue}: nothing is booked"
        )
