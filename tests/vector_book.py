"""A live book of every vector pool, as if it had been read from a node; with a clock that tests turn.

These are the repository's own vectors whatever DAYBOOK_VECTORS says: the tests count their pools.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

from amm_checks.cases import accounts_of, address_of, time_of
from pumpswap_accounts import accounts_around
from solders.pubkey import Pubkey

from adapters.quotes.book import LiveBook, Sight
from adapters.quotes.reader import FoundPool, Reading
from adapters.solana.accounts import Account
from adapters.solana.pool_programs import POOL_PROGRAMS
from domain.chain import Address, Slot

_VECTORS = Path(__file__).parent / "vectors"


@cache
def own_pools(protocol: str) -> list[dict[str, Any]]:
    """Every pool of a protocol's file."""
    pools: list[dict[str, Any]] = json.loads((_VECTORS / f"{protocol}.json").read_text())["pools"]
    return pools


class Clock:
    """Microseconds since the epoch, as a test wants them."""

    def __init__(self) -> None:
        self.now_us = 1_760_000_000_000_000

    def __call__(self) -> int:
        return self.now_us


def vector_reading(protocol: str, pool: dict[str, Any], slot: int = 100) -> Reading:
    """One vector pool with all that is around it."""
    program = POOL_PROGRAMS[protocol]
    key = address_of(pool)
    accounts: dict[Pubkey, Account | None]
    accounts = dict(accounts_around(pool)) if protocol == "pumpswap" else dict(accounts_of(pool))
    while missing := program.around(key, accounts):  # ends: what is asked for is then known to be absent
        accounts |= dict.fromkeys(missing)
    found = FoundPool(Address(str(key)), program, tuple(accounts))
    return Reading(found, Slot(slot), time_of(pool), accounts)


def vector_book(clock: Clock, *protocols: str) -> LiveBook:
    """The vector pools of these protocols, watched since now; of all six where none is named."""
    book = LiveBook(clock)
    sight = Sight(since_us=clock(), alive_us=clock(), alive_slot=Slot(100))
    for protocol in protocols or POOL_PROGRAMS:
        book.take([vector_reading(protocol, pool) for pool in own_pools(protocol)], sight)
    return book
