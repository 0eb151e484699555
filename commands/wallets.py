"""Opening a wallet's books, and booking what came in or went out without an order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from commands.aggregates import Aggregates, content_id, decisions
from commands.ports import Chain, Clock, EventLog
from domain.chain import Address, Commitment, Signature
from domain.errors import ChainUnavailable, ConcurrencyError
from domain.events import Cause, derived_id
from domain.money import Lamports
from domain.wallets.events import TokenAccount
from domain.wallets.transfer import postings_of
from domain.wallets.wallet import Wallet, wallet_stream

ACTOR: Final = "operator"

TRIES: Final = 5
"""How often another writer may move the wallet before the caller is told."""


class Wallets:
    """The commands on wallets.

    Args:
        log: appended to.
        aggregates: shared with the other services of the process.
        chain: where transactions are read.
        clock: stamps what is appended.
    """

    def __init__(self, log: EventLog, aggregates: Aggregates, chain: Chain, clock: Clock) -> None:
        self._log = log
        self._aggregates = aggregates
        self._chain = chain
        self._clock = clock

    async def open(
        self, address: Address, token_accounts: Sequence[TokenAccount], reserve_lamports: Lamports
    ) -> bool:
        """Begin a wallet's books; false when they exist.

        Raises:
            InvalidInput: a negative reserve, or two accounts for one mint.
        """
        now = self._clock()
        wallet = Wallet.open(address, token_accounts, reserve_lamports, now)
        appends = decisions(wallet, _root("open", address), now)
        try:
            appended = await self._log.append(appends, append_id=derived_id("open", wallet.id))
        except ConcurrencyError:
            return False
        return not appended.repeated

    async def book(self, address: Address, signature: Signature, kind: str = "deposit") -> bool:
        """Book a finalized transaction that no order made; false when it is in the books already.

        Args:
            address: whose books.
            signature: the transaction.
            kind: `deposit` or `withdrawal`.

        Raises:
            InvalidInput: the wallet is not open.
            ChainUnavailable: the transaction is not finalized yet, or the node did not answer.
        """
        record = await self._chain.transaction(signature, Commitment.FINALIZED)
        if record is None:
            raise ChainUnavailable(
                f"booking {signature}: the node knows no such finalized transaction; wait until it is final"
            )
        for tries_left in reversed(range(TRIES)):
            try:
                async with self._aggregates.hold(Wallet, wallet_stream(address)) as wallet:
                    if signature in wallet.booked:
                        return False
                    postings = postings_of(record, wallet=address, token_accounts=wallet.token_accounts)
                    wallet.book(kind, signature, record.slot, postings, self._clock())
                    (append,) = decisions(wallet, _root(kind, signature), self._clock(), record.slot)
                    await self._log.append([append], append_id=content_id(append))
            except ConcurrencyError:
                if not tries_left:
                    raise
            else:
                return True
        return False


def _root(*parts: str) -> Cause:
    """A command of a person begins a story of its own."""
    return Cause(derived_id("command", *parts), None, ACTOR)
