"""Pyth's price feeds of SOL and USDC, kept up to the market by real signed updates.

A price is posted every fifth slot, two seconds on a real chain: guardians sign one each 400 ms, of which
sponsors post a part.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from solders.keypair import Keypair
from solders.message import MessageV0
from solders.pubkey import Pubkey
from solders.transaction import VersionedTransaction

from adapters.localnet.blocks import Block
from adapters.localnet.emulated_pyth import Price, price_account, update_price_feed
from adapters.localnet.history import Executed
from adapters.localnet.ledger import Ledger
from adapters.solana.programs.pyth import PriceUpdate

FEEDS: Final = {
    "SOL/USD": bytes.fromhex("ef0d8b6fda2ceba41da15d4095d1da392a0d2f8ed0c6c7bc0f4cfac8c280b56d"),
    "USDC/USD": bytes.fromhex("eaa020c61cc479712813461ce153894a96a6c00b21ed0cfc2798d1f9a9e9c94a"),
}
"""Pyth's ids of the feeds."""

SLOTS_PER_UPDATE: Final = 5

_EXPONENT: Final = -8
_PER_MICRO: Final = 100  # a micro-dollar is 100 units of 10^-8
_CONF_PARTS: Final = 2_000
"""The confidence interval is 5 basis points of the price, about what SOL has on a quiet day."""
_EMA_PARTS: Final = 720
"""Each update moves the average by this part: the average forgets in about half an hour."""
_DOLLAR: Final = 1_000_000


def first_price(name: str, micro: int, unix_time: int, slot: int) -> PriceUpdate:
    """Give the account of a feed before its first update; `micro` is micro-dollars per SOL."""
    value = (micro if name == "SOL/USD" else _DOLLAR) * _PER_MICRO
    conf = value // _CONF_PARTS
    price = Price(FEEDS[name], value, conf, _EXPONENT, unix_time - 1, unix_time - 1, value, conf)
    return price_account(price, slot)


class Publisher:
    """Posts both feeds every few slots; a `Listener` of the ledger. `micro` gives micro-dollars per SOL."""

    def __init__(self, ledger: Ledger, keypair: Keypair, micro: Callable[[], int]) -> None:
        self._ledger = ledger
        self._keypair = keypair
        self._micro = micro
        self._last: dict[str, Price] = {}
        self.updates = 0
        ledger.listen(self)

    def executed(self, executed: Executed) -> None:
        """Nothing to do here."""

    def rolled_back(self, kept: int, changed: Iterable[Pubkey]) -> None:
        """Nothing to do here: the next update is later than the lost ones."""

    def advanced(self, block: Block) -> None:
        """Post, when it is time and the clock has moved on: two prices of one second would be one."""
        if block.slot % SLOTS_PER_UPDATE:
            return
        for name, feed_id in FEEDS.items():
            value = (self._micro() if name == "SOL/USD" else _DOLLAR) * _PER_MICRO
            price = self._next(name, feed_id, value, block.unix_time)
            if price is not None:
                self._last[name] = price
                self._submit(price, block)

    def _next(self, name: str, feed_id: bytes, value: int, now: int) -> Price | None:
        conf = value // _CONF_PARTS
        last = self._last.get(name)
        if last is None:
            return Price(feed_id, value, conf, _EXPONENT, now, now - 1, value, conf)
        if now <= last.publish_time:
            return None
        average = last.ema_price + (value - last.ema_price) // _EMA_PARTS
        average_conf = last.ema_conf + (conf - last.ema_conf) // _EMA_PARTS
        return Price(feed_id, value, conf, _EXPONENT, now, last.publish_time, average, average_conf)

    def _submit(self, price: Price, block: Block) -> None:
        update = update_price_feed(self._keypair.pubkey(), price)
        message = MessageV0.try_compile(self._keypair.pubkey(), [update], [], block.blockhash)
        executed = self._ledger.submit(VersionedTransaction(message, [self._keypair]))
        self.updates += isinstance(executed, Executed)
