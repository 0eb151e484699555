"""The three servers are real, shared, private, and gone when nobody uses them."""

from __future__ import annotations

import asyncio
import socket
import stat
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import nats
import pytest
import redis.asyncio

from adapters.embedded.server import LOG_BYTES
from adapters.embedded.stack import StackUrls, attach, down, status, up


async def test_postgres_keeps_its_promises(stack: StackUrls) -> None:
    """The URL works as it is; durability is never relaxed and the owner is no superuser."""
    connection = await asyncpg.connect(stack.database_url)
    settings = {
        name: await connection.fetchval(f"SHOW {name}")
        for name in ("fsync", "synchronous_commit", "full_page_writes", "data_checksums", "listen_addresses")
    }
    superuser = await connection.fetchval("SELECT rolsuper FROM pg_roles WHERE rolname = user")
    await connection.close()
    assert settings == {
        "fsync": "on",
        "synchronous_commit": "on",
        "full_page_writes": "on",
        "data_checksums": "on",
        "listen_addresses": "",
    }
    assert superuser is False


async def test_a_database_is_fresh_and_ours(database: str) -> None:
    """A test's database is empty, and its owner may make tables in it."""
    connection = await asyncpg.connect(database)
    assert await connection.fetchval("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == 0
    await connection.execute("CREATE TABLE fact (id bigint PRIMARY KEY)")
    await connection.close()


async def test_jetstream_stores_on_disk(stack: StackUrls) -> None:
    """A message published to a file stream is acknowledged and comes back."""
    connection = await nats.connect(stack.nats_url)
    name = uuid.uuid4().hex
    jetstream = connection.jetstream()
    await jetstream.add_stream(name=name, subjects=[name])
    acknowledged = await jetstream.publish(name, b"a fact")
    kept = await jetstream.get_msg(name, acknowledged.seq)
    await jetstream.delete_stream(name)
    limit = connection.max_payload
    await connection.close()
    assert (kept.data, limit) == (b"a fact", 1024 * 1024)


async def test_valkey_answers_and_is_bounded(stack: StackUrls) -> None:
    """The URL works as it is, and the memory has a limit."""
    client = redis.asyncio.from_url(stack.redis_url)
    name = uuid.uuid4().hex
    await client.set(name, "1", ex=60)
    value, limit = await client.get(name), await client.config_get("maxmemory")
    await client.aclose()
    assert (value, int(limit["maxmemory"] or 0)) == (b"1", 128 * 1024 * 1024)


async def test_the_passwords_are_needed(stack: StackUrls) -> None:
    """Without its password no server lets anybody in, not even as the superuser."""
    for wrong in (stack.database_url.replace("daybook_admin:", "daybook_admin:x"),
                  stack.database_url.replace("daybook_admin:", "postgres:")):  # fmt: skip
        with pytest.raises(asyncpg.InvalidAuthorizationSpecificationError):
            await asyncpg.connect(wrong)
    client = redis.asyncio.from_url(stack.redis_url.replace("unix://:", "unix://:x"))
    with pytest.raises(redis.exceptions.ConnectionError, match="invalid username-password"):
        await client.ping()
    await client.aclose()
    assert _nats_says(stack.nats_url, "wrong").startswith(b"-ERR 'Authorization Violation'")


def _nats_says(url: str, password: str) -> bytes:
    """By hand: nats-py leaves the socket of a refused connection open."""
    address = urlsplit(url)
    with socket.create_connection((address.hostname, address.port or 0), 5) as client:
        greeting = client.recv(4096)
        assert b'"auth_required":true' in greeting
        client.sendall(b'CONNECT {"user":"daybook","pass":"%s"}\r\nPING\r\n' % password.encode())
        return client.recv(4096)


async def test_users_share_the_servers(folder: Path, state: Callable[[Path], dict[str, Any]]) -> None:
    """A second user finds the same servers, and they stay until the last one leaves."""
    async with attach(folder) as first:
        before = state(folder)
        async with attach(folder) as second:
            assert second == first
        assert state(folder) == before
        assert all(server.up for server in status(folder))
    assert not any(server.up for server in status(folder))
    assert not (folder / "stack.json").exists()


def test_another_process_attaches_to_the_same(
    folder: Path,
    hold: Callable[[Path], Any],
    processes_of: Callable[[Path], list[int]],
    until: Callable[[Callable[[], object]], None],
) -> None:
    """The process that started the servers may leave; the other one keeps them."""
    with attach(folder):
        pids = {server.name: server.pid for server in status(folder)}
        other = hold(folder)
    assert {server.name: server.pid for server in status(folder)} == pids
    other.communicate()
    until(lambda: not processes_of(folder))


async def test_starters_at_the_same_moment_agree(tmp_path: Path) -> None:
    """Eight users of a folder that does not exist yet end up with the same servers."""
    async with asyncio.TaskGroup() as group:
        users = [attach(tmp_path / "data") for _ in range(8)]
        entered = [group.create_task(user.__aenter__()) for user in users]
    assert len({task.result() for task in entered}) == 1
    for user in users:
        await user.__aexit__(None, None, None)


def test_up_keeps_until_down(
    folder: Path,
    processes_of: Callable[[Path], list[int]],
    until: Callable[[Callable[[], object]], None],
) -> None:
    """`up` twice is the same servers; they outlive their users until `down`."""
    first = up(folder)
    assert up(folder) == first
    with attach(folder) as urls:
        assert urls == first
    assert all(server.up for server in status(folder))
    assert down(folder)
    assert not down(folder)
    until(lambda: not processes_of(folder))


def test_a_long_path_gets_short_sockets(tmp_path: Path, state: Callable[[Path], dict[str, Any]]) -> None:
    """A socket path has about 107 bytes: a longer folder keeps its sockets in a private one elsewhere."""
    folder = tmp_path / ("a folder, " * 10)
    with attach(folder):
        outside = Path(state(folder)["sockets"])
        assert not outside.is_relative_to(folder)
        assert stat.S_IMODE(outside.stat().st_mode) == 0o700
        assert all(server.up for server in status(folder))
    assert not outside.exists()


def test_everything_is_the_owners_alone(folder: Path) -> None:
    """The folder is closed, and so are the files with passwords and data."""
    with attach(folder):
        closed = (folder, folder / "secrets.json", folder / "stack.json", folder / "servers", folder / "run")
        private = (folder / "servers" / "pg", folder / "servers" / "nats.conf", *closed)
        assert [path for path in private if path.stat().st_mode & 0o077] == []


def test_logs_are_bounded(folder: Path, until: Callable[[Callable[[], object]], None]) -> None:
    """A log that has grown too long is cut while its server goes on writing to it."""
    log = folder / "logs" / "nats.log"
    with attach(folder):
        with log.open("ab") as file:
            file.write(b"x" * (LOG_BYTES + 1))
        until(lambda: log.stat().st_size < LOG_BYTES)
        assert log.with_suffix(".log.1").stat().st_size > LOG_BYTES
    assert b"Server Exiting" in log.read_bytes()


def test_status_tells_each_server(folder: Path) -> None:
    """By name: version, pid, address without password, size of its data."""
    with attach(folder):
        found = {server.name: server for server in status(folder)}
    assert set(found) == {"postgres", "nats", "valkey"}
    assert str(found["postgres"].version).startswith("18.")
    assert found["postgres"].data_bytes > 1024 * 1024
    assert all("@" not in str(server.address) for server in found.values())
