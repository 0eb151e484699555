"""The data folder: what lies where in it, whose it is, and whether it may be used at all.

FORMAT            the number of this layout
secrets.json      the folder's id and the three passwords, made once
stack.json        the running stack: addresses, pids, versions; absent when it is down
start.lock        held by whoever is starting the stack
supervisor.lock   held by the supervisor as long as it lives
logs/             one bounded file per server and one of the supervisor
run/              control socket and, when the path is short enough, the servers' sockets
servers/          owned by the user the servers run as: pg/ (PostgreSQL), nats/ (JetStream), *.conf
"""

from __future__ import annotations

import json
import os
import pwd
import re
import secrets
import shutil
import socket
import stat
import tempfile
from dataclasses import dataclass
from pathlib import Path

from domain.errors import SetupError

FORMAT = 1
FIRST_START_BYTES = 160 * 1024 * 1024  # measured: initdb 40 MB, then WAL segments and room to work
# A unix socket's path has 107 bytes on Linux and 103 on macOS; the longest name below is
# servers/.s.PGSQL.5432.lock. Clients put the path into a URL: asyncpg splits hosts at commas.
SOCKET_FOLDER_BYTES = 103 - len("/servers/.s.PGSQL.5432.lock")
PLAIN_PATH = re.compile(r"[A-Za-z0-9/._-]+")


@dataclass(frozen=True)
class Secrets:
    """The folder's identity and the passwords of its servers (32 hex digits each)."""

    folder_id: str
    postgres: str
    nats: str
    valkey: str


@dataclass(frozen=True)
class Folder:
    """A data folder that was checked; all paths are absolute."""

    root: Path

    @property
    def secrets_file(self) -> Path:
        """The folder's identity and passwords."""
        return self.root / "secrets.json"

    @property
    def state_file(self) -> Path:
        """The running stack; absent when it is down."""
        return self.root / "stack.json"

    @property
    def start_lock(self) -> Path:
        """Held by whoever is starting the stack."""
        return self.root / "start.lock"

    @property
    def supervisor_lock(self) -> Path:
        """Held by the supervisor as long as it lives."""
        return self.root / "supervisor.lock"

    @property
    def logs(self) -> Path:
        """One bounded file per server."""
        return self.root / "logs"

    @property
    def run(self) -> Path:
        """The control socket, and the servers' sockets when their paths fit."""
        return self.root / "run"

    @property
    def servers(self) -> Path:
        """The data and configuration of the servers, owned by the user they run as."""
        return self.root / "servers"

    def log(self, name: str) -> Path:
        """The log file of a server, or of the supervisor."""
        return self.logs / f"{name}.log"

    def read_secrets(self) -> Secrets:
        """The folder's identity and passwords.

        Raises:
            SetupError: the file is gone or damaged.
        """
        try:
            return Secrets(**json.loads(self.secrets_file.read_text()))
        except (OSError, ValueError, TypeError) as error:
            raise SetupError(
                f"reading the passwords of {self.root}: {error}. Restore {self.secrets_file} from a "
                "backup, or name another folder with --data-dir"
            ) from error

    def socket_folder(self) -> Path:
        """A private folder for sockets: inside when its path fits, else a short one outside.

        The caller removes one that is outside (see `stack.json`); both are 0700 and ours.
        """
        short = len(os.fsencode(self.run)) <= SOCKET_FOLDER_BYTES
        if short and PLAIN_PATH.fullmatch(str(self.run)) and _takes_sockets(self.run):
            return self.run
        return Path(tempfile.mkdtemp(prefix="daybook-", dir="/tmp"))

    def write_private(self, path: Path, text: str) -> None:
        """Write a file that only its owner can read, all of it or nothing, also when the power fails."""
        beside = path.with_name(path.name + ".new")
        beside.unlink(missing_ok=True)
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())  # else a power cut may leave the name without the content
        beside.replace(path)
        sync_names(path.parent)

    def is_new(self) -> bool:
        """Whether nobody has laid it out yet."""
        return not (self.root / "FORMAT").exists()

    def discard(self, *, made_folder: bool) -> None:
        """After a first start that failed: leave nothing half written. Only for what was new before it."""
        for part in (self.servers, self.run, self.logs):
            shutil.rmtree(part, ignore_errors=True)
        for file in ("FORMAT", "secrets.json", "stack.json", "supervisor.lock", "start.lock"):
            (self.root / file).unlink(missing_ok=True)
        if made_folder and not any(self.root.iterdir()):
            self.root.rmdir()


def sync_names(folder: Path) -> None:
    """Bring the names in a folder to the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def open_folder(data_dir: Path) -> tuple[Folder, bool]:
    """Check whose the data folder is, make it when it is new; True when this call made it.

    `lay_out` must follow, under the start lock.

    Raises:
        SetupError: it is not ours, open to others, or cannot be made.
    """
    root = data_dir.expanduser().absolute()
    try:
        made = _make(root)
        _check_private(root)
    except OSError as error:
        raise SetupError(
            f"making the data folder {root}: {error.strerror or error}. "
            "Name a folder of your own that can be written with --data-dir"
        ) from error
    return Folder(root.resolve()), made


def check_unused(folder: Folder) -> None:
    """A folder without a FORMAT must hold nothing that we would take for ours, and remove.

    Raises:
        SetupError: it does.
    """
    strange = [path.name for path in (folder.servers, folder.run, folder.logs) if path.exists()]
    if strange:
        raise SetupError(
            f"the folder {folder.root} holds {', '.join(strange)} but no FORMAT file: it is no data folder "
            "of daybook. Restore the file from a backup, or name another folder with --data-dir"
        )


def lay_out(folder: Folder) -> None:
    """Give a new folder its format, identity and passwords; check those of an older one.

    Raises:
        SetupError: it is of another version, cannot be written, or a new one would not fit the disk.
    """
    try:
        if folder.is_new():
            _name_and_number(folder)
        _check_format(folder)
        for part in (folder.logs, folder.run, folder.servers):
            part.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise SetupError(
            f"preparing the data folder {folder.root}: {error.strerror or error}. "
            "Name a folder of your own that can be written with --data-dir"
        ) from error


def existing_folder(data_dir: Path) -> Folder | None:
    """The data folder when there is one; checked, never made.

    Raises:
        SetupError: it is not ours, open to others, or of another version.
    """
    root = data_dir.expanduser().absolute()
    if not (root.is_dir() and (root / "FORMAT").exists()):
        return None
    _check_private(root)
    folder = Folder(root.resolve())
    _check_format(folder)
    return folder


def _make(root: Path) -> bool:
    """Make it, and the parents that are missing, for their owner only; True when it was not there."""
    if not root.parent.exists():
        _make(root.parent)
    try:
        root.mkdir(mode=0o700)
    except FileExistsError:
        return False
    sync_names(root.parent)
    return True


def _check_private(root: Path) -> None:
    found = root.stat()
    if not stat.S_ISDIR(found.st_mode):
        raise SetupError(f"the data folder {root} is not a folder: name another with --data-dir")
    if found.st_uid != os.geteuid():
        raise SetupError(
            f"the data folder {root} belongs to {_name(found.st_uid)} and this is {_name(os.geteuid())}: "
            "run daybook as its owner, or name another folder with --data-dir"
        )
    if found.st_mode & 0o077:
        raise SetupError(
            f"the data folder {root} is open to other users (mode {stat.S_IMODE(found.st_mode):04o}), and "
            f"it holds keys: close it with `chmod 700 {root}`, or name another with --data-dir"
        )
    if not os.access(root, os.W_OK | os.X_OK):
        raise SetupError(f"the data folder {root} cannot be written: name another with --data-dir")


def _name_and_number(folder: Folder) -> None:
    free = shutil.disk_usage(folder.root).free
    if free < FIRST_START_BYTES:
        raise SetupError(
            f"making a new data folder in {folder.root}: {free // 1024**2} MB are free on that disk and a "
            f"first start needs {FIRST_START_BYTES // 1024**2} MB: free some space, or name a folder on "
            "another disk with --data-dir"
        )
    fresh = Secrets(secrets.token_hex(8), *(secrets.token_hex(16) for _ in range(3)))
    folder.write_private(folder.secrets_file, json.dumps(vars(fresh)))
    folder.write_private(folder.root / "FORMAT", f"{FORMAT}\n")


def _check_format(folder: Folder) -> None:
    found = (folder.root / "FORMAT").read_text().strip()
    if found != str(FORMAT):
        raise SetupError(
            f"the data folder {folder.root} has format {found!r} and this daybook reads format {FORMAT}: "
            "use the daybook version that made it, or name another folder with --data-dir"
        )


def _takes_sockets(place: Path) -> bool:
    """Folders shared into a container or a virtual machine often take files but no sockets."""
    probe = place / "probe.sock"
    try:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(probe))
        probe.unlink()
    except OSError:
        return False
    return True


def _name(uid: int) -> str:
    try:
        return f"user {pwd.getpwuid(uid).pw_name}"
    except KeyError:
        return f"user id {uid}"
