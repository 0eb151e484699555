"""The state a fixed history leads to: when fields or fold change, the class version must be raised.

A snapshot of an older class version is thrown away, so old files need not be read; but while the version
stays, the same history must lead to the very same bytes.
"""

from __future__ import annotations

from pathlib import Path

from given import a_wallet, moved

from adapters.postgres.states import encode_state
from domain.chain import USDC, WSOL, Signature, Slot
from domain.money import Lamports
from domain.wallets.wallet import Wallet


def test_the_wallet_folds_as_its_version_says() -> None:
    """Every kind of event is in its history."""
    wallet = a_wallet()
    wallet.reserve("order-1", WSOL, 5, Lamports(3), 7)
    wallet.reserve("order-2", WSOL, 6, Lamports(3), 8)
    wallet.release("order-1", 9)
    wallet.book("trade", Signature("trade"), Slot(5), moved(USDC, 7), 10, "order-2")
    wallet.compare(WSOL, 2, Slot(6), 11)
    wallet.resolve("explained", 12, Slot(7))
    wallet.compare(WSOL, 1, Slot(8), 13)
    wallet.collect_events()
    file = Path(__file__).parent / f"wallet.v{Wallet.class_version}.json"
    assert encode_state(wallet) == file.read_bytes(), "raise Wallet.class_version and add its file"
