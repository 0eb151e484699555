"""Renders revisions as one SQL script; `adapters.postgres.migrate` runs it in a transaction of its own.

Rendering needs no connection, so migrations use the one driver that the rest of daybook uses. A revision
therefore cannot look at the database in Python: what depends on its content is decided in SQL.
"""

from __future__ import annotations

from alembic import context
from alembic.util import CommandError


def render() -> None:
    """Write the script to the configured buffer.

    Raises:
        CommandError: when run by the `alembic` command against a database.
    """
    if not context.is_offline_mode():
        raise CommandError("run `daybook migrate`: it renders these revisions and runs them")
    context.configure(
        dialect_name="postgresql",
        dialect_opts={"paramstyle": "named"},  # or every % of a function body would be doubled
        transactional_ddl=False,  # the transaction is the caller's, so that it holds the lock too
    )
    with context.begin_transaction():
        context.run_migrations()


render()
