"""Fills an empty book: finds the pools, reads them whole, looks up who lends the tokens, warms up."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import structlog

from adapters.quotes.book import LiveBook
from adapters.quotes.reader import FoundPool, PoolReader
from adapters.quotes.service import Quotes
from adapters.solana.accounts import AccountReader, public_key
from adapters.solana.pool_program import PoolProgram
from adapters.solana.programs import kamino
from domain.chain import Address, Mint
from domain.errors import ChainError, ChainUnavailable, DecodeError

WARM_UP_AMOUNT: Final = 1_000_000_000
"""Base units of each question that is asked before anybody asks: one SOL, a thousand dollars."""
_MINT_AT: Final = 128

Progress = Callable[[str, int, int], None]
"""Told what is being done, how much of it is done and how much there is."""

_log: structlog.stdlib.BoundLogger = structlog.get_logger("quotes.initialiser")


@dataclass(frozen=True, slots=True)
class FlashLender:
    """A reserve that lends a token within one transaction.

    Attributes:
        reserve: the account.
        mint: what it lends.
        available: base units.
        fee_rate: of the amount, parts of 2^60.
    """

    reserve: Address
    mint: Mint
    available: int
    fee_rate: int


@dataclass(frozen=True, slots=True)
class Loaded:
    """What the start found.

    Attributes:
        found: pool accounts of the programs that trade the mints.
        quotable: how many of them can be quoted now.
        refused: programs the node did not let us search, with its words.
        lenders: reserves that lend the mints.
        warmed: questions answered beforehand.
        took_ms: reading and warming up.
    """

    found: int
    quotable: int
    refused: dict[str, str]
    lenders: tuple[FlashLender, ...]
    warmed: int
    took_ms: int


class Initialiser:
    """Fills one book from one node.

    Args:
        accounts: the node's accounts.
        reader: reads pools whole.
        quotes: whose book is filled.
        programs: which protocols.
        mints: pools that trade one of these; all pools of the programs when none is named.
        progress: told how far it is.
    """

    def __init__(
        self,
        accounts: AccountReader,
        reader: PoolReader,
        quotes: Quotes,
        programs: Sequence[PoolProgram],
        mints: Sequence[Mint],
        progress: Progress,
    ) -> None:
        self._accounts = accounts
        self._reader = reader
        self._quotes = quotes
        self._book: LiveBook = quotes.book
        self._programs = programs
        self._mints = mints
        self._progress = progress

    async def load(self) -> Loaded:
        """Find, read and warm up.

        Raises:
            ChainUnavailable: the node does not answer.
            InvalidInput: a mint is no address.
        """
        began = time.perf_counter()
        found, refused = await self._find()
        self._progress("reading pools", 0, len(found))
        read = 0
        async for readings in self._reader.read(found):
            self._book.take(readings)
            read += len(readings)
            self._progress("reading pools", read, len(found))
        lenders = await self._lenders()
        warmed = await self._quotes.warm_up(
            self._mints, WARM_UP_AMOUNT, lambda done, total: self._progress("warming up", done, total)
        )
        took_ms = int((time.perf_counter() - began) * 1_000)
        return Loaded(len(found), len(self._book.graph), refused, lenders, warmed, took_ms)

    async def _find(self) -> tuple[list[FoundPool], dict[str, str]]:
        found: list[FoundPool] = []
        refused: dict[str, str] = {}
        for done, program in enumerate(self._programs):
            self._progress("finding pools", done, len(self._programs))
            try:
                found += await self._reader.find(program, self._mints)
            except ChainUnavailable:
                raise
            except ChainError as error:  # other programs may be searched all the same
                refused[program.protocol] = str(error)
                _log.warning("program cannot be searched", protocol=program.protocol, reason=str(error))
        return found, refused

    async def _lenders(self) -> tuple[FlashLender, ...]:
        """Kamino's reserves of the mints; a node that does not let us search costs only this list."""
        lenders: list[FlashLender] = []
        for mint in self._mints:
            try:
                accounts = await self._accounts.of_program(
                    kamino.PROGRAM_ID,
                    length=kamino.RESERVE_LENGTH,
                    matching={_MINT_AT: bytes(public_key(mint))},
                )
                for address, account in accounts:
                    reserve = kamino.decode_reserve(account.data, account.owner)
                    lenders.append(FlashLender(address, mint, reserve.available, reserve.flash_loan_rate))
            except (ChainError, DecodeError) as error:
                _log.warning("flash lenders cannot be listed", mint=mint, reason=str(error))
        return tuple(lenders)
