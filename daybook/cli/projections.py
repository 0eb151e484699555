"""`daybook projections`: the read models looked at, rebuilt, verified, paused, with services running or not.

A read model may be thrown away at any time, so nothing here asks twice; but what answers is never dropped.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from daybook.cli.log_database import log_database
from daybook.cli.output import (
    DONE,
    NO,
    DataDir,
    JsonFlag,
    configure_logging_beside_progress,
    print_json,
    say,
)
from daybook.cli.progress import Phases, progress
from daybook.settings import load_settings
from domain.errors import ProjectionError

if TYPE_CHECKING:
    from pathlib import Path

    from daybook.cli.read_models import Desk
    from projections.read_model import ReadModel
    from projections.rebuild import Rebuilt
    from projections.verification import Verified

projections_app = typer.Typer(
    help="The read models: their state, rebuilt without a pause, verified, paused, resumed.",
    no_args_is_help=True,
)
Name = Annotated[str | None, typer.Argument(help="The read model; all of them unless given.")]
Told = tuple[dict[str, Any], list[str]]
"""An object for a read model, and lines for people."""

Answer = tuple[list[dict[str, Any]], list[str]]
"""The same for each read model."""


@projections_app.command("list")
def list_(*, data_dir: DataDir = None, as_json: JsonFlag = False) -> None:
    """Every read model: its version, the one that answers, how far it is."""

    async def answer(desk: Desk) -> Answer:
        found = [await desk.summary(model) for model in desk.models]
        return [asdict(one) for one in found], [one.line() for one in found]

    _answer(None, answer, data_dir, as_json=as_json)


@projections_app.command()
def status(name: Name = None, *, data_dir: DataDir = None, as_json: JsonFlag = False) -> None:
    """All about a read model: rows, dead letters, old versions; exit code 1 where one is halted."""

    async def answer(desk: Desk) -> Answer:
        found = [await desk.status(model) for model in desk.models]
        return [one.as_json() for one in found], [line for one in found for line in one.lines()]

    found = _answer(name, answer, data_dir, as_json=as_json)
    raise typer.Exit(NO if any(one["state"] == "halted" for one in found) else DONE)


@projections_app.command()
def rebuild(
    name: Name = None,
    *,
    drop_old: Annotated[bool, typer.Option("--drop-old", help="Do not keep the one it replaces.")] = False,
    skip_verification: Annotated[
        bool, typer.Option("--skip-verification", help="Swap without the second fold.")
    ] = False,
    data_dir: DataDir = None,
    as_json: JsonFlag = False,
) -> None:
    """Fold a read model anew beside the one that answers, compare with a second fold, and swap it in.

    Readers and services go on meanwhile. What a crash left of a rebuild is gone on with. Of all read models,
    those that can be are rebuilt; exit code 1 if one cannot.
    """

    async def one(desk: Desk, model: ReadModel) -> Told:
        with Phases(model.name) as phases:
            built = await desk.rebuild(model, verified=not skip_verification, on_phase=phases)
        dropped = await desk.drop_old(model) if drop_old else 0
        return {**_built(built), "dropped": dropped}, [_built_line(built)]

    found = _answer(name, lambda desk: _each(desk, one), data_dir, as_json=as_json)
    raise typer.Exit(NO if any("error" in one for one in found) else DONE)


@projections_app.command()
def verify(name: Name = None, *, data_dir: DataDir = None, as_json: JsonFlag = False) -> None:
    """Compare what answers, row by row, with a fold of the log from nothing.

    Exit code 1 if it differs, or if of all read models one cannot be compared.
    """

    async def one(desk: Desk, model: ReadModel) -> Told:
        with progress(f"{model.name}: verify") as report:
            found = await desk.verify(model, report)
        return _verified(found), _verified_lines(found)

    found = _answer(name, lambda desk: _each(desk, one), data_dir, as_json=as_json)
    raise typer.Exit(DONE if all(one.get("equal", False) for one in found) else NO)


@projections_app.command()
def pause(name: Name = None, *, data_dir: DataDir = None, as_json: JsonFlag = False) -> None:
    """Let a read model rest where it is; it goes on answering. Holds until `resume`, over restarts too."""
    _decide(name, data_dir, paused=True, as_json=as_json)


@projections_app.command()
def resume(name: Name = None, *, data_dir: DataDir = None, as_json: JsonFlag = False) -> None:
    """Let a paused read model go on."""
    _decide(name, data_dir, paused=False, as_json=as_json)


@projections_app.command()
def drop(name: Name = None, *, data_dir: DataDir = None, as_json: JsonFlag = False) -> None:
    """Remove old and failed generations of a read model; the one that answers stays."""

    async def answer(desk: Desk) -> Answer:
        found = {model.name: await desk.drop_old(model) for model in desk.models}
        lines = [f"{one}: {count} old dropped" for one, count in found.items()]
        return [{"name": one, "dropped": count} for one, count in found.items()], lines

    _answer(name, answer, data_dir, as_json=as_json)


def _decide(name: str | None, data_dir: Path | None, *, paused: bool, as_json: bool) -> None:
    async def answer(desk: Desk) -> Answer:
        results, lines = [], []
        for model in desk.models:
            known = await desk.pause(model, paused=paused)
            results.append({"name": model.name, "paused": paused and known, "known": known})
            word = ("paused" if paused else "resumed") if known else "never folded, nothing to do"
            lines.append(f"{model.name}: {word}")
        return results, lines

    found = _answer(name, answer, data_dir, as_json=as_json)
    raise typer.Exit(DONE if all(one["known"] for one in found) else NO)


async def _each(desk: Desk, one: Callable[[Desk, ReadModel], Awaitable[Told]]) -> Answer:
    """One after the other. Of several, one that fails is told, and hides nothing of the others."""
    results, lines = [], []
    for model in desk.models:
        try:
            result, said = await one(desk, model)
        except ProjectionError as error:
            if len(desk.models) == 1:
                raise
            result, said = {"name": model.name, "error": str(error)}, [f"{model.name}: {error}"]
        results.append(result)
        lines += said
    return results, lines


def _answer(
    name: str | None, answer: Callable[[Desk], Awaitable[Answer]], data_dir: Path | None, *, as_json: bool
) -> list[dict[str, Any]]:
    """Ask with the stores open, and say what was found."""
    import uvloop  # noqa: PLC0415 - each command loads only what it needs

    from daybook.cli.read_models import desk  # noqa: PLC0415 - as above
    from projections.catalogue import named  # noqa: PLC0415 - as above

    models = named(name)

    async def ask(url: str) -> Answer:
        async with desk(url, models) as opened:
            return await answer(opened)

    settings = load_settings(data_dir=data_dir)
    configure_logging_beside_progress(settings.log_level, settings.log_format)
    with log_database(settings) as url:
        found, lines = uvloop.run(ask(url))
    if as_json:
        print_json({"projections": found})
    else:
        for line in lines:
            say(line)
    return found


def _built(built: Rebuilt) -> dict[str, Any]:
    return {
        "name": built.generation.name,
        "version": built.generation.version,
        "generation": built.generation.number,
        "position": built.position,
        "verified": built.verified is not None,
        "unverified": built.unverified,
        "tables": [] if built.verified is None else _verified(built.verified)["tables"],
        "seconds": {
            "fold": round(built.fold_s, 3),
            "verify": round(built.verify_s, 3),
            "swap": round(built.swap_s, 3),
        },
    }


def _built_line(built: Rebuilt) -> str:
    why = built.unverified
    compared = "equal to a second fold" if why is None else f"not verified: {why}"
    seconds = built.fold_s + built.verify_s + built.swap_s
    return f"{built.generation} answers now: {built.position:,} positions in {seconds:.1f} s, {compared}"


def _verified(found: Verified) -> dict[str, Any]:
    return {
        "name": found.generation.name,
        "version": found.generation.version,
        "generation": found.generation.number,
        "position": found.position,
        "equal": found.equal,
        "tables": [{**asdict(table), "equal": table.equal} for table in found.tables],
    }


def _verified_lines(found: Verified) -> list[str]:
    lines = []
    for table in found.tables:
        what = f"{found.generation.name}.{table.name} at position {found.position:,}: {table.rows:,} rows"
        if table.equal:
            lines.append(f"{what}, as folded from nothing, sha256 {table.digest[:16]}")
        else:
            keys = "; ".join(table.differing)
            lines.append(f"{what} DIFFER from {table.expected_rows:,} folded from nothing: {keys}")
    return lines
