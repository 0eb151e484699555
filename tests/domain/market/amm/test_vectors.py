"""Every vector file there is, each case graded by the check of its protocol: tests/amm_checks."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from vector_accounts import VECTORS

from domain.errors import DecodeError, QuoteError

Check = Callable[[dict[str, Any]], tuple[int, int]]
FILES = sorted(VECTORS.glob("*.json"))


def check_of(protocol: str) -> Check:
    """The function that grades one pool of a protocol."""
    if find_spec(f"amm_checks.{protocol}") is None:
        pytest.fail(f"no check grades {protocol!r}: write tests/amm_checks/{protocol}.py with a check(pool)")
    check: Check = import_module(f"amm_checks.{protocol}").check
    return check


def test_there_are_vectors() -> None:
    assert FILES, f"no vectors in {VECTORS}: set DAYBOOK_VECTORS to the folder that holds them"


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_every_case_of_every_file_passes(file: Path, record_property: Callable[[str, object], None]) -> None:
    """From raw account bytes to the last base unit; the figures are printed below the results."""
    document = json.loads(file.read_text())
    protocol = document.get("protocol", file.stem)
    check = check_of(protocol)
    passed = not_graded = 0
    wrong: list[str] = []
    for number, pool in enumerate(document["pools"]):
        try:
            done, left = check(pool)
        except (AssertionError, DecodeError, QuoteError) as error:
            wrong.append(f"pool {number} ({pool.get('kind', '')}): {error}")
        else:
            passed, not_graded = passed + done, not_graded + left
    record_property("vectors", f"{protocol}: {passed} cases passed, {not_graded} not graded ({file.name})")
    assert not wrong, f"{len(wrong)} pools of {file.name} differ:\n" + "\n".join(wrong)
    assert passed, f"{file.name} holds no case that can be graded"


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_falsified_case_fails_by_its_name(file: Path) -> None:
    """One unit more than the program pays; files without amounts to pay are not asked."""
    document = json.loads(file.read_text())
    check = check_of(document.get("protocol", file.stem))
    for pool in document["pools"]:
        paid = [case for case in pool.get("cases", ()) if is_paid(case)]
        for case in paid[:1]:
            false = {**case, "amountOut": str(int(case["amountOut"]) + 1)}
            with pytest.raises(AssertionError, match=f"'amountOut': '{false['amountOut']}'"):
                check({**pool, "cases": [false]})


def is_paid(case: dict[str, Any]) -> bool:
    ran = bool(case.get("program", {}).get("ok", True))
    return ran and case.get("amountOut", "0") != "0"


def test_a_file_of_an_unknown_protocol_is_refused_in_a_sentence() -> None:
    with pytest.raises(pytest.fail.Exception, match="no check grades 'cold_fusion'"):
        check_of("cold_fusion")
