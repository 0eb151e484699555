"""What the market shows: pool states, others' quotes, and the gaps in our sight.

Streams `pool-<address>`, `quote-<source>`, `feed-<name>`.
"""

from __future__ import annotations

from dataclasses import dataclass

from domain.chain import Address, Mint, Slot
from domain.events import MarketEvent, event_type


@dataclass(frozen=True, slots=True)
class PoolFees:
    """A constant product pool's fee terms, each a rate in 10^-6.

    Attributes:
        trade_rate: of the input, taken before the curve.
        protocol_rate: share of the trade fee kept for the protocol.
        fund_rate: share of the trade fee kept for the fund.
        creator_rate: of the side named by `creator_fee_on`; 0 where the pool has none.
        creator_fee_on: 0 the input, 1 token a only, 2 token b only.
    """

    trade_rate: int
    protocol_rate: int
    fund_rate: int
    creator_rate: int = 0
    creator_fee_on: int = 0


@event_type("market.pool_updated")
@dataclass(frozen=True, slots=True)
class PoolUpdated(MarketEvent):
    """A pool was seen in this state.

    Attributes:
        protocol: the program's name, e.g. `raydium_cpmm`.
        pool: the pool account.
        slot: the slot of the reading; all fields are of this one slot.
        mint_a, mint_b: the pair, in the pool's own order.
        reserve_a, reserve_b: what can be traded, in base units: vault balances less the fees kept in them.
        fees: the pool's fee terms.
        open: whether the program accepts swaps now.
    """

    protocol: str
    pool: Address
    slot: Slot
    mint_a: Mint
    mint_b: Mint
    reserve_a: int
    reserve_b: int
    fees: PoolFees
    open: bool


@event_type("market.gap")
@dataclass(frozen=True, slots=True)
class MarketGap(MarketEvent):
    """Observations were lost: a hole in the record is itself on record.

    Attributes:
        feed: the scanner's name.
        dropped: how many observations were dropped, where known.
        since: when the gap began, microseconds since the epoch.
        until: when it ended.
        reason: why, in words.
    """

    feed: str
    dropped: int
    since: int
    until: int
    reason: str


@event_type("market.outside_quote")
@dataclass(frozen=True, slots=True)
class OutsideQuote(MarketEvent):
    """Somebody else's quote was given out as an answer: what may decide a trade is on record.

    Attributes:
        source: who quoted, e.g. `jupiter`.
        mint_in, mint_out: what would be sold and bought.
        exact_in: whether the input was given, else the output.
        amount_in, amount_out: what it promised, in base units.
        slot: the slot it says it speaks of; 0 where it says none.
    """

    source: str
    mint_in: Mint
    mint_out: Mint
    exact_in: bool
    amount_in: int
    amount_out: int
    slot: Slot
