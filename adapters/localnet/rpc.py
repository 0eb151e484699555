"""JSON-RPC 2.0 over the local chain: one request or a batch in, the node's answer out."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from adapters.localnet.encoding import Json
from adapters.localnet.faults import AnswerLost, Fault, FaultKind, Faults, RateLimited
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
from adapters.localnet.rpc_accounts import Method
from domain.errors import DecodeError

MAX_BATCH: Final = 1_000
"""Calls in one batch: many a provider allows fewer."""
_SLOTS_BEHIND: Final = 42


@dataclass(frozen=True, slots=True)
class Accepted:
    """A transaction or bundle that passed the checks made before it is sent on.

    Attributes:
        answer: what the caller is told.
        deliver: sends it on, so that it lands now or the given number of slots later.
    """

    answer: str
    deliver: Callable[[int], None]


Accept = Callable[[Params], Accepted]


class Rpc:
    """Serves a table of methods; those of `sending` are carried out in two steps, which faults can part."""

    def __init__(
        self, ledger: Ledger, faults: Faults, methods: Mapping[str, Method], sending: Mapping[str, Accept]
    ) -> None:
        self._ledger = ledger
        self._faults = faults
        self._sending = sending
        self._methods = {**methods, **{name: _at_once(accept) for name, accept in sending.items()}}

    async def handle(self, body: bytes) -> bytes:
        """Answer one HTTP body.

        Raises:
            AnswerLost: the call was carried out and the connection is to be cut.
            RateLimited: the answer is to be HTTP 429.
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
        params = Params(raw)
        if fault is None:
            return known(params)
        if fault.kind in (FaultKind.DROP, FaultKind.DELAY):
            accepted = self._sending[method](params)
            if fault.kind is FaultKind.DELAY:
                accepted.deliver(fault.amount)
            return accepted.answer
        return await self._call_with_fault(known, params, fault)

    async def _call_with_fault(self, method: Method, params: Params, fault: Fault) -> Any:  # noqa: ANN401 - any JSON
        if fault.kind is FaultKind.UNHEALTHY:
            raise node_behind(_SLOTS_BEHIND)
        if fault.kind is FaultKind.RATE_LIMITED:
            raise RateLimited
        if fault.kind is FaultKind.STALE:
            with self._ledger.blocks.behind(fault.amount):
                return method(params)
        result = method(params)
        if fault.kind is FaultKind.LOSE_ANSWER:
            raise AnswerLost
        if fault.kind is FaultKind.ERROR_ANSWER:
            raise RpcRefusal(INTERNAL_ERROR, "Internal error")
        await asyncio.sleep(fault.amount / 1_000)
        return result


def _at_once(accept: Accept) -> Method:
    def send(params: Params) -> str:
        accepted = accept(params)
        accepted.deliver(0)
        return accepted.answer

    return send


def _failure(name: object, refusal: RpcRefusal) -> Json:
    return {"jsonrpc": "2.0", "error": refusal.as_json(), "id": name}
