"""The baseline of the read side: the eventsourcing library's own ProjectionRunner, as it is documented.

Two views: a counter, the least that a projection can do (one upsert for each event), and profit and loss, in
the statements that our `pnl` amounts to. Both commit each event with its tracking record, as the library
does it. The events are orders placed and booked; nothing else is in its log.
"""

from __future__ import annotations

import time
from typing import Any, Final, LiteralString, cast
from urllib.parse import parse_qs, unquote, urlsplit
from uuid import UUID

import psycopg
from eventsourcing.application import Application
from eventsourcing.domain import Aggregate, event
from eventsourcing.persistence import Tracking
from eventsourcing.postgres import PostgresTrackingRecorder
from eventsourcing.projection import Projection, ProjectionRunner
from psycopg.sql import SQL, Composed

ORDERS_OF_A_SAVE: Final = 50
PATIENCE_S: Final = 30.0
"""To see the first event: starting its threads and tables takes a second on a busy machine."""


class Order(Aggregate):
    """An order that is placed and booked."""

    @event("Placed")
    def __init__(self, strategy: str, wallet: str) -> None:
        self.strategy = strategy
        self.wallet = wallet

    @event("Booked")
    def book(self, postings: list[list[str | int]], signature: str, slot: int, day: str) -> None:
        """Its transaction is booked."""


class Orders(Application[UUID]):
    """The write side."""

    name = "orders"

    def trade(self, number: int) -> int:
        """Place and book some orders in one save; returns how many events that are."""
        orders = []
        for place in range(number, number + ORDERS_OF_A_SAVE):
            order = Order(f"s{place % 4}", f"wallet{place % 100}")
            order.book(_postings(order.wallet), f"{place:088d}", place, "2026-01-01")
            orders.append(order)
        self.save(*orders)
        return 2 * len(orders)

    def trade_once(self) -> None:
        """Place one order: one event."""
        self.save(Order("s0", "wallet0"))


def _postings(wallet: str) -> list[list[str | int]]:
    return [
        [f"wallet:{wallet}", "wsol", 50_000],
        ["pool:a", "wsol", 1_000_000_000],
        ["pool:b", "wsol", -1_000_050_000],
        [f"wallet:{wallet}", "native", -8_000],
        ["fees:network", "native", 6_000],
        ["tips:t", "native", 2_000],
    ]


def _statement(text: LiteralString) -> Composed:
    return Composed([SQL(text)])


class CountView(PostgresTrackingRecorder):
    """One number."""

    def __init__(self, datastore: Any, **kwargs: Any) -> None:  # noqa: ANN401 - the library's signature
        super().__init__(datastore, **kwargs)
        self.sql_create_statements.append(
            _statement("CREATE TABLE IF NOT EXISTS count_view (k int PRIMARY KEY, n bigint)")
        )

    def absorb(self, _happened: Any, tracking: Tracking) -> None:  # noqa: ANN401 - any event
        """Count it, with its tracking record in the same transaction."""
        with self.datastore.transaction(commit=True) as cursor:
            self._insert_tracking(cursor, tracking)
            cursor.execute(
                "INSERT INTO count_view VALUES (1, 1) ON CONFLICT (k) DO UPDATE SET n = count_view.n + 1",
                prepare=True,
            )


class PnlView(PostgresTrackingRecorder):
    """Orders and days, as our `pnl` keeps them."""

    def __init__(self, datastore: Any, **kwargs: Any) -> None:  # noqa: ANN401 - the library's signature
        super().__init__(datastore, **kwargs)
        money = ", ".join(
            f"{name} numeric NOT NULL DEFAULT 0" for name in ("gross", "fee", "tip", "realised")
        )
        self.sql_create_statements += [
            _statement(
                "CREATE TABLE IF NOT EXISTS pnl_orders (id text PRIMARY KEY, strategy text, wallet text, "
                f"outcome text, signature text, slot bigint, {money})"
            ),
            _statement(
                "CREATE TABLE IF NOT EXISTS pnl_daily (wallet text, day text, strategy text, landed bigint, "
                f"wins bigint, {money}, PRIMARY KEY (wallet, day, strategy))"
            ),
        ]

    def absorb(self, happened: Any, tracking: Tracking) -> None:  # noqa: ANN401 - any event
        """Write it down, with its tracking record in the same transaction."""
        with self.datastore.transaction(commit=True) as cursor:
            self._insert_tracking(cursor, tracking)
            order = str(happened.originator_id)
            if not hasattr(happened, "postings"):
                row = (order, happened.strategy, happened.wallet)
                cursor.execute(
                    "INSERT INTO pnl_orders VALUES (%s, %s, %s, 'open', NULL, NULL)", row, prepare=True
                )
                return
            realised, fee, tip = _booked(happened.postings)
            money = (realised + fee + tip, fee, tip, realised)
            cursor.execute(
                "UPDATE pnl_orders SET outcome = 'landed', signature = %s, slot = %s, gross = gross + %s, "
                "fee = fee + %s, tip = tip + %s, realised = realised + %s WHERE id = %s "
                "RETURNING wallet, strategy",
                (happened.signature, happened.slot, *money, order),
                prepare=True,
            )
            found = cast("dict[str, str]", cursor.fetchone())
            cursor.execute(
                "INSERT INTO pnl_daily VALUES (%s, %s, %s, 1, %s, %s, %s, %s, %s) "
                "ON CONFLICT (wallet, day, strategy) DO UPDATE SET landed = pnl_daily.landed + 1, "
                "wins = pnl_daily.wins + excluded.wins, gross = pnl_daily.gross + excluded.gross, "
                "fee = pnl_daily.fee + excluded.fee, tip = pnl_daily.tip + excluded.tip, "
                "realised = pnl_daily.realised + excluded.realised",
                (found["wallet"], happened.day, found["strategy"], int(realised > 0), *money),
                prepare=True,
            )


def _booked(postings: list[list[Any]]) -> tuple[int, int, int]:
    realised = sum(amount for account, _, amount in postings if account.startswith("wallet:"))
    fee = sum(amount for account, _, amount in postings if account == "fees:network")
    return realised, fee, sum(amount for account, _, amount in postings if account.startswith("tips:"))


class CountProjection(Projection[CountView]):
    """Counts."""

    name = "counted"

    def process_event(self, domain_event: Any, tracking: Tracking) -> None:  # noqa: ANN401 - any event
        """Every event."""
        self.view.absorb(domain_event, tracking)


class PnlProjection(Projection[PnlView]):
    """Adds up."""

    name = "added"

    def process_event(self, domain_event: Any, tracking: Tracking) -> None:  # noqa: ANN401 - any event
        """Every event."""
        self.view.absorb(domain_event, tracking)


class Stock:
    """The library on one database: filled once, projected again and again from the beginning."""

    def __init__(self, database_url: str) -> None:
        self.url = database_url
        parts = urlsplit(database_url)
        query = parse_qs(parts.query)
        self.env = {
            "PERSISTENCE_MODULE": "eventsourcing.postgres",
            "POSTGRES_DBNAME": parts.path.lstrip("/"),
            "POSTGRES_HOST": query.get("host", [parts.hostname or ""])[0],
            "POSTGRES_PORT": query.get("port", [str(parts.port or 5432)])[0],
            "POSTGRES_USER": unquote(parts.username or ""),
            "POSTGRES_PASSWORD": unquote(parts.password or ""),
        }
        self.application = Orders(env=self.env)

    def fill(self, events: int) -> None:
        """Write so many events."""
        number = 0
        while number < events:
            number += self.application.trade(number)

    def rate(self, projection: type[Projection[Any]], view: type[Any], seconds: float) -> float:
        """Events per second of a projection that begins at nothing."""
        self._empty()
        with self.runner(projection, view) as runner:
            first = self._wait_for_more(runner, 0)
            begun = time.perf_counter()
            time.sleep(seconds)
            done = runner.view.max_tracking_id("orders") or 0
            return (done - first) / (time.perf_counter() - begun)

    def runner(self, projection: type[Projection[Any]], view: type[Any]) -> ProjectionRunner[Any, Any]:
        """The library's runner, started."""
        return ProjectionRunner(
            application_class=Orders, projection_class=projection, view_class=view, env=self.env
        )

    def _wait_for_more(self, runner: ProjectionRunner[Any, Any], than: int) -> int:
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            seen: int = runner.view.max_tracking_id("orders") or 0
            if seen > than:
                return seen
            time.sleep(0.01)
        raise TimeoutError("the library's runner projected nothing")

    def _empty(self) -> None:
        tables = "counted_tracking, added_tracking, count_view, pnl_orders, pnl_daily"
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(SQL(f"DROP TABLE IF EXISTS {tables}"))

    def close(self) -> None:
        """Give its connections back."""
        self.application.close()
