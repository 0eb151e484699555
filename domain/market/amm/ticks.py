"""Ticks and their prices: 1.0001^(tick/2) as Q64.64 numbers, to the bit as each program computes them.

Raydium CLMM inverts the price of the negative tick for a positive one; Whirlpool multiplies its own table of
96 bit factors. The two differ in the last bits, so a swap must use the prices of its own program.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Final

from domain.errors import QuoteError

MIN_TICK: Final = -443_636
MAX_TICK: Final = 443_636
MIN_SQRT_PRICE: Final = 4_295_048_016
"""Of the lowest tick, in both programs."""

_TABLE_BITS: Final = 10
_REMEMBERED: Final = 2**16
"""Prices kept per program: every initialised tick of some hundred pools; about 10 MB when full."""

# Entry i is the price of tick -(2^i) in Q64, and of tick 2^i in Q96 in the last table.
_CLMM_FACTORS: Final = (
    0xFFFCB933BD6FB800,
    0xFFF97272373D4000,
    0xFFF2E50F5F657000,
    0xFFE5CACA7E10F000,
    0xFFCB9843D60F7000,
    0xFF973B41FA98E800,
    0xFF2EA16466C9B000,
    0xFE5DEE046A9A3800,
    0xFCBE86C7900BB000,
    0xF987A7253AC65800,
    0xF3392B0822BB6000,
    0xE7159475A2CAF000,
    0xD097F3BDFD2F2000,
    0xA9F746462D9F8000,
    0x70D869A156F31C00,
    0x31BE135F97ED3200,
    0x09AA508B5B85A500,
    0x005D6AF8DEDC582C,
    0x00002216E584F5FA,
)
_WHIRLPOOL_DOWN: Final = (
    18445821805675392311,
    18444899583751176498,
    18443055278223354162,
    18439367220385604838,
    18431993317065449817,
    18417254355718160513,
    18387811781193591352,
    18329067761203520168,
    18212142134806087854,
    17980523815641551639,
    17526086738831147013,
    16651378430235024244,
    15030750278693429944,
    12247334978882834399,
    8131365268884726200,
    3584323654723342297,
    696457651847595233,
    26294789957452057,
    37481735321082,
)
_WHIRLPOOL_UP: Final = (
    79232123823359799118286999567,
    79236085330515764027303304731,
    79244008939048815603706035061,
    79259858533276714757314932305,
    79291567232598584799939703904,
    79355022692464371645785046466,
    79482085999252804386437311141,
    79736823300114093921829183326,
    80248749790819932309965073892,
    81282483887344747381513967011,
    83390072131320151908154831281,
    87770609709833776024991924138,
    97234110755111693312479820773,
    119332217159966728226237229890,
    179736315981702064433883588727,
    407748233172238350107850275304,
    2098478828474011932436660412517,
    55581415166113811149459800483533,
    38992368544603139932233054999993551,
)


class _Powers:
    """Products of `factors` by the bits of a tick, truncated after each as the programs do."""

    def __init__(self, factors: tuple[int, ...], shift: int) -> None:
        self._shift = shift
        self._low = [1 << shift]
        for factor in factors[:_TABLE_BITS]:
            self._low += [low * factor >> shift for low in self._low]
        self._high = [(1 << bit, factor) for bit, factor in enumerate(factors)][_TABLE_BITS:]

    def of(self, distance: int) -> int:
        """The product for a tick `distance` (not negative) from 0."""
        ratio = self._low[distance & ((1 << _TABLE_BITS) - 1)]
        for bit, factor in self._high:
            if distance & bit:
                ratio = ratio * factor >> self._shift
        return ratio


class TickPrices:
    """One program's prices.

    Attributes:
        at: the Q64.64 sqrt price of a tick; remembered, since a pool's ticks hardly change.
        highest: of the highest tick.
    """

    def __init__(self, at: Callable[[int], int]) -> None:
        self.at: Callable[[int], int] = lru_cache(maxsize=_REMEMBERED)(at)
        self.highest: Final = at(MAX_TICK)

    def tick_of(self, sqrt_price: int) -> int:
        """The highest tick whose price is not above `sqrt_price`.

        Raises:
            QuoteError: the price is outside the ticks' prices.
        """
        if not MIN_SQRT_PRICE <= sqrt_price <= self.highest:
            raise QuoteError(f"a sqrt price of {sqrt_price} was asked for its tick: no tick reaches it")
        log_x64 = _log2_x32(sqrt_price) * _LOG_B_2_X32
        low = (log_x64 - _MARGIN_LOW) >> 64
        high = (log_x64 + _MARGIN_HIGH) >> 64
        if low == high or high > MAX_TICK:
            return low
        return high if self.at(high) <= sqrt_price else low


_LOG_B_2_X32: Final = 59_543_866_431_248  # 2^32 / log2(sqrt(1.0001))
_MARGIN_LOW: Final = 184_467_440_737_095_516  # 0.01 tick
_MARGIN_HIGH: Final = 15_793_534_762_490_258_745  # what 14 bits of the logarithm may miss, and 0.01 tick
_LOG_BITS: Final = 16


def _log2_x32(value_x64: int) -> int:
    """log2 of a Q64.64 number with `_LOG_BITS` bits after the point, as a Q32 number."""
    top = value_x64.bit_length() - 1
    rest = value_x64 >> (top - 63) if top >= 63 else value_x64 << (63 - top)
    fraction = 0
    for place in range(_LOG_BITS):
        rest *= rest
        carry = rest >> 127
        rest >>= 63 + carry
        fraction |= carry << (31 - place)
    return ((top - 64) << 32) + fraction


def floor_start(tick: int, ticks_in_array: int) -> int:
    """Where the tick array that holds `tick` starts."""
    return tick // ticks_in_array * ticks_in_array


def _clmm_prices() -> TickPrices:
    powers = _Powers(_CLMM_FACTORS, 64)
    return TickPrices(lambda tick: (1 << 128) // powers.of(tick) if tick > 0 else powers.of(-tick))


def _whirlpool_prices() -> TickPrices:
    down, up = _Powers(_WHIRLPOOL_DOWN, 64), _Powers(_WHIRLPOOL_UP, 96)
    return TickPrices(lambda tick: up.of(tick) >> 32 if tick >= 0 else down.of(-tick))


CLMM: Final = _clmm_prices()
"""Raydium CLMM's prices."""

WHIRLPOOL: Final = _whirlpool_prices()
"""Orca Whirlpool's prices."""
