"""Pyth vectors: every field of every price update, and the bytes back."""

from __future__ import annotations

from base64 import b64decode
from typing import Any

from solders.pubkey import Pubkey

from adapters.solana.programs import pyth

NUMBERS = {
    "price": "price",
    "conf": "conf",
    "exponent": "exponent",
    "publish_time": "publishTime",
    "prev_publish_time": "prevPublishTime",
    "ema_price": "emaPrice",
    "ema_conf": "emaConf",
    "posted_slot": "postedSlot",
}


def check(pool: dict[str, Any]) -> tuple[int, int]:
    """Grade one price update: how many passed, how many could not be graded."""
    data, said = b64decode(pool["data"]), pool["decoded"]
    update = pyth.decode_price_update(data, pyth.RECEIVER_ID)
    assert update.write_authority == Pubkey.from_string(said["writeAuthority"])
    assert update.feed_id.hex() == said["feedId"]
    signatures = None if said["verification"] == "full" else int(said["verification"]["partial"])
    assert update.signatures == signatures, f"{said['verification']} was read as {update.signatures}"
    for ours, theirs in NUMBERS.items():
        assert getattr(update, ours) == int(said[theirs]), f"{theirs} of {said} gave {update}"
    assert pyth.encode_price_update(update) == data
    return 1, 0
