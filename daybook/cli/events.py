"""`daybook events`: the log from the command line; each command in a file of its own."""

from __future__ import annotations

import typer

from daybook.cli.events_archive import archive, restore
from daybook.cli.events_export import export
from daybook.cli.events_import import import_
from daybook.cli.events_list import list_
from daybook.cli.events_schema import schema

events_app = typer.Typer(
    help="The event log: looked at, described, out to files and back.", no_args_is_help=True
)
events_app.command("list")(list_)
events_app.command("schema")(schema)
events_app.command("export")(export)
events_app.command("import")(import_)
events_app.command("archive")(archive)
events_app.command("restore")(restore)
