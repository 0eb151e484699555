"""The chain's own clock, read as an account beside the pools, so that it is of their slot."""

from __future__ import annotations

from struct import Struct
from typing import Final

from solders.pubkey import Pubkey

from adapters.solana.accounts import Account
from adapters.solana.pool_program import ChainTime
from domain.chain import Address
from domain.errors import ChainUnavailable

CLOCK: Final = Address("SysvarC1ock11111111111111111111111111111111")
CLOCK_KEY: Final = Pubkey.from_string(CLOCK)

_CLOCK: Final = Struct("<QqQQq")
"""Slot, start of the epoch (seconds), epoch, leader schedule epoch, unix time (seconds)."""


def chain_time(account: Account | None) -> ChainTime:
    """What the clock sysvar says.

    Raises:
        ChainUnavailable: the node has none, or one of another shape: it is no Solana node's.
    """
    if account is None or len(account.data) < _CLOCK.size:
        found = "nothing" if account is None else f"{len(account.data)} bytes"
        raise ChainUnavailable(
            f"reading the clock sysvar found {found}, expected {_CLOCK.size} bytes: check that the URL is a "
            "Solana node's"
        )
    _, _, epoch, _, unix_time = _CLOCK.unpack_from(account.data)
    return ChainTime(unix_time, epoch)
