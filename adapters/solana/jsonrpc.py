"""JSON-RPC over HTTP to one Solana node: every call bounded in time, every refusal a sentence.

httpx2 is used directly: solana-py's typed parser panics on an error object without `data`, which no caller
could catch. Its table of error names is used.
"""

from __future__ import annotations

import asyncio
from ipaddress import ip_address
from itertools import count
from typing import Any, Final
from urllib.parse import urlsplit

import httpx2
import msgspec
from solana.rpc.jsonrpc import JsonRpcErrorCode

from adapters.solana.errors import describe
from domain.errors import ChainError, ChainUnavailable, SetupError

CALL_TIMEOUT_S: Final = 5.0
"""A healthy node answers in milliseconds; after this the outcome is unknown and the caller must ask again."""

MAX_CONNECTIONS: Final = 16
"""Calls under way at once; the rest wait inside their own time limit."""

_OUTCOME_OPEN: Final = frozenset({JsonRpcErrorCode.INTERNAL_ERROR})
"""The node failed while it was at it: it may have passed a transaction on."""

_NO_ANSWER: Final = frozenset({408, 425, 429, 500, 502, 503, 504})


def where(url: str) -> str:
    """Name a node by host and port only: paths and queries of RPC URLs carry API keys."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.hostname}" + (f":{parts.port}" if parts.port else "")


def checked_url(url: str, schemes: tuple[str, str]) -> str:
    """Give `url` back when it names a node.

    Raises:
        SetupError: another scheme, or no host.
    """
    try:
        parts = urlsplit(url)
        valid = parts.scheme in schemes and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is no number, a bracket that is not closed
        valid = False
    if not valid:
        raise SetupError(
            f"the node's URL begins with {url[:24]!r}, not {schemes[0]}://HOST or {schemes[1]}://HOST: "
            "correct the setting"
        )
    return url


def is_loopback(url: str) -> bool:
    """Whether the node is on this machine: then no proxy of the environment stands between."""
    host = urlsplit(url).hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class JsonRpc:
    """One node's methods by name.

    Args:
        url: `http://` or `https://` of the node.
        timeout_s: the longest any call may take, connecting included.
    """

    def __init__(self, url: str, *, timeout_s: float = CALL_TIMEOUT_S) -> None:
        self._url = checked_url(url, ("http", "https"))
        self._timeout_s = timeout_s
        self._ids = count(1)
        self._client = httpx2.AsyncClient(
            timeout=timeout_s,
            trust_env=not is_loopback(url),
            limits=httpx2.Limits(max_connections=MAX_CONNECTIONS, max_keepalive_connections=MAX_CONNECTIONS),
            headers={"content-type": "application/json"},
        )

    def __repr__(self) -> str:
        return f"JsonRpc({where(self._url)})"

    async def call(self, method: str, *params: Any) -> Any:  # noqa: ANN401 - JSON has no narrower type
        """Ask and give the `result`.

        Raises:
            ChainError: the node refused; `code` is its JSON-RPC code.
            ChainUnavailable: no answer, or none that can be read: the outcome is unknown.
        """
        request = {"jsonrpc": "2.0", "id": next(self._ids), "method": method, "params": params}
        try:
            async with asyncio.timeout(self._timeout_s):
                response = await self._client.post(self._url, content=msgspec.json.encode(request))
        except (httpx2.HTTPError, OSError) as error:
            raise ChainUnavailable(
                f"{method} at {where(self._url)} got no answer ({type(error).__name__} {error}): outcome "
                "unknown; check that the node runs and the URL is right"
            ) from error
        return self._result(method, response)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    def _result(self, method: str, response: httpx2.Response) -> Any:  # noqa: ANN401 - as `call`
        try:
            answer = msgspec.json.decode(response.content)
        except (msgspec.DecodeError, RecursionError):
            answer = None
        if isinstance(answer, dict) and answer.get("error") is not None:
            raise _refusal(method, where(self._url), answer["error"])
        if not response.is_success:
            raise self._http_refusal(method, response.status_code)
        if not isinstance(answer, dict) or "result" not in answer:
            raise unreadable(method, f"no JSON-RPC object: {response.content[:60]!r}")
        return answer["result"]

    def _http_refusal(self, method: str, status: int) -> ChainError:
        if status in _NO_ANSWER:
            return ChainUnavailable(
                f"{method} at {where(self._url)} got HTTP {status} instead of an answer: the outcome is "
                "unknown; the node is busy or limits the rate, ask again later"
            )
        return ChainError(
            f"{method} at {where(self._url)} was refused with HTTP {status}: check the URL and its API key"
        )


def unreadable(method: str, found: str) -> ChainUnavailable:
    """Make the error for an answer without the documented shape: as good as none."""
    return ChainUnavailable(
        f"{method} was answered with something that cannot be read ({found}): the outcome is unknown; "
        "check that the URL is a Solana node's"
    )


def _refusal(method: str, node: str, error: Any) -> ChainError:  # noqa: ANN401 - whatever the node sent
    if not isinstance(error, dict):
        return ChainError(f"{method} was refused by {node}: {error}")
    code, data = error.get("code"), error.get("data")
    known = code if isinstance(code, int) else None
    cause = describe(data["err"]) if isinstance(data, dict) and data.get("err") is not None else None
    kind = ChainUnavailable if known in _OUTCOME_OPEN else ChainError
    return kind(
        f"{method} was refused by {node} ({_name(known)}): {error.get('message', 'no message')}"
        + (f"; {cause}" if cause else ""),
        known,
    )


def _name(code: int | None) -> str:
    if code is None:
        return "no code"
    try:
        return f"{code} {JsonRpcErrorCode(code).name.removeprefix('SERVER_ERROR_')}"
    except ValueError:
        return str(code)
