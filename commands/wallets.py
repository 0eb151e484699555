"""Opening a wallet's books, and booking what came in or went out without an order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from commands.aggregates import Aggregates, content_id, decisions
from commands.ports import Chain, Clock, EventLog, TransactionRecord
from domain.chain import Address, Commitment, Signature
from domain.errors import ChainUnavailable, ConcurrencyError, InvalidInput
from domain.events import Cause, derived_id
from domain.money import Lamports
from domain.trading.events import OrderSigned
from domain.wallets.events import TokenAccount
from domain.wallets.transfer import postings_of
from domain.wallets.unordered import DEPOSIT, KINDS, is_signature, unbookable
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

    async def book(self, address: Address, signature: Signature, kind: str = DEPOSIT) -> bool:
        """Book a finalized transaction that no order made; false when it is in the books already.

        Args:
            address: whose books.
            signature: the transaction.
            kind: `deposit`, `withdrawal`, or `fee` (of a failed transaction, or one that did nothing else).

        Raises:
            InvalidInput: the wallet is not open; the signature is none, belongs to an order that books it
                itself, does not touch the wallet, or is not what `kind` says.
            ChainUnavailable: the transaction is not finalized yet, or the node did not answer.
        """
        if kind not in KINDS:
            raise InvalidInput(f"booking {signature} as a {kind!r}: it may be one of {', '.join(KINDS)}")
        if not is_signature(signature):
            raise InvalidInput(
                f"{signature!r} is no signature (64 bytes in base58): take it from your wallet or an explorer"
            )
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
                    await self._refuse_own_order(wallet, signature)
                    self._book(wallet, record, kind)
                    (append,) = decisions(wallet, _root(kind, signature), self._clock(), record.slot)
                    await self._log.append([append], append_id=content_id(append))
            except ConcurrencyError:
                if not tries_left:
                    raise
            else:
                return True
        return False

    def _book(self, wallet: Wallet, record: TransactionRecord, kind: str) -> None:
        postings = postings_of(record, wallet=wallet.address, token_accounts=wallet.token_accounts)
        refusal = unbookable(kind, record, postings, wallet.address)
        if refusal is not None:
            raise InvalidInput(f"{record.signature} cannot be booked as a {kind}: {refusal.found}")
        wallet.book(kind, record.signature, record.slot, postings, self._clock())

    async def _refuse_own_order(self, wallet: Wallet, signature: Signature) -> None:
        """An order that has yet to book its transaction is signed in the log and has funds set aside.

        So whoever could still book this signature is among those; a closed order's is in the books.
        """
        for order in wallet.reserved:
            for recorded in await self._log.read_stream(order):
                if isinstance(recorded.event, OrderSigned) and recorded.event.signature == signature:
                    raise InvalidInput(
                        f"{signature} is the transaction of {order}, which books it when it is final: "
                        "leave it to `daybook run`"
                    )


def _root(*parts: str) -> Cause:
    """A command of a person begins a story of its own."""
    return Cause(derived_id("command", *parts), None, ACTOR)
