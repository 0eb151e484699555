"""`daybook wallets book|balances`: money that moved without an order, and the books beside the chain."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from daybook.output import DONE, NO, DataDir, JsonFlag, print_json, say
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
def balances(*, data_dir: DataDir = None, as_json: JsonFlag = False) -> None:
    """Hold the books against the chain, to the lamport; exit code 1 when they differ."""
    settings = load_settings(data_dir=data_dir)

    async def act(daybook: Daybook, wallet: Address) -> Reconciliation:
        await _open(daybook, wallet, settings)
        return await daybook.reconciler.reconcile(wallet_stream(wallet))

    result = asyncio.run(_with_wallet(settings, act))
    rows = [{"mint": b.mint, "log": b.expected, "chain": b.actual} for b in result.balances]
    if as_json:
        print_json(
            {"wallet": result.wallet, "agrees": result.agrees, "pending": result.pending, "balances": rows}
        )
    else:
        for row in rows:
            say(f"{row['mint']:<44}  {row['log']:>20} by the log  {row['chain']:>20} by the chain")
        say(result.pending or ("equal" if result.agrees else "DIFFERENT: the wallet is halted"))
    raise typer.Exit(DONE if result.agrees else NO)


async def _with_wallet(settings: Settings, act: Callable[[Daybook, Address], Awaitable[T]]) -> T:
    from daybook.app import live  # noqa: PLC0415 - only these commands need it
    from daybook.run import world_of  # noqa: PLC0415 - as above

    async with world_of(settings) as world, live(world) as daybook:
        return await act(daybook, world.signer.address)


async def _open(daybook: Daybook, wallet: Address, settings: Settings) -> None:
    from daybook.app import token_accounts  # noqa: PLC0415 - as above

    await daybook.wallets.open(wallet, token_accounts(wallet), Lamports(settings.risk.reserve_lamports))
