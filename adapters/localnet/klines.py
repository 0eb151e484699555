"""Recorded prices: a gzipped file of 1-minute klines read into a path that the crowd can walk.

Format: a header `open_time_ms,open,high,low,close,volume`, then one bar a line, times strictly rising.
"""

from __future__ import annotations

import csv
import gzip
import zlib
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Final

from domain.errors import SetupError

HEADER: Final = ["open_time_ms", "open", "high", "low", "close", "volume"]
BAR_MS: Final = 60_000

_MICRO: Final = 6
_LOWEST: Final = 1_000  # 0.001 USDC: below, the pools' integers no longer tell prices apart
_HIGHEST: Final = 10**12  # a million USDC


@dataclass(frozen=True, slots=True)
class Bar:
    """One minute; prices in micro-USDC per SOL."""

    open_time_ms: int
    open: int
    high: int
    low: int
    close: int


class PricePath:
    """The price at every instant of the record, walked open, then the nearer extreme, the other, close."""

    def __init__(self, bars: list[Bar]) -> None:
        self._bars = bars
        self._times = [bar.open_time_ms for bar in bars]

    @property
    def first_price(self) -> int:
        """The first bar's open, micro-USDC per SOL."""
        return self._bars[0].open

    @property
    def length_ms(self) -> int:
        """From the first bar's open to the last bar's close."""
        return self._times[-1] + BAR_MS - self._times[0]

    def price(self, since_start_ms: int) -> int:
        """The price that long after the first bar's open; in a hole and after the end the last close."""
        at = self._times[0] + since_start_ms
        bar = self._bars[max(bisect_right(self._times, at) - 1, 0)]
        return _within(bar, max(at - bar.open_time_ms, 0))


def read_klines(path: Path) -> PricePath:
    """Read a recorded market.

    Raises:
        SetupError: the file is missing, not gzip, without bars, or a line is not a bar; names file and line.
    """
    try:
        with gzip.open(path, "rt", encoding="utf-8", newline="") as lines:
            bars = list(_bars(path, csv.reader(lines)))
    except FileNotFoundError:
        raise SetupError(f"reading the market {path}: there is no such file; check the path") from None
    except (gzip.BadGzipFile, EOFError, zlib.error, UnicodeDecodeError, csv.Error) as error:
        raise SetupError(
            f"reading the market {path}: it is not a whole gzip file of text ({error}); "
            "give a .csv.gz of 1-minute klines"
        ) from error
    except OSError as error:
        raise SetupError(f"reading the market {path}: {error.strerror or error}") from error
    if not bars:
        raise SetupError(f"reading the market {path}: it has a header and no bar; give a file with prices")
    return PricePath(bars)


def _bars(path: Path, rows: Iterator[list[str]]) -> Iterator[Bar]:
    header = next(rows, None)
    if header != HEADER:
        found = "nothing" if header is None else ",".join(header)[:100]
        raise SetupError(f"reading the market {path}, line 1: found {found!r}, expected {','.join(HEADER)!r}")
    last = -1
    for line, row in enumerate(rows, start=2):
        try:
            bar = _bar(row)
        except ValueError as error:
            raise SetupError(f"reading the market {path}, line {line}: {error}") from error
        if bar.open_time_ms <= last:
            raise SetupError(
                f"reading the market {path}, line {line}: time {bar.open_time_ms} does not come after {last}"
            )
        last = bar.open_time_ms
        yield bar


def _bar(row: list[str]) -> Bar:
    if len(row) != len(HEADER):
        raise ValueError(f"found {len(row)} columns, expected {len(HEADER)}")
    opened, high, low, close = (_micro(text) for text in row[1:5])
    if not low <= min(opened, close) or not max(opened, close) <= high:
        raise ValueError(
            f"open {row[1]} and close {row[4]} do not lie between low {row[3]} and high {row[2]}"
        )
    return Bar(int(row[0]), opened, high, low, close)


def _micro(text: str) -> int:
    try:
        price = Decimal(text)
    except InvalidOperation:
        raise ValueError(f"{text[:40]!r} is not a price") from None
    if not price.is_finite():
        raise ValueError(f"{text!r} is not a price")
    micro = int(price.scaleb(_MICRO))
    if not _LOWEST <= micro <= _HIGHEST:
        raise ValueError(f"price {text} is not between 0.001 and 1000000")
    return micro


def _within(bar: Bar, ms: int) -> int:
    turns = (bar.low, bar.high) if bar.close >= bar.open else (bar.high, bar.low)
    corners = (bar.open, *turns, bar.close)
    third = BAR_MS // 3
    leg, into = divmod(min(ms, BAR_MS), third)
    if leg >= 3:
        return bar.close
    return corners[leg] + (corners[leg + 1] - corners[leg]) * into // third
