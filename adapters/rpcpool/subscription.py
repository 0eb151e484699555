"""One subscription of a client: its number never changes, whoever serves it; and the notice of a gap."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from adapters.rpcpool.outcome import Answer

GAP: Final = "gapNotification"
KEPT_BYTES: Final = 64 * 1024
"""The last notification is kept for its slot, unless it is a whole block."""


class _Context(msgspec.Struct):
    slot: int | None = None


class _Result(msgspec.Struct):
    """Where notifications carry their slot: in `context`, or bare (slotNotification)."""

    context: _Context | None = None
    slot: int | None = None


_RESULT: Final = msgspec.json.Decoder(_Result)


@dataclass(eq=False, slots=True)
class Subscription:
    """What a client wants to hear.

    Attributes:
        number: the client's id for it.
        kind: account, slot, ...
        params: JSON text.
        reply: tells the client how its request went; None once told.
        node_id: the serving endpoint's id for it; None while none serves it.
        lost_at: wall-clock seconds since when it hears nothing; None while it does.
        refused_by: endpoints that would not take it over.
    """

    number: int
    kind: str
    params: bytes
    reply: Callable[[Answer], None] | None
    node_id: int | None = None
    lost_at: float | None = None
    refused_by: set[str] = field(default_factory=set)
    _last: bytes | None = None

    def answer(self, answer: Answer) -> None:
        """Tell the client how its request went, once."""
        reply, self.reply = self.reply, None
        if reply is not None:
            reply(answer)

    def notification(self, method: str, result: bytes) -> bytes:
        """The endpoint's notification under the client's id."""
        self._last = result if len(result) <= KEPT_BYTES else None
        return b'{"jsonrpc":"2.0","method":"%b","params":{"result":%b,"subscription":%d}}' % (
            method.encode(),
            result,
            self.number,
        )

    def ends_with(self, result: bytes) -> bool:
        """Whether the node gives no more after this: a signature's one notification."""
        return self.kind == "signature" and b'"receivedSignature"' not in result

    def gap(self, state: str, reason: str, now: float) -> bytes:
        """The notice that it lost sight, sees again, or ended."""
        lost_at = now if self.lost_at is None else self.lost_at
        result: dict[str, Any] = {
            "state": state,
            "kind": self.kind,
            "reason": reason,
            "lostAtMs": int(lost_at * 1_000),
            "restoredAtMs": int(now * 1_000) if state == "restored" else None,
            "lastSlot": self._last_slot(),
        }
        params = {"result": result, "subscription": self.number}
        return msgspec.json.encode({"jsonrpc": "2.0", "method": GAP, "params": params})

    def _last_slot(self) -> int | None:
        if self._last is None:
            return None
        try:
            found = _RESULT.decode(self._last)
        except msgspec.DecodeError:  # rootNotification is a bare number, others have no slot
            return None
        return found.slot if found.context is None else found.context.slot
