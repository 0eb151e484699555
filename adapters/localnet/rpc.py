"""JSON-RPC 2.0 over the local chain: one request or a batch in, the node's answer out."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any, Final

import msgspec
from solders.pubkey import Pubkey
from solders.transaction import VersionedTransaction

from adapters.localnet.blocks import Block
from adapters.localnet.encoding import Json
from adapters.localnet.faults import AnswerLost, Fault, FaultKind, Faults
from adapters.localnet.history import Executed
from adapters.localnet.ledger import Ledger
from adapters.localnet.params import Params
from adapters.localnet.refusals import (
    INTERNAL_ERROR,
    INVALID_REQUEST,
    METHOD_NOT_FOUND,
    PARSE_ERROR,
    RpcRefusal,
    invalid_params,
    node_behind,
)
from adapters.localnet.rpc_accounts import AccountMethods, Method
from adapters.localnet.rpc_chain import ChainMethods
from adapters.localnet.rpc_transactions import TransactionMethods
from domain.errors import DecodeError

MAX_BATCH: Final = 1_000
"""Calls in one batch: many a provider allows fewer."""
_SLOTS_BEHIND: Final = 42


class Rpc:
    """Serves every method; `extra` are the local network's own."""

    def __init__(
        self, ledger: Ledger, transactions: TransactionMethods, faults: Faults, extra: dict[str, Method]
    ) -> None:
        self._ledger = ledger
        self._transactions = transactions
        self._faults = faults
        self._delayed: list[tuple[int, VersionedTransaction]] = []
        self._methods: dict[str, Method] = {
            **AccountMethods(ledger).methods(),
            **ChainMethods(ledger).methods(),
            **transactions.methods(),
            **extra,
        }
        ledger.listen(self)

    async def handle(self, body: bytes) -> bytes:
        """Answer one HTTP body.

        Raises:
            AnswerLost: the call was carried out and the connection is to be cut.
        """
        try:
            request = msgspec.json.decode(body)
        except msgspec.DecodeError:
            return msgspec.json.encode(_failure(None, RpcRefusal(PARSE_ERROR, "Parse error")))
        if not isinstance(request, list):
            return msgspec.json.encode(await self.answer(request))
        if not request or len(request) > MAX_BATCH:
            return msgspec.json.encode(_failure(None, RpcRefusal(INVALID_REQUEST, "Invalid request")))
        return msgspec.json.encode([await self.answer(item) for item in request])

    async def answer(self, request: object) -> Json:
        """Answer one call.

        Raises:
            AnswerLost: as `handle`.
        """
        if not isinstance(request, dict) or not isinstance(request.get("method"), str):
            return _failure(None, RpcRefusal(INVALID_REQUEST, "Invalid request"))
        name = request.get("id")
        try:
            result = await self._call(request["method"], request.get("params"))
        except RpcRefusal as refusal:
            return _failure(name, refusal)
        except DecodeError as error:
            return _failure(name, invalid_params(f"Invalid param: {error}"))
        return {"jsonrpc": "2.0", "result": result, "id": name}

    async def _call(self, method: str, raw: object) -> Any:  # noqa: ANN401 - any JSON
        known = self._methods.get(method)
        if known is None:
            raise RpcRefusal(METHOD_NOT_FOUND, "Method not found")
        fault = self._faults.take(method)
        if fault is not None:
            return await self._call_with_fault(known, Params(raw), fault)
        return known(Params(raw))

    async def _call_with_fault(self, method: Method, params: Params, fault: Fault) -> Any:  # noqa: ANN401 - any JSON
        if fault.kind is FaultKind.UNHEALTHY:
            raise node_behind(_SLOTS_BEHIND)
        if fault.kind in (FaultKind.DROP, FaultKind.DELAY):
            transaction = self._transactions.accept(params)
            if fault.kind is FaultKind.DELAY:
                self._delayed.append((self._ledger.blocks.open.slot + fault.slots, transaction))
            return str(transaction.signatures[0])
        result = method(params)
        if fault.kind is FaultKind.LOSE_ANSWER:
            raise AnswerLost
        if fault.kind is FaultKind.ERROR_ANSWER:
            raise RpcRefusal(INTERNAL_ERROR, "Internal error")
        await asyncio.sleep(fault.ms / 1_000)
        return result

    def executed(self, executed: Executed) -> None:
        """Nothing to do here."""

    def rolled_back(self, kept: int, changed: Iterable[Pubkey]) -> None:
        """Nothing to do here: what was delayed was never on the fork."""

    def advanced(self, block: Block) -> None:
        """Let the delayed transactions whose slot has come land."""
        due = [transaction for slot, transaction in self._delayed if slot <= block.slot]
        self._delayed = [item for item in self._delayed if item[0] > block.slot]
        for transaction in due:
            self._ledger.submit(transaction)


def _failure(name: object, refusal: RpcRefusal) -> Json:
    return {"jsonrpc": "2.0", "error": refusal.as_json(), "id": name}
