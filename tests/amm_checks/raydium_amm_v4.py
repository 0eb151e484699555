"""Raydium AMM v4 vectors: every amount and fee, from raw account bytes."""

from __future__ import annotations

from typing import Any

from amm_checks.cases import check_run, quotable, quoted

from adapters.solana.programs.raydium_amm_v4 import PROGRAM


def check(pool: dict[str, Any]) -> tuple[int, int]:
    """Grade a pool's cases: how many passed, how many could not be graded."""
    ours = quotable(PROGRAM, pool)
    for case in pool["cases"]:
        quote = quoted(ours, case, a_to_b=case["side"] == "a_to_b")
        key = "amountOut" if case["mode"] == "exact_in" else "amountIn"
        if "error" in case or case[key] == "0":  # the program rejects both
            assert quote is None or quote.amount_out == 0, f"{case} should have no quote, got {quote}"
            assert not case.get("program", {}).get("ok"), f"{case} contradicts itself"
            continue
        assert quote is not None, f"{case} should have a quote"
        found = quote.amount_out if case["mode"] == "exact_in" else quote.amount_in
        assert found == int(case[key]), f"{case} gave {quote}"
        check_run(case, quote)
        assert "fee" not in case or quote.fee_in == int(case["fee"]), f"fee of {case} gave {quote}"
    return len(pool["cases"]), 0
