"""A local chain in this process and a book of its pools that quotes alone move: for benchmark `localnet`."""

from __future__ import annotations

from dataclasses import replace
from random import Random
from typing import Any

from solders.compute_budget import set_compute_unit_price
from solders.hash import Hash
from solders.instruction import Instruction
from solders.keypair import Keypair
from solders.message import MessageV0
from solders.pubkey import Pubkey
from solders.transaction import VersionedTransaction

from adapters.localnet.faucet import Faucet
from adapters.localnet.founding import USDC_MINT, WSOL_MINT, Pool
from adapters.localnet.genesis import OPENERS, World, create_world
from adapters.localnet.history import Executed
from adapters.localnet.ledger import Ledger
from adapters.localnet.pools import chain_time, read_around
from adapters.solana.pool_program import SwapRequest
from adapters.solana.pool_programs import POOL_PROGRAMS
from adapters.solana.programs import token
from adapters.solana.programs.associated_token import associated_address
from adapters.solana.programs.compute_budget import LAMPORTS_PER_SIGNATURE
from domain.errors import QuoteError
from domain.market.amm.dlmm import DlmmPool
from domain.market.amm.pool import U64_MAX

SOL = 10**9
KEYPAIR = Keypair.from_seed(b"the wallet of localnet's bench !"[:32])
WALLET = KEYPAIR.pubkey()
TOKENS = tuple(associated_address(WALLET, mint) for mint in (WSOL_MINT, USDC_MINT))
START_US = 1_750_000_000_000_000
UNITS = 200_000 + 3_000  # what a swap and a budget instruction ask for by default
ONE_OF_EACH = dict.fromkeys(OPENERS, 1)


class Chain:
    """A local chain in this process with one pool of each protocol, and a clock that is set by hand."""

    def __init__(self) -> None:
        self.now_us = START_US
        self.ledger = Ledger(lambda: self.now_us)
        self.world: World = create_world(self.ledger, seed=1, pools=ONE_OF_EACH)
        faucet = Faucet(self.ledger, self.world.faucet)
        faucet.fund(WALLET, lamports=10_000 * SOL, wsol=10_000_000 * SOL, usdc=10**15)
        self.ledger.advance()

    def swap(self, pool: Pool, amount: int, *, a_to_b: bool, exact_in: bool = True) -> Instruction:
        """A swap without a limit, as the pool's program wants it now."""
        user_in, user_out = TOKENS if a_to_b else TOKENS[::-1]
        accounts, limit = read_around(self.ledger, pool), 0 if exact_in else U64_MAX
        request = SwapRequest(
            pool.address, accounts, WALLET, user_in, user_out, a_to_b, exact_in, amount, limit
        )
        return POOL_PROGRAMS[pool.protocol].swap(request)

    def held(self, account: Pubkey) -> int:
        """What a token account holds."""
        found = self.ledger.account(account)
        return token.token_amount(found.data) if found else 0

    def quotable(self, pool: Pool) -> Any:  # noqa: ANN401 - six kinds of pool
        """The pool as the chain has it."""
        accounts = read_around(self.ledger, pool)
        return POOL_PROGRAMS[pool.protocol].quotable(pool.address, accounts, chain_time(self.ledger))


def signed(instruction: Instruction, blockhash: Hash, serial: int) -> VersionedTransaction:
    """A transaction of its own: the price of a compute unit is its serial number."""
    both = [set_compute_unit_price(serial), instruction]
    return VersionedTransaction(MessageV0.try_compile(WALLET, both, [], blockhash), [KEYPAIR])


class Book:
    """Every pool, and what the wallet should hold, moved by quotes alone."""

    def __init__(self, chain: Chain, rng: Random) -> None:
        self.chain = chain
        self.rng = rng
        self.pools: list[Any] = [chain.quotable(pool) for pool in chain.world.pools]
        self.tokens = [chain.held(account) for account in TOKENS]
        self.refused = 0

    def step(self, number: int) -> bool:
        """One swap: quoted here, sent there; False where no quote was to be had."""
        at = self.rng.randrange(len(self.pools))
        pool, ours = self.chain.world.pools[at], self._now(at)
        a_to_b, exact_in = self.rng.random() < 0.5, self.rng.random() < 0.6
        if pool.protocol == "pumpswap" and a_to_b:
            exact_in = True  # the program has no sale for an exact amount
        size = int(10 ** self.rng.uniform(4, 11))
        amount = size if a_to_b == exact_in else size * 150 // 1_000
        try:
            quote = (ours.quote_exact_in if exact_in else ours.quote_exact_out)(amount, a_to_b=a_to_b)
        except QuoteError:
            quote = None
        if quote is None or quote.partial or quote.amount_out == 0:
            self.refused += 1
            return False
        built = self.chain.swap(pool, amount, a_to_b=a_to_b, exact_in=exact_in)
        executed = self.chain.ledger.submit(
            signed(built, self.chain.ledger.blocks.open.blockhash, number + 1)
        )
        assert isinstance(executed, Executed), executed  # noqa: S101 - or the figure is void
        assert executed.outcome.error is None, executed.outcome.logs  # noqa: S101 - or the figure is void
        self.pools[at] = ours.after(quote)
        self.tokens[0 if a_to_b else 1] -= quote.amount_in
        self.tokens[1 if a_to_b else 0] += quote.amount_out
        return True

    def _now(self, at: int) -> Any:  # noqa: ANN401 - six kinds of pool
        """The book's pool at the chain's time: one of the fees depends on it."""
        pool = self.pools[at]
        if isinstance(pool, DlmmPool):
            return replace(pool, unix_time=chain_time(self.chain.ledger).unix_time)
        return pool

    def difference(self) -> int:
        """Base units by which the wallet's tokens differ from the book, and 1 for each pool that differs."""
        found = [self.chain.held(account) for account in TOKENS]
        tokens = sum(abs(ours - theirs) for ours, theirs in zip(self.tokens, found, strict=True))
        pools: int = sum(
            self._now(at).quote_exact_in(SOL, a_to_b=True)
            != self.chain.quotable(pool).quote_exact_in(SOL, a_to_b=True)
            for at, pool in enumerate(self.chain.world.pools)
        )
        return tokens + int(pools)


def book_beside_chain(swaps: int, seed: int) -> dict[str, int]:
    """Send mixed swaps; gives the difference between book and chain, in base units."""
    chain = Chain()
    book = Book(chain, Random(seed))
    lamports = chain.ledger.account(WALLET)
    assert lamports  # noqa: S101 - funded above
    done = tried = expected_fees = 0
    while done < swaps and tried < 10 * swaps:
        tried += 1
        if tried % 20 == 0:
            chain.now_us += 1_000_000
            chain.ledger.advance()
        if book.step(tried):
            done += 1
            expected_fees += LAMPORTS_PER_SIGNATURE + -(-(tried + 1) * UNITS // 1_000_000)
    left = chain.ledger.account(WALLET)
    assert left  # noqa: S101 - it paid fees and is not empty
    fees = abs(lamports.lamports - left.lamports - expected_fees)
    return {"swaps": done, "without_quote": book.refused, "difference": book.difference() + fees}
