"""Raydium CLMM vectors: every amount, fee, price, tick and liquidity, from raw account bytes."""

from __future__ import annotations

from typing import Any

from amm_checks.cases import check_run, quotable, quoted

from adapters.solana.programs.raydium_clmm import PROGRAM
from domain.market.amm.clmm import ClmmPool
from domain.market.amm.concentrated_quote import ConcentratedQuote


def check(pool: dict[str, Any]) -> tuple[int, int]:
    """Grade a pool's cases: all of them, refusals by refusal, partial ones as far as the liquidity goes."""
    ours = quotable(PROGRAM, pool)
    assert isinstance(ours, ClmmPool)
    for case in pool["cases"]:
        quote = quoted(ours, case, a_to_b=case["side"] == "a_to_b")
        if "error" in case:
            assert quote is None, f"{case} should have no quote, got {quote}"
            continue
        assert isinstance(quote, ConcentratedQuote), f"{case} should have a quote"
        _compare(ours, case, quote)
    return len(pool["cases"]), 0


def _compare(ours: ClmmPool, case: dict[str, Any], quote: ConcentratedQuote) -> None:
    after = ours.after(quote)
    found = {
        "amountOut": quote.amount_out,
        "amountIn": quote.amount_in,
        "fee": quote.fee_in,
        "sqrtPriceAfter": after.place.price,
        "tickAfter": after.tick,
        "liquidityAfter": after.liquidity,
        "remaining": int(case["amount"]) - quote.amount_in,
        "partial": quote.partial,
    }
    for name, value in found.items():
        if name in case:
            assert value == int(case[name]), f"{name} of {case} gave {value}"
    assert quote.partial == case.get("partial", False), f"{case} gave {quote}"
    assert "amountOut" in case or "amountIn" in case, f"{case} says no amount"
    check_run(case, quote)
