"""`daybook strategies list|stop|resume`: what may trade, and the person's word on it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from daybook.cli.output import DONE, NO, DataDir, JsonFlag, print_json, say
from daybook.clock import now_us
from daybook.settings import Settings, load_settings

if TYPE_CHECKING:
    from commands.strategies import Strategies
    from domain.strategies.strategy import Strategy

T = TypeVar("T")

strategies_app = typer.Typer(help="What may trade.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="The strategy's name, as `list` shows it.")]
Reason = Annotated[str, typer.Option(help="Why; kept on record.")]


@strategies_app.command("list")
def list_(*, data_dir: DataDir = None, as_json: JsonFlag = False) -> None:
    """List the strategies; exit code 1 when one is stopped."""

    async def every(strategies: Strategies) -> list[dict[str, Any]]:
        return [_shown(strategy) for strategy in await strategies.every()]

    found = asyncio.run(_with_strategies(load_settings(data_dir=data_dir), every))
    if as_json:
        print_json({"strategies": found})
    else:
        for each in found:
            say(f"{each['name']:<16} {each['stopped'] or 'running':<20} {each['wallet']}")
    raise typer.Exit(NO if any(each["stopped"] for each in found) else DONE)


@strategies_app.command()
def stop(name: Name, *, reason: Reason = "user", data_dir: DataDir = None, as_json: JsonFlag = False) -> None:
    """Take no more opportunities; open orders run to their end."""

    async def act(strategies: Strategies) -> None:
        await strategies.stop(name, reason)

    asyncio.run(_with_strategies(load_settings(data_dir=data_dir), act))
    if as_json:
        print_json({"name": name, "running": False})
    else:
        say(f"{name} takes no more opportunities; `daybook strategies resume {name}` lets it")


@strategies_app.command()
def resume(
    name: Name, *, reason: Reason = "user", data_dir: DataDir = None, as_json: JsonFlag = False
) -> None:
    """Let a stopped strategy trade again; its losses are counted anew from here."""

    async def act(strategies: Strategies) -> bool:
        return await strategies.resume(name, reason)

    was_stopped = asyncio.run(_with_strategies(load_settings(data_dir=data_dir), act))
    if as_json:
        print_json({"name": name, "running": True, "was_stopped": was_stopped})
    else:
        say(f"{name} takes opportunities again" if was_stopped else f"{name} runs already")


def _shown(strategy: Strategy) -> dict[str, Any]:
    return {
        "name": strategy.id.removeprefix("strategy-"),
        "running": strategy.is_running,
        "stopped": strategy.stopped,
        "wallet": strategy.wallet.removeprefix("wallet-"),
    }


async def _with_strategies(settings: Settings, act: Callable[[Strategies], Awaitable[T]]) -> T:
    from adapters.postgres.event_log import PostgresEventLog  # noqa: PLC0415 - only these commands need it
    from commands.aggregates import Aggregates  # noqa: PLC0415 - as above
    from commands.strategies import Strategies  # noqa: PLC0415 - as above
    from daybook.cli.log_database import log_database  # noqa: PLC0415 - as above

    with log_database(settings) as url:
        async with await PostgresEventLog.open(url) as log:
            return await act(Strategies(log, Aggregates(log), now_us))
