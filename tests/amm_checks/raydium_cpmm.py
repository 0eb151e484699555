"""Raydium CPMM vectors: every amount and every fee, from raw account bytes."""

from __future__ import annotations

from typing import Any

from amm_checks.cases import check_run, quotable, quoted

from adapters.solana.programs.raydium_cpmm import PROGRAM

FEES = {
    "trade_fee": "tradeFee",
    "creator_fee": "creatorFee",
    "protocol_fee": "protocolFee",
    "fund_fee": "fundFee",
    "in_transfer_fee": "inTransferFee",
    "out_transfer_fee": "outTransferFee",
}


def check(pool: dict[str, Any]) -> tuple[int, int]:
    """Grade a pool's cases: how many passed, how many could not be graded."""
    ours = quotable(PROGRAM, pool)
    for case in pool["cases"]:
        quote = quoted(ours, case, a_to_b=case["side"] == "a_to_b")
        if "error" in case:
            assert quote is None or quote.amount_out == 0, f"{case} should have no quote, got {quote}"
            continue
        assert quote is not None, f"{case} should have a quote"
        key, found = (
            ("amountOut", quote.amount_out) if case["mode"] == "exact_in" else ("amountIn", quote.amount_in)
        )
        assert found == int(case[key]), f"{case} gave {quote}"
        check_run(case, quote)
        for name, theirs in FEES.items():
            if theirs in case:
                assert getattr(quote, name) == int(case[theirs]), f"{theirs} of {case} gave {quote}"
    return len(pool["cases"]), 0
