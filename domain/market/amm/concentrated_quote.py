"""From a swap along ticks to what the user sends and receives: vaults and transfer fees around the curve."""

from __future__ import annotations

from typing import NamedTuple

from domain.errors import QuoteError
from domain.market.amm.adaptive_fee import Volatility
from domain.market.amm.concentrated import Move, Place
from domain.market.amm.pool import U64_MAX, TransferFee, check_amount
from domain.market.amm.transfer_fee import before_transfer_fee, transfer_fee


class ConcentratedQuote(NamedTuple):
    """What one swap along ticks would do.

    Attributes:
        a_to_b: True when token a is sold.
        amount_in, amount_out: leave and reach the user's accounts.
        fee_in: the pool's whole fee; `protocol_fee` and `fund_fee` are shares of it.
        fee_out: never charged by these pools.
        partial: the liquidity ends before the whole amount is swapped.
        in_transfer_fee, out_transfer_fee: kept by the mints, never reach the other side.
        fee_growth: what the swap adds to the pool's fee growth of the input token, Q64.64 per unit of
            liquidity.
        place: where the price stands after it.
        volatility: the fee's memory after it, for pools whose fee follows the price.
    """

    a_to_b: bool
    amount_in: int
    amount_out: int
    fee_in: int
    partial: bool
    protocol_fee: int
    fund_fee: int
    in_transfer_fee: int
    out_transfer_fee: int
    fee_growth: int
    place: Place
    volatility: Volatility | None = None
    fee_out: int = 0


class Sides(NamedTuple):
    """What lies around a pool's curve.

    Attributes:
        vault_a, vault_b: what the vaults hold; no swap pays out more, though fees owed to others lie there
            too.
        transfer_fee_a, transfer_fee_b: the mints' own, None for plain SPL tokens.
    """

    vault_a: int
    vault_b: int
    transfer_fee_a: TransferFee | None = None
    transfer_fee_b: TransferFee | None = None

    def curve_in(self, amount: int, *, a_to_b: bool) -> int:
        """What of a sent `amount` reaches the pool.

        Raises:
            QuoteError: the amount is not a positive u64.
        """
        check_amount(amount)
        return amount - transfer_fee(amount, self.transfer_fee_a if a_to_b else self.transfer_fee_b)

    def curve_out(self, amount: int, *, a_to_b: bool) -> int:
        """What the pool must pay so that `amount` arrives.

        Raises:
            QuoteError: the amount is not a positive u64.
        """
        check_amount(amount)
        return before_transfer_fee(amount, self.transfer_fee_b if a_to_b else self.transfer_fee_a)

    def quote_in(
        self, amount: int, move: Move, refusal: str, *, a_to_b: bool, volatility: Volatility | None = None
    ) -> ConcentratedQuote:
        """The quote of a swap that sends `amount` and came as far as `move`.

        Raises:
            QuoteError: it came to an end that has a `refusal`, or the vault holds too little.
        """
        if move.left and (refusal or not move.step.sent):
            raise QuoteError(refusal or f"a swap of {amount} found no liquidity: try the other direction")
        amount_in = amount
        if move.left:
            amount_in = before_transfer_fee(
                move.step.sent, self.transfer_fee_a if a_to_b else self.transfer_fee_b
            )
        return self._quote(amount_in, move, volatility, a_to_b=a_to_b)

    def quote_out(
        self, amount: int, move: Move, refusal: str, *, a_to_b: bool, volatility: Volatility | None = None
    ) -> ConcentratedQuote:
        """The quote of a swap that pays `amount` to the user and came as far as `move`.

        Raises:
            QuoteError: the pool or its vault holds too little, or the input does not fit a u64.
        """
        if move.left:
            raise QuoteError(
                refusal
                or f"a swap that pays {amount} was asked of a pool that holds {move.left} less: ask for less"
            )
        amount_in = before_transfer_fee(
            move.step.sent, self.transfer_fee_a if a_to_b else self.transfer_fee_b
        )
        if amount_in > U64_MAX:
            raise QuoteError(f"paying out {amount} needs an input of {amount_in}, above 2^64: ask for less")
        return self._quote(amount_in, move, volatility, a_to_b=a_to_b)

    def after(self, quote: ConcentratedQuote) -> Sides:
        """The vaults after `quote` was carried out."""
        gained = quote.amount_in - quote.in_transfer_fee
        paid = quote.amount_out + quote.out_transfer_fee
        if quote.a_to_b:
            return self._replace(vault_a=self.vault_a + gained, vault_b=self.vault_b - paid)
        return self._replace(vault_a=self.vault_a - paid, vault_b=self.vault_b + gained)

    def _quote(
        self, amount_in: int, move: Move, volatility: Volatility | None, *, a_to_b: bool
    ) -> ConcentratedQuote:
        sent, paid, fee, protocol_fee, fund_fee, growth = move.step
        held, fee_out = (self.vault_b, self.transfer_fee_b) if a_to_b else (self.vault_a, self.transfer_fee_a)
        if paid > held:
            raise QuoteError(f"a swap that pays {paid} was asked of a vault that holds {held}: ask for less")
        kept = transfer_fee(paid, fee_out)
        return ConcentratedQuote(
            a_to_b,
            amount_in,
            paid - kept,
            fee,
            move.left > 0,
            protocol_fee,
            fund_fee,
            amount_in - sent,
            kept,
            growth,
            move.place,
            volatility,
        )
