"""Accounts and transactions in the JSON shapes of a Solana node."""

from __future__ import annotations

from base64 import b64encode
from decimal import Decimal
from typing import Any, Final

from pyarrow import Codec  # type: ignore[import-untyped] # pyarrow ships no types
from solders.account import Account
from solders.instruction import CompiledInstruction, Instruction
from solders.message import MessageAddressTableLookup, MessageV0
from solders.pubkey import Pubkey
from solders.signature import Signature
from solders.transaction import VersionedTransaction

from adapters.localnet.base58 import b58encode
from adapters.localnet.execution import InnerCall, Outcome
from adapters.localnet.history import Executed, TokenBalance
from adapters.localnet.ledger import Ledger
from adapters.localnet.messages import Loaded
from adapters.localnet.refusals import INVALID_REQUEST, RpcRefusal, invalid_params
from adapters.solana.programs import token

Json = dict[str, Any]

RENT_EPOCH_EXEMPT: Final = 2**64 - 1
MAX_BASE58_BYTES: Final = 128

_PARSED_NAMES: Final = {token.TOKEN_PROGRAM: "spl-token", token.TOKEN_2022_PROGRAM: "spl-token-2022"}


ENCODINGS: Final = ("base64", "base64+zstd", "base58", "binary", "jsonParsed")
"""Of account data; `binary` is base58 as the first nodes wrote it."""


def account_json(
    ledger: Ledger,
    account: Account,
    encoding: str,
    data_slice: tuple[int, int] | None = None,
    *,
    strict: bool = True,
) -> Json:
    """Give an account's JSON; `encoding` is one of `ENCODINGS`.

    Raises:
        RpcRefusal: base58 was asked for more than 128 bytes; unless `strict`, the data then says so, as in a
            node's notifications.
    """
    return {
        "lamports": account.lamports,
        "owner": str(account.owner),
        "executable": account.executable,
        "rentEpoch": RENT_EPOCH_EXEMPT,
        "space": len(account.data),
        "data": _data(ledger, account, encoding, data_slice, strict=strict),
    }


def _data(
    ledger: Ledger, account: Account, encoding: str, data_slice: tuple[int, int] | None, *, strict: bool
) -> Any:  # noqa: ANN401 - a pair, a string or an object by encoding
    if encoding == "jsonParsed":
        parsed = _parsed(ledger, account)
        if parsed is not None:
            return parsed
        encoding = "base64"
    data = account.data
    if data_slice is not None:
        offset, length = data_slice
        data = data[offset : offset + length]
    if encoding == "base64":
        return [b64encode(data).decode(), "base64"]
    if encoding == "base64+zstd":
        return [b64encode(Codec("zstd").compress(data, asbytes=True)).decode(), encoding]
    text = _base58(data, strict=strict)
    return text if encoding == "binary" else [text, "base58"]


def _base58(data: bytes, *, strict: bool) -> str:
    if len(data) <= MAX_BASE58_BYTES:
        return b58encode(data)
    if strict:
        raise RpcRefusal(
            INVALID_REQUEST,
            "Encoded binary (base 58) data should be less than 128 bytes, please use Base64 encoding.",
        )
    return "error: data too large for bs58 encoding"


def _parsed(ledger: Ledger, account: Account) -> Json | None:
    if not token.is_token_account(account.data, account.owner):
        return None
    held = token.decode_token_account(account.data, account.owner)
    decimals = ledger.decimals(held.mint)
    info: Json = {
        "isNative": held.is_native is not None,
        "mint": str(held.mint),
        "owner": str(held.owner),
        "state": "frozen" if account.data[108] == 2 else "initialized",
        "tokenAmount": ui_amount(held.amount, decimals),
    }
    if held.is_native is not None:
        info["rentExemptReserve"] = ui_amount(held.is_native, decimals)
    if held.delegate is not None:
        info["delegate"] = str(held.delegate)
        info["delegatedAmount"] = ui_amount(held.delegated_amount, decimals)
    if held.close_authority is not None:
        info["closeAuthority"] = str(held.close_authority)
    return {
        "program": _PARSED_NAMES[account.owner],
        "parsed": {"info": info, "type": "account"},
        "space": len(account.data),
    }


def ui_amount(amount: int, decimals: int) -> Json:
    """Give a token amount in base units with the node's display forms; the float is for display only."""
    exact = Decimal(amount).scaleb(-decimals)
    text = f"{exact:f}"
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return {"amount": str(amount), "decimals": decimals, "uiAmount": float(exact), "uiAmountString": text}


def status_json(error: Any) -> Json:  # noqa: ANN401 - a transaction error is a string or an object
    """Give the deprecated `status` member that nodes still send."""
    return {"Ok": None} if error is None else {"Err": error}


def meta_json(executed: Executed, encoding: str) -> Json:
    """Give a landed transaction's metadata; `jsonParsed` names the accounts of inner calls in full."""
    outcome, loaded = executed.outcome, executed.loaded
    split = loaded.static_count + loaded.writable_lookups
    return {
        "err": outcome.error,
        "status": status_json(outcome.error),
        "fee": outcome.fee,
        "preBalances": list(executed.pre_balances),
        "postBalances": list(executed.post_balances),
        "preTokenBalances": [_token_balance(item) for item in executed.pre_tokens],
        "postTokenBalances": [_token_balance(item) for item in executed.post_tokens],
        "innerInstructions": inner_json(outcome, loaded, in_full=encoding == "jsonParsed"),
        "logMessages": outcome.logs,
        "rewards": [],
        "loadedAddresses": {
            "writable": [str(key) for key in loaded.keys[loaded.static_count : split]],
            "readonly": [str(key) for key in loaded.keys[split:]],
        },
        "computeUnitsConsumed": outcome.units,
        **({"returnData": return_json(outcome)} if outcome.returned else {}),
    }


def return_json(outcome: Outcome) -> Json | None:
    """Give what a program returned, None where none did."""
    if outcome.returned is None:
        return None
    program, data = outcome.returned
    return {"programId": str(program), "data": [b64encode(data).decode(), "base64"]}


def inner_json(outcome: Outcome, loaded: Loaded, *, in_full: bool) -> list[Json]:
    """Give the calls programs made, by top level instruction, with addresses in full or by their place."""
    positions = {key: index for index, key in enumerate(loaded.keys)}
    return [
        {
            "index": index,
            "instructions": [
                _call_in_full(call) if in_full else _inner_call(call, positions) for call in calls
            ],
        }
        for index, calls in sorted(outcome.inner.items())
    ]


def transaction_json(loaded: Loaded, encoding: str) -> Any:  # noqa: ANN401 - a pair or an object by encoding
    """Give a transaction as `json`, `base64` or `base58`; `jsonParsed` adds the accounts' roles.

    Raises:
        RpcRefusal: the encoding is not one served here.
    """
    transaction = loaded.transaction
    if encoding == "base64":
        return [b64encode(bytes(transaction)).decode(), "base64"]
    if encoding == "base58":
        return [b58encode(bytes(transaction)), "base58"]
    if encoding not in ("json", "jsonParsed"):
        raise invalid_params(
            f"Invalid params: unknown variant `{encoding}`, expected json, base64 or base58."
        )
    return {
        "signatures": [str(signature) for signature in transaction.signatures],
        "message": _parsed_message(loaded) if encoding == "jsonParsed" else _message(transaction),
    }


def version_json(transaction: VersionedTransaction) -> str | int:
    """Give `"legacy"` or 0."""
    return 0 if isinstance(transaction.message, MessageV0) else "legacy"


def _message(transaction: VersionedTransaction) -> Json:
    message = transaction.message
    header = message.header
    body: Json = {
        "header": {
            "numRequiredSignatures": header.num_required_signatures,
            "numReadonlySignedAccounts": header.num_readonly_signed_accounts,
            "numReadonlyUnsignedAccounts": header.num_readonly_unsigned_accounts,
        },
        "accountKeys": [str(key) for key in message.account_keys],
        "recentBlockhash": str(message.recent_blockhash),
        "instructions": [_compiled(item) for item in message.instructions],
    }
    if isinstance(message, MessageV0):
        body["addressTableLookups"] = [_lookup(lookup) for lookup in message.address_table_lookups]
    return body


def _parsed_message(loaded: Loaded) -> Json:
    message = loaded.transaction.message
    body: Json = {
        "accountKeys": account_roles(loaded),
        "recentBlockhash": str(message.recent_blockhash),
        "instructions": [_partly_decoded(item) for item in loaded.instructions],
    }
    if isinstance(message, MessageV0):
        body["addressTableLookups"] = [_lookup(lookup) for lookup in message.address_table_lookups]
    return body


def account_roles(loaded: Loaded) -> list[Json]:
    """Give a transaction's addresses with what each may do."""
    signers = loaded.transaction.message.header.num_required_signatures
    return [
        {
            "pubkey": str(key),
            "signer": index < signers,
            "writable": loaded.writable[index],
            "source": "transaction" if index < loaded.static_count else "lookupTable",
        }
        for index, key in enumerate(loaded.keys)
    ]


def _lookup(lookup: MessageAddressTableLookup) -> Json:
    return {
        "accountKey": str(lookup.account_key),
        "writableIndexes": list(lookup.writable_indexes),
        "readonlyIndexes": list(lookup.readonly_indexes),
    }


def _compiled(item: CompiledInstruction) -> Json:
    return {
        "programIdIndex": item.program_id_index,
        "accounts": list(item.accounts),
        "data": b58encode(item.data),
        "stackHeight": 1,
    }


def _partly_decoded(item: Instruction) -> Json:
    return {
        "programId": str(item.program_id),
        "accounts": [str(meta.pubkey) for meta in item.accounts],
        "data": b58encode(item.data),
        "stackHeight": 1,
    }


def _inner_call(call: InnerCall, positions: dict[Pubkey, int]) -> Json:
    return {
        "programIdIndex": positions[call.program],
        "accounts": [positions[key] for key in call.accounts],
        "data": b58encode(call.data),
        "stackHeight": call.height,
    }


def _call_in_full(call: InnerCall) -> Json:
    return {
        "programId": str(call.program),
        "accounts": [str(key) for key in call.accounts],
        "data": b58encode(call.data),
        "stackHeight": call.height,
    }


def _token_balance(balance: TokenBalance) -> Json:
    return {
        "accountIndex": balance.account_index,
        "mint": str(balance.mint),
        "owner": str(balance.owner),
        "programId": str(balance.program),
        "uiTokenAmount": ui_amount(balance.amount, balance.decimals),
    }


def parse_signature(text: str) -> Signature:
    """Read a signature.

    Raises:
        RpcRefusal: it is not 64 bytes of base58.
    """
    try:
        return Signature.from_string(text)
    except ValueError as error:
        raise invalid_params("Invalid param: Invalid") from error


def parse_pubkey(text: str) -> Pubkey:
    """Read an address.

    Raises:
        RpcRefusal: it is not 32 bytes of base58.
    """
    try:
        return Pubkey.from_string(text)
    except ValueError as error:
        raise invalid_params(
            "Invalid param: Invalid" if len(text) > 44 else "Invalid param: WrongSize"
        ) from error
