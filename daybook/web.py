"""uvicorn in front of any of our applications: it listens first, stops when told, and takes no signals."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
from collections.abc import Iterator

import uvicorn
from fastapi import FastAPI

from domain.errors import SetupError

GRACE_S = 3
"""Answers under way get this long at the end."""

KEEP_ALIVE_S = 75
"""Longer than clients keep idle connections, so that they never race a close."""

MAX_FRAME_BYTES = 2**20
"""Of a client's WebSocket; the doors have narrower limits of their own and say so."""


class ApiServer(uvicorn.Server):
    """uvicorn without signal handlers of its own: the process stops its services itself."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals alone."""
        yield

    async def run_service(self, listening: socket.socket) -> None:
        """Serve until cancelled; answers under way are finished."""
        serving = asyncio.create_task(self.serve([listening]))
        try:
            await asyncio.shield(serving)
        except asyncio.CancelledError:
            self.should_exit = True
            await serving
            raise


def listen(host: str, port: int, setting: str = "DAYBOOK_API_PORT") -> socket.socket:
    """A listening socket; port 0 takes a free one. Who connects from now on is answered once the server runs.

    Raises:
        SetupError: the port is taken, or the host is not ours.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
        listening.listen()
    except OSError as error:
        listening.close()
        remedy = f"stop what listens there or set {setting} (0 takes a free one)"
        if isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL:
            remedy = "name an address of this machine, e.g. 127.0.0.1"
        raise SetupError(
            f"the API cannot listen on {host} port {port}: {error.strerror}; {remedy}"
        ) from error
    return listening


def serving(app: FastAPI) -> ApiServer:
    """Uvicorn over an application."""
    config = uvicorn.Config(
        app,
        ws="websockets-sansio",
        ws_max_size=MAX_FRAME_BYTES,
        ws_per_message_deflate=False,  # notifications are small and latency matters
        log_config=None,
        access_log=False,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=GRACE_S,
        lifespan="off",
    )
    return ApiServer(config)
