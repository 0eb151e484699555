"""`daybook migrate`: bring the log's database to the revision this version needs."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from adapters.embedded.stack import attach
from daybook.cli.output import DataDir, JsonFlag, print_json, say
from daybook.settings import load_settings

if TYPE_CHECKING:
    from adapters.postgres.migrate import Migrated


def migrate(*, data_dir: DataDir = None, as_json: JsonFlag = False) -> None:
    """Bring the database to this version's revision; the embedded one unless DAYBOOK_DATABASE_URL is set."""
    from adapters.postgres.migrate import migrate as run_migrations  # noqa: PLC0415 - only this command needs it

    settings = load_settings(data_dir=data_dir)
    if settings.database_url is not None:
        done = asyncio.run(run_migrations(settings.database_url))
    else:
        with attach(settings.data_dir) as urls:
            done = asyncio.run(run_migrations(urls.database_url))
    if as_json:
        print_json({"from": done.from_revision, "to": done.to_revision, "changed": done.changed})
    else:
        say(_line(done))


def _line(done: Migrated) -> str:
    if not done.changed:
        return f"nothing to do: the database is at revision {done.to_revision}"
    return f"migrated from {done.from_revision or 'an empty database'} to revision {done.to_revision}"
