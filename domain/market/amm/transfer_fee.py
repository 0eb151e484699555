"""Token-2022 transfer fees: what a mint keeps of a transfer, and what to send so that an amount arrives.

Follows spl-token-2022's own arithmetic. A mint without a fee, or a plain SPL mint, is None.
"""

from __future__ import annotations

from typing import Final

from domain.market.amm.pool import TransferFee

BPS: Final = 10_000
"""Transfer fees are parts of this."""


def transfer_fee(amount: int, fee: TransferFee | None) -> int:
    """What the mint keeps when `amount` is sent."""
    return min(-(-amount * fee.bps // BPS), fee.maximum) if fee else 0


def before_transfer_fee(after: int, fee: TransferFee | None) -> int:
    """What must be sent so that `after` arrives (the token program's inverse fee, and its cap)."""
    if fee is None or fee.bps == 0 or after == 0:
        return after
    if fee.bps == BPS:
        return after + fee.maximum
    before = -(-after * BPS // (BPS - fee.bps))
    before = min(before, after + fee.maximum)
    # The program then charges the fee of that gross amount, which may exceed what rounding left for it.
    return after + transfer_fee(before, fee)
