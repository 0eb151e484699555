"""Where the log is: the database of the settings, or the embedded one, started while it is needed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from adapters.embedded.folder import existing_folder
from adapters.embedded.stack import attach
from daybook.settings import Settings
from domain.errors import SetupError


@contextmanager
def log_database(settings: Settings) -> Iterator[str]:
    """The URL of the log's database, as its owner.

    Raises:
        SetupError: there is no log, or the embedded servers cannot be started.
    """
    refuse_without_log(settings)
    if settings.database_url is not None:
        yield settings.database_url
    else:
        with attach(settings.data_dir) as urls:
            yield urls.database_url


def refuse_without_log(settings: Settings) -> None:
    """Refuse settings that name no log: neither a database nor a folder that holds daybook's data.

    Raises:
        SetupError: as `refuse_without_data`, where no database is set.
    """
    if settings.database_url is None:
        refuse_without_data(settings.data_dir)


def refuse_without_data(data_dir: Path) -> None:
    """Refuse a data folder that holds nothing of daybook's, such as a mistyped one; nothing is made there.

    Raises:
        SetupError: it is no data folder of daybook's, or cannot be used.
    """
    if existing_folder(data_dir) is None:
        root = data_dir.expanduser().absolute()
        found = "a folder without it" if root.is_dir() else "no such folder"
        raise SetupError(
            f"looked for daybook's data in {root} and found {found}: name the folder that holds it with "
            "--data-dir or DAYBOOK_DATA_DIR, or its database with DAYBOOK_DATABASE_URL; to begin a new log "
            "there, run `daybook migrate` with that folder"
        )
