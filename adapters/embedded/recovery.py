"""Clears what a crash left in a data folder: processes, sockets and the state file, never data.

Called only while holding the supervisor's lock, so whatever is found belongs to nobody alive.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from pathlib import Path

import psutil

from .folder import Folder

ORDERLY_END_S = 10.0  # the death signal asks for a fast shutdown: it normally takes a tenth of a second
KILL_TIMEOUT_S = 5.0


def clear(folder: Folder) -> None:
    """Make the folder as an orderly stop would have left it."""
    if folder.state_file.exists():
        end_processes_in(folder.servers, wait_s=ORDERLY_END_S)
        _remove_outside_sockets(folder)
    shutil.rmtree(folder.run, ignore_errors=True)
    folder.run.mkdir(mode=0o700)
    folder.state_file.unlink(missing_ok=True)


def end_processes_in(place: Path, *, wait_s: float) -> None:
    """End every process that works in a folder of ours: give it time, then force it.

    The working directory tells them: every server and every PostgreSQL backend sits in its folder, and
    unlike a pid read from a file it cannot mean a stranger.
    """
    deadline = time.monotonic() + wait_s
    found = _processes_in(place)
    _gone, alive = psutil.wait_procs(found, timeout=max(0.0, deadline - time.monotonic()))
    for process in alive:
        process.kill()
    psutil.wait_procs(alive, timeout=KILL_TIMEOUT_S)


def _processes_in(place: Path) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter(["cwd"]):
        cwd = process.info["cwd"]
        if cwd and Path(cwd).is_relative_to(place) and process.pid != os.getpid():
            found.append(process)
    return found


def _remove_outside_sockets(folder: Folder) -> None:
    """A socket folder outside is named in the state file, which only we can write."""
    try:
        outside = Path(json.loads(folder.state_file.read_text())["sockets"])
    except (OSError, ValueError, KeyError):
        return
    if outside != folder.run and outside.is_dir() and outside.stat().st_uid == os.geteuid():
        shutil.rmtree(outside, ignore_errors=True)
