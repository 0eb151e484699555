"""The network's pools as the rest of daybook sees them: read, quoted and swapped through their programs."""

from __future__ import annotations

from typing import Final, Protocol, TypeVar

from solders.pubkey import Pubkey

from adapters.localnet.founding import Pool
from adapters.localnet.ledger import SLOTS_PER_EPOCH, Ledger
from adapters.solana.accounts import Account
from adapters.solana.pool_program import Accounts, ChainTime
from adapters.solana.pool_programs import POOL_PROGRAMS
from domain.errors import QuoteError
from domain.market.amm.constant_product import ConstantProductPool, amount_in_to_price
from domain.market.amm.pool import U64_MAX, Quote

_MAX_ROUNDS: Final = 8
"""Each round of `around` names accounts that those before name; no program needs more than three."""

Q = TypeVar("Q", bound=Quote)


class Movable(Protocol[Q]):
    """A pool that can be followed through a swap."""

    def quote_exact_in(self, amount: int, *, a_to_b: bool) -> Q:
        """Quote a swap that sends `amount`."""
        ...

    def after(self, quote: Q) -> Movable[Q]:
        """The pool after `quote` was carried out."""
        ...

    def spot_price(self) -> tuple[int, int]:
        """Base units of b, for base units of a."""
        ...


def chain_time(ledger: Ledger) -> ChainTime:
    """The clock of the open block."""
    block = ledger.blocks.open
    return ChainTime(block.unix_time, block.slot // SLOTS_PER_EPOCH)


def read_around(ledger: Ledger, pool: Pool) -> Accounts:
    """The pool's account and all that its program names around it, as they are now."""
    program = POOL_PROGRAMS[pool.protocol]
    accounts: dict[Pubkey, Account | None] = {}
    for _ in range(_MAX_ROUNDS):
        missing = program.around(pool.address, accounts)
        if not missing:
            break
        for key in missing:
            found = ledger.account(key)
            accounts[key] = Account(found.lamports, found.owner, found.data) if found else None
    return accounts


def amount_to_price(pool: Movable[Q] | ConstantProductPool, price_b: int, price_a: int) -> tuple[int, bool]:
    """Find the largest swap that does not carry the pool's price past `price_b / price_a` (b per a).

    Returns:
        (amount_in, a_to_b); the amount is 0 where the pool stands there already or its liquidity ends.
    """
    if isinstance(pool, ConstantProductPool):
        return amount_in_to_price(pool, price_b, price_a)
    units_b, units_a = pool.spot_price()
    a_to_b = units_b * price_a > price_b * units_a
    low, high = 0, 1
    while high <= U64_MAX and _stays_within(pool, high, price_b, price_a, a_to_b=a_to_b):  # 64 rounds at most
        low, high = high, high * 2
    while low < high - 1:  # halves the interval: as many rounds again
        middle = (low + high) // 2
        if _stays_within(pool, middle, price_b, price_a, a_to_b=a_to_b):
            low = middle
        else:
            high = middle
    return (low if low > _SMALLEST_PAID else 0), a_to_b


def _stays_within(pool: Movable[Q], amount: int, price_b: int, price_a: int, *, a_to_b: bool) -> bool:
    """Whether a swap leaves the price on its side; one too small to be paid anything does."""
    try:
        quote = pool.quote_exact_in(amount, a_to_b=a_to_b)
    except QuoteError:
        return amount < _SMALLEST_PAID
    if quote.partial:
        return False
    units_b, units_a = pool.after(quote).spot_price()
    cross = units_b * price_a - price_b * units_a
    return cross >= 0 if a_to_b else cross <= 0


_SMALLEST_PAID: Final = 100_000
"""Up to so many lamports or micro-USDC a refusal means too little, above it that the liquidity ends."""
