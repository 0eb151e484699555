"""Names of things on the chain, as plain values: addresses, mints, signatures, slots, commitment."""

from __future__ import annotations

from enum import StrEnum
from typing import Final, NewType

Address = NewType("Address", str)
"""An account's public key in base58."""

Mint = NewType("Mint", str)
"""The address of a token's mint in base58; a token amount means nothing without it."""

Signature = NewType("Signature", str)
"""A transaction's first signature in base58: its id, known before it is sent."""

Blockhash = NewType("Blockhash", str)
"""A recent block's hash in base58; a transaction that names it lives about 150 blocks."""

Slot = NewType("Slot", int)
"""The chain's unit of time order."""

BlockHeight = NewType("BlockHeight", int)
"""Blocks produced so far; at most the slot, since slots may be skipped."""

NATIVE: Final = Mint("native")
"""Stands for lamports held by an account itself, outside any token account."""

WSOL: Final = Mint("So11111111111111111111111111111111111111112")
"""Wrapped SOL: lamports held in a token account. 9 decimals."""

USDC: Final = Mint("EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v")
"""USD Coin. 6 decimals."""


class Commitment(StrEnum):
    """How sure a node is of a slot, weakest first."""

    PROCESSED = "processed"
    CONFIRMED = "confirmed"
    FINALIZED = "finalized"
