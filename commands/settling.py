"""An order's end in the books: what it traded, what the wallet gained, the funds set free; in one append.

The order's stream and the wallet's stream change together or not at all, so the books never show a trade
without its money or money without its trade.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

import structlog

from commands.aggregates import Aggregates, content_id, decisions
from commands.ports import Clock, EventLog, Fence, PoolDirectory, StreamAppend
from domain.chain import Address
from domain.errors import ConcurrencyError, DecodeError
from domain.events import Cause, event_id
from domain.trading.events import Leg
from domain.trading.order import Fill, Order
from domain.transactions import TransactionRecord
from domain.wallets.transfer import postings_of
from domain.wallets.wallet import Wallet

TRIES: Final = 20
"""How often the wallet may be moved by others before we give the turn up; each try reads it anew."""

_log = structlog.get_logger(__name__)


class Settlement:
    """Closes orders and books what they did.

    Args:
        log: appended to.
        aggregates: the wallets.
        pools: whose vaults tell what a leg traded.
        clock: stamps the bookings.
        tip_accounts: accounts whose receipts are tips.
    """

    def __init__(
        self,
        log: EventLog,
        aggregates: Aggregates,
        pools: PoolDirectory,
        clock: Clock,
        tip_accounts: Collection[Address] = (),
    ) -> None:
        self._log = log
        self._aggregates = aggregates
        self._pools = pools
        self._clock = clock
        self._tip_accounts = frozenset(tip_accounts)

    async def settle(self, order: Order, record: TransactionRecord, cause: Cause, fence: Fence) -> None:
        """Book a finalized transaction: landed with its fills, or failed with its fee.

        Raises:
            ConcurrencyError, FencedOut, LogUnavailable: as the log says; load the order again.
            DecodeError: the transaction does not touch the vaults of a leg's pool.
            ChainUnavailable: a pool had to be read and was not answered.
        """
        vaults = await self._vaults(order.placed.legs)
        closing = order.version + 1
        if record.error is None:
            fills = [_fill(leg, vaults, record) for leg in order.placed.legs]
            order.land(record.slot, record.fee_lamports, fills, self._clock())
        else:
            order.fail(record.slot, record.error, record.fee_lamports, self._clock())
        (closed,) = decisions(order, cause, self._clock(), record.slot)
        paid = Cause(cause.correlation_id, event_id(order.id, closing), cause.actor)
        await self._close(order, closed, paid, fence, (record, vaults))

    async def release(self, order: Order, cause: Cause, fence: Fence) -> None:
        """Record an order that was given up, and set its funds free; nothing moved.

        Raises:
            ConcurrencyError, FencedOut, LogUnavailable: as the log says; load the order again.
        """
        closing = order.version
        (closed,) = decisions(order, cause, self._clock())
        freed = Cause(cause.correlation_id, event_id(order.id, closing), cause.actor)
        await self._close(order, closed, freed, fence, None)

    async def _close(
        self,
        order: Order,
        closed: StreamAppend,
        cause: Cause,
        fence: Fence,
        moved: tuple[TransactionRecord, dict[Address, Address]] | None,
    ) -> None:
        for tries_left in reversed(range(TRIES)):
            try:
                async with self._aggregates.hold(Wallet, order.placed.wallet) as wallet:
                    if moved is not None:
                        self._book(order, wallet, *moved)
                    wallet.release(order.id, self._clock())
                    booked = decisions(wallet, cause, self._clock(), closed.slot)
                    await self._log.append([closed, *booked], append_id=content_id(closed), fence=fence)
            except ConcurrencyError as error:
                if error.stream == order.id or not tries_left:
                    raise
            else:
                return

    def _book(
        self, order: Order, wallet: Wallet, record: TransactionRecord, vaults: dict[Address, Address]
    ) -> None:
        """Book what the transaction moved; one that is in the books already moved nothing more."""
        if record.signature in wallet.booked:
            _log.error(
                "an order's transaction is in the books already, though not as a trade: the order is closed "
                "without a second booking, and profit and loss do not count it",
                order=order.id,
                wallet=wallet.id,
                signature=record.signature,
            )
            return
        postings = postings_of(
            record,
            wallet=wallet.address,
            token_accounts=wallet.token_accounts,
            vaults=vaults,
            tipped=self._tip_accounts,
        )
        kind = "trade" if record.error is None else "fee"
        wallet.book(kind, record.signature, record.slot, postings, self._clock(), order.id)

    async def _vaults(self, legs: Collection[Leg]) -> dict[Address, Address]:
        """Vault account to pool, for every pool the legs cross."""
        return {vault: leg.pool for leg in legs for vault in await self._pools.vaults(leg.pool)}


def _fill(leg: Leg, vaults: dict[Address, Address], record: TransactionRecord) -> Fill:
    moved = {each.mint: each.change for each in record.changes if vaults.get(each.account) == leg.pool}
    try:
        return Fill(moved[leg.mint_in], -moved[leg.mint_out])
    except KeyError as error:
        raise DecodeError(
            f"transaction {record.signature} landed without moving {error} in pool {leg.pool}: its balance "
            "changes are not those of the order; ask another node for it"
        ) from error
