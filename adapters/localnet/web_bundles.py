"""The block engine's own paths under `/api/v1`, as its HTTP clients use them."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from typing import Final
from urllib.parse import parse_qs

import msgspec

from adapters.localnet.faults import Faults
from adapters.localnet.ledger import Ledger
from adapters.localnet.rpc import Rpc
from adapters.localnet.rpc_bundles import BundleMethods
from adapters.localnet.rpc_transactions import TransactionMethods

TIP_FLOOR: Final = "/api/v1/bundles/tip_floor"
TRANSACTIONS: Final = "/api/v1/transactions"
BUNDLES: Final = (
    "/api/v1/bundles",
    "/api/v1/getBundleStatuses",
    "/api/v1/getInflightBundleStatuses",
    "/api/v1/getTipAccounts",
)


class BundleDoor:
    """Serves the block engine's paths; `now` gives the time of day as text, for the tip floor."""

    def __init__(
        self,
        ledger: Ledger,
        faults: Faults,
        transactions: TransactionMethods,
        bundles: BundleMethods,
        now: Callable[[], str],
    ) -> None:
        self._tip_floor = bundles.tip_floor
        self._now = now
        self._bundles = Rpc(ledger, faults, bundles.methods(), bundles.sending())
        self._transactions = Rpc(ledger, faults, {}, {"sendTransaction": transactions.accept_unchecked})
        self._alone = Rpc(ledger, faults, {}, {"sendTransaction": bundles.accept_alone})

    def serves(self, path: str) -> bool:
        """Whether a POST to `path` is for the block engine."""
        return path in BUNDLES or path == TRANSACTIONS

    def get(self, path: str) -> bytes | None:
        """Answer a GET, None where there is nothing at `path`."""
        return msgspec.json.encode(self._tip_floor(self._now())) if path == TIP_FLOOR else None

    async def post(self, path: str, query: bytes, body: bytes) -> tuple[bytes, bytes | None]:
        """Answer JSON-RPC, and the id of the bundle that a lone transaction travels in.

        Raises:
            AnswerLost, RateLimited: as `Rpc.handle`.
        """
        if path != TRANSACTIONS:
            return await self._bundles.handle(body), None
        alone = parse_qs(query.decode(errors="replace")).get("bundleOnly") == ["true"]
        answer = await (self._alone if alone else self._transactions).handle(body)
        decoded = msgspec.json.decode(answer)
        signature = decoded.get("result") if isinstance(decoded, dict) else None
        name = sha256(signature.encode()).hexdigest().encode() if isinstance(signature, str) else None
        return answer, name
