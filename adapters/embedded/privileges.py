"""Decides who the servers run as, and makes each of them end when its supervisor ends.

An ordinary user: as that user. Root: PostgreSQL refuses to run as root, so all three servers run as
an unprivileged user id. No account is created and no folder's permission is changed. Instead the
server keeps one Linux capability, CAP_DAC_READ_SEARCH (traverse and read), as an *ambient* one: it
survives exec, so the server reaches its programs and its data below root's 0700 folders, and can still
write only where its user id may. Two quirks make it work:

- access(2), which PostgreSQL asks about its own program, ignores the capabilities of a process whose
  real user is not root, unless the secure bit NO_SETUID_FIXUP is set.
- the death signal (PR_SET_PDEATHSIG) is cleared by a change of user: it must be set afterwards.
"""

from __future__ import annotations

import ctypes
import os
import pwd
import signal
import struct
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from domain.errors import SetupError

# systemd's table of user ids (systemd.io/UIDS-GIDS) calls this range unused: no distribution, container
# or user name service gives it away. `nobody` would do too, but other daemons run as nobody and could
# signal our servers. It lies below 65536, so it exists in rootless containers as well.
SERVICE_UIDS = range(60578, 61184)

# linux/prctl.h, linux/capability.h, linux/securebits.h
PR_SET_PDEATHSIG = 1
PR_GET_SECUREBITS = 27
PR_SET_SECUREBITS = 28
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_RAISE = 2
SECBIT_NO_SETUID_FIXUP = 1 << 2
CAPABILITY_VERSION_3 = 0x20080522
CAP_DAC_OVERRIDE = 1
CAP_DAC_READ_SEARCH = 2


@dataclass(frozen=True)
class RunAs:
    """A user and group id, and the one capability that lets it pass root's private folders."""

    uid: int
    gid: int
    capability: int

    def own(self, path: Path) -> None:
        """Give a file or folder of ours to this user."""
        os.chown(path, self.uid, self.gid, follow_symlinks=False)

    def own_tree(self, folder: Path) -> None:
        """Give a folder of ours and all below it to this user."""
        self.own(folder)
        for parent, folders, files in os.walk(folder):
            for name in (*folders, *files):
                self.own(Path(parent, name))


def choose_run_as(servers_folder: Path, programs: Iterable[Path]) -> RunAs | None:
    """Who the servers of this folder run as; None means as ourselves (we are not root).

    Raises:
        SetupError: we are root, and no unprivileged user can be given what PostgreSQL needs.
    """
    if os.geteuid() != 0:
        return None
    uid = _service_uid(servers_folder)
    # Docker's default set lacks READ_SEARCH but has OVERRIDE; so does a wheel installed with umask 077.
    for capability in (CAP_DAC_READ_SEARCH, CAP_DAC_OVERRIDE):
        run_as = RunAs(uid, uid, capability)
        if sys.platform == "linux" and _reaches(run_as, servers_folder, programs):
            return run_as
    raise SetupError(
        f"starting the embedded servers as root: PostgreSQL refuses to run as root, and user id {uid} "
        f"cannot be given access to {servers_folder} here (CAP_SETUID, CAP_SETPCAP and one of "
        "CAP_DAC_READ_SEARCH or CAP_DAC_OVERRIDE are needed): run daybook as an ordinary user, or set "
        "DAYBOOK_DATABASE_URL, DAYBOOK_NATS_URL and DAYBOOK_REDIS_URL to servers of your own"
    )


def choose_initdb_user(run_as: RunAs | None) -> RunAs | None:
    """Who runs initdb: it insists on a name in the user database, which the service id has not."""
    if run_as is None:
        _check_named()
        return None
    for entry in sorted(pwd.getpwall(), key=lambda user: user.pw_name != "nobody"):
        if entry.pw_uid != 0:
            return RunAs(entry.pw_uid, entry.pw_gid, run_as.capability)
    raise SetupError(
        "initialising PostgreSQL as root: /etc/passwd names no user but root, and initdb needs a named "
        "user that is not root: add `nobody` to /etc/passwd, or run daybook as an ordinary user"
    )


def before_exec(run_as: RunAs | None, death_signal: signal.Signals) -> Callable[[], None]:
    """What a server's process does between fork and exec: change user, then tie its life to ours."""
    if sys.platform != "linux":
        return lambda: None  # macOS has no death signal: the next start ends what was left
    libc = ctypes.CDLL(None, use_errno=True)
    supervisor = os.getpid()

    def become() -> None:
        if run_as is not None:
            _change_user(libc, run_as)
        _prctl(libc, PR_SET_PDEATHSIG, death_signal)
        if os.getppid() != supervisor:  # it died before the line above: nobody would tell us
            os._exit(1)

    return become


def _change_user(libc: ctypes.CDLL, run_as: RunAs) -> None:
    _prctl(libc, PR_SET_SECUREBITS, _prctl(libc, PR_GET_SECUREBITS) | SECBIT_NO_SETUID_FIXUP)
    os.setgroups([])
    os.setresgid(run_as.gid, run_as.gid, run_as.gid)
    os.setresuid(run_as.uid, run_as.uid, run_as.uid)
    mask = 1 << run_as.capability
    header = struct.pack("Ii", CAPABILITY_VERSION_3, 0)
    sets = struct.pack("6I", mask, mask, mask, 0, 0, 0)  # effective, permitted, inheritable; low then high
    if libc.capset(header, sets) != 0:
        raise OSError(ctypes.get_errno(), "capset")
    _prctl(libc, PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, run_as.capability)


def _prctl(libc: ctypes.CDLL, option: int, *arguments: int) -> int:
    padded = (*arguments, 0, 0, 0, 0)[:4]
    result: int = libc.prctl(option, *(ctypes.c_ulong(value) for value in padded))
    if result < 0:
        raise OSError(ctypes.get_errno(), f"prctl {option}")
    return result


def _service_uid(servers_folder: Path) -> int:
    """The id that owns the folder's servers already, else the first of the range nobody has."""
    if servers_folder.exists():
        owner = servers_folder.stat().st_uid
        if owner != 0:
            return owner
    taken = {entry.pw_uid for entry in pwd.getpwall()}
    return next(uid for uid in SERVICE_UIDS if uid not in taken)


def _check_named() -> None:
    try:
        pwd.getpwuid(os.geteuid())
    except KeyError as error:
        raise SetupError(
            f"initialising PostgreSQL: user id {os.geteuid()} has no name in /etc/passwd, and initdb "
            "needs one: add a line for it, or run daybook as a named user"
        ) from error


def _reaches(run_as: RunAs, servers_folder: Path, programs: Iterable[Path]) -> bool:
    """Try it in a child: change user and ask for everything the servers will need."""
    become = before_exec(run_as, signal.SIGKILL)
    child = os.fork()
    if child == 0:
        try:
            become()
            reached = all(os.access(program, os.R_OK | os.X_OK) for program in programs)
            reached = reached and os.access(servers_folder, os.R_OK | os.X_OK)
        except OSError:
            reached = False
        os._exit(0 if reached else 1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
