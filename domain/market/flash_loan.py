"""What a Kamino flash loan costs.

Follows the lending program (github.com/Kamino-Finance/klend, `ReserveFees::calculate_fees` and
`flash_borrow_reserve_liquidity`): the fee is on top of the loan, at least one base unit where there is a rate
at all, and a rate of 2^64 - 1 means that the reserve gives no flash loans. The SDK (klend-sdk 8.0.2) reads
that rate as 0.
"""

from __future__ import annotations

from typing import Final

from domain.errors import QuoteError
from domain.market.amm.pool import U64_MAX, check_amount

DISABLED: Final = U64_MAX
"""The rate of a reserve that gives no flash loans."""

_BITS: Final = 60
"""Rates are parts of 2^60."""


def flash_loan_fee(amount: int, rate: int) -> int:
    """What is paid on top of `amount` when it is repaid, base units; `rate` in parts of 2^60.

    Rounded half up. A referrer's share comes out of it and makes it no dearer.

    Raises:
        QuoteError: the amount is not a positive u64, the reserve gives no flash loans, or the loan is so
            small that its fee would be all of it.
    """
    check_amount(amount)
    if rate == DISABLED:
        raise QuoteError("a flash loan was asked of a reserve that gives none: borrow from another")
    if rate == 0:
        return 0
    exact = max(amount * rate, 1 << _BITS)
    if exact >= amount << _BITS:
        raise QuoteError(f"a flash loan of {amount} is no more than its fee: borrow more, or elsewhere")
    return exact + (1 << _BITS - 1) >> _BITS
