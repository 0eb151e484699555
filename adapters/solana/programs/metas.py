"""How an instruction names its accounts: to read, to write, or to sign."""

from __future__ import annotations

from solders.instruction import AccountMeta
from solders.pubkey import Pubkey


def readable(key: Pubkey) -> AccountMeta:
    """An account the program reads."""
    return AccountMeta(key, is_signer=False, is_writable=False)


def writable(key: Pubkey) -> AccountMeta:
    """An account the program changes."""
    return AccountMeta(key, is_signer=False, is_writable=True)


def signer(key: Pubkey) -> AccountMeta:
    """An account that signs and is not changed."""
    return AccountMeta(key, is_signer=True, is_writable=False)
