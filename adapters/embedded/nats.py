"""NATS with JetStream of the data folder: the delivery, on a loopback port with a password."""

from __future__ import annotations

import json
import re
import signal
import socket
from pathlib import Path
from typing import ClassVar

from domain.errors import SetupError

from .server import PROBE_TIMEOUT_S, Place, Server

USER = "daybook"
HOST = "127.0.0.1"
INFO_BYTES = 16 * 1024  # the greeting is about 400 bytes

# A kill of the process loses nothing whatever the interval: the page cache survives. A power cut loses
# what was not yet synced (measured: with 2 m everything, with 10 s about half of a 14 s run, with `always`
# nothing, at 4 to 13 times the cost). PostgreSQL is the record and the relay refills JetStream from the
# last position each stream really holds, so `always` buys no correctness here; 10 s instead of the default
# two minutes keeps that refill short.
SYNC_INTERVAL = "10s"
MAX_PAYLOAD = "1MB"
MAX_MEMORY_STORE = "256MB"  # our streams are on disk; the default would be most of the machine's memory


class Nats(Server):
    """The message server; its name is made from the folder's id, so a stranger's is recognised."""

    name: ClassVar[str] = "nats"
    stop_signal: ClassVar[signal.Signals] = signal.SIGTERM
    stop_timeout_s: ClassVar[float] = 10.0  # it syncs its stores on the way out

    def __init__(self, place: Place, port: int | None) -> None:
        super().__init__(place)
        self._wanted_port = port
        self.port = 0

    @property
    def server_name(self) -> str:
        """Unique to the data folder."""
        return f"daybook-{self.place.secrets.folder_id}"

    def data_folder(self) -> Path:
        """The JetStream file store."""
        return self.place.folder.servers / "nats"

    def url(self) -> str:
        """For nats-py."""
        return f"nats://{USER}:{self.place.secrets.nats}@{HOST}:{self.port}"

    def address(self) -> str:
        """Host and port."""
        return f"{HOST}:{self.port}"

    def prepare(self) -> None:
        """Choose the port once (a restart keeps it) and write the configuration."""
        if self.port == 0:
            self.port = _free_port(self._wanted_port)
        self.data_folder().mkdir(mode=0o700, exist_ok=True)
        self.place.give(self.data_folder())
        self.place.folder.write_private(self._config(), self._config_text())
        self.place.give(self._config())

    def command(self) -> list[str]:
        """Everything stands in the file, the password too."""
        return [str(self.place.binaries.nats_server), "-c", str(self._config())]

    def probe(self) -> str | None:
        """The greeting must carry our name, and our password must be taken."""
        if not self.running():
            return None
        try:
            with socket.create_connection((HOST, self.port), PROBE_TIMEOUT_S) as client:
                info = json.loads(_line(client).removeprefix("INFO "))
                login = {"user": USER, "pass": self.place.secrets.nats, "verbose": False, "pedantic": False}
                client.sendall(f"CONNECT {json.dumps(login)}\r\nPING\r\n".encode())
                ours = info.get("server_name") == self.server_name and info.get("jetstream") is True
                ours = ours and _line(client) == "PONG"
        except (OSError, ValueError):
            return None
        return str(info["version"]) if ours else None

    def lost_the_port(self) -> bool:
        """Whether it ended because somebody took the port between our choice and its start."""
        taken = re.search(r"address already in use", self.log_tail(lines=3))
        return self._wanted_port is None and not self.running() and taken is not None

    def choose_again(self) -> None:
        """Take another free port at the next `prepare`."""
        self.port = 0

    def _config(self) -> Path:
        return self.place.folder.servers / "nats.conf"

    def _config_text(self) -> str:
        return f"""server_name: {json.dumps(self.server_name)}
listen: "{HOST}:{self.port}"
max_payload: {MAX_PAYLOAD}
authorization {{ user: "{USER}", password: "{self.place.secrets.nats}", timeout: 5 }}
jetstream {{
  store_dir: {json.dumps(str(self.data_folder()))}
  sync_interval: "{SYNC_INTERVAL}"
  max_memory_store: {MAX_MEMORY_STORE}
}}
"""


def _free_port(wanted: int | None) -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, wanted or 0))
        except OSError as error:
            raise SetupError(
                f"starting NATS on {HOST}:{wanted}: {error.strerror}. Stop the program that has the port, "
                "name another with --nats-port, or leave it out and any free port is taken"
            ) from error
        port: int = probe.getsockname()[1]
    return port


def _line(client: socket.socket) -> str:
    received = b""
    while b"\r\n" not in received and len(received) < INFO_BYTES:
        part = client.recv(4096)
        if not part:
            break
        received += part
    return received.split(b"\r\n")[0].decode()
