"""A cable to a server: what runs over it can be cut off or held up and come back, at the same address."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Self

HOST = "127.0.0.1"
CHUNK = 65_536


class Cable:
    """Passes bytes on to a port of this machine or a unix socket; use as an async context manager.

    Attributes:
        port: where it is listened instead; known once it runs.
        served: connections that were made over it.
        mute: whether the server's answers are lost on the way; what it is sent arrives.
    """

    def __init__(self, to: int | str) -> None:
        self.port = 0
        self.served = 0
        self.mute = False
        self._to = to
        self._flows = asyncio.Event()
        self._flows.set()
        self._freezes_at: bytes | None = None
        self._server: asyncio.Server | None = None
        self._passing: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        await self.mend()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.cut()

    async def mend(self) -> None:
        """Take connections, at the same port as before."""
        self._server = await asyncio.start_server(self._taken, HOST, self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def cut(self) -> None:
        """Close every connection and take no new one."""
        if self._server is not None:
            self._server.close()
        for passing in self._passing:
            passing.cancel()
        await asyncio.gather(*self._passing, return_exceptions=True)

    def freeze(self, at: bytes = b"") -> None:
        """Pass nothing on from where these bytes come, now if none are given; every connection stays open."""
        self._freezes_at = at
        if not at:
            self._flows.clear()

    def thaw(self) -> None:
        """Go on with what was held up."""
        self._freezes_at = None
        self._flows.set()

    @property
    def frozen(self) -> bool:
        """Whether something is held up, or will be."""
        return not self._flows.is_set()

    async def _taken(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        passing = asyncio.current_task()
        assert passing is not None
        self._passing.add(passing)
        self.served += 1
        try:
            await self._pass(reader, writer)
        except (OSError, asyncio.CancelledError):
            return  # one end is gone, or the cable was cut
        finally:
            self._passing.discard(passing)
            writer.transport.abort()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        back, there = await self._other_end()
        ways = self._copy(reader, there, lambda: True), self._copy(back, writer, lambda: not self.mute)
        both = [asyncio.ensure_future(way) for way in ways]
        try:
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        finally:
            there.transport.abort()
            for one in both:
                one.cancel()
            await asyncio.gather(*both, return_exceptions=True)

    async def _other_end(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if isinstance(self._to, str):
            return await asyncio.open_unix_connection(self._to)
        return await asyncio.open_connection(HOST, self._to)

    async def _copy(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, passes: Callable[[], bool]
    ) -> None:
        while data := await reader.read(CHUNK):  # until the other end closes
            if self._freezes_at is not None and self._freezes_at in data:
                self._flows.clear()
            await self._flows.wait()
            if passes():
                writer.write(data)
                await writer.drain()
