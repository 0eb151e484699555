"""Meteora DLMM vectors: every amount and every fee, from raw account bytes."""

from __future__ import annotations

from typing import Any

from amm_checks.cases import accounts_of, address_of, check_run, quoted, time_of

from adapters.solana.programs.meteora_dlmm import quotable
from domain.errors import QuoteError
from domain.market.amm.dlmm import DlmmPool, DlmmQuote


def check(pool: dict[str, Any]) -> tuple[int, int]:
    """Grade a pool's cases: how many passed, how many could not be graded.

    Where the program carried a case out, it decides: what it refused we must refuse, whatever the SDK quotes.
    The SDK's `fee` is what the liquidity providers get, ours includes the protocol's share.
    """
    ours = _tradable(pool)
    for case in pool["cases"]:
        quote = ours and quoted(ours, case, a_to_b=case["side"] == "a_to_b")
        if not case.get("program", {"ok": "error" not in case})["ok"]:
            assert quote is None, f"{case} should have no quote, got {quote}"
            continue
        assert isinstance(quote, DlmmQuote), f"{case} should have a quote"
        exact_in = case["mode"] == "exact_in"
        key, found = ("amountOut", quote.amount_out) if exact_in else ("amountIn", quote.amount_in)
        assert found == int(case[key]), f"{case} gave {quote}"
        check_run(case, quote)
        fee = quote.fee_in + quote.fee_out
        assert fee - quote.protocol_fee == int(case["fee"]), f"fee of {case} gave {quote}"
        if "protocolFee" in case:
            assert quote.protocol_fee == int(case["protocolFee"]), f"protocol fee of {case} gave {quote}"
    return len(pool["cases"]), 0


def _tradable(pool: dict[str, Any]) -> DlmmPool | None:
    """The vector's pool; None where the program takes no swaps."""
    try:
        return quotable(address_of(pool), accounts_of(pool), time_of(pool))
    except QuoteError:
        return None
