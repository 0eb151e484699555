"""What the RPC doors are handed: a pool of Solana endpoints behind one face."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

from prometheus_client import CollectorRegistry


class RpcAnswer(Protocol):
    """What a call is answered: exactly one of `result` and `error` is set, as JSON text."""

    @property
    def result(self) -> bytes | None:
        """The result."""

    @property
    def error(self) -> bytes | None:
        """A JSON-RPC error object."""

    @property
    def status(self) -> int:
        """The HTTP status for a call that came alone."""

    @property
    def retry_after_s(self) -> float | None:
        """When to ask again, with status 429."""


Reply = Callable[[RpcAnswer], None]


class RpcSession(Protocol):
    """One client's subscriptions."""

    async def subscribe(self, method: str, params: bytes, reply: Reply) -> None:
        """Serve a ...Subscribe; `reply` is called once, before the first notification is pushed."""

    async def unsubscribe(self, method: str, params: bytes, reply: Reply) -> None:
        """Serve an ...Unsubscribe."""


class RpcService(Protocol):
    """Serves calls and subscriptions from whatever endpoints live."""

    @property
    def registry(self) -> CollectorRegistry:
        """Its figures."""

    async def call(self, method: str, params: bytes) -> RpcAnswer:
        """Serve one call; `params` is JSON text of an array or object. What endpoints do never raises."""

    def session(
        self, push: Callable[[bytes], None], on_gap: Callable[[str], None] | None
    ) -> AbstractAsyncContextManager[RpcSession]:
        """One client's subscriptions, ended with the block.

        Args:
            push: takes each message for the client; does not block.
            on_gap: called with the reason instead of gap notices.
        """

    def health(self) -> tuple[bool, dict[str, Any]]:
        """Whether any endpoint is well, and where each stands."""
