"""Meteora DLMM in one direction: every bin ahead as a rung, with what it costs to climb so far.

The fee rate of a bin depends on the bin and the volatility's references alone, not on the amount, so what a
bin takes and pays when it is emptied is known beforehand. A quote then is a search for the rung where the
swap ends, and the arithmetic of that one bin.
"""

from __future__ import annotations

from collections.abc import Iterable
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


class Ladder(NamedTuple):
    """The rungs from the active bin on, and the sums up to each: index k holds what k emptied rungs do.

    Attributes:
        fee_on_input: else the fee is taken from the output.
        rungs: nearest first.
        passed_at: the inputs from which on rung k is emptied and the next one is reached.
        emptied_at: the outputs from which on rung k is emptied.
        paid_in: inputs with their fees. `paid_out`: outputs without theirs.
        fees, protocol: the fees in them, and the protocol's part.
        blocked: the rung after the last one needs an input beyond a u64; the program fails on reaching it.
    """

    fee_on_input: bool
    rungs: tuple[Rung, ...]
    passed_at: tuple[int, ...]
    emptied_at: tuple[int, ...]
    paid_in: tuple[int, ...]
    paid_out: tuple[int, ...]
    fees: tuple[int, ...]
    protocol: tuple[int, ...]
    blocked: bool


def ladder(
    bins: Iterable[Bin], fees: DlmmFees, reference: int, index_reference: int, *, a_to_b: bool, orders: bool
) -> Ladder:
    """Prepare the bins ahead, nearest first; those with nothing to give are stepped over."""
    on_input = not (fees.only_b and a_to_b)
    rungs: list[Rung] = []
    passed_at, emptied_at = [], []
    paid_in = paid_out = fee_sum = protocol = 0
    sums = [(0, 0, 0, 0)]
    blocked = False
    for held in bins:
        rung = _rung(held, fees, reference, index_reference, a_to_b, orders)
        if not rung.out:
            continue
        if rung.whole > U64_MAX:
            blocked = True
            break
        whole, out, rate = rung.whole, rung.out, rung.rate
        if on_input:  # an emptied bin's fee comes on top of the input it could use
            passed_at.append(paid_in + _with_fee(whole + 1, rate))
            emptied_at.append(paid_out + out)
            fee = _with_fee(whole, rate) - whole
            paid_in, paid_out = paid_in + whole + fee, paid_out + out
        else:
            passed_at.append(paid_in + whole + 1)
            emptied_at.append(paid_out + _without_fee(out - 1, rate) + 1)
            fee = out - _without_fee(out, rate)
            paid_in, paid_out = paid_in + whole, paid_out + out - fee
        fee_sum += fee
        protocol += dlmm_bins.protocol_fee(fee, fees.protocol_bps, rung.makers, whole)
        rungs.append(rung)
        sums.append((paid_in, paid_out, fee_sum, protocol))
    paid_ins, paid_outs, fee_sums, shares = zip(*sums, strict=True)
    return Ladder(
        on_input,
        tuple(rungs),
        tuple(passed_at),
        tuple(emptied_at),
        paid_ins,
        paid_outs,
        fee_sums,
        shares,
        blocked,
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
