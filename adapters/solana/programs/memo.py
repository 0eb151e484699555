"""SPL Memo: a note in a transaction's logs."""

from __future__ import annotations

from typing import Final

from solders.instruction import AccountMeta, Instruction
from solders.pubkey import Pubkey

PROGRAM_ID: Final = Pubkey.from_string("MemoSq4gqABAXKb96qnH8TysNcWxMyWCqXgDLGmfcHr")


def memo(text: str, *signers: Pubkey) -> Instruction:
    """Build a note; the program fails unless every one of `signers` signed."""
    metas = [AccountMeta(signer, is_signer=True, is_writable=False) for signer in signers]
    return Instruction(PROGRAM_ID, text.encode(), metas)
