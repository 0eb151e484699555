"""The embedded stack as its users see it: attach to a data folder and get three URLs.

    with attach(Path(".daybook")) as urls: ...          # or `async with`
    up(path); status(path); down(path)

The first process that comes starts the servers, the others share them, and they stop when the last one
leaves (or dies, however it dies). `up` keeps them running until `down`.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from domain.errors import SetupError

from . import control
from .binaries import find_binaries
from .folder import Folder, check_unused, existing_folder, lay_out, open_folder

START_TIMEOUT_S = 150.0  # longer than the supervisor's own bounds, so that its sentence arrives
STOP_TIMEOUT_S = 60.0  # longer than the slowest server's stop
POLL_S = 0.01


@dataclass(frozen=True)
class StackUrls:
    """Where the servers are; with passwords, so never log them.

    Attributes:
        database_url: for asyncpg; the owner of the database, who may make schemas, roles and databases.
        nats_url: for nats-py.
        redis_url: for redis-py.
    """

    database_url: str
    nats_url: str
    redis_url: str


@dataclass(frozen=True)
class ServerStatus:
    """One server as `status` finds it.

    Attributes:
        name: postgres, nats or valkey.
        up: whether it answered as ours just now.
        version: what it says it is; None while it never answered.
        pid: its process; None while it does not run.
        address: socket path or host:port, without the password.
        data_bytes: bytes of its data on disk.
    """

    name: str
    up: bool
    version: str | None = None
    pid: int | None = None
    address: str | None = None
    data_bytes: int = 0


class Attachment:
    """Keeps the stack of a folder alive while it is entered; sync or async, once."""

    def __init__(self, data_dir: Path, nats_port: int | None = None) -> None:
        self._data_dir = data_dir
        self._nats_port = nats_port
        self._connection: socket.socket | None = None

    def __enter__(self) -> StackUrls:
        self._connection, greeting = _connect_or_start(self._data_dir, self._nats_port)
        return _urls(greeting)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._connection is not None:
            _leave(self._connection)
            self._connection = None

    async def __aenter__(self) -> StackUrls:
        return await asyncio.to_thread(self.__enter__)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.to_thread(self.__exit__, kind, error, trace)


def attach(data_dir: Path, *, nats_port: int | None = None) -> Attachment:
    """The servers of a data folder, for as long as the returned context is entered.

    Args:
        data_dir: the folder; made when it is new.
        nats_port: a port of 127.0.0.1 for NATS instead of any free one.

    Entering raises:
        SetupError: the folder, the wheels, the disk or the port are not as needed.
    """
    return Attachment(data_dir, nats_port)


def up(data_dir: Path, *, nats_port: int | None = None) -> StackUrls:
    """Start the servers, or find them running, and keep them until `down`. Raises SetupError."""
    connection, greeting = _connect_or_start(data_dir, nats_port)
    with connection:
        control.send(connection, {"do": "keep"})
        if control.receive(connection) is None:
            raise SetupError(f"keeping the servers of {data_dir}: they are being stopped. Try again")
    return _urls(greeting)


def down(data_dir: Path) -> bool:
    """Stop the servers whoever uses them; True when there were any. Raises SetupError."""
    folder = existing_folder(data_dir)
    if folder is None:
        return False
    with _locked(folder):  # a start under way is finished first
        connection = _connect(folder)
        if connection is None:
            return False
        with connection, contextlib.suppress(BrokenPipeError):
            control.send(connection, {"do": "down"})
            _wait_closed(connection)
    return True


def status(data_dir: Path) -> tuple[ServerStatus, ...]:
    """What each server says right now. Raises SetupError when the folder is not ours to look at."""
    folder = existing_folder(data_dir)
    connection = _connect(folder) if folder is not None else None
    if connection is not None:
        with connection, contextlib.suppress(OSError):
            greeting = _ask(connection, {"do": "status"})
            if greeting is not None:
                return tuple(ServerStatus(**server) for server in greeting["servers"])
    return tuple(ServerStatus(name, up=False) for name in ("nats", "valkey", "postgres"))


def _connect_or_start(data_dir: Path, nats_port: int | None) -> tuple[socket.socket, dict[str, Any]]:
    folder, made = open_folder(data_dir)
    with _locked(folder):
        if not folder.is_new():
            lay_out(folder)
            return _attach_running(folder, nats_port) or _start(folder, nats_port)
        return _first_start(folder, nats_port, made=made)


def _first_start(
    folder: Folder, nats_port: int | None, *, made: bool
) -> tuple[socket.socket, dict[str, Any]]:
    check_unused(folder)
    try:
        find_binaries()
        lay_out(folder)
        return _start(folder, nats_port)
    except SetupError:
        folder.discard(made_folder=made)
        raise


def _attach_running(folder: Folder, nats_port: int | None) -> tuple[socket.socket, dict[str, Any]] | None:
    """None when nobody serves this folder, or its supervisor is just ending."""
    connection = _connect(folder)
    if connection is None:
        return None
    try:
        greeting = _ask(connection, {"do": "attach", "nats_port": nats_port})
    except BaseException:
        connection.close()
        raise
    if greeting is None or greeting["folder_id"] != folder.read_secrets().folder_id:
        connection.close()
        return None
    return connection, greeting


def _start(folder: Folder, nats_port: int | None) -> tuple[socket.socket, dict[str, Any]]:
    """Start a supervisor that knows us as its first user before it does anything."""
    ours, theirs = socket.socketpair()
    try:
        with theirs:
            _spawn(folder, theirs.fileno(), nats_port)
        ours.settimeout(START_TIMEOUT_S)
        greeting = _answer(ours)
    except BaseException as error:
        ours.close()
        if isinstance(error, OSError | subprocess.SubprocessError):
            raise SetupError(f"starting the supervisor of {folder.root}: {error}") from error
        raise
    if greeting is None:
        ours.close()
        raise SetupError(
            f"starting the servers of {folder.root}: the supervisor ended without a word. "
            f"See {folder.log('supervisor')}"
        )
    return ours, greeting


def _spawn(folder: Folder, connection: int, nats_port: int | None) -> None:
    request = {"data_dir": str(folder.root), "connection": connection, "nats_port": nats_port}
    path = folder.log("supervisor")
    if path.exists():
        path.replace(path.with_suffix(".log.1"))  # what the last one said before it ended
    with path.open("w") as log:
        subprocess.run(  # noqa: S603 - our own interpreter with our own module
            [sys.executable, "-P", "-m", "adapters.embedded.supervisor", json.dumps(request)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd="/",  # it must not keep the caller's folder busy
            pass_fds=(connection,),
            start_new_session=True,  # a Ctrl-C in our terminal is for us, not for the servers
            timeout=START_TIMEOUT_S,
            check=True,
        )


def _connect(folder: Folder) -> socket.socket | None:
    connection = socket.socket(socket.AF_UNIX)
    try:
        state = json.loads(folder.state_file.read_text())
        connection.settimeout(STOP_TIMEOUT_S)
        connection.connect(state["control"])
    except (OSError, ValueError, KeyError):
        connection.close()
        return None
    return connection


def _ask(connection: socket.socket, request: dict[str, Any]) -> dict[str, Any] | None:
    try:
        control.send(connection, request)
        return _answer(connection)
    except (BrokenPipeError, ConnectionResetError):
        return None


def _answer(connection: socket.socket) -> dict[str, Any] | None:
    try:
        answer = control.receive(connection)
    except TimeoutError as error:
        raise SetupError(
            "waiting for the supervisor of the embedded servers: no answer; see logs/supervisor.log in the "
            "data folder, stop it with `daybook stack down` and try again"
        ) from error
    except ConnectionResetError:
        return None
    if answer is not None and "error" in answer:
        raise SetupError(answer["error"])
    return answer


def _leave(connection: socket.socket) -> None:
    """Say good-bye; when we were the last, wait until the servers have stopped."""
    with connection, contextlib.suppress(OSError):
        connection.settimeout(STOP_TIMEOUT_S)
        control.send(connection, {"do": "leave"})
        _wait_closed(connection)


def _wait_closed(connection: socket.socket) -> None:
    with contextlib.suppress(ConnectionResetError):
        while connection.recv(4096):
            continue


def _urls(greeting: dict[str, Any]) -> StackUrls:
    return StackUrls(greeting["database_url"], greeting["nats_url"], greeting["redis_url"])


@contextlib.contextmanager
def _locked(folder: Folder) -> Iterator[None]:
    """One starter at a time; the kernel lets go when the holder dies."""
    deadline = time.monotonic() + START_TIMEOUT_S
    with folder.start_lock.open("w") as lock:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise SetupError(
                        f"starting the servers of {folder.root}: another process has been starting them for "
                        f"{START_TIMEOUT_S:.0f} s. End it and try again"
                    ) from None
                time.sleep(POLL_S)
        yield
