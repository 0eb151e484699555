"""Nothing is left running when somebody dies by kill -9, and what a crash leaves starts again."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import asyncpg
import nats
import psutil

from adapters.embedded.stack import StackUrls, attach, down, status, up

Until = Callable[[Callable[[], object]], None]
State = Callable[[Path], dict[str, Any]]
Processes = Callable[[Path], list[int]]


def test_a_killed_user_leaves_no_server(
    folder: Path, hold: Callable[[Path], Any], processes_of: Processes, until: Until
) -> None:
    """The kernel closes the dead user's connection, and the supervisor stops everything."""
    user = hold(folder)
    assert len(processes_of(folder)) > 4
    user.kill()
    until(lambda: not processes_of(folder))
    assert not (folder / "stack.json").exists()


def test_a_killed_supervisor_leaves_no_server(
    folder: Path, state: State, processes_of: Processes, until: Until
) -> None:
    """The servers carry a death signal; the next start clears what was left."""
    up(folder)
    os.kill(state(folder)["supervisor_pid"], signal.SIGKILL)
    until(lambda: not processes_of(folder))
    assert (folder / "stack.json").exists()
    with attach(folder):
        assert all(server.up for server in status(folder))


def test_user_and_supervisor_killed_together(
    folder: Path, hold: Callable[[Path], Any], state: State, processes_of: Processes, until: Until
) -> None:
    """As by the out-of-memory killer: still no orphan."""
    user = hold(folder)
    os.kill(state(folder)["supervisor_pid"], signal.SIGKILL)
    user.kill()
    until(lambda: not processes_of(folder))


async def test_a_crashed_folder_starts_again_with_its_data(
    folder: Path, processes_of: Processes, until: Until
) -> None:
    """Everything killed at once: what was acknowledged is there after the next start."""
    urls = up(folder)
    await _write(urls)
    for pid in processes_of(folder):
        psutil.Process(pid).kill() if psutil.pid_exists(pid) else None
    until(lambda: not processes_of(folder))
    async with attach(folder) as again:
        assert await _read(again) == (1, 1)


async def _write(urls: StackUrls) -> None:
    database = await asyncpg.connect(urls.database_url)
    await database.execute("CREATE TABLE fact (id int); INSERT INTO fact VALUES (1)")
    client = await nats.connect(urls.nats_url)
    await client.jetstream().add_stream(name="CRASH", subjects=["crash"])
    await client.jetstream().publish("crash", b"a fact")
    await database.close()
    await client.close()


async def _read(urls: StackUrls) -> tuple[int, int]:
    database = await asyncpg.connect(urls.database_url)
    facts = await database.fetchval("SELECT count(*) FROM fact")
    client = await nats.connect(urls.nats_url)
    stream = await client.jetstream().stream_info("CRASH")
    await database.close()
    await client.close()
    return facts, stream.state.messages


def test_files_of_a_crash_do_not_hinder(folder: Path, state: State) -> None:
    """A pid file naming a living stranger, stale sockets and a stale state file are cleared."""
    with attach(folder):
        stale = (folder / "stack.json").read_text()
        postmaster = (folder / "servers/pg/postmaster.pid").read_text()
    (folder / "stack.json").write_text(stale)
    (folder / "servers/pg/postmaster.pid").write_text(f"{os.getpid()}\n" + postmaster.split("\n", 1)[1])
    (folder / "servers/pg.new").mkdir()
    (folder / "run").mkdir(exist_ok=True)
    (folder / "run/control.sock").touch()
    with attach(folder):
        assert all(server.up for server in status(folder))
        assert not (folder / "servers/pg.new").exists()
        assert state(folder)["state"] == "ready"


def test_a_server_that_dies_is_started_again(folder: Path, state: State, until: Until) -> None:
    """On the same address, with another pid; its users reconnect."""
    with attach(folder) as urls:
        before = {server.name: server.pid for server in status(folder)}
        for pid in before.values():
            os.kill(pid or 0, signal.SIGKILL)
        until(lambda: all(server.up and server.pid != before[server.name] for server in status(folder)))
        assert urls.nats_url == state(folder)["nats_url"]


def test_a_removed_folder_ends_its_servers(tmp_path: Path, processes_of: Processes, until: Until) -> None:
    """Somebody removed the folder under kept servers: they do not run on for ever."""
    folder = tmp_path / "data"
    up(folder)
    shutil.rmtree(folder, ignore_errors=True)  # they notice at once, and remove their sockets too
    until(lambda: not processes_of(folder))
    assert not down(folder)
