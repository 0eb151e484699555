"""The small process that owns the three servers of one data folder, and ends with its last user.

    python -m adapters.embedded.supervisor '{"data_dir": ..., "connection": FD, "nats_port": null}'

Started by `stack.py`, never by hand. It has one thread: the servers' death signal is tied to the thread
that started them. Its own end is decided by the kernel: a user is a connection, and connections of
dead processes close.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import os
import selectors
import shutil
import signal
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from domain.errors import SetupError

from . import control, recovery
from .binaries import find_binaries
from .folder import FORMAT, Folder
from .nats import Nats
from .postgres import Postgres
from .privileges import choose_initdb_user, choose_run_as
from .server import Place, Server, failed
from .valkey import Valkey

LOCK_TIMEOUT_S = 60.0  # the one before us may be writing a last checkpoint
START_TIMEOUT_S = 60.0  # measured 0.2 s warm; recovery of 512 MB of WAL on a slow disk included
POLL_S = 0.01
TICK_S = 5.0  # how often logs are bounded and the folder is looked for
SEND_TIMEOUT_S = 2.0  # a user that does not read its answer is dropped
# A server that dies is started again at once, but one that keeps dying (a full disk) only once per tick:
# so it comes back when its trouble is over, and the attempts end with the stack's last user.
QUICK_RESTARTS = 5
RESTART_WINDOW_S = 60.0
PORT_ATTEMPTS = 3  # a free port lost between choosing and listening; twice in a row is already rare

# the standard library's: structlog loads rich, a third of a second of every first start
logger = logging.getLogger("daybook.stack")


class Supervisor:
    """Starts the servers, answers users, restarts what dies, and stops all in good order."""

    def __init__(self, folder: Folder, nats_port: int | None) -> None:
        self.folder = folder
        self.secrets = folder.read_secrets()
        binaries = find_binaries()
        run_as = choose_run_as(folder.servers, binaries.all())
        initdb_user = choose_initdb_user(run_as)
        self.private = folder.socket_folder()
        self.control_socket = self.private / "control.sock"
        place = Place(folder, self.secrets, binaries, run_as, initdb_user, self.private / "servers")
        self.postgres, self.nats, self.valkey = Postgres(place), Nats(place, nats_port), Valkey(place)
        self.place = place
        self.servers: tuple[Server, ...] = (self.nats, self.valkey, self.postgres)
        self.versions: dict[str, str] = {}
        self.restarts: dict[str, list[float]] = {server.name: [] for server in self.servers}
        self.selector = selectors.DefaultSelector()
        self.users: set[socket.socket] = set()
        self.kept = False
        self.stopping = False

    def start(self) -> None:
        """Start all three and wait until each answers as ours.

        Raises:
            SetupError: one of them could not be prepared, ended, or never answered.
        """
        self._write_state("starting")
        self.place.sockets.mkdir(mode=0o700)
        for path in (self.folder.servers, self.place.sockets):
            self.place.give(path)
        for server in self.servers:  # PostgreSQL last: its first initdb runs while the others start
            server.prepare()
            server.start()
        self._wait_ready()
        self._write_state("ready")

    def _wait_ready(self) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        port_attempts = 1
        while missing := [server for server in self.servers if not self._answers(server)]:
            for server in missing:
                if not server.running():
                    if server is self.nats and self.nats.lost_the_port() and port_attempts < PORT_ATTEMPTS:
                        port_attempts += 1
                        self.nats.choose_again()
                        self.nats.prepare()
                        self.nats.start()
                        continue
                    raise failed(f"starting {server.name} in {self.folder.root}", server.log_tail())
            if time.monotonic() > deadline:
                names = ", ".join(server.name for server in missing)
                raise failed(f"starting {names}", f"no answer in {START_TIMEOUT_S:.0f} s")
            time.sleep(POLL_S)

    def _answers(self, server: Server) -> bool:
        if server.name not in self.versions and (version := server.probe()):
            self.versions[server.name] = version
        return server.name in self.versions

    def _write_state(self, state: str) -> None:
        text = json.dumps(
            {
                "format": FORMAT,
                "state": state,
                "supervisor_pid": os.getpid(),
                "control": str(self.control_socket),
                "sockets": str(self.private),
                **self._urls(),
                "servers": [self._describe(server) for server in self.servers],
            },
            indent=2,
        )
        self.folder.write_private(self.folder.state_file, text)

    def _urls(self) -> dict[str, str]:
        return {
            "database_url": self.postgres.url(),
            "nats_url": self.nats.url(),
            "redis_url": self.valkey.url(),
        }

    def _describe(self, server: Server) -> dict[str, Any]:
        data = server.data_folder()
        return {
            "name": server.name,
            "version": self.versions.get(server.name),
            "pid": server.process.pid if server.process is not None and server.running() else None,
            "address": server.address(),
            "data_bytes": _size(data) if data is not None else 0,
        }

    def serve(self, first: socket.socket) -> None:
        """Answer until the last user has left (or `down`, or a signal), unless asked to be kept."""
        with socket.socket(socket.AF_UNIX) as listener, _wakeup() as wakeup:
            listener.bind(str(self.control_socket))
            listener.listen()
            self.selector.register(listener, selectors.EVENT_READ, self._accept)
            self.selector.register(wakeup, selectors.EVENT_READ, self._on_signal)
            self._welcome(first)
            self.users.add(first)
            self._answer(first, self._greeting())
            while not self.stopping and (self.kept or self.users):
                for key, _events in self.selector.select(TICK_S):
                    key.data(key.fileobj)
                self._tick()
            self.control_socket.unlink(missing_ok=True)

    def _accept(self, listener: socket.socket) -> None:
        connection, _peer = listener.accept()
        self._welcome(connection)

    def _welcome(self, connection: socket.socket) -> None:
        connection.settimeout(SEND_TIMEOUT_S)
        self.selector.register(connection, selectors.EVENT_READ, self._on_request)

    def _on_request(self, connection: socket.socket) -> None:
        try:
            request = control.receive(connection)
        except (OSError, ValueError):
            request = None
        if request is None:
            self._drop(connection)
        elif request.get("do") == "leave":
            self.users.discard(connection)
            if self.kept or self.users:  # else it stays open until all is stopped: the user waits for that
                self._drop(connection)
        else:
            self._answer(connection, self._obey(request, connection))

    def _obey(self, request: dict[str, Any], connection: socket.socket) -> dict[str, Any]:
        if request.get("do") == "attach":
            wanted = request.get("nats_port")
            if wanted not in (None, self.nats.port):
                return {"error": f"the stack runs already with NATS on port {self.nats.port}, not {wanted}: "
                        "stop it first with `daybook stack down`"}  # fmt: skip
            self.users.add(connection)
        elif request.get("do") == "keep":
            self.kept = True
            logger.info("kept until `daybook stack down`")
        elif request.get("do") == "down":
            self.stopping = True
        return self._greeting()

    def _greeting(self) -> dict[str, Any]:
        servers = [{**self._describe(server), "up": server.probe() is not None} for server in self.servers]
        return {"folder_id": self.secrets.folder_id, **self._urls(), "servers": servers}

    def _answer(self, connection: socket.socket, message: dict[str, Any]) -> None:
        try:
            control.send(connection, message)
        except OSError:
            self._drop(connection)

    def _drop(self, connection: socket.socket) -> None:
        self.users.discard(connection)
        self.selector.unregister(connection)
        connection.close()

    def _on_signal(self, wakeup: socket.socket) -> None:
        for number in wakeup.recv(4096):
            if number in (signal.SIGTERM, signal.SIGINT):
                self.stopping = True

    def _tick(self) -> None:
        if not self.folder.state_file.exists():
            logger.warning("the folder %s is gone: stopping", self.folder.root)
            self.stopping = True
        for server in self.servers:
            server.bound_log()
            if not self.stopping and not server.running():
                self._restart(server)

    def _restart(self, server: Server) -> None:
        """Start a server that died again, on the same address."""
        now = time.monotonic()
        recent = [moment for moment in self.restarts[server.name] if now - moment < RESTART_WINDOW_S]
        if len(recent) >= QUICK_RESTARTS and now - recent[-1] < TICK_S:
            return
        self.restarts[server.name] = [*recent, now]
        logger.warning("%s died (restarts: %d): %s", server.name, len(recent), server.log_tail())
        if server is self.postgres:  # its backends notice, but one of them may still hold the memory
            recovery.end_processes_in(self.postgres.data_folder(), wait_s=0.0)
        try:
            server.prepare()
            server.start()
            self._write_state("ready")
        except (SetupError, OSError) as error:
            logger.warning("%s not restarted: %s", server.name, error)

    def stop(self) -> None:
        """Ask all to end, wait for each, and leave the folder as if nothing had run."""
        for server in self.servers:
            server.ask_to_stop()
        for server in self.servers:
            server.wait_stopped()
            logger.info("%s stopped", server.name)
        shutil.rmtree(self.private, ignore_errors=True)
        self.folder.state_file.unlink(missing_ok=True)


def main() -> int:
    """Detach from the starter, own the folder, serve, stop. The first connection gets urls or an error."""
    request = json.loads(sys.argv[1])
    if os.fork() != 0:  # the starter waits for this one only; init, not the starter, reaps the other
        return 0
    os.umask(0o077)
    logging.basicConfig(
        stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s"
    )
    folder = Folder(Path(request["data_dir"]))
    with socket.socket(fileno=request["connection"]) as first, folder.supervisor_lock.open("w") as lock:
        try:
            _hold(lock.fileno(), folder)
            return _run(folder, request["nats_port"], first)
        except (SetupError, OSError) as error:
            logger.exception("the stack did not start")
            with contextlib.suppress(OSError):
                control.send(first, {"error": str(error)})
            return 2


def _run(folder: Folder, nats_port: int | None, first: socket.socket) -> int:
    recovery.clear(folder)
    supervisor = Supervisor(folder, nats_port)
    try:
        supervisor.start()
        logger.info("ready: %s", supervisor.versions)
        supervisor.serve(first)
    finally:
        supervisor.stop()
    return 0


def _hold(descriptor: int, folder: Folder) -> None:
    deadline = time.monotonic() + LOCK_TIMEOUT_S
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise failed(
                    f"starting the servers of {folder.root}", "another supervisor is still stopping"
                ) from None
            time.sleep(POLL_S)
        else:
            return


@contextlib.contextmanager
def _wakeup() -> Iterator[socket.socket]:
    """A socket that becomes readable when a child ended or we are asked to end."""
    reader, writer = socket.socketpair()
    with reader, writer:
        reader.setblocking(False)
        writer.setblocking(False)
        signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD):
            signal.signal(number, lambda _number, _frame: None)
        try:
            yield reader
        finally:
            signal.set_wakeup_fd(-1)


def _size(folder: Path) -> int:
    """Bytes on disk below a folder; files that vanish meanwhile do not count."""
    total = 0
    for parent, _folders, files in os.walk(folder):
        for name in files:
            with contextlib.suppress(OSError):
                total += Path(parent, name).stat().st_blocks * 512
    return total


if __name__ == "__main__":
    sys.exit(main())
