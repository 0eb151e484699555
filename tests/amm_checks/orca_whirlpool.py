"""Orca Whirlpool vectors: every amount, fee and refusal, from raw account bytes."""

from __future__ import annotations

from typing import Any

from amm_checks.cases import accounts_of, address_of, check_run, quotable, quoted

from adapters.solana.programs.orca_whirlpool import PROGRAM, around
from domain.market.amm.concentrated_quote import ConcentratedQuote


def check(pool: dict[str, Any]) -> tuple[int, int]:
    """Grade a pool's cases; a vector leaves out tick arrays without liquidity, which no chain has."""
    accounts = accounts_of(pool)
    absent = around(address_of(pool), accounts)
    ours = quotable(PROGRAM, pool, {**accounts, **dict.fromkeys(absent)})
    for case in pool["cases"]:
        quote = quoted(ours, case, a_to_b=case["side"] == "a_to_b")
        if "error" in case:
            assert quote is None, f"{case} should have no quote, got {quote}"
            continue
        assert isinstance(quote, ConcentratedQuote), f"{case} should have a quote"
        assert "amountOut" in case or "amountIn" in case, f"{case} says no amount"
        check_run(case, quote)
        found = {"amountOut": quote.amount_out, "amountIn": quote.amount_in, "fee": quote.fee_in}
        for name, value in found.items():
            if name in case:
                assert value == int(case[name]), f"{name} of {case} gave {value}"
        if case["mode"] == "exact_in":
            spent = int(case.get("program", {}).get("spent", case["amount"]))
            assert quote.amount_in == spent, f"{case} took {quote.amount_in}"
            assert quote.partial == (spent != int(case["amount"])), f"{case} gave {quote}"
    return len(pool["cases"]), 0
