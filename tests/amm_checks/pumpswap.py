"""PumpSwap vectors: every amount and the curve's part of it, from account bytes."""

from __future__ import annotations

from typing import Any

from amm_checks.cases import quotable, quoted
from pumpswap_accounts import accounts_around, fees
from solders.pubkey import Pubkey

from adapters.solana.programs.pumpswap import PROGRAM
from domain.market.amm.pool import U64_MAX
from domain.market.amm.pumpswap import PumpSwapPool, PumpSwapQuote


def check(pool: dict[str, Any]) -> tuple[int, int]:
    """Grade a pool's cases: how many passed, how many could not be graded."""
    ours = quotable(PROGRAM, pool, accounts_around(pool))
    assert isinstance(ours, PumpSwapPool)
    said = fees(pool["feesBps"])
    if pool["coinCreator"] == str(Pubkey.default()):  # the vectors name a rate that nobody is paid
        said = said._replace(creator=0)
    assert ours.fees == said, f"fees {pool['feesBps']} gave {ours.fees}"
    for case in pool["cases"]:
        quote = quoted(ours, case, a_to_b=case["side"] == "sell")
        assert quote is None or isinstance(quote, PumpSwapQuote)
        if "error" in case or case.get("amountOut") == "0":
            assert quote is None or quote.amount_out == 0, f"{case} should have no quote, got {quote}"
        elif int(case.get("amountIn", 0)) > U64_MAX:
            _check_beyond(ours, case, quote)
        else:
            assert quote is not None, f"{case} should have a quote"
            _check_amounts(case, quote)
    return len(pool["cases"]), 0


def _check_amounts(case: dict[str, Any], quote: PumpSwapQuote) -> None:
    exact_in = case["mode"] == "exact_in"
    key, found = ("amountOut", quote.amount_out) if exact_in else ("amountIn", quote.amount_in)
    assert found == int(case[key]), f"{case} gave {quote}"
    for name in ("curveOut", "curveIn", "quoteWithoutFees"):
        assert name not in case or quote.curve_quote == int(case[name]), f"{name} of {case} gave {quote}"


def _check_beyond(pool: PumpSwapPool, case: dict[str, Any], quote: PumpSwapQuote | None) -> None:
    """The SDK reckons on above 2^64; the sum is right there too, but no token account holds it."""
    assert quote is None, f"{case} asks for more than a u64 and gave {quote}"
    curve = pool.cost_of(int(case["amount"]))
    assert curve == int(case["curveIn"]), f"curveIn of {case} gave {curve}"
    total = curve + sum(-(-curve * rate // 10_000) for rate in pool.fees)
    assert total == int(case["amountIn"]), f"{case} gave {total}"
