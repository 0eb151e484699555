"""Where the log is: the database of the settings, or the embedded one, started while it is needed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from adapters.embedded.stack import attach
from daybook.settings import Settings


@contextmanager
def log_database(settings: Settings) -> Iterator[str]:
    """The URL of the log's database, as its owner.

    Raises:
        SetupError: the embedded servers cannot be started.
    """
    if settings.database_url is not None:
        yield settings.database_url
    else:
        with attach(settings.data_dir) as urls:
            yield urls.database_url
