"""What the quote service counts, for Prometheus."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from adapters.quotes.book import LiveBook

_BUCKETS: Final = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 2.0)
"""Seconds, around the 10 ms that most answers must stay under."""


class QuoteMetrics:
    """Counters of one service; `registry` holds them."""

    def __init__(self, book: LiveBook) -> None:
        self.registry = CollectorRegistry()
        self._answered = Counter(
            "daybook_quotes_answered", "Quotes given, by who made them.", ["source"], registry=self.registry
        )
        self._refused = Counter(
            "daybook_quotes_refused", "Quotes our book had no answer to.", ["reason"], registry=self.registry
        )
        self._cached = Counter("daybook_quotes_cached", "Quotes found in the cache.", registry=self.registry)
        self._away = Counter(
            "daybook_quotes_cache_away", "Times the cache did not answer.", registry=self.registry
        )
        self._seconds = Histogram(
            "daybook_quote_seconds", "Time to a quote.", buckets=_BUCKETS, registry=self.registry
        )
        pools = Gauge("daybook_quote_pools", "Pools that can be quoted.", registry=self.registry)
        pools.set_function(lambda: len(book.graph))
        slot = Gauge("daybook_quote_newest_slot", "The newest slot heard of.", registry=self.registry)
        slot.set_function(lambda: book.newest_slot)

    @contextmanager
    def answering(self) -> Iterator[None]:
        """Time one answer."""
        with self._seconds.time():
            yield

    def answered(self, source: str) -> None:
        """An answer was given."""
        self._answered.labels(source).inc()

    def refused(self, reason: str) -> None:
        """Our book had none."""
        self._refused.labels(reason).inc()

    def cached(self) -> None:
        """It came from the cache."""
        self._cached.inc()

    def cache_away(self) -> None:
        """The cache did not answer."""
        self._away.inc()
