"""GET /metrics: figures of the log and the read models as Prometheus text, gathered when asked for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate

from fastapi import APIRouter
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.registry import Collector
from starlette.responses import Response

from api.rest.health import ask_all
from api.services import ApiServices
from projections.opportunities import opportunity_counts
from projections.pnl import pnl
from projections.trade_history import LATENCY_BUCKETS_US, TradeCounts, trade_counts
from projections.wallet_balances import wallet_balances


def metrics_router(services: ApiServices) -> APIRouter:
    """The metrics door."""
    router = APIRouter()

    @router.get("/metrics")
    async def metrics() -> Response:
        gathered = CollectorRegistry()
        gathered.register(_Gathered(await gather(services)))
        text = generate_latest(services.registry) + generate_latest(gathered)
        return Response(text, media_type=CONTENT_TYPE_PLAIN_0_0_4)

    return router


class _Gathered(Collector):
    """Figures that were gathered before, since a collector cannot wait for a database."""

    def __init__(self, families: Sequence[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterator[Metric]:
        yield from self._families


async def gather(services: ApiServices) -> list[Metric]:
    """Every figure that the log and the read models hold."""
    counts = await trade_counts(services.reads)
    found = await opportunity_counts(services.reads)
    return [
        *await _positions(services),
        _labelled("daybook_orders", "Orders by status.", "status", counts.by_status.items()),
        _labelled("daybook_opportunities", "Opportunities by status.", "status", found.items()),
        *await _money(services),
        _latency(counts),
        *await _dependencies(services),
    ]


async def _positions(services: ApiServices) -> list[Metric]:
    head = await services.log.head()
    at = {name: await services.reads.checkpoint(name) for name in services.read_models}
    lags = {name: max(0, head - checkpoint) for name, checkpoint in at.items()}
    return [
        GaugeMetricFamily("daybook_log_head_position", "The log's newest position.", value=head),
        _labelled("daybook_projection_checkpoint", "Last position absorbed.", "projection", at.items()),
        _labelled("daybook_projection_lag", "Positions not yet absorbed.", "projection", lags.items()),
    ]


async def _dependencies(services: ApiServices) -> list[Metric]:
    """What /health finds of the dependencies, with their figures, e.g. the relay's lag."""
    up = GaugeMetricFamily("daybook_dependency_up", "1 where it does its work.", labels=("dependency",))
    figures = GaugeMetricFamily(
        "daybook_dependency_figure", "Figures that a dependency tells.", labels=("dependency", "figure")
    )
    for name, (health, _) in (await ask_all(services.checks)).items():
        up.add_metric((name,), health.ok)
        for figure, value in health.figures.items():
            figures.add_metric((name, figure), value)
    return [up, figures]


async def _money(services: ApiServices) -> list[Metric]:
    overall = (await pnl(services.reads)).overall
    held = (await wallet_balances(services.reads)).balances
    balances = GaugeMetricFamily(
        "daybook_wallet_balance", "Base units by the log.", labels=("wallet", "mint")
    )
    for holding in held:
        balances.add_metric((holding.wallet, holding.mint), holding.balance)
    return [
        GaugeMetricFamily(
            "daybook_realised_pnl_lamports",
            "Of all orders, fees and tips included.",
            overall.realised_lamports,
        ),
        GaugeMetricFamily("daybook_fees_lamports", "Taken by the network.", overall.fee_lamports),
        GaugeMetricFamily("daybook_tips_lamports", "Paid inside transactions.", overall.tip_lamports),
        GaugeMetricFamily(
            "daybook_wallet_discrepancies",
            "Holdings the chain disagreed on.",
            sum(h.discrepancy for h in held),
        ),
        balances,
    ]


def _latency(counts: TradeCounts) -> Metric:
    bounds = [*LATENCY_BUCKETS_US, -1]  # -1 counts what was slower than the last bound
    totals = accumulate(counts.latency.get(bound, 0) for bound in bounds)
    names = [*(f"{bound / 1_000_000:g}" for bound in LATENCY_BUCKETS_US), "+Inf"]
    histogram = HistogramMetricFamily(
        "daybook_detect_to_land_seconds",
        "From the market event to the first sight of the landed transaction.",
    )
    histogram.add_metric((), list(zip(names, totals, strict=True)), counts.latency_sum_us / 1_000_000)
    return histogram


def _labelled(name: str, help_text: str, label: str, values: Iterable[tuple[str, int]]) -> Metric:
    family = GaugeMetricFamily(name, help_text, labels=(label,))
    for value_of, value in values:
        family.add_metric((value_of,), value)
    return family
