"""The programs' own swap loop, tick by tick, as they write it: the measure for the summed up bands."""

from __future__ import annotations

from domain.market.amm.concentrated import Bands, Place

MILLION = 1_000_000


def ceil_div(above: int, below: int) -> int:
    return -(-above // below)


def delta_a(low: int, high: int, liquidity: int, *, up: bool) -> int:
    """Divided twice, each time rounded the same way, as Raydium does; Orca divides once."""
    if up:
        return ceil_div(ceil_div((liquidity << 64) * (high - low), high), low)
    return (liquidity << 64) * (high - low) // high // low


def delta_b(low: int, high: int, liquidity: int, *, up: bool) -> int:
    product = liquidity * (high - low)
    return ceil_div(product, 1 << 64) if up else product >> 64


def next_price(price: int, liquidity: int, amount: int, *, exact_in: bool, down: bool) -> int:
    if exact_in == down:  # the amount is token a
        moved = amount * price if exact_in else -amount * price
        return ceil_div((liquidity << 64) * price, (liquidity << 64) + moved) if amount else price
    if exact_in:
        return price + (amount << 64) // liquidity
    return price - ceil_div(amount << 64, liquidity)


def compute_step(
    price: int, target: int, liquidity: int, left: int, rate: int, *, exact_in: bool, down: bool
) -> tuple[int, int, int, int]:
    """Uniswap v3's step: the price after it, input, output, fee."""
    low, high = (target, price) if down else (price, target)
    delta_in, delta_out = (delta_a, delta_b) if down else (delta_b, delta_a)
    usable = left * (MILLION - rate) // MILLION if exact_in else left
    whole = (delta_in if exact_in else delta_out)(low, high, liquidity, up=exact_in)
    after = target
    if usable < whole:
        after = next_price(price, liquidity, usable, exact_in=exact_in, down=down)
    reached = after == target
    low, high = (after, price) if down else (price, after)
    used = whole if reached and exact_in else delta_in(low, high, liquidity, up=True)
    paid = whole if reached and not exact_in else delta_out(low, high, liquidity, up=False)
    if not exact_in:
        paid = min(paid, left)
    fee = left - used if exact_in and not reached else ceil_div(used * rate, MILLION - rate)
    return after, used, paid, fee


def loop(
    pool: Bands, start: Place, amount: int, *, exact_in: bool, down: bool
) -> tuple[tuple[int, ...], int, int, int | None, int]:
    """Swap until the amount or the ticks end: the six totals, the price, liquidity, tick and what is left."""
    totals = [0, 0, 0, 0, 0, 0]
    price, tick, left, band = start.price, start.tick, amount, start.band
    terms, liquidity = pool.terms, pool.liquidity[start.band]
    while left:
        ahead = band - 1 if down else band
        if not 0 <= ahead < len(pool.ticks):
            break
        target = pool.prices[ahead]
        after, used, paid, fee = compute_step(
            price, target, liquidity, left, terms.rate, exact_in=exact_in, down=down
        )
        left -= used + fee if exact_in else paid
        protocol, fund = fee * terms.protocol_rate // terms.parts, fee * terms.fund_rate // terms.parts
        growth = (fee - protocol - fund << 64) // liquidity if liquidity else 0
        totals = [
            total + more
            for total, more in zip(totals, (used + fee, paid, fee, protocol, fund, growth), strict=True)
        ]
        if after == target:
            band = ahead if down else ahead + 1
            liquidity = pool.liquidity[band]
            tick = pool.ticks[ahead] - 1 if down else pool.ticks[ahead]
        elif after != price:
            tick = None
        price = after
    return tuple(totals), price, liquidity, tick, left
