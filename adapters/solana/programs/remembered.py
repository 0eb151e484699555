"""Accounts decoded once: the same bytes of the same owner mean the same thing.

Around a pool most accounts rest while one or two move, and a swap is quoted, built and carried out on the
same accounts: hashing ten kilobytes costs a tenth of decoding them.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final, TypeVar, cast

from solders.pubkey import Pubkey

T = TypeVar("T")

REMEMBERED: Final = 1_024
"""Accounts kept, the newest used: about 25 MB if all were arrays of 10 kB, and beyond any one pool's need."""

WORTH_IT: Final = 165
"""Mints and token accounts are as quick to decode as to look up, and vaults change with every swap."""


def remembered(decode: Callable[[bytes, Pubkey], T], data: bytes, owner: Pubkey) -> T:
    """Give what `decode` makes of an account, which must not change afterwards; refusals are made anew.

    Raises:
        DecodeError: `decode` refuses the account.
    """
    if len(data) <= WORTH_IT:
        return decode(data, owner)
    return cast("T", _decoded(decode, data, owner))


@lru_cache(maxsize=REMEMBERED)
def _decoded(decode: Callable[[bytes, Pubkey], Any], data: bytes, owner: Pubkey) -> Any:  # noqa: ANN401 - of every kind
    return decode(data, owner)
