"""SPL Memo: a note in a transaction's logs."""

from __future__ import annotations

from typing import Final

from solders.instruction import Instruction
from solders.pubkey import Pubkey

from adapters.solana.programs.metas import signer

PROGRAM_ID: Final = Pubkey.from_string("MemoSq4gqABAXKb96qnH8TysNcWxMyWCqXgDLGmfcHr")


def memo(text: str, *signers: Pubkey) -> Instruction:
    """Build a note; the program fails unless every one of `signers` signed."""
    return Instruction(PROGRAM_ID, text.encode(), [signer(key) for key in signers])
