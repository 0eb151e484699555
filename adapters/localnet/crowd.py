"""A seeded crowd of traders who move the pools with real signed swaps.

The crowd pulls each pool to a target price. Without a record the target walks at random, and now and then a
large order hits one pool only. With a record the target is the recorded price: one pool leads, the other
follows seconds later. Either way the pools part by more than their fees at times: that is the arbitrage.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import count
from random import Random
from typing import Any, Final, Protocol

from solders.compute_budget import set_compute_unit_price
from solders.keypair import Keypair
from solders.message import MessageV0
from solders.pubkey import Pubkey
from solders.transaction import VersionedTransaction

from adapters.localnet.faucet import Faucet
from adapters.localnet.founding import LAMPORTS_PER_SOL, USDC_MINT, WSOL_MINT, Pool, named_keypair
from adapters.localnet.history import Executed
from adapters.localnet.klines import PricePath
from adapters.localnet.ledger import Ledger
from adapters.localnet.pools import amount_to_price, chain_time, read_around
from adapters.solana.pool_program import Accounts, SwapRequest
from adapters.solana.pool_programs import POOL_PROGRAMS
from adapters.solana.programs.associated_token import associated_address
from domain.errors import InvariantBroken

TRADERS: Final = 8
_WALLET: Final = 1_000 * LAMPORTS_PER_SOL
_TOKENS: Final = 200_000 * LAMPORTS_PER_SOL  # more than a tenfold price move could ask of one trader
_SLIPPAGE_PER_MILLE: Final = 5

_STEP_PPM: Final = 250
"""Largest step of the random walk per trade: about 0.1 % in ten trades."""
_LARGE_ORDER_ONE_IN: Final = 12
_LARGE_ORDER_PPM: Final = (6_000, 15_000)
"""A large order moves one pool by 0.6 to 1.5 %: beyond the two fees of 0.30 %."""
_REST_TRADES: Final = 15
"""Trades before the crowd notices a large order: a second and a half at the default rate."""
_NOISE_PPM: Final = 100
"""With a record, trades scatter this far around its price."""
_LAG_TRADES: Final = 25
"""With a record, trades of the leading pool before the other follows."""


class Target(Protocol):
    """Says what trade comes next."""

    def next_trade(self, now_us: int) -> tuple[int, int]:
        """Give (pool index, price to move it to in micro-USDC per SOL)."""
        ...

    def price(self, now_us: int) -> int:
        """What the market says a SOL is worth, micro-USDC."""
        ...


class RandomMarket:
    """A price that walks at random around nothing, and large orders that hit one pool."""

    def __init__(self, rng: Random, price: int, pools: int) -> None:
        self._rng = rng
        self._price = price
        self._resting = [0] * pools

    def price(self, now_us: int) -> int:  # noqa: ARG002 - walks by trades, not by time
        """Where the walk stands."""
        return self._price

    def next_trade(self, now_us: int) -> tuple[int, int]:  # noqa: ARG002 - walks by trades, not by time
        """Step the price and pick a pool; a pool that took a large order is left alone for a while."""
        rng = self._rng
        self._price += self._price * rng.randint(-_STEP_PPM, _STEP_PPM) // 1_000_000
        self._resting = [max(trades - 1, 0) for trades in self._resting]
        alone = len(self._resting) == 1  # a large order in the only pool would leave no other to trade
        if rng.randrange(_LARGE_ORDER_ONE_IN) == 0 and not any(self._resting) and not alone:
            hit = rng.randrange(len(self._resting))
            self._resting[hit] = _REST_TRADES
            shift = rng.randint(*_LARGE_ORDER_PPM) * rng.choice((-1, 1))
            return hit, self._price + self._price * shift // 1_000_000
        free = [index for index, trades in enumerate(self._resting) if not trades]
        return rng.choice(free), self._price


class RecordedMarket:
    """A recorded price, `speed` recorded seconds a second; after its end it stays about the last price."""

    def __init__(self, rng: Random, path: PricePath, speed: int, pools: int, start_us: int) -> None:
        self._rng = rng
        self._path = path
        self._speed = speed
        self._pools = pools
        self._start_us = start_us
        self._trades = 0
        self._leader = 0

    def price(self, now_us: int) -> int:
        """The recorded price."""
        return self._path.price((now_us - self._start_us) * self._speed // 1_000)

    def next_trade(self, now_us: int) -> tuple[int, int]:
        """Follow the record with the leading pool; every so often the next pool catches up and leads."""
        self._trades += 1
        if self._trades % _LAG_TRADES == 0:
            self._leader = (self._leader + 1) % self._pools
        price = self.price(now_us)
        return self._leader, price + price * self._rng.randint(-_NOISE_PPM, _NOISE_PPM) // 1_000_000


@dataclass(frozen=True, slots=True)
class _Trader:
    """One trader with its addresses: deriving them costs more than a swap."""

    keypair: Keypair
    address: Pubkey
    wsol: Pubkey
    usdc: Pubkey


class Crowd:
    """Trades on the ledger like any client, by signed transactions."""

    def __init__(
        self,
        ledger: Ledger,
        faucet: Faucet,
        pools: tuple[Pool, ...],
        target: Target,
        *,
        seed: int,
        rng: Random,
    ) -> None:
        self._ledger = ledger
        self._pools = pools
        self._target = target
        self._rng = rng
        self._serial = count(1)
        self.swaps = 0
        self._traders = [_trader(seed, index) for index in range(TRADERS)]
        for trader in self._traders:
            faucet.fund(trader.address, lamports=_WALLET, wsol=_TOKENS, usdc=_TOKENS // 10)

    def trade(self, now_us: int) -> Executed | None:
        """Make the next trade; None where the pool already stands at its target."""
        index, price = self._target.next_trade(now_us)
        pool = self._pools[index]
        accounts = read_around(self._ledger, pool)
        tradable: Any = POOL_PROGRAMS[pool.protocol].quotable(
            pool.address, accounts, chain_time(self._ledger)
        )
        amount, a_to_b = amount_to_price(tradable, price, LAMPORTS_PER_SOL)
        if amount == 0:
            return None
        quoted = tradable.quote_exact_in(amount, a_to_b=a_to_b)
        least = quoted.amount_out - quoted.amount_out * _SLIPPAGE_PER_MILLE // 1_000
        executed = self._ledger.submit(self._signed(pool, accounts, amount, least, a_to_b=a_to_b))
        if not isinstance(executed, Executed):
            raise InvariantBroken(f"the crowd's swap was refused: {executed}")
        self.swaps += executed.outcome.error is None
        return executed

    def _signed(
        self, pool: Pool, accounts: Accounts, amount: int, least: int, *, a_to_b: bool
    ) -> VersionedTransaction:
        trader = self._rng.choice(self._traders)
        source, destination = (trader.wsol, trader.usdc) if a_to_b else (trader.usdc, trader.wsol)
        request = SwapRequest(
            pool.address,
            accounts,
            trader.address,
            source,
            destination,
            a_to_b,
            exact_in=True,
            amount=amount,
            limit=least,
        )
        swap = POOL_PROGRAMS[pool.protocol].swap(request)
        # The price is a serial number too: two equal swaps in one block would be one transaction.
        instructions = [set_compute_unit_price(next(self._serial)), swap]
        blockhash = self._ledger.blocks.open.blockhash
        message = MessageV0.try_compile(trader.address, instructions, [], blockhash)
        return VersionedTransaction(message, [trader.keypair])


def _trader(seed: int, index: int) -> _Trader:
    keypair = named_keypair(seed, f"trader {index}")
    address = keypair.pubkey()
    return _Trader(
        keypair, address, associated_address(address, WSOL_MINT), associated_address(address, USDC_MINT)
    )
