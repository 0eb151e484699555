"""One call to one endpoint over HTTP: sent once, read up to a bound, told as an outcome, never raised."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from email.utils import parsedate_to_datetime
from typing import Final

import aiohttp
import msgspec

from adapters.rpcpool import methods
from adapters.rpcpool.breaker import Circuit
from adapters.rpcpool.bucket import LONGEST_ASKED_S
from adapters.rpcpool.endpoint import CONNECTIONS, Endpoint
from adapters.rpcpool.outcome import Kind, Outcome
from adapters.solana.jsonrpc import is_loopback

CONNECT_TIMEOUT_S: Final = 3.0
"""TCP and TLS take a round trip each; an address that does not answer by then is away."""
IDLE_S: Final = 60.0
"""Providers close idle connections after about this long: a connection they closed first costs a retry."""
MAX_ANSWER_BYTES: Final = 128 * 2**20
"""The largest answers are getProgramAccounts of whole programs, some ten MB."""

_NOT_CARRIED_OUT: Final = frozenset({400, 401, 402, 403, 404, 405, 410, 413, 415, 422})


class _Body(msgspec.Struct):
    result: msgspec.Raw = msgspec.Raw(b"")
    error: msgspec.Raw = msgspec.Raw(b"")


class _Code(msgspec.Struct):
    code: int | None = None


_BODY: Final = msgspec.json.Decoder(_Body)
_CODE: Final = msgspec.json.Decoder(_Code)


class Transport:
    """The connections to all endpoints, 100 to each.

    Args:
        clock: seconds, monotonic.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._sessions: dict[str, aiohttp.ClientSession] = {}

    def now(self) -> float:
        """The clock's reading."""
        return self._clock()

    async def aclose(self) -> None:
        """Close all connections."""
        for session in self._sessions.values():
            await session.close()

    def begin(self, endpoint: Endpoint) -> float:
        """Count a call as begun; gives the clock's reading, for `call`.

        In the step that chooses the endpoint, lest many calls be chosen for one token.
        """
        began = self._clock()
        endpoint.bucket.take(began)
        endpoint.breaker.started(began)
        endpoint.in_flight += 1
        return began

    async def call(
        self, endpoint: Endpoint, began: float, method: str, params: bytes, timeout_s: float
    ) -> Outcome:
        """Ask once; what came of it is also noted at the endpoint's breaker, bucket and health."""
        try:
            outcome = await self._exchange(endpoint, method, params, timeout_s)
        except asyncio.CancelledError:
            endpoint.breaker.undecided()
            raise
        finally:
            endpoint.in_flight -= 1
        note(endpoint, outcome, began, self._clock())
        return outcome

    async def _exchange(self, endpoint: Endpoint, method: str, params: bytes, timeout_s: float) -> Outcome:
        request = b'{"jsonrpc":"2.0","id":1,"method":%b,"params":%b}' % (
            msgspec.json.encode(method),
            params,
        )
        timeout = aiohttp.ClientTimeout(total=timeout_s, sock_connect=CONNECT_TIMEOUT_S)
        try:
            async with self._session(endpoint).post(
                endpoint.config.url, data=request, timeout=timeout, allow_redirects=False
            ) as response:
                body = await _read(response)
                return interpret(endpoint.name, response.status, response.headers, body)
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            return Outcome(Kind.UNSENT, endpoint.name, found=f"no connection ({type(error).__name__})")
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            return Outcome(Kind.LOST, endpoint.name, found=f"no answer ({type(error).__name__})")

    def _session(self, endpoint: Endpoint) -> aiohttp.ClientSession:
        session = self._sessions.get(endpoint.name)
        if session is None:
            session = self._sessions[endpoint.name] = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=CONNECTIONS, keepalive_timeout=IDLE_S),
                headers={"content-type": "application/json", **endpoint.config.headers},
                trust_env=not is_loopback(endpoint.config.url),
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        return session


async def _read(response: aiohttp.ClientResponse) -> bytes:
    """The whole body.

    Raises:
        ValueError: it is longer than the bound.
    """
    if (response.content_length or 0) <= MAX_ANSWER_BYTES:
        body = bytearray()
        async for chunk in response.content.iter_any():
            body += chunk
            if len(body) > MAX_ANSWER_BYTES:
                break
        else:
            return bytes(body)
    response.close()
    raise ValueError("the answer is too long")


def interpret(name: str, status: int, headers: Mapping[str, str], body: bytes) -> Outcome:
    """What an HTTP answer says."""
    if status == 429:
        pause_s = retry_after_s(headers.get("Retry-After"), time.time())
        return Outcome(Kind.LIMITED, name, found="HTTP 429", retry_after_s=pause_s)
    try:
        answer = _BODY.decode(body)
        if not body.isascii():
            body.decode()  # the parts are passed on unread: they must be text for the client too
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _unreadable(name, status)
    error = bytes(answer.error)
    if error not in (b"", b"null"):
        return _refusal(name, error)
    result = bytes(answer.result)
    if status != 200 or not result:
        return _unreadable(name, status)
    return Outcome(Kind.ANSWERED, name, result=result)


def _unreadable(name: str, status: int) -> Outcome:
    if status in _NOT_CARRIED_OUT:
        return Outcome(Kind.UNSENT, name, found=f"HTTP {status}: is its URL or key right?")
    return Outcome(Kind.LOST, name, found=f"HTTP {status} without a JSON-RPC answer")


def _refusal(name: str, error: bytes) -> Outcome:
    try:
        code = _CODE.decode(error).code
    except msgspec.DecodeError:  # not even an error object: as good as no answer
        return Outcome(Kind.LOST, name, found="an error that is no JSON-RPC error object")
    if code in methods.LIMITED:
        return Outcome(Kind.LIMITED, name, code=code, found=f"refused for its rate ({code})")
    kind = Kind.ANSWERED
    if code in methods.ILL:
        kind = Kind.ILL
    elif code in methods.LACKS:
        kind = Kind.LACKS
    return Outcome(kind, name, error=error, code=code)


def retry_after_s(text: str | None, now: float) -> float | None:
    """Seconds of a Retry-After header, written as seconds or as a date; None when there is none to read.

    At most `LONGEST_ASKED_S`, whatever it says.
    """
    if text is None:
        return None
    try:
        number = text.strip().lstrip("-").isdecimal()
        asked_s = float(text) if number else parsedate_to_datetime(text).timestamp() - now
    except (ValueError, OverflowError):
        return None
    return min(max(0.0, asked_s), LONGEST_ASKED_S)


def note(endpoint: Endpoint, outcome: Outcome, began: float, ended: float) -> None:
    """Let the endpoint's breaker, bucket and health know."""
    if outcome.kind is Kind.LIMITED:
        endpoint.bucket.refused(ended, outcome.retry_after_s)
        endpoint.breaker.undecided()
        return
    ok = outcome.kind in (Kind.ANSWERED, Kind.LACKS)
    endpoint.health.record(ok=ok, took_s=ended - began)
    if ok:
        if endpoint.breaker.state(ended) is not Circuit.CLOSED:
            endpoint.health.recovered()
        endpoint.breaker.succeeded()
        endpoint.bucket.answered()
    else:
        endpoint.breaker.failed(ended)
