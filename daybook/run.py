"""`daybook run`: all services against the node, servers and wallet of the settings."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import structlog

from adapters.embedded.stack import attach
from adapters.postgres.migrate import migrate
from adapters.rpcpool.pool import RpcPool, open_pool
from adapters.solana.accounts import AccountReader
from adapters.solana.signers import read_key_file
from commands.strategies import FOREIGN, STOPPED
from daybook.app import STRATEGY, Daybook, World, live, start_trading, token_accounts
from daybook.auditing import audit_plan
from daybook.cli.output import DONE, print_json, say
from daybook.serve import api_server
from daybook.settings import Settings
from daybook.signals import StopRequest, run_stoppable
from daybook.supervise import supervised
from daybook.web import listen
from domain.chain import Address
from domain.errors import ChainError, SetupError
from domain.refusal import Refusal
from domain.wallets.wallet import wallet_stream

log = structlog.get_logger()


def run_services(settings: Settings, *, as_json: bool) -> int:
    """Run everything until SIGINT or SIGTERM; then services stop in order and nothing is left half written.

    Raises:
        SetupError: a setting is missing, a server does not answer, or the wallet's key cannot be used.
    """
    return run_stoppable(lambda stop: _run(settings, stop, as_json=as_json))


async def _run(settings: Settings, stop: StopRequest, *, as_json: bool) -> int:
    async with world_of(settings) as world, live(world) as daybook, _rpc_pool(settings) as pool:
        await _refuse_missing_accounts(daybook, world.signer.address)
        listening = listen(settings.api_host, settings.api_port)
        server = api_server(daybook, world, pool)
        services = {"api": lambda: server.run_service(listening), **daybook.services}
        if pool is not None:
            services["rpc-health"] = pool.monitor.run
        refusal = await start_trading(daybook, world.signer.address, settings.arbitrage, settings.risk)
        warn_of_strategy(refusal)
        await warn_of_wallet(daybook, world.signer.address)
        url = f"http://{settings.api_host}:{listening.getsockname()[1]}/graphql"
        _announce({"graphql_url": url, "wallet": world.signer.address}, as_json=as_json)
        async with supervised(services):
            with stop.heeded():
                await stop.asked.wait()
            log.info("stopping")
        if as_json:
            print_json({"log_events": await daybook.log.head()})
    return DONE


@asynccontextmanager
async def _rpc_pool(settings: Settings) -> AsyncIterator[RpcPool | None]:
    """The RPC proxy's pool, when endpoints are named."""
    if not settings.rpc_pool.endpoints:
        yield None
        return
    async with open_pool(settings.rpc_pool.configs(), settings.rpc_pool.options()) as pool:
        yield pool


@asynccontextmanager
async def world_of(settings: Settings) -> AsyncIterator[World]:
    """What the settings describe; servers that are not set are the embedded ones, for as long as this lasts.

    Raises:
        SetupError: a setting is missing, a server does not start, or the wallet's key cannot be used.
    """
    rpc_url, ws_url, keypair_file = _needed(settings)
    signer = read_key_file(keypair_file)
    async with AsyncExitStack() as stack:
        urls = (settings.database_url, settings.nats_url, settings.redis_url)
        if None in urls:
            embedded = await stack.enter_async_context(attach(settings.data_dir))
            own = (embedded.database_url, embedded.nats_url, embedded.redis_url)
        else:
            own = ("", "", "")
        database_url, nats_url, redis_url = (url or ours for url, ours in zip(urls, own, strict=True))
        await migrate(database_url)
        yield World(
            database_url=database_url,
            nats_url=nats_url,
            redis_url=redis_url,
            rpc_url=rpc_url,
            ws_url=ws_url,
            signer=signer,
            pools=tuple(Address(pool) for pool in settings.pools),
            tip_account=None if settings.tip_account is None else Address(settings.tip_account),
            replicas=settings.jetstream_replicas,
            audit=audit_plan(settings),
        )


def _needed(settings: Settings) -> tuple[str, str, Any]:
    for name in ("rpc_url", "ws_url", "keypair_file", "pools"):
        if not getattr(settings, name):
            raise SetupError(
                f"daybook run needs DAYBOOK_{name.upper()}, which is not set: set it, or try `daybook demo`"
            )
    if settings.arbitrage.tip_lamports and settings.tip_account is None:
        raise SetupError(
            "DAYBOOK_ARBITRAGE__TIP_LAMPORTS is above 0 but DAYBOOK_TIP_ACCOUNT is not set: "
            "name the account, or set the tip to 0"
        )
    return settings.rpc_url or "", settings.ws_url or "", settings.keypair_file


async def _refuse_missing_accounts(daybook: Daybook, wallet: Address) -> None:
    """A swap pays into token accounts that exist; better said now than by every order."""
    held = token_accounts(wallet)
    _, accounts = await AccountReader(daybook.rpc).read([each.account for each in held])
    for each, account in zip(held, accounts, strict=True):
        if account is None:
            raise SetupError(
                f"wallet {wallet} has no token account for {each.mint}: "
                f"create it with `spl-token create-account {each.mint}`, then run again"
            )


def warn_of_strategy(refusal: Refusal | None) -> None:
    """A strategy that does not trade keeps nothing else from running: open orders still come to their end."""
    if refusal is not None:
        do = {
            STOPPED: f"look into it, then `daybook strategies resume {STRATEGY}`",
            FOREIGN: "use its key file",
        }
        log.warning("no new orders are placed", found=refusal.found, do=do[refusal.reason])


async def warn_of_wallet(daybook: Daybook, wallet: Address) -> None:
    """Say so when the wallet is halted, or holds what is not in the books; a look, nothing is recorded."""
    try:
        found = await daybook.reconciler.reconcile(wallet_stream(wallet))
    except ChainError as error:
        log.warning("books and chain could not be compared", error=str(error))
        return
    if found.halted is not None:
        log.warning(
            "the wallet is halted, no new orders are placed",
            found=found.halted.found,
            do="`daybook wallets balances`, book what is missing, then `daybook wallets resolve`",
        )
    if found.unbooked:
        log.warning(
            "the chain holds more than the books, and what is not booked is not traded with",
            found={each.mint: each.actual - each.expected for each in found.unbooked},
            do="book your deposit: `daybook wallets book SIGNATURE`",
        )


def _announce(facts: dict[str, str], *, as_json: bool) -> None:
    if as_json:
        print_json(facts)
    else:
        for name, value in facts.items():
            say(f"{name.replace('_', ' ')}: {value}")
        say("Ctrl-C stops it.")
