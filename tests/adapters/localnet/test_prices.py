"""Pyth's price accounts follow the market by signed updates that only the network's publisher may make."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
from localnets import NOW_US, LocalChain, local_chain

from adapters.localnet.emulated_pyth import Price, update_price_feed
from adapters.localnet.faucet import Faucet
from adapters.localnet.genesis import create_world
from adapters.localnet.ledger import Ledger
from adapters.localnet.prices import FEEDS, SLOTS_PER_UPDATE, Publisher
from adapters.solana.programs import pyth
from adapters.solana.programs.pyth import PriceUpdate

SOL_USD, USDC_USD = FEEDS.values()
STEP_S = 2


@dataclass(slots=True)
class Market:
    """A price and a clock that tests set."""

    micro: int = 150_000_000
    now_us: int = NOW_US


def read(ledger: Ledger, feed_id: bytes) -> PriceUpdate:
    account = ledger.account(pyth.feed_address(feed_id))
    assert account is not None
    return pyth.decode_price_update(account.data, account.owner)


def priced_chain(market: Market) -> tuple[LocalChain, Publisher]:
    ledger = Ledger(lambda: market.now_us)
    world = create_world(ledger, seed=1)
    chain = LocalChain(ledger, world, Faucet(ledger, world.faucet))
    return chain, Publisher(ledger, world.publisher, lambda: market.micro)


def pass_update(chain: LocalChain, market: Market) -> None:
    market.now_us += STEP_S * 1_000_000
    for _ in range(SLOTS_PER_UPDATE):
        chain.ledger.advance()


def test_the_sponsored_feeds_have_their_addresses_of_the_real_chain() -> None:
    assert str(pyth.feed_address(SOL_USD)) == "7UVimffxr9ow1uXYxsr4LHAcV58mLzhmwaeKvJ1pjLiE"
    assert str(pyth.feed_address(USDC_USD)) == "Dpw1EAVrSB1ibxiDQyTAW6Zip3J4Btk2x4SgApQCeFbX"


def test_a_price_is_there_from_the_first_block() -> None:
    ledger = local_chain().ledger
    assert read(ledger, SOL_USD).ratio() == (15_000_000_000, 10**8)
    assert read(ledger, USDC_USD).ratio() == (10**8, 10**8)


def test_prices_follow_the_market_and_their_average_follows_slowly() -> None:
    market = Market()
    chain, publisher = priced_chain(market)
    pass_update(chain, market)
    market.micro = 165_000_000
    pass_update(chain, market)
    sol, usdc = read(chain.ledger, SOL_USD), read(chain.ledger, USDC_USD)
    assert sol.ratio() == (16_500_000_000, 10**8)
    assert sol.conf == 16_500_000_000 // 2_000
    assert 15_000_000_000 < sol.ema_price < 15_100_000_000
    assert sol.publish_time == NOW_US // 10**6 + 2 * STEP_S
    assert sol.prev_publish_time == sol.publish_time - STEP_S
    assert sol.posted_slot <= chain.ledger.blocks.open.slot < sol.posted_slot + SLOTS_PER_UPDATE
    assert usdc.ratio() == (10**8, 10**8)
    assert publisher.updates == 4


def test_updates_are_transactions_that_anybody_can_look_up() -> None:
    market = Market()
    chain, _ = priced_chain(market)
    pass_update(chain, market)
    newest = next(chain.ledger.history.of(pyth.feed_address(SOL_USD)))
    assert newest.outcome.error is None
    assert pyth.feed_address(SOL_USD) in newest.changed
    assert any("UpdatePriceFeed" in line for line in newest.outcome.logs)


def test_no_second_brings_two_prices() -> None:
    market = Market()
    chain, publisher = priced_chain(market)
    for _ in range(3 * SLOTS_PER_UPDATE):
        chain.ledger.advance()
    assert publisher.updates == 2


@pytest.mark.parametrize(
    ("change", "number"),
    [({"publish_time": 0}, 6000), ({}, 6015), ({"feed_id": bytes(32)}, 3012)],
    ids=["older than what is there", "another signer", "no such feed"],
)
def test_updates_that_are_refused(change: dict[str, object], number: int) -> None:
    chain = local_chain()
    before = read(chain.ledger, SOL_USD)
    later = before.publish_time + 10
    price = Price(SOL_USD, 1, 0, -8, later, before.publish_time, 1, 0)
    if number != 6015:
        chain.ledger.emulations.pyth.publisher = chain.wallet
    wrong = replace(price, **change)  # type: ignore[arg-type]  # the parameters name fields and fit them
    executed = chain.land(update_price_feed(chain.wallet, wrong))
    assert executed.outcome.error == {"InstructionError": [0, {"Custom": number}]}
    assert read(chain.ledger, SOL_USD) == before


def test_a_broken_message_is_refused() -> None:
    chain = local_chain()
    price = Price(SOL_USD, 1, 0, -8, 2**40, 0, 1, 0)
    good = update_price_feed(chain.wallet, price)
    for data in (good.data[:-1], good.data[:12] + b"\x01" + good.data[13:], b"\x00" * len(good.data)):
        executed = chain.land(type(good)(good.program_id, data, good.accounts), chain.unique())
        assert executed.outcome.error in (
            {"InstructionError": [0, {"Custom": 102}]},
            {"InstructionError": [0, {"Custom": 101}]},
        )
