"""Meteora DLMM in one direction: every bin ahead as a rung, with what it costs to climb so far.

The fee rate of a bin depends on the bin and the volatility's references alone, not on the amount, so what a
bin takes and pays when it is emptied is known beforehand. A quote then is a search for the rung where the
swap ends, and the arithmetic of that one bin. Rungs are added when a quote first reaches for them: most swaps
end in the first few of some hundred bins.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from domain.market.amm import dlmm_bins
from domain.market.amm.dlmm_bins import RATE, Bin, DlmmFees
from domain.market.amm.pool import U64_MAX

MAKERS: Final = 0


class Rung(NamedTuple):
    """One bin that can give something in the ladder's direction.

    Attributes:
        held: the bin.
        rate: the fee, parts of 10^9.
        available: what it can give, by layer; `out` their sum.
        whole: the input without fee that empties it; `makers`: the market makers' part of that.
    """

    held: Bin
    rate: int
    available: tuple[int, int, int]
    out: int
    whole: int
    makers: int


class Ladder:
    """The rungs from the active bin on, climbed as far as quotes have asked, and the sums up to each.

    Attributes:
        fee_on_input: else the fee is taken from the output.
        rungs: nearest first.
        passed_at: the inputs from which on rung k is emptied and the next one is reached.
        emptied_at: the outputs from which on rung k is emptied.
        paid_in: inputs with their fees when the first k rungs are emptied, so one more than there are rungs.
        paid_out: outputs without their fees. `fees`, `protocol`: the fees in them, and the protocol's part.
        blocked: the next rung needs an input beyond a u64; the program fails on reaching it.
    """

    __slots__ = (
        "_ahead",
        "_protocol_bps",
        "blocked",
        "emptied_at",
        "fee_on_input",
        "fees",
        "paid_in",
        "paid_out",
        "passed_at",
        "protocol",
        "rungs",
    )

    def __init__(self, ahead: Iterator[Rung], *, fee_on_input: bool, protocol_bps: int) -> None:
        self._ahead = ahead
        self._protocol_bps = protocol_bps
        self.fee_on_input = fee_on_input
        self.blocked = False
        self.rungs: list[Rung] = []
        self.passed_at: list[int] = []
        self.emptied_at: list[int] = []
        self.paid_in, self.paid_out, self.fees, self.protocol = [0], [0], [0], [0]

    def passed_by(self, amount: int) -> int:
        """How many rungs an input empties and leaves behind."""
        passed_at = self.passed_at
        while (not passed_at or passed_at[-1] <= amount) and self._climb():
            pass
        return bisect_right(passed_at, amount)

    def emptied_by(self, amount: int) -> int:
        """How many rungs an output empties."""
        emptied_at = self.emptied_at
        while (not emptied_at or emptied_at[-1] <= amount) and self._climb():
            pass
        return bisect_right(emptied_at, amount)

    def first(self, count: int) -> list[Rung]:
        """The first `count` rungs, or as many as there are."""
        while len(self.rungs) < count and self._climb():
            pass
        return self.rungs[:count]

    def _climb(self) -> bool:
        """Add one rung; False where there is none."""
        rung = None if self.blocked else next(self._ahead, None)
        if rung is None:
            return False
        if rung.whole > U64_MAX:
            self.blocked = True
            return False
        whole, out, rate = rung.whole, rung.out, rung.rate
        paid_in, paid_out = self.paid_in[-1], self.paid_out[-1]
        if self.fee_on_input:  # an emptied bin's fee comes on top of the input it could use
            gross, net = _with_fee(whole, rate), out
            self.passed_at.append(paid_in + _with_fee(whole + 1, rate))
            self.emptied_at.append(paid_out + out)
        else:
            gross, net = whole, _without_fee(out, rate)
            self.passed_at.append(paid_in + whole + 1)
            self.emptied_at.append(paid_out + _without_fee(out - 1, rate) + 1)
        fee = gross - whole + out - net
        self.rungs.append(rung)
        self.paid_in.append(paid_in + gross)
        self.paid_out.append(paid_out + net)
        self.fees.append(self.fees[-1] + fee)
        share = dlmm_bins.protocol_fee(fee, self._protocol_bps, rung.makers, whole)
        self.protocol.append(self.protocol[-1] + share)
        return True


def ladder(
    bins: Iterable[Bin], fees: DlmmFees, reference: int, index_reference: int, *, a_to_b: bool, orders: bool
) -> Ladder:
    """Set a ladder at the bins ahead, nearest first; those with nothing to give are stepped over."""
    rungs = (_rung(held, fees, reference, index_reference, a_to_b, orders) for held in bins)
    return Ladder(
        (rung for rung in rungs if rung.out),
        fee_on_input=not (fees.only_b and a_to_b),
        protocol_bps=fees.protocol_bps,
    )


def _rung(
    held: Bin, fees: DlmmFees, reference: int, index_reference: int, a_to_b: bool, orders: bool
) -> Rung:
    available = dlmm_bins.layers(held, a_to_b=a_to_b, orders=orders)
    accumulator = dlmm_bins.accumulator_at(fees, reference, index_reference, held.bin_id)
    rate = dlmm_bins.fee_rate(fees, accumulator)
    makers = dlmm_bins.input_for(available[MAKERS], held.price, a_to_b=a_to_b)
    if not available[1] and not available[2]:
        return Rung(held, rate, available, available[MAKERS], makers, makers)
    whole = makers + sum(dlmm_bins.input_for(most, held.price, a_to_b=a_to_b) for most in available[1:])
    return Rung(held, rate, available, sum(available), whole, makers)


def _with_fee(net: int, rate: int) -> int:
    """The least amount of which `net` is left after the fee."""
    return net + -(-net * rate // (RATE - rate))


def _without_fee(gross: int, rate: int) -> int:
    return gross - -(-gross * rate // RATE)
