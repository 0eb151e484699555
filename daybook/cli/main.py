"""The command line: every command by name, one way to fail.

Exit codes: 0 done, 1 the answer is no, 2 bad input or set-up, 130 stopped by Ctrl-C.
"""

from __future__ import annotations

import sys
from importlib import metadata
from pathlib import Path
from typing import Annotated

import typer
from typer._click.exceptions import UsageError  # typer carries its own click and exports only a child

import daybook.cli.audit_anchors
import daybook.cli.audit_checkpoints
import daybook.cli.audit_notes  # noqa: F401 - importing the three adds their commands to `audit_app`
from daybook import memory
from daybook.cli.audit import audit_app
from daybook.cli.dlq import dlq_app
from daybook.cli.events import events_app
from daybook.cli.localnet import localnet
from daybook.cli.migrate import migrate
from daybook.cli.output import DataDir, JsonFlag, configure_logging, print_json, report_error, say
from daybook.cli.projections import projections_app
from daybook.cli.quotes import quotes_app
from daybook.cli.rpc_proxy import rpc_proxy
from daybook.cli.selftest.command import selftest_app
from daybook.cli.stack import stack_app
from daybook.cli.strategies import strategies_app
from daybook.cli.wallets import wallets_app
from daybook.settings import load_settings
from domain.errors import DaybookError

app = typer.Typer(
    help="daybook: an event-sourced trading platform for Solana.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(stack_app, name="stack")
app.add_typer(audit_app, name="audit")
app.add_typer(events_app, name="events")
app.add_typer(projections_app, name="projections")
app.add_typer(selftest_app, name="selftest")
app.add_typer(dlq_app, name="dlq")
app.add_typer(wallets_app, name="wallets")
app.add_typer(strategies_app, name="strategies")
app.add_typer(quotes_app, name="quotes")
app.command("localnet")(localnet)
app.command("migrate")(migrate)
app.command("rpc-proxy")(rpc_proxy)


def main() -> None:
    """Run the command line; an error becomes a sentence and exit code 2, with --json an object too."""
    as_json = "--json" in sys.argv
    memory.collect_seldom()
    try:
        sys.exit(app(standalone_mode=False))
    except DaybookError as error:
        sys.exit(report_error(error, as_json=as_json))
    except UsageError as error:
        error.show()
        if as_json:
            print_json({"error": error.format_message(), "kind": "UsageError"})
        sys.exit(error.exit_code)


def _version(wanted: bool) -> None:
    if wanted:
        say(f"daybook {metadata.version('daybook')}")
        raise typer.Exit


@app.callback()
def root(
    *,
    version: Annotated[  # noqa: ARG001 - handled by its callback
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Set up what all commands share: settings are checked and logs go to standard error."""
    settings = load_settings()
    configure_logging(settings.log_level, settings.log_format)


@app.command()
def check(*, data_dir: DataDir = None, as_json: JsonFlag = False) -> None:
    """Look at settings, servers and folders, and say what to mend."""
    from daybook.cli.check import run_check  # noqa: PLC0415 - each command loads only what it needs

    raise typer.Exit(run_check(load_settings(data_dir=data_dir), as_json=as_json))


@app.command()
def demo(
    *,
    seconds: Annotated[int, typer.Option(min=5, max=86_400, help="How long to trade.")] = 45,
    market: Annotated[
        Path | None, typer.Option(help="Follow recorded prices: a .csv.gz of 1-minute klines.")
    ] = None,
    speed: Annotated[int, typer.Option(min=1, help="Recorded seconds per second, with --market.")] = 600,
    seed: Annotated[int, typer.Option(help="Of the crowd and the demo's keys.")] = 1,
    keep: Annotated[bool, typer.Option("--keep", help="Leave it running, with the GraphQL URL.")] = False,
    data_dir: DataDir = None,
    as_json: JsonFlag = False,
) -> None:
    """Trade on a local Solana for a while, then prove the books: the main job, end to end.

    It uses embedded servers in a folder of its own and begins with an empty log each time.
    """
    from daybook.demo.session import DemoOptions, run_demo  # noqa: PLC0415 - as in `check`

    folder = data_dir or load_settings().data_dir / "demo"
    options = DemoOptions(folder, seconds, market, speed, seed, keep=keep, as_json=as_json)
    raise typer.Exit(run_demo(options))


@app.command()
def run(*, data_dir: DataDir = None, as_json: JsonFlag = False) -> None:
    """Run all services against the node, servers and wallet of the settings, until Ctrl-C."""
    from daybook.run import run_services  # noqa: PLC0415 - as in `check`

    raise typer.Exit(run_services(load_settings(data_dir=data_dir), as_json=as_json))
