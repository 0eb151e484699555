"""Reading accounts: many in one call, so in one slot."""

from __future__ import annotations

from base64 import b64decode
from binascii import Error as Base64Error
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from solders.pubkey import Pubkey

from adapters.solana.jsonrpc import JsonRpc, unreadable
from domain.chain import Address, Commitment, Slot
from domain.errors import ChainError, InvalidInput

MAX_PER_READ: Final = 100
"""A node reads no more accounts in one getMultipleAccounts."""

LONGEST: Final = 44
"""Characters of an address in base58; of a longer text only the beginning is shown."""

BEHIND: Final = -32016
"""JSON-RPC code: the node has not reached the wanted slot."""


@dataclass(frozen=True, slots=True)
class Account:
    """An account as the chain holds it.

    Attributes:
        lamports: what it holds itself.
        owner: the program that may change it.
        data: its bytes.
    """

    lamports: int
    owner: Pubkey
    data: bytes


class AccountReader:
    """Accounts of one node, at one commitment unless a call says otherwise."""

    def __init__(self, rpc: JsonRpc, *, commitment: Commitment = Commitment.CONFIRMED) -> None:
        self._rpc = rpc
        self._commitment = commitment

    async def read(
        self,
        addresses: Sequence[Address],
        *,
        commitment: Commitment | None = None,
        min_slot: Slot | None = None,
    ) -> tuple[Slot, list[Account | None]]:
        """Read up to 100 accounts in one slot; none where there is no account.

        Raises:
            InvalidInput: more than 100 addresses, or one that is no address.
            ChainError: the node refused, or is behind `min_slot` (code -32016).
            ChainUnavailable: no answer that can be read.
        """
        if len(addresses) > MAX_PER_READ:
            raise InvalidInput(
                f"reading {len(addresses)} accounts in one slot: a node reads at most {MAX_PER_READ}"
            )
        for address in addresses:
            public_key(address)
        config: dict[str, Any] = {"encoding": "base64", "commitment": commitment or self._commitment}
        if min_slot is not None:
            config["minContextSlot"] = min_slot
        answer = await self._rpc.call("getMultipleAccounts", list(addresses), config)
        slot, values = contextual("getMultipleAccounts", answer)
        require_slot("getMultipleAccounts", slot, min_slot)
        if not isinstance(values, list) or len(values) != len(addresses):
            raise unreadable("getMultipleAccounts", f"{str(values)[:60]} for {len(addresses)} accounts")
        return slot, [None if value is None else _account("getMultipleAccounts", value) for value in values]

    async def of_program(
        self, program: Pubkey, *, length: int, matching: Mapping[int, bytes]
    ) -> list[tuple[Address, Account]]:
        """Find `program`'s accounts of `length` bytes that hold the given bytes at the given offsets.

        In the order of their addresses, so that two readings name them alike.

        Raises:
            ChainError: the node refused; public nodes often refuse this method.
            ChainUnavailable: no answer that can be read.
        """
        filters: list[dict[str, Any]] = [{"dataSize": length}]
        filters += [
            {"memcmp": {"offset": offset, "bytes": str(Pubkey(held)), "encoding": "base58"}}
            for offset, held in matching.items()
        ]
        config = {"encoding": "base64", "commitment": self._commitment, "filters": filters}
        answer = await self._rpc.call("getProgramAccounts", str(program), config)
        if not isinstance(answer, list):
            raise unreadable("getProgramAccounts", str(answer)[:60])
        found = []
        for item in answer:
            if not isinstance(item, dict) or not isinstance(item.get("pubkey"), str):
                raise unreadable("getProgramAccounts", str(item)[:60])
            found.append((Address(item["pubkey"]), _account("getProgramAccounts", item.get("account"))))
        return sorted(found, key=lambda pair: pair[0])


def public_key(address: str) -> Pubkey:
    """Read a base58 address.

    Raises:
        InvalidInput: it is none.
    """
    try:
        return Pubkey.from_string(address)
    except ValueError as error:
        shown = address if len(address) <= LONGEST else f"{address[:LONGEST]}..."
        raise InvalidInput(f"{shown!r} is no Solana address (32 bytes in base58): correct it") from error


def contextual(method: str, answer: Any) -> tuple[Slot, Any]:  # noqa: ANN401 - the node's JSON
    """Take apart `{"context": {"slot": ...}, "value": ...}`.

    Raises:
        ChainUnavailable: the answer has another shape.
    """
    match answer:
        case {"context": {"slot": int(slot)}, "value": value}:
            return Slot(slot), value
        case _:
            raise unreadable(method, str(answer)[:60])


def require_slot(method: str, slot: Slot, min_slot: Slot | None) -> None:
    """Refuse what a node said at a slot before `min_slot`.

    Raises:
        ChainError: code -32016.
    """
    if min_slot is not None and slot < min_slot:
        raise ChainError(
            f"{method} was answered at slot {slot}, before the wanted {min_slot}: the node is behind; "
            "ask again or ask another node",
            BEHIND,
        )


def _account(method: str, value: Any) -> Account:  # noqa: ANN401 - the node's JSON
    try:
        match value:
            case {"lamports": int(lamports), "owner": str(owner), "data": [str(data), "base64"]}:
                return Account(lamports, Pubkey.from_string(owner), b64decode(data, validate=True))
    except (ValueError, Base64Error) as error:
        raise unreadable(method, f"an account with {error}") from error
    raise unreadable(method, f"an account of the form {str(value)[:60]}")
