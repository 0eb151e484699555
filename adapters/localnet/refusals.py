"""The errors a Solana node answers over JSON-RPC, with its own codes and words."""

from __future__ import annotations

from typing import Any, Final

from adapters.localnet.execution import Outcome
from adapters.localnet.transaction_error import sentence
from domain.errors import ChainError

PARSE_ERROR: Final = -32700
INVALID_REQUEST: Final = -32600
METHOD_NOT_FOUND: Final = -32601
INVALID_PARAMS: Final = -32602
INTERNAL_ERROR: Final = -32603
RATE_LIMITED: Final = 429
"""What public nodes put in the body of their HTTP 429."""
BLOCK_NOT_AVAILABLE: Final = -32004
SLOT_SKIPPED: Final = -32007
PREFLIGHT_FAILURE: Final = -32002
SIGNATURE_VERIFICATION_FAILURE: Final = -32003
NODE_UNHEALTHY: Final = -32005
UNSUPPORTED_TRANSACTION_VERSION: Final = -32015
MIN_CONTEXT_SLOT_NOT_REACHED: Final = -32016


class RpcRefusal(ChainError):
    """A request the local node answers with a JSON-RPC error.

    Attributes:
        code: the JSON-RPC error code.
        data: the error's `data` member, None where it has none.
    """

    def __init__(self, code: int, message: str, data: dict[str, Any] | None = None) -> None:
        super().__init__(message, code)
        self.data = data

    def as_json(self) -> dict[str, Any]:
        """Give the `error` member of the answer."""
        body: dict[str, Any] = {"code": self.code, "message": str(self)}
        if self.data is not None:
            body["data"] = self.data
        return body


def invalid_params(message: str) -> RpcRefusal:
    """A parameter is missing, of the wrong type, or names nothing."""
    return RpcRefusal(INVALID_PARAMS, message)


def node_behind(slots: int) -> RpcRefusal:
    """The node lags behind its cluster."""
    return RpcRefusal(NODE_UNHEALTHY, f"Node is behind by {slots} slots", {"numSlotsBehind": slots})


def min_context_slot_not_reached(context_slot: int) -> RpcRefusal:
    """The node has not yet seen the slot the caller insists on."""
    return RpcRefusal(
        MIN_CONTEXT_SLOT_NOT_REACHED,
        "Minimum context slot has not been reached",
        {"contextSlot": context_slot},
    )


def preflight_failure(outcome: Outcome) -> RpcRefusal:
    """The simulation before sending failed; nothing was sent."""
    error = outcome.error or "AccountNotFound"
    return RpcRefusal(
        PREFLIGHT_FAILURE,
        f"Transaction simulation failed: {sentence(error)}",
        {
            "accounts": None,
            "err": error,
            "fee": None,
            "innerInstructions": None,
            "loadedAccountsDataSize": 0,
            "loadedAddresses": None,
            "logs": outcome.logs,
            "postBalances": None,
            "postTokenBalances": None,
            "preBalances": None,
            "preTokenBalances": None,
            "replacementBlockhash": None,
            "returnData": None,
            "unitsConsumed": outcome.units,
        },
    )
