"""`daybook stack up|down|status`: the embedded servers from the command line."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from adapters.embedded import stack
from daybook.cli.log_database import refuse_without_data
from daybook.cli.output import DONE, NO, DataDir, JsonFlag, print_json, say
from daybook.settings import load_settings

stack_app = typer.Typer(
    help="PostgreSQL, NATS and Valkey from wheels, in one data folder.", no_args_is_help=True
)

NatsPort = Annotated[
    int | None, typer.Option(min=1, max=65535, help="A loopback port for NATS; else any free one.")
]


@stack_app.command()
def up(*, data_dir: DataDir = None, nats_port: NatsPort = None, as_json: JsonFlag = False) -> None:
    """Start the servers, or find them running, and keep them until `down`."""
    urls = asdict(stack.up(_folder(data_dir), nats_port=nats_port))
    if as_json:
        print_json(urls)
        return
    for name, url in urls.items():
        say(f"export DAYBOOK_{name.upper()}='{url}'")


@stack_app.command()
def down(*, data_dir: DataDir = None, as_json: JsonFlag = False) -> None:
    """Stop the servers, whoever uses them; the data stays."""
    folder = _begun_folder(data_dir)
    stopped = stack.down(folder)
    if as_json:
        print_json({"stopped": stopped})
    else:
        say("stopped" if stopped else f"nothing runs in {folder}")


@stack_app.command()
def status(*, data_dir: DataDir = None, as_json: JsonFlag = False) -> None:
    """Ask each server; exit code 1 unless all are up."""
    servers = stack.status(_begun_folder(data_dir))
    all_up = all(server.up for server in servers)
    if as_json:
        print_json({"up": all_up, "servers": [asdict(server) for server in servers]})
    else:
        for server in servers:
            say(_line(server))
    raise typer.Exit(DONE if all_up else NO)


def _folder(data_dir: Path | None) -> Path:
    return load_settings(data_dir=data_dir).data_dir


def _begun_folder(data_dir: Path | None) -> Path:
    folder = _folder(data_dir)
    refuse_without_data(folder)
    return folder


def _line(server: stack.ServerStatus) -> str:
    if not server.up:
        return f"{server.name:<9} down"
    size = f"{server.data_bytes / 1024**2:.1f} MB"
    return f"{server.name:<9} up    {server.version:<8} pid {server.pid:<8} {size:>10}  {server.address}"
