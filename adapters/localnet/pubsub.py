"""WebSocket subscriptions: accounts, programs, signatures, logs, slots, roots, at the asked commitment.

Processed notifications leave right after execution; confirmed and finalized ones when a block reaches that
commitment, one per changed account and block, with the account as it was at that block.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Final

import msgspec
from solders.account import Account
from solders.pubkey import Pubkey
from solders.system_program import ID as SYSTEM_PROGRAM

from adapters.localnet.blocks import Block
from adapters.localnet.encoding import Json, account_json, parse_signature
from adapters.localnet.history import Executed
from adapters.localnet.ledger import Ledger
from adapters.localnet.params import Config, Params
from adapters.localnet.refusals import INVALID_REQUEST, RpcRefusal, invalid_params
from domain.chain import Commitment

MAX_SUBSCRIPTIONS: Final = 1_000
"""Of one connection; nodes and providers set a limit of this order."""

Push = Callable[[bytes], None]

_KINDS: Final = ("account", "logs", "program", "root", "signature", "slot")
_NO_ACCOUNT: Final = Account(0, b"", SYSTEM_PROGRAM)


@dataclass(frozen=True, slots=True)
class Subscription:
    """One subscription of one connection; `key` is the account, program, signature or mention watched."""

    number: int
    kind: str
    push: Push
    commitment: Commitment
    config: Config
    key: str = ""


@dataclass(slots=True)
class _Pending:
    """What one slot did and not everybody has been told."""

    slot: int
    executed: list[Executed] = field(default_factory=list)


class Subscriptions:
    """Every connection's subscriptions; a `Listener` of the ledger."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._numbers = count(1)
        self._all: dict[int, Subscription] = {}
        self._held: Counter[Push] = Counter()
        self._pending: deque[_Pending] = deque()
        self._told: dict[Commitment, int] = {
            commitment: ledger.blocks.at(commitment).slot
            for commitment in (Commitment.CONFIRMED, Commitment.FINALIZED)
        }
        ledger.listen(self)

    def handle(self, method: str, params: Params, push: Push) -> Any:  # noqa: ANN401 - a number or a boolean
        """Serve `<kind>Subscribe` and `<kind>Unsubscribe`; None for any other method.

        Raises:
            RpcRefusal: a parameter is wrong, or the connection has too many subscriptions.
        """
        for kind in _KINDS:
            if method == f"{kind}Subscribe":
                return self._subscribe(kind, params, push)
            if method == f"{kind}Unsubscribe":
                return self._unsubscribe(params.integer(0), push)
        return None

    def drop(self, push: Push) -> None:
        """Forget a connection that went away."""
        self._all = {number: item for number, item in self._all.items() if item.push != push}
        del self._held[push]

    def _subscribe(self, kind: str, params: Params, push: Push) -> int:
        if self._held[push] >= MAX_SUBSCRIPTIONS:
            raise RpcRefusal(INVALID_REQUEST, f"Too many subscriptions; max {MAX_SUBSCRIPTIONS}")
        key = _watched(kind, params)
        config = params.config(1) if kind not in ("slot", "root") else Config({})
        _ = config.filters(), config.data_slice(), config.encoding("base64")  # refused now, not when told
        subscription = Subscription(next(self._numbers), kind, push, config.commitment(), config, key)
        self._all[subscription.number] = subscription
        self._held[push] += 1
        return subscription.number

    def _unsubscribe(self, number: int, push: Push) -> bool:
        known = self._all.get(number)
        if known is None or known.push != push:
            raise invalid_params("Invalid subscription id.")
        self._forget(known)
        return True

    def _forget(self, item: Subscription) -> None:
        if self._all.pop(item.number, None) is not None:
            self._held[item.push] -= 1

    def catch_up(self, number: int) -> None:
        """Tell a new signature subscription at once what is already known of its transaction."""
        item = self._all.get(number)
        if item is None or item.kind != "signature":
            return
        executed = self._ledger.history.get(parse_signature(item.key))
        if executed is not None and executed.slot <= self._ledger.blocks.at(item.commitment).slot:
            self._tell_signature(item, executed, self._ledger.blocks.at(item.commitment).slot)

    def executed(self, executed: Executed) -> None:
        """Tell those who want to know at once."""
        if not self._pending or self._pending[-1].slot != executed.slot:
            self._pending.append(_Pending(executed.slot))
        self._pending[-1].executed.append(executed)
        self._tell_received(executed)
        self._tell(Commitment.PROCESSED, executed.slot, [executed])

    def rolled_back(self, kept: int, changed: Iterable[Pubkey]) -> None:
        """Forget the dead fork; accounts that were put back are news to those who read at processed."""
        while self._pending and self._pending[-1].slot > kept:
            self._pending.pop()
        self._tell_accounts(Commitment.PROCESSED, self._ledger.blocks.open.slot, changed)

    def advanced(self, block: Block) -> None:
        """Tell of the new slot and of the blocks that reached a commitment."""
        root = self._ledger.blocks.at(Commitment.FINALIZED).slot
        parent = self._ledger.blocks.parent_slot()
        for item in list(self._all.values()):
            if item.kind == "slot":
                self._notify(item, {"parent": parent, "root": root, "slot": block.slot})
            elif item.kind == "root":
                self._notify(item, root)
        for commitment in (Commitment.CONFIRMED, Commitment.FINALIZED):
            self._tell_settled(commitment)
        while self._pending and self._pending[0].slot <= root:
            self._pending.popleft()

    def _tell_settled(self, commitment: Commitment) -> None:
        settled = self._ledger.blocks.at(commitment).slot
        for pending in self._pending:
            if self._told[commitment] < pending.slot <= settled:
                self._tell(commitment, pending.slot, pending.executed)
        self._told[commitment] = settled

    def _tell(self, commitment: Commitment, slot: int, executed: list[Executed]) -> None:
        if not any(item.commitment is commitment for item in self._all.values()):
            return
        self._tell_accounts(commitment, slot, {key for one in executed for key in one.changed})
        for item in list(self._all.values()):
            if item.commitment is not commitment:
                continue
            for one in executed:
                if item.kind == "signature" and item.key == str(one.signature):
                    self._tell_signature(item, one, slot)
                elif item.kind == "logs" and _mentions(item.key, one):
                    self._notify_in_context(item, slot, _logs(one))

    def _tell_accounts(self, commitment: Commitment, slot: int, changed: Iterable[Pubkey]) -> None:
        watchers = [
            item
            for item in self._all.values()
            if item.commitment is commitment and item.kind in ("account", "program")
        ]
        if not watchers:
            return
        at = None if commitment is Commitment.PROCESSED else slot
        for key in changed:
            account = self._ledger.account(key, at) or _NO_ACCOUNT
            name, owner = str(key), str(account.owner)
            for item in watchers:
                if item.kind == "account" and item.key == name:
                    self._notify_in_context(item, slot, self._account(account, item))
                elif item.kind == "program" and item.key == owner and _passes(item, account):
                    self._notify_in_context(
                        item, slot, {"pubkey": name, "account": self._account(account, item)}
                    )

    def _tell_received(self, executed: Executed) -> None:
        """Tell those who asked for it that the node has their transaction."""
        for item in self._all.values():
            asked = item.kind == "signature" and item.config.flag("enableReceivedNotification")
            if asked and item.key == str(executed.signature):
                self._notify_in_context(item, executed.slot, "receivedSignature")

    def _tell_signature(self, item: Subscription, executed: Executed, slot: int) -> None:
        self._notify_in_context(item, slot, {"err": executed.outcome.error})
        self._forget(item)  # a signature is told once

    def _account(self, account: Account, item: Subscription) -> Json:
        encoding, data_slice = item.config.encoding("base64"), item.config.data_slice()
        return account_json(self._ledger, account, encoding, data_slice, strict=False)

    def _notify_in_context(self, item: Subscription, slot: int, value: Any) -> None:  # noqa: ANN401 - any JSON
        self._notify(item, {"context": {"slot": slot}, "value": value})

    @staticmethod
    def _notify(item: Subscription, result: Any) -> None:  # noqa: ANN401 - any JSON
        params = {"result": result, "subscription": item.number}
        item.push(
            msgspec.json.encode({"jsonrpc": "2.0", "method": f"{item.kind}Notification", "params": params})
        )


def _watched(kind: str, params: Params) -> str:
    if kind in ("account", "program"):
        return str(params.pubkey(0))
    if kind == "signature":
        return str(parse_signature(params.text(0)))
    return _mention(params) if kind == "logs" else ""


def _mention(params: Params) -> str:
    """Read a logs filter: `all`, `allWithVotes`, or {"mentions": [one address]}."""
    wanted = params.value(0)
    if wanted in ("all", "allWithVotes"):
        return ""
    mentions = wanted.get("mentions") if isinstance(wanted, dict) else None
    if not isinstance(mentions, list) or len(mentions) != 1:
        raise invalid_params("Invalid Request: Only 1 address supported")
    return str(Params(mentions).pubkey(0))


def _mentions(key: str, executed: Executed) -> bool:
    return not key or any(key == str(one) for one in executed.loaded.keys)


def _passes(item: Subscription, account: Account) -> bool:
    return all(one.matches(account.data) for one in item.config.filters())


def _logs(executed: Executed) -> Json:
    return {
        "signature": str(executed.signature),
        "err": executed.outcome.error,
        "logs": executed.outcome.logs,
    }
