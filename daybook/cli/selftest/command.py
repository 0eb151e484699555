"""`daybook selftest log`: does the log keep its promises on this machine?"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from daybook.cli.output import DataDir, JsonFlag
from daybook.settings import load_settings

selftest_app = typer.Typer(help="Prove daybook's promises on this machine.", no_args_is_help=True)


class Control(StrEnum):
    """Logs that must fail the test."""

    NAIVE = "naive"


@selftest_app.callback()
def root() -> None:
    """Prove daybook's promises on this machine."""


@selftest_app.command()
def log(
    *,
    seconds: Annotated[int, typer.Option(min=1, max=604_800, help="How long to write.")] = 10,
    processes: Annotated[int, typer.Option(min=1, max=16, help="Writing processes.")] = 4,
    callers: Annotated[int, typer.Option(min=1, max=256, help="Callers in each of them.")] = 4,
    kill: Annotated[
        bool, typer.Option("--kill", help="Kill -9 PostgreSQL and writers, too (embedded servers only).")
    ] = False,
    control: Annotated[
        Control | None, typer.Option(help="Run a log that must fail: shows that the test would notice.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of what callers do and when things are killed.")] = 1,
    data_dir: DataDir = None,
    as_json: JsonFlag = False,
) -> None:
    """Write from several processes, cut and kill; prove that a reader misses, doubles and reorders nothing.

    It makes a database of its own and drops it at the end; your log is never touched. Without
    DAYBOOK_DATABASE_URL it starts embedded servers of its own in the folder `selftest` of the data folder.
    Ctrl-C ends the writing early and reports what was found until then.
    """
    from daybook.cli.selftest.session import SelfTest, run_selftest  # noqa: PLC0415 - only this command needs it

    test = SelfTest(seconds, processes, callers, kill, control is not None, seed, as_json)
    raise typer.Exit(run_selftest(load_settings(data_dir=data_dir), test))
