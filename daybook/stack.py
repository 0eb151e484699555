"""`daybook stack up|down|status`: the embedded servers from the command line."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from adapters.embedded import stack
from domain.errors import SetupError

stack_app = typer.Typer(
    help="PostgreSQL, NATS and Valkey from wheels, in one data folder.", no_args_is_help=True
)

DataDir = Annotated[Path, typer.Option("--data-dir", envvar="DAYBOOK_DATA_DIR", help="The data folder.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object as the last line.")]
NatsPort = Annotated[
    int | None,
    typer.Option("--nats-port", min=1, max=65535, help="A loopback port for NATS; else any free one."),
]
DEFAULT_DATA_DIR = Path(".daybook")


@stack_app.command()
def up(data_dir: DataDir = DEFAULT_DATA_DIR, nats_port: NatsPort = None, as_json: AsJson = False) -> None:
    """Start the servers, or find them running, and keep them until `down`."""
    try:
        urls = stack.up(data_dir, nats_port=nats_port)
    except SetupError as error:
        raise _refused(error) from error
    environment = {
        "DAYBOOK_DATABASE_URL": urls.database_url,
        "DAYBOOK_NATS_URL": urls.nats_url,
        "DAYBOOK_REDIS_URL": urls.redis_url,
    }
    if as_json:
        _print_json(asdict(urls))
    else:
        for name, url in environment.items():
            typer.echo(f"{name}='{url}'")


@stack_app.command()
def down(data_dir: DataDir = DEFAULT_DATA_DIR, as_json: AsJson = False) -> None:
    """Stop the servers, whoever uses them; the data stays."""
    try:
        stopped = stack.down(data_dir)
    except SetupError as error:
        raise _refused(error) from error
    if as_json:
        _print_json({"stopped": stopped})
    else:
        typer.echo("stopped" if stopped else f"nothing runs in {data_dir}")


@stack_app.command()
def status(data_dir: DataDir = DEFAULT_DATA_DIR, as_json: AsJson = False) -> None:
    """Ask each server; exit code 1 unless all are up."""
    try:
        servers = stack.status(data_dir)
    except SetupError as error:
        raise _refused(error) from error
    all_up = all(server.up for server in servers)
    if as_json:
        _print_json({"up": all_up, "servers": [asdict(server) for server in servers]})
    else:
        for server in servers:
            typer.echo(_line(server))
    raise typer.Exit(0 if all_up else 1)


def _line(server: stack.ServerStatus) -> str:
    if not server.up:
        return f"{server.name:<9} down"
    size = f"{server.data_bytes / 1024**2:.1f} MB"
    return f"{server.name:<9} up    {server.version:<8} pid {server.pid:<8} {size:>10}  {server.address}"


def _print_json(answer: dict[str, Any]) -> None:
    typer.echo(json.dumps(answer))


def _refused(error: SetupError) -> typer.Exit:
    typer.echo(f"daybook: {error}", err=True)
    return typer.Exit(2)
