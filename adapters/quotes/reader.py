"""Reads whole pools: a pool and every account around it from one call, so from one slot."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import structlog
from solders.pubkey import Pubkey

from adapters.quotes.clock_sysvar import CLOCK, CLOCK_KEY, chain_time
from adapters.solana.accounts import MAX_PER_READ, Account, AccountReader, public_key
from adapters.solana.pool_program import Accounts, ChainTime, PoolProgram
from domain.chain import Address, Commitment, Mint, Slot

AT_ONCE: Final = 8
"""Calls under way: a node answers them side by side, and our decoding keeps pace."""
ROUNDS: Final = 5
"""How often what is around a pool may name more: a pool, its bin or tick arrays, an extension of them."""

_log: structlog.stdlib.BoundLogger = structlog.get_logger("quotes.reader")

_ROOM: Final = MAX_PER_READ - 1  # the clock is read beside them


@dataclass(frozen=True, slots=True)
class FoundPool:
    """A pool account that was found, and the keys around it as far as they are known.

    Attributes:
        address: of the pool account.
        program: its protocol.
        keys: the pool and what is around it.
    """

    address: Address
    program: PoolProgram
    keys: tuple[Pubkey, ...]


@dataclass(frozen=True, slots=True)
class Reading:
    """A pool with all that is around it, of one slot.

    Attributes:
        found: the pool and all its keys.
        slot: of the reading.
        time: the chain's clock at that slot.
        accounts: by key; None where there is no account.
    """

    found: FoundPool
    slot: Slot
    time: ChainTime
    accounts: Accounts


class PoolReader:
    """Finds and reads pools of any program on one node.

    Args:
        accounts: the node's accounts.
        commitment: how sure a state must be.
    """

    def __init__(self, accounts: AccountReader, *, commitment: Commitment = Commitment.PROCESSED) -> None:
        self._accounts = accounts
        self._commitment = commitment

    async def find(self, program: PoolProgram, mints: Sequence[Mint]) -> list[FoundPool]:
        """Every pool of a program that trades one of `mints`; all its pools when none is named.

        Raises:
            ChainError: the node refused; public nodes often refuse to search.
            InvalidInput: a mint is no address.
        """
        wanted = [{at: bytes(public_key(mint))} for mint in mints for at in program.mint_offsets] or [{}]
        found: dict[Address, FoundPool] = {}
        for length in program.lengths:
            for matching in wanted:
                for address, account in await self._accounts.of_program(
                    program.program_id, length=length, matching=matching
                ):
                    if account.data.startswith(program.discriminator):
                        found[address] = known_around(address, program, account)
        return [found[address] for address in sorted(found)]

    async def read(self, pools: Iterable[FoundPool]) -> AsyncIterator[list[Reading]]:
        """Read pools whole, in batches of up to 100 accounts, several at once; batches come as they are read.

        Raises:
            ChainError: the node refused.
            ChainUnavailable: it does not answer.
        """
        batches = packed(pools)
        running: set[asyncio.Task[list[Reading]]] = set()
        try:
            for batch in batches:
                if len(running) >= AT_ONCE:
                    done, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                    for task in done:
                        yield task.result()
                running.add(asyncio.ensure_future(self.read_batch(batch)))
            while running:  # each round ends at least one
                done, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    yield task.result()
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)

    async def read_batch(self, pools: Sequence[FoundPool], min_slot: Slot | None = None) -> list[Reading]:
        """Read pools whose accounts fit one call; one that turns out to have more around it is read anew."""
        readings: list[Reading] = []
        for _ in range(ROUNDS):
            slot, time, accounts = await self._read_keys(pools, min_slot)
            grown = []
            for pool in pools:
                own = {key: accounts[key] for key in pool.keys}
                more = pool.program.around(public_key(pool.address), own)
                if more:
                    grown.append(_with(pool, more, own))
                else:
                    readings.append(Reading(pool, slot, time, own))
            batches = packed(grown)
            if not batches:
                break
            pools = batches[0]
            for batch in batches[1:]:
                readings += await self.read_batch(batch, min_slot)
        else:
            for pool in pools:
                _log.warning("pool left out: ever more is around it", pool=pool.address, rounds=ROUNDS)
        return readings

    async def time(self) -> tuple[Slot, ChainTime]:
        """The newest slot and the chain's clock there."""
        slot, (account,) = await self._accounts.read([CLOCK], commitment=self._commitment)
        return slot, chain_time(account)

    async def _read_keys(
        self, pools: Sequence[FoundPool], min_slot: Slot | None
    ) -> tuple[Slot, ChainTime, dict[Pubkey, Account | None]]:
        keys = [CLOCK_KEY, *dict.fromkeys(key for pool in pools for key in pool.keys)]
        slot, accounts = await self._accounts.read(
            [Address(str(key)) for key in keys], commitment=self._commitment, min_slot=min_slot
        )
        found = dict(zip(keys, accounts, strict=True))
        return slot, chain_time(found[CLOCK_KEY]), found


def known_around(address: Address, program: PoolProgram, account: Account) -> FoundPool:
    """A pool with what its own account names around it."""
    key = public_key(address)
    return FoundPool(address, program, (key, *program.around(key, {key: account})))


def _with(pool: FoundPool, more: tuple[Pubkey, ...], accounts: Accounts) -> FoundPool:
    """The pool with more around it; what its price left behind goes when there is no more room."""
    account = accounts[public_key(pool.address)]
    if len(pool.keys) + len(more) > _ROOM and account is not None:
        return known_around(pool.address, pool.program, account)
    return FoundPool(pool.address, pool.program, (*pool.keys, *more))


def packed(pools: Iterable[FoundPool]) -> list[list[FoundPool]]:
    """Pools in batches of as many accounts as one call reads; one that needs more alone is left out."""
    batches: list[list[FoundPool]] = []
    keys: set[Pubkey] = set()
    for pool in pools:
        if len(pool.keys) > _ROOM:
            _log.warning("pool left out: no call reads it whole", pool=pool.address, accounts=len(pool.keys))
            continue
        if not batches or len(keys | set(pool.keys)) > _ROOM:
            batches.append([])
            keys = set()
        batches[-1].append(pool)
        keys |= set(pool.keys)
    return batches
