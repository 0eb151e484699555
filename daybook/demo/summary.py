"""What a demo came to: the books by the log and by the chain, and the figures, for people and as JSON."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from commands.reconciling import Reconciliation
from daybook.cli.output import say
from daybook.demo.tally import Tally
from domain.chain import NATIVE, USDC, WSOL
from domain.money import format_units

NAMES: Final = {NATIVE: ("SOL", 9), WSOL: ("wSOL", 9), USDC: ("USDC", 6)}
"""Short names and decimals of the mints the demo trades."""


@dataclass(frozen=True, slots=True)
class Summary:
    """The end of a demo.

    Attributes:
        tally: what the log showed.
        log_events: events in the log.
        jetstream_events: events that JetStream holds.
        realised_pnl_lamports: of all closed orders, fees and tips included, by the P&L read model.
        reconciliation: the wallet's balances by the log and by the chain.
        verified_events: how many events of the hash chain verify; none when it does not.
        lag: positions that the slowest projection is behind.
        dead_letters: events that a projection could not fold.
        unfinished: orders still open when the time to wait for them was over.
    """

    tally: Tally
    log_events: int
    jetstream_events: int
    realised_pnl_lamports: int
    reconciliation: Reconciliation
    verified_events: int | None
    lag: int
    dead_letters: int
    unfinished: int

    @property
    def proven(self) -> bool:
        """Whether books equal chain, the hash chain verifies, and all was delivered and folded."""
        return (
            self.reconciliation.agrees
            and self.verified_events == self.log_events
            and self.jetstream_events == self.log_events
            and self.lag == 0
            and self.dead_letters == 0
            and self.unfinished == 0
        )

    def as_json(self) -> dict[str, Any]:
        """The figures by name; amounts in base units."""
        balances = [
            {"wallet": self.reconciliation.wallet, "mint": b.mint, "log": b.expected, "chain": b.actual}
            for b in self.reconciliation.balances
        ]
        return {
            "log_events": self.log_events,
            "jetstream_events": self.jetstream_events,
            "market_events": self.tally.market_events,
            "opportunities": self.tally.of("opportunity.found"),
            "orders": self.tally.of("order.placed"),
            "trades_landed": self.tally.of("order.landed"),
            "trades_failed": self.tally.of("order.failed"),
            "orders_abandoned": self.tally.of("order.abandoned"),
            "orders_unfinished": self.unfinished,
            "realised_pnl_lamports": self.realised_pnl_lamports,
            "balances": balances,
            "reconciled": self.reconciliation.agrees,
            "chain_verified": self.verified_events == self.log_events,
            "lag": self.lag,
            "dead_letters": self.dead_letters,
            "detect_to_land_ms": self.tally.detect_to_land_ms(),
        }

    def show(self) -> None:
        """Print it for people."""
        tally, latency = self.tally, self.tally.detect_to_land_ms()
        say()
        say(f"events       {self.log_events} in the log, {self.jetstream_events} delivered on JetStream")
        say(
            f"             {tally.market_events} of the market, {tally.of('opportunity.found')} opportunities"
        )
        say(
            f"trades       {tally.of('order.landed')} landed, {tally.of('order.failed')} failed, "
            f"{tally.of('order.abandoned')} abandoned, {self.unfinished} unfinished"
        )
        say(f"P&L          {format_units(self.realised_pnl_lamports, 9)} SOL realised, after fees and tips")
        if latency["p50"] is not None:
            say(f"speed        seen to landed: p50 {latency['p50']:.0f} ms, p99 {latency['p99']:.0f} ms")
        self._show_balances()
        verdict = "BROKEN" if self.verified_events is None else "verifies from first to last event"
        say(f"hash chain   {verdict}")
        say(f"projections  {self.lag} positions behind, {self.dead_letters} dead letters")
        say()
        say("The books equal the chain, to the lamport." if self.proven else "The books are NOT proven.")

    def _show_balances(self) -> None:
        if self.reconciliation.pending:
            say(f"balances     not compared: {self.reconciliation.pending}")
        for balance in self.reconciliation.balances:
            name, decimals = NAMES[balance.mint]
            by_log, by_chain = (format_units(each, decimals) for each in (balance.expected, balance.actual))
            verdict = "equal" if by_log == by_chain else "DIFFERENT"
            say(f"balance      {name:<5} {by_log:>22} by the log, {by_chain:>22} by the chain: {verdict}")
