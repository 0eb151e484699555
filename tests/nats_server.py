"""A nats-server of a test's own, that may be killed and wiped."""

from __future__ import annotations

import asyncio
import json
import shutil
import signal
import socket
import subprocess
import sysconfig
from pathlib import Path

READY_S = 10.0


class NatsServer:
    """JetStream in a folder, on a free loopback port that it keeps over restarts.

    Args:
        folder: for its store.
        sync_always: whether it syncs before it acknowledges, as a database does.
    """

    def __init__(self, folder: Path, *, sync_always: bool = False) -> None:
        self.folder = folder
        self._sync = ", sync_interval: always" if sync_always else ""
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """For nats-py."""
        return f"nats://127.0.0.1:{self.port}"

    async def start(self) -> None:
        """Start and wait until our own server greets."""
        name = f"test-{self.port}"
        config = self.folder / "nats.conf"
        store = json.dumps(str(self.folder / "store"))
        config.write_text(
            f'server_name: "{name}"\nlisten: "127.0.0.1:{self.port}"\n'
            f"jetstream {{ store_dir: {store}{self._sync} }}\n"
        )
        program = Path(sysconfig.get_path("scripts")) / "nats-server"
        self._process = subprocess.Popen(  # noqa: ASYNC220 - starting it takes a millisecond
            [program, "-c", config], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        async with asyncio.timeout(READY_S):
            while not await self._greets(name):  # noqa: ASYNC110 - a server that starts sets no event
                await asyncio.sleep(0.01)

    async def _greets(self, name: str) -> bool:
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        except OSError:
            return False
        greeting = await reader.readline()
        writer.close()
        return name.encode() in greeting

    def stop(self, how: signal.Signals = signal.SIGKILL) -> None:
        """End it, by default as a crash would."""
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(10)
            self._process = None

    def wipe(self) -> None:
        """Lose everything it held; only while it is stopped."""
        shutil.rmtree(self.folder / "store", ignore_errors=True)
