"""One server process: started as the right user, asked whether it answers, stopped in good order."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from domain.errors import SetupError

from .binaries import Binaries
from .folder import Folder, Secrets
from .privileges import RunAs, before_exec

LOG_BYTES = 8 * 1024 * 1024  # per server, and as much again for the part before: enough for a post-mortem
PROBE_TIMEOUT_S = 2.0  # a local server that is up answers in a millisecond; this machine may be busy
# Neither PG* settings nor a locale or a library path of the caller may shape a server.
PLAIN_ENVIRONMENT = {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"}
KILL_TIMEOUT_S = 5.0  # after SIGKILL only the kernel has work left


@dataclass(frozen=True)
class Place:
    """What every server needs to know: the folder, its secrets, the programs, the user, the sockets."""

    folder: Folder
    secrets: Secrets
    binaries: Binaries
    run_as: RunAs | None
    initdb_user: RunAs | None
    sockets: Path

    def give(self, path: Path) -> None:
        """Hand a file or folder of ours to the user the servers run as."""
        if self.run_as is not None:
            self.run_as.own(path)


class Server(ABC):
    """A server of the stack; the supervisor's main thread starts it, or the death signal would misfire."""

    name: ClassVar[str]
    stop_signal: ClassVar[signal.Signals]
    stop_timeout_s: ClassVar[float]

    def __init__(self, place: Place) -> None:
        self.place = place
        self.process: subprocess.Popen[bytes] | None = None

    @abstractmethod
    def prepare(self) -> None:
        """Write the configuration; make the data when there is none. Raises SetupError."""

    @abstractmethod
    def command(self) -> list[str]:
        """The program and its arguments: never a password, everyone can read those."""

    @abstractmethod
    def probe(self) -> str | None:
        """The version of the server, when it is *ours* that answers; None while it does not."""

    @abstractmethod
    def address(self) -> str:
        """Where it listens, without the password."""

    @abstractmethod
    def data_folder(self) -> Path | None:
        """Where its data lies, if it keeps any."""

    def start(self) -> None:
        """Start the process with its output appended to its log; `probe` tells when it is ready."""
        with self.place.folder.log(self.name).open("ab") as log:
            self.process = subprocess.Popen(  # noqa: S603 - our own program with our own arguments
                self.command(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.place.folder.servers,
                umask=0o077,
                env=PLAIN_ENVIRONMENT,
                # safe here: the supervisor has one thread
                preexec_fn=before_exec(self.place.run_as, self.stop_signal),  # noqa: PLW1509 - see above
            )

    def running(self) -> bool:
        """Whether the process is there (it may not answer yet)."""
        return self.process is not None and self.process.poll() is None

    def ask_to_stop(self) -> None:
        """Send the signal of an orderly end and do not wait."""
        if self.process is not None and self.running():
            self.process.send_signal(self.stop_signal)

    def wait_stopped(self) -> None:
        """Wait for the end, and force it when it takes too long."""
        if self.process is None:
            return
        try:
            self.process.wait(self.stop_timeout_s)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(KILL_TIMEOUT_S)

    def log_tail(self, lines: int = 5) -> str:
        """The last lines of its log, for an error message."""
        try:
            text = self.place.folder.log(self.name).read_text(errors="replace")
        except OSError:
            return "(no log)"
        return " | ".join(text.strip().splitlines()[-lines:]) or "(empty log)"

    def bound_log(self) -> None:
        """Keep the log under its limit: the older part moves aside once, the file is cut in place.

        The server holds it open for appending, so its next line lands at the new end.
        """
        log = self.place.folder.log(self.name)
        if log.exists() and log.stat().st_size > LOG_BYTES:
            shutil.copyfile(log, log.with_suffix(".log.1"))
            os.truncate(log, 0)


def failed(what: str, output: str) -> SetupError:
    """The sentence for a server that could not be prepared or started."""
    if re.search(r"no space left|disk full|insufficient storage", output, re.IGNORECASE):
        return SetupError(f"{what}: the disk is full ({output}). Free some space and start again")
    return SetupError(f"{what}: {output}. See the logs folder; `daybook stack up` tries again")
