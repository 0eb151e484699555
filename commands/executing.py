"""The executor: takes the lease, finds every open order in the log, and drives each to its end.

Starting and recovering are one path: the log is followed from the bookmark on, and an order that is not
closed is driven, whether it was placed a moment or a crash ago.
"""

from __future__ import annotations

import asyncio
from typing import Final

import structlog

from commands.aggregates import evolved, fold
from commands.ports import Bookmarks, Fence, Leases
from commands.pursuing import Means, Pursuit
from commands.together import together
from domain.errors import ConcurrencyError, InvariantBroken, LogUnavailable
from domain.events import RecordedEvent
from domain.trading.events import OrderPlaced
from domain.trading.order import Order

TOPICS: Final = frozenset({"order.placed", "order.landed", "order.failed", "order.abandoned"})

MAX_ORDERS: Final = 16
"""Orders driven at once; each asks the node a few times a second, which is what a public node allows."""

BATCH: Final = 500

RELOAD_PAUSE_S: Final = 0.5
"""Before an order is loaded again after the log was away or moved."""

_log = structlog.get_logger(__name__)


class Executor:
    """Executes the orders of one wallet. A second one takes over: the first is refused by the log and stops.

    Args:
        wallet: the wallet's stream.
        means: the log, the chain and the rest.
        leases: where the right to act is taken.
        bookmarks: how far all orders are closed.
        holder: who we are, for people who look at the lease.
        max_orders: how many orders are driven at once.
    """

    def __init__(
        self,
        wallet: str,
        means: Means,
        leases: Leases,
        bookmarks: Bookmarks,
        *,
        holder: str,
        max_orders: int = MAX_ORDERS,
    ) -> None:
        self._wallet = wallet
        self._means = means
        self._leases = leases
        self._bookmarks = bookmarks
        self._holder = holder
        self._max_orders = max_orders
        self._slots = asyncio.Semaphore(max_orders)
        self._open: dict[str, int] = {}
        self._seen = self._saved = self._history_ends = 0

    @property
    def name(self) -> str:
        """Of the lease and of the bookmark."""
        return f"executor:{self._wallet.removeprefix('wallet-')}"

    @property
    def open_orders(self) -> int:
        """Orders being driven now."""
        return len(self._open)

    async def run(self) -> None:
        """Execute until cancelled; run again after an error, it begins anew.

        Raises:
            FencedOut: another executor took the wallet over.
            LogUnavailable: the log is away.
        """
        fence = await self._leases.take(self.name, self._holder)
        self._seen = self._saved = await self._bookmarks.load(self.name)
        self._history_ends = await self._means.log.head()
        self._slots, self._open = asyncio.Semaphore(self._max_orders), {}
        async with together() as orders:
            await self._follow(orders, fence)

    async def _follow(self, orders: asyncio.TaskGroup, fence: Fence) -> None:
        async for batch in self._means.log.follow(self._seen, topics=TOPICS, limit=BATCH):
            closed = {recorded.stream for recorded in batch if recorded.topic != OrderPlaced.TOPIC}
            for recorded in batch:
                if self._is_ours(recorded) and recorded.stream not in closed:
                    await self._slots.acquire()  # given back by _drive
                    self._open[recorded.stream] = recorded.position
                    orders.create_task(self._drive(recorded, fence))
                self._seen = recorded.position
            await self._move_bookmark()

    def _is_ours(self, recorded: RecordedEvent) -> bool:
        return recorded.topic == OrderPlaced.TOPIC and recorded.event.wallet == self._wallet

    async def _drive(self, placed: RecordedEvent, fence: Fence) -> None:
        try:
            order = self._first_sight(placed)
            while True:  # ends when the order is closed; while the log is away, when the service is stopped
                try:
                    order = order or await self._load(placed.stream)
                    await Pursuit(order, placed.cause, self._means, fence).run()
                    break
                except (ConcurrencyError, LogUnavailable) as error:
                    _log.warning("the order is loaded again", order=placed.stream, error=str(error))
                    order = None
                    await asyncio.sleep(RELOAD_PAUSE_S)
        finally:
            self._slots.release()
        del self._open[placed.stream]
        await self._move_bookmark()

    def _first_sight(self, placed: RecordedEvent) -> Order | None:
        """An order placed while we watch is what its first event says; one of history must be read: none."""
        if placed.position <= self._history_ends:
            return None
        order = evolved(None, [placed])
        return order if isinstance(order, Order) else None

    async def _load(self, stream: str) -> Order:
        order = await fold(self._means.log, stream)
        if not isinstance(order, Order):
            raise InvariantBroken(f"stream {stream!r} begins with order.placed but holds no order")
        return order

    async def _move_bookmark(self) -> None:
        """All orders placed at or before the bookmark are closed."""
        closed_through = min(self._open.values(), default=self._seen + 1) - 1
        if closed_through > self._saved:
            self._saved = closed_through
            await self._bookmarks.save(self.name, closed_through)
