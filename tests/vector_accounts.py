"""The vectors: where they are, and their accounts as bytes with an owner."""

from __future__ import annotations

import base64
import json
import os
import zlib
from pathlib import Path
from typing import Any

import pytest
from solders.instruction import Instruction
from solders.pubkey import Pubkey

VECTORS = Path(os.environ.get("DAYBOOK_VECTORS", Path(__file__).parent / "vectors"))

REAL = Path(os.environ.get("DAYBOOK_SHARED", Path(__file__).parents[2] / "shared")) / "vectors"
"""Accounts of the main network, which only some machines have."""

needs_real_accounts = pytest.mark.skipif(
    not REAL.exists(), reason=f"no real accounts: {REAL} is absent (DAYBOOK_SHARED names its parent)"
)


def vector_pools(protocol: str) -> list[dict[str, Any]]:
    """Every pool of a protocol's file, with its accounts, cases and instructions."""
    pools: list[dict[str, Any]] = json.loads((VECTORS / f"{protocol}.json").read_text())["pools"]
    return pools


def account_bytes(raw: dict[str, Any]) -> tuple[bytes, Pubkey]:
    """The data and the owner of a vector's account."""
    data = base64.b64decode(raw["data"])
    unpacked = zlib.decompress(data) if raw["encoding"].endswith("zlib") else data
    return unpacked, Pubkey.from_string(raw["owner"])


def instruction_of(built: Instruction) -> dict[str, Any]:
    """An instruction of ours as the vectors write theirs."""
    keys = [
        {"pubkey": str(meta.pubkey), "signer": meta.is_signer, "writable": meta.is_writable}
        for meta in built.accounts
    ]
    return {"programId": str(built.program_id), "keys": keys, "data": built.data.hex()}
