"""Meteora DLMM bins: what one price holds, its price, its fee rate, and how an input fills it.

A bin trades at one fixed price. In it the market makers' amount is taken first, then what is left of limit
orders being filled, then open limit orders; each of these layers rounds for itself.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from domain.errors import QuoteError

ONE: Final = 1 << 64
"""Bin prices are Q64.64: base units of b for one base unit of a, times this."""

RATE: Final = 1_000_000_000
"""Fee rates are parts of this."""

MAX_RATE: Final = 100_000_000
"""No fee is above 10 %."""

BPS: Final = 10_000
"""Shares, bin steps and the volatility of one bin are parts or multiples of this."""

ORDER_PROTOCOL_SHARE_BPS: Final = 5_000
"""Of the fee on limit orders the placer gets this share, the protocol the rest."""

MAX_BIN_ID: Final = 443_636
"""Beyond +-this a price of one basis point steps leaves 64 bits."""

_U128_MAX: Final = 2**128 - 1


class Bin(NamedTuple):
    """One bin with liquidity.

    Attributes:
        bin_id: its place; the price is (1 + bin step)^bin_id.
        price: Q64.64, b per a.
        amount_a, amount_b: the market makers'.
        processed_orders, open_orders: limit orders still to be filled; token a where `ask`, else token b.
        ask: the orders sell token a.
    """

    bin_id: int
    price: int
    amount_a: int
    amount_b: int
    processed_orders: int = 0
    open_orders: int = 0
    ask: bool = False


class DlmmFees(NamedTuple):
    """A pool's fee terms, as set at its creation.

    Attributes:
        bin_step: between two prices, basis points.
        base_factor, base_power: the base fee is base_factor * bin_step * 10 * 10^base_power, parts of 10^9.
        variable_control: how strongly volatility raises the fee; 0 for a fixed fee.
        max_accumulator: of the volatility.
        filter_s, decay_s: within the first the volatility's references stay, from the second on they are 0.
        reduction_bps: of the accumulator that is left as reference in between.
        protocol_bps: the protocol's share of the fee.
        only_b: the fee is always taken in token b, else in the input.
    """

    bin_step: int
    base_factor: int
    base_power: int
    variable_control: int
    max_accumulator: int
    filter_s: int
    decay_s: int
    reduction_bps: int
    protocol_bps: int
    only_b: bool = False


class Volatility(NamedTuple):
    """What the pool remembers of its last swaps.

    Attributes:
        accumulator: at the end of the last swap.
        reference: what the next swap starts from.
        index_reference: the bin from which moves are counted.
        updated_at: seconds, of the last swap.
    """

    accumulator: int
    reference: int
    index_reference: int
    updated_at: int


class Fill(NamedTuple):
    """What one bin takes and gives, fees left out: by the market makers, processed and open orders."""

    taken: tuple[int, int, int]
    given: tuple[int, int, int]


def price_at(bin_id: int, bin_step: int) -> int:
    """The price of a bin, Q64.64, by the program's own power (it differs from exact powers in the last bits).

    Raises:
        QuoteError: the price does not fit.
    """
    if bin_id == 0:
        return ONE
    # The base is above one, so the program raises its inverse, and inverts the result of positive powers.
    squared = _U128_MAX // (ONE + (bin_step << 64) // BPS)
    result = ONE
    for bit in range(19):
        if abs(bin_id) >> bit & 1:
            result = result * squared >> 64
        squared = squared * squared >> 64
    if result == 0 or abs(bin_id) >> 19:
        raise QuoteError(f"bin {bin_id} of step {bin_step} has no price: the pool's data is broken")
    return _U128_MAX // result if bin_id > 0 else result


def references(fees: DlmmFees, volatility: Volatility, active_id: int, unix_time: int) -> tuple[int, int]:
    """What a swap at `unix_time` counts volatility from: (reference, index reference)."""
    elapsed = unix_time - volatility.updated_at
    if elapsed < fees.filter_s:
        return volatility.reference, volatility.index_reference
    if elapsed < fees.decay_s:
        return volatility.accumulator * fees.reduction_bps // BPS, active_id
    return 0, active_id


def accumulator_at(fees: DlmmFees, reference: int, index_reference: int, bin_id: int) -> int:
    """The volatility a swap has gathered when it trades in `bin_id`."""
    return min(reference + abs(index_reference - bin_id) * BPS, fees.max_accumulator)


def fee_rate(fees: DlmmFees, accumulator: int) -> int:
    """The whole fee at a volatility, parts of 10^9."""
    power: int = 10**fees.base_power
    base = fees.base_factor * fees.bin_step * 10 * power
    variable = -(-fees.variable_control * (accumulator * fees.bin_step) ** 2 // 100_000_000_000)
    return min(base + variable, MAX_RATE)


def input_for(out: int, price: int, *, a_to_b: bool) -> int:
    """The input that pays for `out` at a price, rounded up."""
    return -(-(out << 64) // price) if a_to_b else -(-out * price >> 64)


def output_of(net: int, price: int, *, a_to_b: bool) -> int:
    """What an input pays at a price, rounded down."""
    return net * price >> 64 if a_to_b else (net << 64) // price


def layers(held: Bin, *, a_to_b: bool, orders: bool) -> tuple[int, int, int]:
    """What a bin can give in one direction: of market makers, of processed and of open orders."""
    makers = held.amount_b if a_to_b else held.amount_a
    if orders and held.ask != a_to_b:
        return makers, held.processed_orders, held.open_orders
    return makers, 0, 0


def fill(available: tuple[int, int, int], net: int, price: int, *, a_to_b: bool) -> Fill:
    """Put an input without its fee into a bin's layers; what they cannot take is left over."""
    taken, given = [0, 0, 0], [0, 0, 0]
    for layer, most in enumerate(available):
        if not net or not most:
            continue
        whole = input_for(most, price, a_to_b=a_to_b)
        taken[layer] = min(net, whole)
        given[layer] = most if net >= whole else output_of(net, price, a_to_b=a_to_b)
        net -= taken[layer]
    return Fill((taken[0], taken[1], taken[2]), (given[0], given[1], given[2]))


def input_for_layers(available: tuple[int, int, int], out: int, price: int, *, a_to_b: bool) -> int:
    """The input without its fee that makes a bin's layers pay `out`, each layer rounded up."""
    net = 0
    for most in available:
        part = min(out, most)
        net += input_for(part, price, a_to_b=a_to_b)
        out -= part
    return net


def protocol_fee(fee: int, protocol_bps: int, by_makers: int, taken: int) -> int:
    """The protocol's part of a bin's fee: `protocol_bps` of the makers' and half of the orders'."""
    if not taken:
        return 0
    if by_makers == taken:
        return fee * protocol_bps // BPS
    makers = -(-fee * by_makers // taken)
    orders = fee - makers
    return makers * protocol_bps // BPS + orders - orders * ORDER_PROTOCOL_SHARE_BPS // BPS


def after_fill(held: Bin, filled: Fill, *, a_to_b: bool) -> Bin:
    """The bin after a fill: the makers hold what they took; what orders took waits for their placers."""
    (makers_in, _, _), (makers_out, processed, opened) = filled
    change_a, change_b = (makers_in, -makers_out) if a_to_b else (-makers_out, makers_in)
    return held._replace(
        amount_a=held.amount_a + change_a,
        amount_b=held.amount_b + change_b,
        processed_orders=held.processed_orders - processed,
        open_orders=held.open_orders - opened,
    )
