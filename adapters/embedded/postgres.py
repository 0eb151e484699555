"""PostgreSQL of the data folder: the record. It never relaxes fsync or synchronous_commit."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import struct
import subprocess
from pathlib import Path
from typing import ClassVar
from urllib.parse import quote

from domain.errors import SetupError

from .privileges import before_exec
from .server import PLAIN_ENVIRONMENT, PROBE_TIMEOUT_S, Server, failed

MAJOR = "18"
DATABASE = "daybook"
OWNER = "daybook_admin"
PORT = 5432  # only names the socket file: nothing listens on TCP
INITDB_TIMEOUT_S = 120.0  # measured 0.7 to 1.2 s; slow disks and busy machines included
READY = b"ready"  # line 8 of postmaster.pid, as pg_ctl reads it
SSL_REQUEST = struct.pack("!II", 8, 80877103)  # the protocol's shortest question; the answer is one byte

# One line of defence besides the 0700 folder: nobody gets in without the password, and the superuser,
# who has none, not at all.
HBA = "local all postgres reject\nlocal all all scram-sha-256\n"

SETTINGS = {
    "listen_addresses": "",
    "port": str(PORT),
    "unix_socket_permissions": "0700",
    "max_connections": "100",
    "shared_buffers": "128MB",
    "max_wal_size": "512MB",  # half the default: a data folder in a checkout should stay modest
    "password_encryption": "scram-sha-256",
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "jit": "off",  # our queries are short; compiling them costs more than it saves
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_checkpoints": "off",
    # refused statements carry data (and CREATE ROLE a password): the client gets the error anyway
    "log_min_error_statement": "panic",
}


class Postgres(Server):
    """The database server: a unix socket in a private folder, password by SCRAM."""

    name: ClassVar[str] = "postgres"
    stop_signal: ClassVar[signal.Signals] = signal.SIGINT  # "fast": roll back, checkpoint, end
    stop_timeout_s: ClassVar[float] = 30.0  # a checkpoint of 128 MB on a slow disk

    def data_folder(self) -> Path:
        """The cluster."""
        return self.place.folder.servers / "pg"

    def url(self) -> str:
        """The owner's URL for asyncpg: it may make schemas, roles and databases, and is no superuser."""
        host = quote(str(self.place.sockets), safe="/")
        return f"postgresql://{OWNER}:{self.place.secrets.postgres}@/{DATABASE}?host={host}&port={PORT}"

    def address(self) -> str:
        """The socket's path."""
        return str(self._socket())

    def prepare(self) -> None:
        """Make the cluster beside its place, then move it there: it exists whole or not at all."""
        data, beside = self.data_folder(), self.data_folder().with_name("pg.new")
        shutil.rmtree(beside, ignore_errors=True)
        if not data.exists():
            try:
                self._initialise(beside)
            except BaseException:
                shutil.rmtree(beside, ignore_errors=True)
                raise
            beside.rename(data)
            _sync(data.parent)
        self._check_version()
        (data / "postmaster.pid").unlink(missing_ok=True)  # no server has this folder: see recovery.py

    def command(self) -> list[str]:
        """Settings travel as arguments, so that an older folder gets today's."""
        settings = {**SETTINGS, "unix_socket_directories": str(self.place.sockets)}
        arguments = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        return [str(self.place.binaries.postgres), "-D", str(self.data_folder()), *arguments]

    def probe(self) -> str | None:
        """Ready when its own pid file says so and its socket answers."""
        if self.process is None or not self.running():
            return None
        try:
            lines = (self.data_folder() / "postmaster.pid").read_bytes().splitlines()
            if int(lines[0]) != self.process.pid or lines[7].strip() != READY:
                return None
            with socket.socket(socket.AF_UNIX) as client:
                client.settimeout(PROBE_TIMEOUT_S)
                client.connect(str(self._socket()))
                client.sendall(SSL_REQUEST)
                answered = client.recv(1) == b"N"
        except (OSError, IndexError, ValueError):
            return None
        return self._version() if answered else None

    def _socket(self) -> Path:
        return self.place.sockets / f".s.PGSQL.{PORT}"

    def _version(self) -> str:
        """Asked once from the program: 'postgres (PostgreSQL) 18.6'."""
        if not hasattr(self, "_known_version"):
            self._known_version = self._run([str(self.place.binaries.postgres), "-V"]).split()[-1]
        return self._known_version

    def _check_version(self) -> None:
        found = (self.data_folder() / "PG_VERSION").read_text().strip()
        if found != MAJOR:
            raise SetupError(
                f"the database in {self.data_folder()} was made by PostgreSQL {found} and the wheel brings "
                f"{MAJOR}: move it with pg_dump and pg_restore, or name another folder with --data-dir"
            )

    def _initialise(self, data: Path) -> None:
        """initdb, then the owner and the database, before the cluster can be reached by anybody."""
        user = self.place.initdb_user
        data.mkdir(mode=0o700)
        if user is not None:
            # initdb's user needs to write here and only here; parents stay as they are
            user.own(data)
        # the builtin C.UTF-8 sorts by code point on every machine, whatever its libc has installed
        self._run([
            str(self.place.binaries.initdb), "-D", str(data), "-U", "postgres", "--auth=reject",
            "--encoding=UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8",
            "--no-instructions",
        ])  # fmt: skip
        single = [str(self.place.binaries.postgres), "--single", "-D", str(data), "-c", "exit_on_error=on"]
        self._run([*single, "postgres"], self._first_sql())
        (data / "pg_hba.conf").write_text(HBA)
        _sync(data / "pg_hba.conf")
        if self.place.run_as is not None:
            self.place.run_as.own_tree(data)

    def _first_sql(self) -> str:
        """Single-user mode takes one statement per line; the password passes on standard input."""
        owner = f"CREATE ROLE {OWNER} LOGIN CREATEDB CREATEROLE PASSWORD '{self.place.secrets.postgres}'"
        private = f"REVOKE ALL ON DATABASE {DATABASE} FROM PUBLIC"
        make = f"CREATE DATABASE {DATABASE} OWNER {OWNER}"
        return "\n".join([owner, f"GRANT pg_monitor TO {OWNER}", make, private, ""])

    def _run(self, command: list[str], stdin: str = "") -> str:
        try:
            done = subprocess.run(  # noqa: S603 - our own program with our own arguments
                command,
                input=stdin,
                capture_output=True,
                text=True,
                timeout=INITDB_TIMEOUT_S,
                cwd=self.place.folder.servers,
                umask=0o077,
                env=PLAIN_ENVIRONMENT,
                preexec_fn=before_exec(self.place.initdb_user, signal.SIGKILL),
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise failed(f"running {Path(command[0]).name}", f"no end after {INITDB_TIMEOUT_S} s") from error
        errors = done.stderr.strip().splitlines()
        if done.returncode != 0 or any("FATAL" in line or "ERROR" in line for line in errors):
            raise failed(f"preparing PostgreSQL with {Path(command[0]).name}", " | ".join(errors[-5:]))
        return done.stdout


def _sync(path: Path) -> None:
    """Bring a file, or the names in a folder, to the disk: a power cut may follow the first commit."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
