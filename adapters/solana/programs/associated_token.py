"""Associated token accounts: the one token account a wallet has by default for each mint."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from solders.instruction import AccountMeta, Instruction
from solders.pubkey import Pubkey
from solders.system_program import ID as SYSTEM_PROGRAM
from solders.token import ID as TOKEN_PROGRAM
from solders.token.associated import get_associated_token_address

from adapters.solana.programs.metas import readable, writable

PROGRAM_ID: Final = Pubkey.from_string("ATokenGPvbdGVxr1b2hvZbsiqW5xWH25efTNsLJA8knL")

_CREATE_IDEMPOTENT: Final = b"\x01"


@lru_cache(maxsize=4096)
def associated_address(wallet: Pubkey, mint: Pubkey, token_program: Pubkey = TOKEN_PROGRAM) -> Pubkey:
    """Derive the address of `wallet`'s account for `mint`; kept, since swaps name the same few each time."""
    return get_associated_token_address(wallet, mint, token_program)


def create_idempotent(
    payer: Pubkey, wallet: Pubkey, mint: Pubkey, token_program: Pubkey = TOKEN_PROGRAM
) -> Instruction:
    """Build the creation of `wallet`'s account for `mint`; harmless where it exists. `payer` pays rent."""
    metas = [
        AccountMeta(payer, is_signer=True, is_writable=True),
        writable(associated_address(wallet, mint, token_program)),
        readable(wallet),
        readable(mint),
        readable(SYSTEM_PROGRAM),
        readable(token_program),
    ]
    return Instruction(PROGRAM_ID, _CREATE_IDEMPOTENT, metas)
