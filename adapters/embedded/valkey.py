"""Valkey of the data folder: cache, short windows and leases; nothing in it has to survive a restart."""

from __future__ import annotations

import signal
import socket
from pathlib import Path
from typing import ClassVar
from urllib.parse import quote

from .server import PROBE_TIMEOUT_S, Server

MAX_MEMORY = "128mb"  # hot prices and a dedupe window of minutes take a few MB; the rest is headroom
INFO_BYTES = 64 * 1024  # INFO server is about 1 KB


class Valkey(Server):
    """The cache server: a unix socket in a private folder, with a password, in memory only."""

    name: ClassVar[str] = "valkey"
    stop_signal: ClassVar[signal.Signals] = signal.SIGTERM
    stop_timeout_s: ClassVar[float] = 5.0  # it has nothing to write

    def data_folder(self) -> None:
        """It keeps none."""
        return

    def url(self) -> str:
        """For redis-py."""
        return f"unix://:{self.place.secrets.valkey}@{quote(str(self._socket()), safe='/')}?db=0"

    def address(self) -> str:
        """The socket's path."""
        return str(self._socket())

    def prepare(self) -> None:
        """Write the configuration and clear a socket left by a crash."""
        self._socket().unlink(missing_ok=True)
        self.place.folder.write_private(self._config(), self._config_text())
        self.place.give(self._config())

    def command(self) -> list[str]:
        """Everything stands in the file, the password too."""
        return [str(self.place.binaries.valkey_server), str(self._config())]

    def probe(self) -> str | None:
        """Our password must be taken, and the answer must come from the process we started."""
        if self.process is None or not self.running():
            return None
        try:
            with socket.socket(socket.AF_UNIX) as client:
                client.settimeout(PROBE_TIMEOUT_S)
                client.connect(str(self._socket()))
                client.sendall(f"AUTH {self.place.secrets.valkey}\r\nINFO server\r\n".encode())
                facts = _facts(client)
        except OSError:
            return None
        return facts.get("valkey_version") if facts.get("process_id") == str(self.process.pid) else None

    def _socket(self) -> Path:
        return self.place.sockets / "valkey.sock"

    def _config(self) -> Path:
        return self.place.folder.servers / "valkey.conf"

    def _config_text(self) -> str:
        return f"""port 0
unixsocket {self._socket()}
unixsocketperm 700
requirepass {self.place.secrets.valkey}
maxmemory {MAX_MEMORY}
maxmemory-policy allkeys-lru
save ""
appendonly no
daemonize no
databases 16
"""


def _facts(client: socket.socket) -> dict[str, str]:
    """The `name:value` lines of INFO, read until its last section ends."""
    received = b""
    while b"process_id" not in received or not received.endswith(b"\r\n"):
        part = client.recv(4096)
        if not part or len(received) > INFO_BYTES or received.startswith(b"-"):
            break
        received += part
    lines = received.decode(errors="replace").splitlines()
    return dict(line.split(":", 1) for line in lines if ":" in line)
