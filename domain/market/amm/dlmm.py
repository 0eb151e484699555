"""Meteora DLMM quotes: a ladder of bins, each with one fixed price, and a fee that grows with volatility.

Follows the deployed program. It fails where a swap would pay nothing, where the liquidity ends before the
amount does, and where a bin is reached whose input does not fit a u64; the SDK (1.9.14) quotes all but the
second. The fee depends on the clock, so the clock is part of the pool's state.

Token a is the program's X, token b its Y; amounts are base units, fee rates parts of 10^9.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field, replace
from operator import attrgetter
from typing import Final, NamedTuple

from domain.errors import QuoteError
from domain.market.amm import dlmm_bins
from domain.market.amm.dlmm_bins import ONE, RATE, Bin, DlmmFees, Volatility
from domain.market.amm.dlmm_ladder import Ladder, Rung, ladder
from domain.market.amm.pool import U64_MAX, TransferFee, check_amount
from domain.market.amm.transfer_fee import before_transfer_fee, transfer_fee

_BIN_ID: Final = attrgetter("bin_id")


class DlmmQuote(NamedTuple):
    """What one swap would do.

    Attributes:
        a_to_b: True when token a is sold.
        amount_in: leaves the user's account. `amount_out`: arrives in it.
        fee_in, fee_out: the pool's fee, in the input or in the output token; the other is 0.
        protocol_fee: the protocol's share of it.
        in_transfer_fee, out_transfer_fee: kept by the mints.
        surplus_out: paid by the last bin beyond an exact output, since its input is a whole number; the
            protocol keeps it.
        emptied: how many bins the swap empties. `last_in`: what then goes into the next one, without fee.
        end_bin: where the swap ends.
    """

    a_to_b: bool
    amount_in: int
    amount_out: int
    fee_in: int
    fee_out: int
    protocol_fee: int
    in_transfer_fee: int
    out_transfer_fee: int
    surplus_out: int
    emptied: int
    last_in: int
    end_bin: int

    @property
    def partial(self) -> bool:
        """Never: the program fails where liquidity ends before the amount does."""
        return False


@dataclass(frozen=True, slots=True)
class DlmmPool:
    """One pool's tradable state at one moment; quotes remember what they worked out, so one thread at a time.

    Attributes:
        fees, volatility: its fee terms, and what it remembers of its last swaps.
        active_id: the bin where the next swap starts.
        bins: those with liquidity that were read, lowest first.
        reserve_a, reserve_b: what the vaults hold, fees owed to others included.
        unix_time: seconds, the clock of the quotes.
        orders: whether limit orders count as liquidity.
        transfer_fee_a, transfer_fee_b: the mints' own transfer fees.
    """

    fees: DlmmFees
    volatility: Volatility
    active_id: int
    bins: tuple[Bin, ...]
    reserve_a: int
    reserve_b: int
    unix_time: int
    orders: bool = False
    transfer_fee_a: TransferFee | None = None
    transfer_fee_b: TransferFee | None = None
    _ladders: dict[bool, Ladder] = field(default_factory=dict, init=False, repr=False, compare=False)

    def quote_exact_in(self, amount: int, *, a_to_b: bool) -> DlmmQuote:
        """Quote a swap that sends exactly `amount`.

        Raises:
            QuoteError: the amount is not a positive u64, the bins end before it does, or nothing
                would be paid.
        """
        check_amount(amount)
        ahead = self._ahead(a_to_b)
        mint_in, mint_out = self._transfer_fees(a_to_b)
        in_transfer_fee = transfer_fee(amount, mint_in) if mint_in else 0
        left = amount - in_transfer_fee
        at = ahead.passed_by(left)
        if at == len(ahead.rungs):
            raise self._ends(ahead, f"takes in {ahead.paid_in[-1]}, and {left}")
        rung = ahead.rungs[at]
        gross = left - ahead.paid_in[at]
        fee = -(-gross * rung.rate // RATE) if ahead.fee_on_input else 0
        return self._quote(ahead, at, gross, fee, None, (amount, in_transfer_fee), mint_out, a_to_b)

    def quote_exact_out(self, amount: int, *, a_to_b: bool) -> DlmmQuote:
        """Quote a swap from which exactly `amount` arrives.

        Raises:
            QuoteError: the amount is not a positive u64, the bins hold too little, or the input does not fit
                a u64.
        """
        check_amount(amount)
        ahead = self._ahead(a_to_b)
        mint_in, mint_out = self._transfer_fees(a_to_b)
        wanted = before_transfer_fee(amount, mint_out)
        at = ahead.emptied_by(wanted)
        rest = wanted - ahead.paid_out[at]
        net = fee = 0
        if rest:
            if at == len(ahead.rungs):
                raise self._ends(ahead, f"pays {ahead.paid_out[-1]}, and {wanted}")
            net, fee = _input_of_rest(ahead.rungs[at], rest, ahead.fee_on_input, a_to_b)
        arrived = ahead.paid_in[at] + net + fee
        amount_in = before_transfer_fee(arrived, mint_in)
        if amount_in > U64_MAX:
            raise QuoteError(f"paying out {amount} needs an input of {amount_in}, above 2^64: ask for less")
        sent = (amount_in, amount_in - arrived)
        return self._quote(ahead, at, net + fee, fee, rest, sent, mint_out, a_to_b)

    def spot_price(self) -> tuple[int, int]:
        """The active bin's price as an exact ratio: (base units of b, for base units of a).

        Raises:
            QuoteError: no bin that was read has liquidity.
        """
        if not self.bins:
            raise QuoteError("the pool's bins are empty: it has no price to trade at")
        return dlmm_bins.price_at(self.active_id, self.fees.bin_step), ONE

    def after(self, quote: DlmmQuote) -> DlmmPool:
        """Give the pool after `quote` was carried out; the volatility's clock moves with every swap.

        Fees stay in the vaults and belong to nobody's bin: providers claim theirs, the protocol its own.
        """
        rungs = self._ahead(quote.a_to_b).first(quote.emptied + 1)
        changed = {rung.held.bin_id: _filled(rung, rung.whole, quote) for rung in rungs[: quote.emptied]}
        if quote.last_in:
            last = rungs[quote.emptied]
            changed[last.held.bin_id] = _filled(last, quote.last_in, quote)
        got = quote.amount_in - quote.in_transfer_fee
        paid = quote.amount_out + quote.out_transfer_fee
        change_a, change_b = (got, -paid) if quote.a_to_b else (-paid, got)
        reference, index = dlmm_bins.references(self.fees, self.volatility, self.active_id, self.unix_time)
        gathered = dlmm_bins.accumulator_at(self.fees, reference, index, quote.end_bin)
        return replace(
            self,
            volatility=Volatility(gathered, reference, index, self.unix_time),
            active_id=quote.end_bin,
            bins=tuple(changed.get(held.bin_id, held) for held in self.bins),
            reserve_a=self.reserve_a + change_a,
            reserve_b=self.reserve_b + change_b,
        )

    def _ahead(self, a_to_b: bool) -> Ladder:
        found = self._ladders.get(a_to_b)
        if found is None:  # one for each direction; a pool is never changed
            reference, index = dlmm_bins.references(
                self.fees, self.volatility, self.active_id, self.unix_time
            )
            above = bisect_left(self.bins, self.active_id + a_to_b, key=_BIN_ID)
            bins = reversed(self.bins[:above]) if a_to_b else iter(self.bins[above:])
            found = ladder(bins, self.fees, reference, index, a_to_b=a_to_b, orders=self.orders)
            self._ladders[a_to_b] = found
        return found

    def _transfer_fees(self, a_to_b: bool) -> tuple[TransferFee | None, TransferFee | None]:
        fees = (self.transfer_fee_a, self.transfer_fee_b)
        return fees if a_to_b else (fees[1], fees[0])

    def _quote(
        self,
        ahead: Ladder,
        at: int,
        gross: int,
        fee: int,
        rest: int | None,
        sent: tuple[int, int],
        mint_out: TransferFee | None,
        a_to_b: bool,
    ) -> DlmmQuote:
        """Add what the last bin does with `gross` to the bins emptied; `rest` is its exact output."""
        net = gross - fee
        paid = fee_out = share = surplus = 0
        if gross:
            paid, fee_out, share = _last_bin(self.fees, ahead, ahead.rungs[at], net, fee, a_to_b)
            surplus = 0 if rest is None else paid - rest
            paid -= surplus
        out = ahead.paid_out[at] + paid
        out_transfer_fee = transfer_fee(out, mint_out) if mint_out else 0
        self._check_payment(out, out_transfer_fee, a_to_b)
        fees = ahead.fees[at] + fee + fee_out
        return DlmmQuote(
            a_to_b,
            sent[0],
            out - out_transfer_fee,
            fees if ahead.fee_on_input else 0,
            0 if ahead.fee_on_input else fees,
            ahead.protocol[at] + share,
            sent[1],
            out_transfer_fee,
            surplus,
            at,
            net,
            ahead.rungs[at if gross else at - 1].held.bin_id,
        )

    def _check_payment(self, out: int, out_transfer_fee: int, a_to_b: bool) -> None:
        vault = self.reserve_b if a_to_b else self.reserve_a
        if out <= out_transfer_fee:
            raise QuoteError("the swap would pay nothing, which the program refuses: send more")
        if out > vault:
            raise QuoteError(f"the swap pays {out}, more than the {vault} in the vault: send less")

    def _ends(self, ahead: Ladder, comparison: str) -> QuoteError:
        why = "the next bin's input does not fit a u64" if ahead.blocked else "no liquidity was read beyond"
        return QuoteError(f"the pool {comparison} was asked for; {why}: trade less")


def _input_of_rest(rung: Rung, rest: int, fee_on_input: bool, a_to_b: bool) -> tuple[int, int]:
    """The input, without its fee, and that fee, for which a bin that is not emptied pays `rest`."""
    price = rung.held.price
    if fee_on_input:
        net = dlmm_bins.input_for_layers(rung.available, rest, price, a_to_b=a_to_b)
        return net, -(-net * rung.rate // (RATE - rung.rate))
    with_fee = rest + -(-rest * rung.rate // (RATE - rung.rate))
    return dlmm_bins.input_for_layers(rung.available, with_fee, price, a_to_b=a_to_b), 0


def _last_bin(
    fees: DlmmFees, ahead: Ladder, rung: Rung, net: int, fee: int, a_to_b: bool
) -> tuple[int, int, int]:
    """What the bin where a swap ends pays, its fee on the output, and the protocol's share of its fee."""
    if rung.makers == rung.whole:  # no limit orders: one layer
        whole = net >= rung.whole
        out = rung.out if whole else dlmm_bins.output_of(net, rung.held.price, a_to_b=a_to_b)
        by_makers = net
    else:
        filled = dlmm_bins.fill(rung.available, net, rung.held.price, a_to_b=a_to_b)
        out, by_makers = sum(filled.given), filled.taken[0]
    fee_out = 0 if ahead.fee_on_input else -(-out * rung.rate // RATE)
    share = dlmm_bins.protocol_fee(fee or fee_out, fees.protocol_bps, by_makers, net)
    return out - fee_out, fee_out, share


def _filled(rung: Rung, net: int, quote: DlmmQuote) -> Bin:
    filled = dlmm_bins.fill(rung.available, net, rung.held.price, a_to_b=quote.a_to_b)
    return dlmm_bins.after_fill(rung.held, filled, a_to_b=quote.a_to_b)
