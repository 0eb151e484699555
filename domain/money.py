"""Money as whole numbers that refuse to be mixed: lamports, token amounts, exact prices, basis points."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NewType

from domain.chain import Mint
from domain.errors import InvalidInput

Lamports = NewType("Lamports", int)
"""10^-9 SOL."""

Bps = NewType("Bps", int)
"""Basis points: 10^-4 of a whole."""

LAMPORTS_PER_SOL: Final = 1_000_000_000
U64_MAX: Final = 2**64 - 1


@dataclass(frozen=True, slots=True)
class TokenAmount:
    """So many base units of one mint; adds only to its own kind.

    Attributes:
        mint: the token.
        base_units: the count in the token's smallest unit; may be negative in a difference.
    """

    mint: Mint
    base_units: int

    def __add__(self, other: TokenAmount) -> TokenAmount:
        self._same_mint(other)
        return TokenAmount(self.mint, self.base_units + other.base_units)

    def __sub__(self, other: TokenAmount) -> TokenAmount:
        self._same_mint(other)
        return TokenAmount(self.mint, self.base_units - other.base_units)

    def __neg__(self) -> TokenAmount:
        return TokenAmount(self.mint, -self.base_units)

    def _same_mint(self, other: TokenAmount) -> None:
        if self.mint != other.mint:
            raise InvalidInput(
                f"amounts of {self.mint} and {other.mint} do not add: convert one at a price first"
            )


@dataclass(frozen=True, slots=True)
class Price:
    """An exact ratio: `quote_units` of the quote mint for `base_units` of the base mint.

    Attributes:
        base: the mint that is priced.
        quote: the mint it is priced in.
        quote_units: numerator, in base units of the quote mint.
        base_units: denominator, in base units of the base mint; never 0.
    """

    base: Mint
    quote: Mint
    quote_units: int
    base_units: int

    def __post_init__(self) -> None:
        if self.base_units <= 0 or self.quote_units < 0:
            raise InvalidInput(
                f"a price of {self.quote_units} for {self.base_units} base units is not a price: "
                "the denominator must be above 0 and the numerator at least 0"
            )

    def value_of(self, amount: TokenAmount) -> TokenAmount:
        """The worth of `amount` in the quote mint, rounded down (towards minus infinity).

        Raises:
            InvalidInput: when `amount` is not of the base mint.
        """
        if amount.mint != self.base:
            raise InvalidInput(f"a price of {self.base} cannot value {amount.mint}")
        return TokenAmount(self.quote, amount.base_units * self.quote_units // self.base_units)

    def is_below(self, other: Price) -> bool:
        """Whether this price is lower than another of the same pair, exactly."""
        if (self.base, self.quote) != (other.base, other.quote):
            raise InvalidInput(
                f"prices of {self.base}/{self.quote} and {other.base}/{other.quote} do not compare"
            )
        return self.quote_units * other.base_units < other.quote_units * self.base_units


def format_units(base_units: int, decimals: int) -> str:
    """A whole number of base units as an exact decimal string, e.g. (1_500_000, 6) -> '1.500000'."""
    sign = "-" if base_units < 0 else ""
    whole, part = divmod(abs(base_units), 10**decimals)
    return f"{sign}{whole}.{part:0{decimals}d}" if decimals else f"{sign}{whole}"
