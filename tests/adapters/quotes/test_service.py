"""The quote service over a book of all vector pools: exact, as old as it says, and refused in words."""

from __future__ import annotations

import contextlib
from dataclasses import replace

import pytest
from solders.pubkey import Pubkey
from vector_book import Clock, own_pools, vector_book, vector_reading

from adapters.quotes.book import LiveBook, Sight
from adapters.quotes.reader import Reading
from adapters.quotes.service import MAX_BATCH, Quotes
from adapters.solana.pool_program import ChainTime
from adapters.solana.pool_programs import POOL_PROGRAMS
from domain.chain import Mint, Slot
from domain.errors import InvalidInput, NoRoute, QuoteError, StalePool, UnknownMint
from domain.market.quotes import Quotation, QuoteRequest
from domain.market.routing.graph import TradablePool

NOBODY = Mint("Vote111111111111111111111111111111111111111")


def service(book: LiveBook, clock: Clock) -> Quotes:
    return Quotes(book, clock, max_stale_us=5_000_000)


def question(pool: TradablePool, amount: int = 10**6) -> QuoteRequest:
    return QuoteRequest(pool.mint_a, pool.mint_b, amount, max_legs=1)


@pytest.mark.parametrize("protocol", POOL_PROGRAMS)
async def test_a_quote_is_what_the_pool_pays(protocol: str) -> None:
    """One pool of each program: amounts and fees as its own mathematics gives them."""
    clock = Clock()
    quotes = service(vector_book(clock, protocol), clock)
    answered = 0
    for pool, *_ in quotes.pools():
        try:
            found = await quotes.quote(question(pool))
        except NoRoute:
            continue  # an empty side, or a pool that ends below the amount
        for (leg,) in found.paths:
            held = quotes.book.graph.get(leg.pool)
            assert held is not None
            own = held.pool.quote_exact_in(leg.amount_in, a_to_b=leg.mint_in == held.mint_a)
            assert (leg.amount_out, leg.fee_in, leg.fee_out) == (own.amount_out, own.fee_in, own.fee_out)
        answered += 1
    assert answered >= 8


async def test_what_nobody_can_answer_is_refused_in_words() -> None:
    clock = Clock()
    quotes = service(vector_book(clock, "raydium_cpmm"), clock)
    pool = quotes.pools()[0][0]
    bad: list[tuple[QuoteRequest, type[InvalidInput], str]] = [
        (question(pool, 0), QuoteError, "amounts run"),
        (question(pool, 2**64), QuoteError, "amounts run"),
        (QuoteRequest(pool.mint_a, pool.mint_a, 5), QuoteError, "itself"),
        (question(pool)._replace(max_legs=4), QuoteError, "1 to 3"),
        (question(pool)._replace(max_parts=0), QuoteError, "1 to 4"),
        (QuoteRequest(pool.mint_a, NOBODY, 5), UnknownMint, "no pool"),
        (QuoteRequest(Mint("nonsense"), pool.mint_b, 5), InvalidInput, "no Solana address"),
    ]
    for request, kind, says in bad:
        with pytest.raises(kind, match=says):
            await quotes.quote(request)
    assert not quotes._answers


async def test_every_amount_is_answered_or_has_no_route() -> None:
    """All pools of all programs, both directions, both modes: what is given is kept to, the rest is said."""
    clock = Clock()
    quotes = service(vector_book(clock), clock)
    given = 0
    for pool, *_ in quotes.pools():
        for amount in (1, 1_000, 10**9, 2**64 - 1):
            for exact_in in (True, False):
                request = question(pool, amount)._replace(exact_in=exact_in)
                for asked in (request, request._replace(mint_in=pool.mint_b, mint_out=pool.mint_a)):
                    with contextlib.suppress(NoRoute):
                        found = await quotes.quote(asked)
                        assert (found.amount_in if exact_in else found.amount_out) == amount
                        given += 1
    assert given > 500


async def test_a_batch_answers_each_in_its_place() -> None:
    clock = Clock()
    quotes = service(vector_book(clock, "raydium_cpmm"), clock)
    pool = quotes.pools()[0][0]
    good, bad = question(pool), question(pool, 0)
    first, second, third = await quotes.quote_many([good, bad, good])
    assert first == third
    assert isinstance(second, QuoteError)
    with pytest.raises(InvalidInput, match="101"):
        await quotes.quote_many([good] * (MAX_BATCH + 1))


async def test_an_answer_is_remembered_until_its_pool_changes() -> None:
    """The same question costs nothing; a newer reading of the pool makes it a new one."""
    clock = Clock()
    book = vector_book(clock, "raydium_cpmm")
    quotes = service(book, clock)
    raw = own_pools("raydium_cpmm")[0]
    reading = vector_reading("raydium_cpmm", raw)
    held = book.graph.get(reading.found.address)
    assert held is not None
    before = await quotes.quote(question(held))
    assert list(quotes._answers) == [question(held)]
    other = vector_reading("raydium_cpmm", raw, slot=101)
    assert book.take([_with_more_in(other, raw["accounts"]["vaultA"]["pubkey"])]) == 1
    assert not quotes._answers
    after = await quotes.quote(question(held))
    assert (after.amount_out, after.slot) != (before.amount_out, before.slot)
    assert after.slot == 101
    assert sum(book.moved().values()) == 1_000_000


async def test_a_stale_pool_is_not_quoted_and_a_resting_one_is() -> None:
    """A watched pool that rests is as good as new; five seconds without a sign of life are too much."""
    clock = Clock()
    book = vector_book(clock, "raydium_cpmm")
    quotes = service(book, clock)
    pool = quotes.pools()[0][0]
    clock.now_us += 3_000_000
    found = await quotes.quote(question(pool))
    assert (found.stale_us, found.slot, found.newest_slot) == (3_000_000, 100, 100)
    clock.now_us += 3_000_000
    with pytest.raises(StalePool, match="sight of the chain was lost"):
        await quotes.quote(question(pool))
    book.take([vector_reading("raydium_cpmm", own_pools("raydium_cpmm")[0], slot=120)])
    again = next(pool for pool, *_ in quotes.pools() if quotes.book.age(pool.address)[1] == 0)
    assert (await quotes.quote(question(again))).stale_us == 0


def test_a_pool_said_to_have_changed_grows_old_until_it_is_read() -> None:
    """What the watcher hears later vouches for the others; a slot already read says nothing new."""
    clock = Clock()
    sight = Sight(since_us=clock(), alive_us=clock(), alive_slot=Slot(100))
    book = LiveBook(clock)
    raws = own_pools("raydium_cpmm")[:3]
    one, other, third = (vector_reading("raydium_cpmm", raw) for raw in raws)
    book.take([one, other, third], sight)
    clock.now_us += 2_000_000
    sight.alive(clock(), Slot(104))
    book.heard(Slot(104), book.time)
    clock.now_us += 1_000_000
    book.doubt({one.found.address: Slot(105), other.found.address: Slot(99)})
    sight.alive(clock(), Slot(105))
    book.heard(Slot(106), book.time)
    assert book.age(one.found.address) == (2, 1_000_000)
    assert book.age(other.found.address) == book.age(third.found.address) == (1, 0)
    book.take([vector_reading("raydium_cpmm", raws[0], slot=106)], sight)
    assert book.age(one.found.address) == (0, 0)


def test_a_busy_watcher_vouches_for_no_more_than_it_has_looked_at() -> None:
    clock = Clock()
    sight = Sight(since_us=clock(), alive_us=clock(), alive_slot=Slot(100))
    book = LiveBook(clock)
    reading = vector_reading("raydium_cpmm", own_pools("raydium_cpmm")[0])
    book.take([reading], sight)
    clock.now_us += 1_000_000
    sight.busy_since_us = clock()
    clock.now_us += 3_000_000
    sight.alive(clock(), Slot(108))
    assert book.age(reading.found.address)[1] == 3_000_000
    sight.busy_since_us = None
    sight.alive(clock(), Slot(108))
    assert book.age(reading.found.address)[1] == 0


def test_a_reading_that_found_nothing_new_still_outdates_earlier_ones() -> None:
    """The same state at slot 110: what slot 105 said came before it, and the pool is known to hold at 110."""
    clock = Clock()
    book = vector_book(clock, "raydium_cpmm")
    raw = own_pools("raydium_cpmm")[0]
    reading = vector_reading("raydium_cpmm", raw, slot=110)
    assert book.take([reading]) == 0
    assert book.age(reading.found.address)[0] == 0
    earlier = vector_reading("raydium_cpmm", raw, slot=105)
    assert book.take([_with_more_in(earlier, raw["accounts"]["vaultA"]["pubkey"])]) == 0


def test_an_older_reading_changes_nothing() -> None:
    clock = Clock()
    book = vector_book(clock, "raydium_cpmm")
    before = book.graph.pools()
    assert book.take([vector_reading("raydium_cpmm", own_pools("raydium_cpmm")[0], slot=99)]) == 0
    assert book.graph.pools() == before


async def test_fees_that_follow_the_clock_are_of_now() -> None:
    """A DLMM pool's fee falls while it rests: an hour on its quote is another, without a new reading."""
    quotes = vector_dlmm_quotes(Clock())
    book = quotes.book
    wanted = [question(pool, 10**5) for pool, *_ in quotes.pools()]
    before = [found for found in await quotes.quote_many(wanted) if isinstance(found, Quotation)]
    book.heard(book.newest_slot, ChainTime(book.time.unix_time + 3_600, book.time.epoch))
    after = [found for found in await quotes.quote_many(wanted) if isinstance(found, Quotation)]
    assert len(before) == len(after) >= 8
    assert sum(one.amount_out != two.amount_out for one, two in zip(before, after, strict=True)) >= 4
    for found in after:
        (leg,) = found.paths[0]
        pool = book.graph.get(leg.pool)
        assert pool is not None
        own = pool.pool.quote_exact_in(leg.amount_in, a_to_b=leg.mint_in == pool.mint_a)
        assert leg.amount_out == own.amount_out


async def test_one_answer_made_anew_leaves_no_other_with_old_fees() -> None:
    """Two questions to one DLMM pool, an hour passes: both are answered with the fees of now."""
    clock = Clock()
    quotes = vector_dlmm_quotes(clock)
    wanted = [question(pool, amount) for pool, *_ in quotes.pools() for amount in (10**5, 2 * 10**5)]
    before = [*map(str, await quotes.quote_many(wanted))]
    quotes.book.heard(quotes.book.newest_slot, ChainTime(quotes.book.time.unix_time + 3_600, 0))
    after = [*map(str, await quotes.quote_many(wanted))]
    quotes.forget()
    assert after == [*map(str, await quotes.quote_many(wanted))]
    assert sum(one != other for one, other in zip(before[1::2], after[1::2], strict=True)) >= 4


def vector_dlmm_quotes(clock: Clock) -> Quotes:
    """All DLMM vector pools, their prices moved a second ago."""
    book = LiveBook(clock)
    raws = own_pools("meteora_dlmm")
    book.take([_just_moved(vector_reading("meteora_dlmm", raw)) for raw in raws], Sight(since_us=clock()))
    return service(book, clock)


def _just_moved(reading: Reading) -> Reading:
    """A DLMM pool whose price moved a second ago: its fee is high and will fall."""
    key = Pubkey.from_string(reading.found.address)
    account = reading.accounts[key]
    assert account is not None
    volatility = (100_000).to_bytes(4, "little") * 2  # accumulator and reference
    last_update = (reading.time.unix_time - 1).to_bytes(8, "little")
    data = account.data[:40] + volatility + account.data[76:80] + account.data[52:56] + last_update
    return replace(
        reading, accounts={**reading.accounts, key: replace(account, data=data + account.data[64:])}
    )


def _with_more_in(reading: Reading, vault: str) -> Reading:
    """The same with 1,000,000 base units more in one vault."""
    key = Pubkey.from_string(vault)
    account = reading.accounts[key]
    assert account is not None
    amount = int.from_bytes(account.data[64:72], "little") + 1_000_000
    data = account.data[:64] + amount.to_bytes(8, "little") + account.data[72:]
    return replace(reading, accounts={**reading.accounts, key: replace(account, data=data)})
