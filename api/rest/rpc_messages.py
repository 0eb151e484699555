"""JSON-RPC 2.0 as bytes: requests are read without looking into their params, answers made of parts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import msgspec

from api.rest.rpc_service import RpcAnswer

PARSE_ERROR: Final = -32700
INVALID_REQUEST: Final = -32600

MAX_BODY_BYTES: Final = 256 * 1024
"""A hundred transactions in base64 fit; a node's own limit is 50 KiB, and a batch is sent on call by call."""
MAX_BATCH: Final = 100
"""Calls of one batch: what Solana's providers commonly allow."""


class _Request(msgspec.Struct):
    jsonrpc: str
    method: str
    params: msgspec.Raw = msgspec.Raw(b"[]")
    id: msgspec.Raw = msgspec.Raw(b"")


_REQUEST: Final = msgspec.json.Decoder(_Request)
_BATCH: Final = msgspec.json.Decoder(list[msgspec.Raw])
_WITH_ID: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])


@dataclass(frozen=True, slots=True)
class Call:
    """A request that can be served.

    Attributes:
        params: JSON text of an array or an object.
        id: JSON text of the client's id; empty for a notification, which gets no answer.
    """

    method: str
    params: bytes
    id: bytes


@dataclass(frozen=True, slots=True)
class Malformed:
    """A request that cannot be served.

    Attributes:
        code: JSON-RPC's.
        found: in words.
        id: JSON text of the id, `null` when it has none that can be read.
    """

    code: int
    found: str
    id: bytes = b"null"

    def answer(self) -> bytes:
        """The answer to it."""
        error = msgspec.json.encode({"code": self.code, "message": self.found})
        return b'{"jsonrpc":"2.0","error":%b,"id":%b}' % (error, self.id)


def read_body(body: bytes) -> Call | Malformed | list[Call | Malformed]:
    """Read a request or a batch of them."""
    try:
        if not body.isascii():
            body.decode()  # ids and params are passed on unread
    except UnicodeDecodeError:
        return Malformed(PARSE_ERROR, "Parse error: the body is no UTF-8 text")
    if not body.lstrip(b" \t\r\n").startswith(b"["):
        return read_request(body)
    try:
        items = _BATCH.decode(body)
    except (msgspec.DecodeError, RecursionError):
        return Malformed(PARSE_ERROR, "Parse error: the body is no JSON")
    if not 1 <= len(items) <= MAX_BATCH:
        return Malformed(
            INVALID_REQUEST, f"Invalid request: a batch of {len(items)}, not of 1 to {MAX_BATCH}"
        )
    return [read_request(bytes(item)) for item in items]


def read_request(text: bytes) -> Call | Malformed:
    """Read one request."""
    try:
        request = _REQUEST.decode(text)
    except msgspec.ValidationError as error:
        return Malformed(INVALID_REQUEST, f"Invalid request: {error}", _id_of(text))
    except (msgspec.DecodeError, RecursionError):
        return Malformed(PARSE_ERROR, "Parse error: the body is no JSON")
    params, name = bytes(request.params), bytes(request.id)
    if not _is_id(name):
        return Malformed(INVALID_REQUEST, "Invalid request: the id is no text, number or null")
    if request.jsonrpc != "2.0":
        return Malformed(INVALID_REQUEST, 'Invalid request: `jsonrpc` is not "2.0"', name or b"null")
    if params == b"null":
        params = b"[]"
    if not params.startswith((b"[", b"{")):
        return Malformed(INVALID_REQUEST, "Invalid request: `params` is no array or object", name or b"null")
    return Call(request.method, params, name)


def compose(answer: RpcAnswer, name: bytes) -> bytes:
    """The answer as the client gets it."""
    if answer.error is not None:
        return b'{"jsonrpc":"2.0","error":%b,"id":%b}' % (answer.error, name)
    return b'{"jsonrpc":"2.0","result":%b,"id":%b}' % (answer.result or b"null", name)


def _is_id(name: bytes) -> bool:
    return name in (b"", b"null") or name[:1] in b'"-0123456789'


def _id_of(text: bytes) -> bytes:
    try:
        name = bytes(_WITH_ID.decode(text).get("id", b""))
    except msgspec.DecodeError:  # no object
        return b"null"
    return name if name and _is_id(name) else b"null"
