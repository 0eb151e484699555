"""`daybook wallets book|balances|resolve`: what moved without an order, and the books beside the chain."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from daybook.cli.output import DONE, NO, DataDir, JsonFlag, print_json, say
from daybook.settings import Settings, load_settings
from domain.chain import Address, Signature
from domain.money import Lamports
from domain.wallets.wallet import wallet_stream

if TYPE_CHECKING:
    from commands.reconciling import Reconciliation
    from daybook.app import Daybook

T = TypeVar("T")

wallets_app = typer.Typer(help="The trading wallet's books.", no_args_is_help=True)


class Kind(StrEnum):
    """Which way the money went; a fee is all that a failed transaction takes."""

    DEPOSIT = "deposit"
    WITHDRAWAL = "withdrawal"
    FEE = "fee"


@wallets_app.command()
def book(
    signature: Annotated[str, typer.Argument(help="The finalized transaction that moved the money.")],
    *,
    kind: Annotated[Kind, typer.Option(help="Which way it went.")] = Kind.DEPOSIT,
    data_dir: DataDir = None,
    as_json: JsonFlag = False,
) -> None:
    """Book a deposit, withdrawal or fee that no order made; booked twice, it counts once."""
    settings = load_settings(data_dir=data_dir)

    async def act(daybook: Daybook, wallet: Address) -> bool:
        await _open(daybook, wallet, settings)
        return await daybook.wallets.book(wallet, Signature(signature), kind)

    new = asyncio.run(_with_wallet(settings, act))
    if as_json:
        print_json({"signature": signature, "kind": kind, "new": new})
    else:
        say(f"booked as a {kind}" if new else "in the books already")


@wallets_app.command()
def balances(
    *,
    halt: Annotated[
        bool, typer.Option("--halt", help="Put the outcome on record: a difference halts the wallet.")
    ] = False,
    data_dir: DataDir = None,
    as_json: JsonFlag = False,
) -> None:
    """Hold the books against the chain, to the lamport; exit code 1 when they differ.

    It only looks, unless --halt is given: then a difference halts the wallet, and equality ends a halt.
    """
    settings = load_settings(data_dir=data_dir)

    async def act(daybook: Daybook, wallet: Address) -> Reconciliation:
        await _open(daybook, wallet, settings)
        return await daybook.reconciler.reconcile(wallet_stream(wallet), record=halt)

    result = asyncio.run(_with_wallet(settings, act))
    _show(result, as_json=as_json)
    raise typer.Exit(DONE if result.agrees else NO)


@wallets_app.command()
def resolve(
    *,
    reason: Annotated[
        str | None, typer.Option(help="Why it may be used although books and chain differ; kept on record.")
    ] = None,
    data_dir: DataDir = None,
    as_json: JsonFlag = False,
) -> None:
    """Let a halted wallet be used again: when books and chain are equal now, or for a reason that you give.

    Exit code 1 when it stays halted.
    """
    settings = load_settings(data_dir=data_dir)

    async def act(daybook: Daybook, wallet: Address) -> Reconciliation:
        stream = wallet_stream(wallet)
        if reason is not None:
            await daybook.reconciler.resolve(stream, reason)
        found = await daybook.reconciler.reconcile(stream)
        if found.halted and found.agrees:
            return await daybook.reconciler.reconcile(stream, record=True)
        return found

    result = asyncio.run(_with_wallet(settings, act))
    _show(result, as_json=as_json)
    raise typer.Exit(NO if result.halted else DONE)


def _show(result: Reconciliation, *, as_json: bool) -> None:
    rows = [{"mint": b.mint, "log": b.expected, "chain": b.actual} for b in result.balances]
    halted = None if result.halted is None else result.halted.found
    if as_json:
        print_json(
            {
                "wallet": result.wallet,
                "agrees": result.agrees,
                "halted": halted,
                "pending": result.pending,
                "balances": rows,
            }
        )
        return
    for row in rows:
        say(f"{row['mint']:<44}  {row['log']:>20} by the log  {row['chain']:>20} by the chain")
    say(result.pending or ("equal" if result.agrees else "DIFFERENT"))
    if result.unbooked:
        say("the chain holds more than the books: `daybook wallets book SIGNATURE` books what came in")
    say("usable" if halted is None else f"HALTED ({halted}): `daybook wallets resolve` ends that")


async def _with_wallet(settings: Settings, act: Callable[[Daybook, Address], Awaitable[T]]) -> T:
    from daybook.app import live  # noqa: PLC0415 - only these commands need it
    from daybook.cli.log_database import refuse_without_log  # noqa: PLC0415 - as above
    from daybook.run import world_of  # noqa: PLC0415 - as above

    refuse_without_log(settings)
    async with world_of(settings) as world, live(world) as daybook:
        return await act(daybook, world.signer.address)


async def _open(daybook: Daybook, wallet: Address, settings: Settings) -> None:
    from daybook.app import token_accounts  # noqa: PLC0415 - as above

    await daybook.wallets.open(wallet, token_accounts(wallet), Lamports(settings.risk.reserve_lamports))
