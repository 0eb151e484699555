"""Answers that can never change, kept up to a number of bytes; no null, no error, nothing unfinalized."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any, Final

import msgspec

ALWAYS: Final = frozenset({"getGenesisHash", "getEpochSchedule"})
"""Fixed with the chain's first block."""
FINALIZED: Final = frozenset({"getTransaction", "getBlock"})
"""Fixed once finalized, which is the commitment they take when none is given."""
DEEP_SLOTS: Final = 150
"""getBlockTime takes no commitment; a slot so far behind was finalized long ago (finality takes 32)."""
ENTRY_BYTES: Final = 200
"""What an entry costs beside its texts."""


class AnswerCache:
    """Least recently used answers go first.

    Args:
        max_bytes: of keys and answers together; 0 keeps nothing.

    Attributes:
        used_bytes: held now.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._kept: OrderedDict[bytes, bytes] = OrderedDict()
        self.used_bytes = 0

    def get(self, key: bytes) -> bytes | None:
        """The answer's JSON text."""
        found = self._kept.get(key)
        if found is not None:
            self._kept.move_to_end(key)
        return found

    def put(self, key: bytes, result: bytes) -> None:
        """Keep an answer; a null is "not yet" and is not kept, nor one that would drive out an eighth."""
        cost = len(key) + len(result) + ENTRY_BYTES
        if result == b"null" or cost > self._max_bytes // 8 or key in self._kept:
            return
        self._kept[key] = result
        self.used_bytes += cost
        while self.used_bytes > self._max_bytes:
            old_key, old = self._kept.popitem(last=False)
            self.used_bytes -= len(old_key) + len(old) + ENTRY_BYTES


def cache_key(method: str, params: bytes, head: int | None) -> bytes | None:
    """Name a call whose answer cannot change; None for every other.

    Args:
        method: its name.
        params: JSON text.
        head: the newest slot the majority of endpoints knows.
    """
    if method not in ALWAYS and method not in FINALIZED and method != "getBlockTime":
        return None
    try:
        given = msgspec.json.decode(params)
    except (msgspec.DecodeError, RecursionError):
        return None
    if not isinstance(given, list) or not _immutable(method, given, head):
        return None
    return msgspec.json.encode([method, given], order="sorted")


def _immutable(method: str, given: list[Any], head: int | None) -> bool:
    if method in ALWAYS:
        return not given
    if method == "getBlockTime":
        slot = given[0] if given else None
        return type(slot) is int and head is not None and slot <= head - DEEP_SLOTS
    config = given[1] if len(given) > 1 else None
    if isinstance(config, dict):
        return config.get("commitment") in (None, "finalized")
    return config is None or isinstance(config, str)  # a text is an encoding, as old clients write it
