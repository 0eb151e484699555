"""What a node says of a transaction, as our records: status, fee, and the exact change of every balance."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from adapters.solana.errors import describe
from adapters.solana.jsonrpc import unreadable
from commands.ports import BalanceChange, SignatureStatus, TransactionRecord
from domain.chain import NATIVE, Address, Commitment, Mint, Signature, Slot
from domain.money import Lamports

_STATUS = "getSignatureStatuses"
_RECORD = "getTransaction"


def status_of(asked_slot: Slot, value: Any) -> SignatureStatus:  # noqa: ANN401 - the node's JSON
    """Read one entry of getSignatureStatuses; none means the node knows nothing of the signature.

    Raises:
        ChainUnavailable: the entry has another shape.
    """
    if value is None:
        return SignatureStatus(asked_slot, None, None, None)
    match value:
        case {"slot": int(slot)}:
            error = value.get("err")
            return SignatureStatus(
                asked_slot, Slot(slot), _commitment(value), None if error is None else describe(error)
            )
        case _:
            raise unreadable(_STATUS, str(value)[:60])


def record_of(signature: Signature, answer: Any) -> TransactionRecord:  # noqa: ANN401 - the node's JSON
    """Read getTransaction's answer in encoding `json`.

    Raises:
        ChainUnavailable: the answer has another shape, or lacks its metadata.
    """
    try:
        meta, error = answer["meta"], answer["meta"]["err"]
        return TransactionRecord(
            signature=signature,
            slot=Slot(int(answer["slot"])),
            fee_lamports=Lamports(int(meta["fee"])),
            error=None if error is None else describe(error),
            changes=_changes(_account_keys(answer), meta),
        )
    except (KeyError, TypeError, ValueError, IndexError) as found:
        raise unreadable(_RECORD, f"{type(found).__name__}: {found} in {str(answer)[:60]}") from found


def _commitment(value: dict[str, Any]) -> Commitment:
    try:
        named = value.get("confirmationStatus")
        if named is not None:
            return Commitment(named)
    except ValueError as error:
        raise unreadable(_STATUS, str(value)[:60]) from error
    # Nodes that do not name it: no count of confirmations is left to give once the slot is rooted.
    return Commitment.FINALIZED if value.get("confirmations") is None else Commitment.PROCESSED


def _account_keys(answer: dict[str, Any]) -> list[str]:
    """All accounts in the order metadata counts them: the message's own, then those of lookup tables."""
    loaded = answer["meta"].get("loadedAddresses") or {}
    keys = answer["transaction"]["message"]["accountKeys"]
    return [*keys, *loaded.get("writable", ()), *loaded.get("readonly", ())]


def _changes(keys: list[str], meta: dict[str, Any]) -> tuple[BalanceChange, ...]:
    before, after = meta["preBalances"], meta["postBalances"]
    if not len(keys) == len(before) == len(after):
        raise ValueError(f"{len(keys)} accounts with {len(before)} balances before and {len(after)} after")
    lamports = (
        BalanceChange(Address(key), Address(key), NATIVE, int(then) - int(now))
        for key, now, then in zip(keys, before, after, strict=True)
    )
    return tuple(change for change in (*lamports, *_token_changes(keys, meta)) if change.change)


def _token_changes(keys: list[str], meta: dict[str, Any]) -> Iterable[BalanceChange]:
    """One per token account and mint; one just opened or closed stands on one side only: 0 on the other."""
    amounts: dict[tuple[int, str], int] = {}
    owners: dict[tuple[int, str], str] = {}
    for sign, side in ((-1, "preTokenBalances"), (1, "postTokenBalances")):
        for entry in meta.get(side) or ():
            key = (entry["accountIndex"], entry["mint"])
            amounts[key] = amounts.get(key, 0) + sign * int(entry["uiTokenAmount"]["amount"])
            owners[key] = entry["owner"]
    for (index, mint), change in sorted(amounts.items()):
        yield BalanceChange(Address(keys[index]), Address(owners[index, mint]), Mint(mint), change)
