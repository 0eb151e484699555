"""`daybook quotes`: the quote service wired, served until a signal, or asked once."""

from __future__ import annotations

import gc
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import msgspec
import structlog

from adapters.embedded.stack import attach
from adapters.postgres.event_log import PostgresEventLog
from adapters.postgres.migrate import migrate
from adapters.quotes.book import LiveBook
from adapters.quotes.cache import QuoteCache
from adapters.quotes.initialiser import Initialiser, Loaded, Progress
from adapters.quotes.jupiter import JupiterQuotes
from adapters.quotes.reader import PoolReader
from adapters.quotes.service import Quotes, Record
from adapters.quotes.watcher import PoolWatcher
from adapters.solana.accounts import AccountReader, public_key
from adapters.solana.jsonrpc import JsonRpc, checked_url
from adapters.solana.pool_program import PoolProgram
from adapters.solana.pool_programs import POOL_PROGRAMS
from adapters.solana.pubsub import PubSub
from api.grpc.server import grpc_server
from api.quotes import QuoteServices, quotation_body
from api.rest.quotes import create_quotes_app
from api.services import Health
from commands.quotes import QuoteRecorder
from daybook.cli.output import DONE, print_json, say
from daybook.cli.progress import Report, progress
from daybook.clock import now_us
from daybook.settings import Settings
from daybook.signals import StopRequest, run_stoppable
from daybook.supervise import Service, supervised
from daybook.web import listen, serving
from domain.chain import USDC, WSOL, Mint
from domain.errors import InvalidInput, SetupError
from domain.market.quotes import Quotation, QuoteRequest

SEARCH_TIMEOUT_S: Final = 30.0
"""A node looks through all accounts of a program: seconds on a busy one."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class QuoteDesk:
    """The quote service, wired and loaded; `services` keep it current."""

    quotes: Quotes
    loaded: Loaded
    doors: QuoteServices
    services: dict[str, Service]


def run_quotes(settings: Settings, *, as_json: bool) -> int:
    """Serve REST and gRPC until SIGINT or SIGTERM; answers under way are finished.

    Raises:
        SetupError: a setting is missing, or a port is taken.
        ChainUnavailable: the node does not answer.
    """
    return run_stoppable(lambda stop: _serve(settings, stop, as_json=as_json))


def run_quote(settings: Settings, request: QuoteRequest, *, as_json: bool) -> int:
    """Read the pools of two tokens from the node, quote once, and print the answer.

    Raises:
        SetupError: the node is not set.
        QuoteError: there is no answer.
    """
    return run_stoppable(lambda _: _ask(settings, request, as_json=as_json))


async def _serve(settings: Settings, stop: StopRequest, *, as_json: bool) -> int:
    async with quote_desk(settings) as desk:
        gc.collect()
        gc.freeze()  # a full collection of a book of 10,000 pools would stop every answer for a while
        listening = listen(settings.api_host, settings.quotes.http_port, "DAYBOOK_QUOTES__HTTP_PORT")
        server = serving(create_quotes_app(desk.doors))
        async with grpc_server(desk.doors, settings.api_host, settings.quotes.grpc_port) as grpc_port:
            http_url = f"http://{settings.api_host}:{listening.getsockname()[1]}"
            _announce(desk.loaded, http_url, f"{settings.api_host}:{grpc_port}", as_json=as_json)
            services = {**desk.services, "http": lambda: server.run_service(listening)}
            async with supervised(services):
                with stop.heeded():
                    await stop.asked.wait()
                log.info("stopping")
        if as_json:
            print_json({"pools": len(desk.quotes.book.graph), "changes": desk.quotes.book.changes})
    return DONE


async def _ask(settings: Settings, request: QuoteRequest, *, as_json: bool) -> int:
    request.check()
    rpc = JsonRpc(_needed("DAYBOOK_RPC_URL", settings.rpc_url), timeout_s=SEARCH_TIMEOUT_S)
    try:
        quotes = Quotes(LiveBook(now_us), now_us, max_stale_us=int(SEARCH_TIMEOUT_S * 1_000_000))
        mints = list(dict.fromkeys((request.mint_in, request.mint_out, *_mints(settings))))
        await _load(rpc, quotes, settings, mints)
        found = await quotes.quote(request)
    finally:
        await rpc.aclose()
    _show(request, found, as_json=as_json)
    return DONE


@asynccontextmanager
async def quote_desk(settings: Settings) -> AsyncIterator[QuoteDesk]:
    """The quote service on the node and servers of the settings, its book filled.

    Raises:
        SetupError: a setting is missing, or a server does not start.
        ChainUnavailable: the node does not answer.
    """
    rpc_url = _needed("DAYBOOK_RPC_URL", settings.rpc_url)
    ws_url = checked_url(_needed("DAYBOOK_WS_URL", settings.ws_url), ("ws", "wss"))
    async with AsyncExitStack() as stack:
        redis_url, database_url = await _servers(settings, stack)
        rpc = JsonRpc(rpc_url, timeout_s=SEARCH_TIMEOUT_S)
        stack.push_async_callback(rpc.aclose)
        cache = await stack.enter_async_context(QuoteCache.open(redis_url))
        fallback, record = await _fallback(settings, database_url, stack)
        book = LiveBook(now_us)
        quotes = Quotes(
            book,
            now_us,
            max_stale_us=settings.quotes.max_stale_ms * 1_000,
            cache=cache,
            fallback=fallback,
            record=record,
        )
        loaded = await _load(rpc, quotes, settings, _mints(settings))
        connect = partial(PubSub, ws_url, clock=now_us)
        watcher = PoolWatcher(book, PoolReader(AccountReader(rpc)), connect, now_us)
        yield QuoteDesk(
            quotes, loaded, _doors(quotes, settings), {"pools": watcher.run, "quote cache": quotes.run}
        )


async def _load(rpc: JsonRpc, quotes: Quotes, settings: Settings, mints: Sequence[Mint]) -> Loaded:
    accounts = AccountReader(rpc)
    with _Bars() as report:
        return await Initialiser(
            accounts, PoolReader(accounts), quotes, _programs(settings), mints, report
        ).load()


async def _servers(settings: Settings, stack: AsyncExitStack) -> tuple[str, str]:
    """Redis, and where others' quotes go on record the log's database; embedded where they are not set."""
    redis_url, database_url = settings.redis_url, settings.database_url
    needs_log = settings.quotes.jupiter_url is not None
    if redis_url is None or (needs_log and database_url is None):
        embedded = await stack.enter_async_context(attach(settings.data_dir))
        redis_url, database_url = redis_url or embedded.redis_url, database_url or embedded.database_url
    return redis_url, database_url or ""


async def _fallback(
    settings: Settings, database_url: str, stack: AsyncExitStack
) -> tuple[JupiterQuotes | None, Record | None]:
    url, key = settings.quotes.jupiter_url, settings.quotes.jupiter_api_key
    if url is None:
        return None, None
    await migrate(database_url)
    record = QuoteRecorder(
        await stack.enter_async_context(await PostgresEventLog.open(database_url)), now_us
    ).record
    secret = None if key is None else key.get_secret_value()
    return await stack.enter_async_context(JupiterQuotes.open(url, secret)), record


def _doors(quotes: Quotes, settings: Settings) -> QuoteServices:
    def health() -> Health:
        age_ms = quotes.oldest_us() // 1_000
        ok = len(quotes.book.graph) > 0 and age_ms <= settings.quotes.max_stale_ms
        detail = f"{len(quotes.book.graph)} pools, the least sure of them seen {age_ms} ms ago"
        figures = {
            "pools": len(quotes.book.graph),
            "newest_slot": int(quotes.book.newest_slot),
            "stale_ms": age_ms,
        }
        return Health(ok, detail, figures)

    return QuoteServices(quotes, health, quotes.metrics.registry, lambda: quotes.book.newest_slot)


def _needed(name: str, value: str | None) -> str:
    if not value:
        raise SetupError(
            f"quotes are made from a node, and {name} is not set: set it; "
            "`daybook localnet` starts a node of your own"
        )
    return value


def _programs(settings: Settings) -> list[PoolProgram]:
    named: Sequence[str] = settings.quotes.protocols or tuple(POOL_PROGRAMS)
    return [POOL_PROGRAMS[name] for name in named]


def _mints(settings: Settings) -> tuple[Mint, ...]:
    mints = tuple(map(Mint, settings.quotes.mints))
    for mint in mints:
        try:
            public_key(mint)
        except InvalidInput as error:
            raise SetupError(f"setting DAYBOOK_QUOTES__MINTS: {error}") from error
    return mints or (WSOL, USDC)


class _Bars:
    """A progress bar for each thing that is being done, one after the other."""

    def __init__(self) -> None:
        self._what = ""
        self._report: Report | None = None
        self._bar = ExitStack()

    def __enter__(self) -> Progress:
        return self._show

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    def _show(self, what: str, done: int, total: int) -> None:
        if what != self._what:
            self._bar.close()
            self._what, self._report = what, self._bar.enter_context(progress(what))
        if self._report is not None:
            self._report(done, total)


def _announce(loaded: Loaded, http_url: str, grpc_address: str, *, as_json: bool) -> None:
    facts: dict[str, Any] = {
        "http_url": http_url,
        "grpc_address": grpc_address,
        "pools_found": loaded.found,
        "pools_quotable": loaded.quotable,
        "programs_refused": loaded.refused,
        "flash_lenders": len(loaded.lenders),
        "warmed_up": loaded.warmed,
        "took_ms": loaded.took_ms,
    }
    if as_json:
        print_json(facts)
        return
    for name, value in facts.items():
        say(f"{name.replace('_', ' ')}: {'none' if value == {} else value}")
    say("Ctrl-C stops it.")


def _show(request: QuoteRequest, found: Quotation, *, as_json: bool) -> None:
    if as_json:
        print_json(msgspec.to_builtins(quotation_body(request, found)))
        return
    say(f"{found.amount_in} -> {found.amount_out}  price impact {found.price_impact_ppm / 10_000:.2f} %")
    for path in found.paths:
        say(f"  {path[0].amount_in} -> {path[-1].amount_out}")
        for leg in path:
            say(f"    {leg.protocol:<15} {leg.pool}  {leg.amount_in} -> {leg.amount_out}")
    say(f"slot {found.slot}, {found.stale_us // 1_000} ms ago")
