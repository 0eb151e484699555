"""PumpSwap pools: a constant product whose fees all lie on the quote token, each rounded up by itself.

Token a is the base (the coin), token b the quote. Buying adds the fees on top of what the curve asks,
selling deducts them from what it pays. The rates follow the market cap, so a swap may change them for the
next. Follows pump-swap-sdk 1.20.0.

All amounts are base units, all rates basis points.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from domain.errors import QuoteError
from domain.market.amm.pool import U64_MAX, check_amount

BPS: Final = 10_000
"""Fee rates are parts of this."""

FIXED_SUPPLY: Final = 10**15
"""What the market cap of a mayhem pool is reckoned with instead of the mint's supply."""

_quote = tuple.__new__  # a third faster than the NamedTuple's own constructor: quotes are a hot loop


class Fees(NamedTuple):
    """Rates of the three takers; `creator` is 0 where a pool has no coin creator."""

    lp: int
    protocol: int
    creator: int


class FeeTier(NamedTuple):
    """The fees from a market cap on, in base units of the quote token."""

    market_cap: int
    fees: Fees


class PumpSwapQuote(NamedTuple):
    """What one swap would do.

    Attributes:
        a_to_b: True when the base token is sold.
        amount_in: leaves the user's account. `amount_out`: arrives in it; 0 means the program refuses.
        curve_quote: quote tokens the curve itself took or paid, before fees.
        lp_fee, protocol_fee, creator_fee: in the quote token; the first stays in the pool.
    """

    a_to_b: bool
    amount_in: int
    amount_out: int
    curve_quote: int
    lp_fee: int
    protocol_fee: int
    creator_fee: int

    @property
    def fee_in(self) -> int:
        """The fees of a buy."""
        return 0 if self.a_to_b else self.lp_fee + self.protocol_fee + self.creator_fee

    @property
    def fee_out(self) -> int:
        """The fees of a sale."""
        return self.lp_fee + self.protocol_fee + self.creator_fee if self.a_to_b else 0

    @property
    def partial(self) -> bool:
        """Never: a product curve has no end."""
        return False


class PumpSwapPool(NamedTuple):
    """One pool's tradable state; make it with `priced`, which picks the fees.

    Attributes:
        reserve_a: base tokens in the vault. `reserve_b`: quote tokens in the vault.
        virtual_b: quote tokens the curve counts though they are not there.
        fees: in force at these reserves.
        supply: what the market cap is reckoned with.
        tiers: by rising market cap; one entry where the fees are flat.
        buys, sells: whether the program takes them now.
    """

    reserve_a: int
    reserve_b: int
    virtual_b: int
    fees: Fees
    supply: int
    tiers: tuple[FeeTier, ...]
    buys: bool = True
    sells: bool = True

    def quote_exact_in(self, amount: int, *, a_to_b: bool) -> PumpSwapQuote:
        """Quote a swap that sends `amount`.

        Of a buy's `amount` up to two units stay with the user, where fees and curve do not share it evenly:
        `amount_in` is what the program takes.

        Raises:
            QuoteError: the amount is not a positive u64, the fees leave nothing, or the pool cannot trade.
        """
        reserve_a, reserve_b, virtual_b, (lp_rate, protocol_rate, creator_rate), _, _, _, _ = self
        effective_b = reserve_b + virtual_b
        if not 0 < amount <= U64_MAX or reserve_a <= 0 or reserve_b <= 0 or effective_b <= 0:
            self._refuse(amount)
        self._check_open(a_to_b)
        if a_to_b:
            curve = effective_b * amount // (reserve_a + amount)
        else:
            curve = amount * BPS // (BPS + lp_rate + protocol_rate + creator_rate)
        lp_fee = (curve * lp_rate + 9_999) // 10_000
        protocol_fee = (curve * protocol_rate + 9_999) // 10_000
        creator_fee = (curve * creator_rate + 9_999) // 10_000
        fee = lp_fee + protocol_fee + creator_fee
        if a_to_b:
            out = curve - fee
            if out < 0 or reserve_b < curve - lp_fee:
                self._refuse_sale(curve, fee)
        else:
            curve = min(curve, amount - fee)
            if curve <= 0:
                raise QuoteError(f"a buy for {amount} was asked for: the fees leave nothing to buy with")
            out = reserve_a * (curve - 1) // (effective_b + curve - 1)  # the program keeps one unit back
            amount = curve + fee
        return _quote(PumpSwapQuote, (a_to_b, amount, out, curve, lp_fee, protocol_fee, creator_fee))

    def quote_exact_out(self, amount: int, *, a_to_b: bool) -> PumpSwapQuote:
        """Quote a swap from which `amount` arrives.

        The program has an instruction for buys only. A sale's answer is the SDK's: it rounds the fees up
        once, the program each, so up to two units less may arrive.

        Raises:
            QuoteError: the amount is not a positive u64, the pool holds too little or cannot trade, or the
                input does not fit a u64.
        """
        if not 0 < amount <= U64_MAX or self.reserve_a <= 0 or min(self.reserve_b, self.effective_b) <= 0:
            self._refuse(amount)
        self._check_open(a_to_b)
        if a_to_b:
            curve = self.sale_of(amount)
            fees = self._fees_of(curve)
            if curve - fees[0] > self.reserve_b:
                self._refuse_sale(curve, 0)
            amount_in = -(-self.reserve_a * curve // (self.effective_b - curve))
        else:
            curve = self.cost_of(amount)
            fees = self._fees_of(curve)
            amount_in = curve + sum(fees)
        if amount_in > U64_MAX:
            raise QuoteError(f"paying out {amount} needs an input of {amount_in}, above 2^64: ask for less")
        return PumpSwapQuote(a_to_b, amount_in, amount, curve, *fees)

    def cost_of(self, amount: int) -> int:
        """Quote tokens the curve takes for `amount` base tokens, before fees; it may exceed a u64.

        Raises:
            QuoteError: the pool does not hold more than `amount`.
        """
        if amount >= self.reserve_a:
            raise QuoteError(
                f"a buy of {amount} was asked of a reserve of {self.reserve_a} base tokens: ask for less"
            )
        return -(-self.effective_b * amount // (self.reserve_a - amount))

    def sale_of(self, amount: int) -> int:
        """Quote tokens the curve must pay so that `amount` is left after fees.

        Raises:
            QuoteError: the pool holds too little.
        """
        kept = BPS - sum(self.fees)
        curve = -(-amount * BPS // kept)
        if amount > self.reserve_b or curve >= self.effective_b:
            raise QuoteError(
                f"a sale for {amount} was asked of a reserve of {self.reserve_b} quote tokens: ask for less"
            )
        return curve

    @property
    def effective_b(self) -> int:
        """Quote tokens the curve counts."""
        return self.reserve_b + self.virtual_b

    def spot_price(self) -> tuple[int, int]:
        """The marginal price before fees: (base units of the quote token, for base units of the base).

        Raises:
            QuoteError: a reserve is empty.
        """
        if self.reserve_a <= 0 or self.reserve_b <= 0 or self.effective_b <= 0:
            self._refuse(1)
        return self.effective_b, self.reserve_a

    def after(self, quote: PumpSwapQuote) -> PumpSwapPool:
        """Give the pool after `quote` was carried out, with the fees of its new market cap."""
        if quote.a_to_b:
            gained, paid = quote.amount_in, quote.curve_quote - quote.lp_fee
            return self._priced(self.reserve_a + gained, self.reserve_b - paid)
        gained, paid = quote.curve_quote + quote.lp_fee, quote.amount_out
        return self._priced(self.reserve_a - paid, self.reserve_b + gained)

    def _priced(self, reserve_a: int, reserve_b: int) -> PumpSwapPool:
        fees = fees_at(reserve_a, reserve_b + self.virtual_b, self.supply, self.tiers)
        return self._replace(reserve_a=reserve_a, reserve_b=reserve_b, fees=fees)

    def _fees_of(self, curve: int) -> tuple[int, int, int]:
        lp, protocol, creator = self.fees
        return -(-curve * lp // BPS), -(-curve * protocol // BPS), -(-curve * creator // BPS)

    def _check_open(self, a_to_b: bool) -> None:
        if not (self.sells if a_to_b else self.buys):
            raise QuoteError(f"the program takes no {'sales' if a_to_b else 'buys'} now")

    def _refuse(self, amount: int) -> None:
        check_amount(amount)
        raise QuoteError(
            f"the pool's reserves are {self.reserve_a} and {self.reserve_b} with {self.virtual_b} virtual: "
            "it cannot trade"
        )

    def _refuse_sale(self, curve: int, fee: int) -> None:
        if curve < fee:
            raise QuoteError(f"a sale pays {curve} quote tokens and {fee} of fees: sell more")
        raise QuoteError(f"a sale pays {curve} quote tokens and the vault holds {self.reserve_b}: sell less")


def priced(
    reserve_a: int, reserve_b: int, *, virtual_b: int, supply: int, tiers: tuple[FeeTier, ...]
) -> PumpSwapPool:
    """Make a pool with the fees its market cap calls for; `tiers` has at least one entry."""
    fees = fees_at(reserve_a, reserve_b + virtual_b, supply, tiers)
    return PumpSwapPool(reserve_a, reserve_b, virtual_b, fees, supply, tiers)


def fees_at(reserve_a: int, effective_b: int, supply: int, tiers: tuple[FeeTier, ...]) -> Fees:
    """The fees of the last tier whose market cap is reached, the first tier's below all of them."""
    if len(tiers) > 1 and reserve_a > 0:
        market_cap = effective_b * supply // reserve_a
        for tier in reversed(tiers):
            if market_cap >= tier.market_cap:
                return tier.fees
    return tiers[0].fees
