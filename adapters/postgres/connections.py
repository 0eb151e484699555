"""Connections to the log's database: as the writer's role, bounded in time, their failures told apart."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from traceback import walk_tb
from typing import Any, Final

import asyncpg

from domain.errors import LogUnavailable, SetupError

WRITER_ROLE: Final = "daybook_writer"
"""Every connection of the log acts as this role; it may insert and read, not change."""

CONNECT_TIMEOUT_S: Final = 5.0
"""A server on this machine answers in milliseconds, one across a data centre in tens."""

COMMAND_TIMEOUT_S: Final = 10.0
"""The longest command, a page of 500 rows or a batch, takes milliseconds; longer is a server in trouble."""

POOL_SIZE: Final = 8
"""Readers, bookmarks and leases of one process take turns; each holds a connection for milliseconds."""

AWAY: Final = (
    OSError,
    TimeoutError,
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,  # shutdown, crash recovery, starting up
    asyncpg.InsufficientResourcesError,  # disk full, too many connections
    asyncpg.InterfaceError,  # the connection closed under a call
    asyncpg.InternalClientError,  # the same, noticed half-way through the protocol
    asyncpg.LockNotAvailableError,  # the fence was not free in time
    asyncpg.TransactionRollbackError,  # a deadlock was resolved at our cost
    asyncpg.IdleInTransactionSessionTimeoutError,
)
"""What is raised when the database is away or in trouble: try again later."""

_BUSY: Final = (asyncpg.LockNotAvailableError, asyncpg.TransactionRollbackError)
"""Of these: another process was there first."""

_LOST: Final = (asyncpg.InterfaceError, asyncpg.InternalClientError)
"""And of these: the connection went, which the driver says in words of its own making."""

KEEPALIVES: Final = {
    "tcp_keepalives_idle": "15",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "4",
}
"""The server notices in 35 s that a client's host is gone, not in two hours; nothing on a unix socket."""

_SETTINGS: Final = {
    "role": WRITER_ROLE,
    "application_name": "daybook",
    # A log is read through its indexes, whatever the statistics of a young or quickly growing table say.
    "enable_seqscan": "off",
    "enable_bitmapscan": "off",
    # A process that freezes while it holds the fence is cut off, and the others go on: by the server between
    # two statements; inside a COPY, where no timeout of the server's helps, by who waited for it in vain
    # (free_log_head). His wait is longer than the server's patience, and leaves him time to try again.
    "idle_in_transaction_session_timeout": "5s",
    "lock_timeout": "6s",
    **KEEPALIVES,
}

_READING: Final = {
    # A page has the same plan whatever its bounds; with bounds in sight it would be planned for every page.
    "plan_cache_mode": "force_generic_plan",
}

_OPTIONS: Final[dict[str, Any]] = {
    "timeout": CONNECT_TIMEOUT_S,
    "command_timeout": COMMAND_TIMEOUT_S,
    "server_settings": _SETTINGS,
}


async def connect(database_url: str) -> asyncpg.Connection[asyncpg.Record]:
    """A connection in the writer's role.

    Raises:
        SetupError: the URL, the credentials, the database or the role is not right.
        LogUnavailable: no server answers there.
    """
    with explained():
        return await asyncpg.connect(database_url, **_OPTIONS)


async def open_pool(database_url: str, size: int = POOL_SIZE) -> asyncpg.Pool[asyncpg.Record]:
    """A pool of connections in the writer's role; none is made before it is needed.

    Raises:
        SetupError: the URL is none.
    """
    settings = {**_SETTINGS, **_READING}
    options = {**_OPTIONS, "server_settings": settings, "reset": no_reset}
    with explained():
        return await asyncpg.create_pool(database_url, min_size=0, max_size=size, **options)


@asynccontextmanager
async def lent(
    pool: asyncpg.Pool[asyncpg.Record], within_s: float
) -> AsyncIterator[asyncpg.pool.PoolConnectionProxy[asyncpg.Record]]:
    """A connection of a pool; dropped when its answer does not come in time, or is waited for no longer.

    To be given back it must be asked to stop, and a server that is frozen does not answer that either.

    Args:
        pool: whose.
        within_s: for a connection to be free, or made.
    """
    async with pool.acquire(timeout=within_s) as connection:
        try:
            yield connection
        except (TimeoutError, asyncio.CancelledError):
            connection.terminate()
            raise


@contextmanager
def opening(connection: asyncpg.Connection[asyncpg.Record]) -> Iterator[None]:
    """What a new connection is told before its first use; it is dropped when that fails or is cancelled."""
    try:
        with explained():
            yield
    except BaseException:
        connection.terminate()
        raise


async def no_reset(_connection: object) -> None:
    """What a session is given it gives back itself, so returning a connection needs no further statement."""


@contextmanager
def explained() -> Iterator[None]:
    """Raise the driver's errors as ours."""
    try:
        yield
    except Exception as error:
        ours = explain(error)
        if ours is error:
            raise
        raise ours from error


def explain(error: Exception) -> Exception:
    """Which of our errors it is, or itself where it is none of the database's."""
    if isinstance(error, asyncpg.InvalidCatalogNameError | asyncpg.InvalidAuthorizationSpecificationError):
        return SetupError(f"connecting to PostgreSQL was refused: {error}; check DAYBOOK_DATABASE_URL")
    if _is_bad_url(error):
        return SetupError(
            f"DAYBOOK_DATABASE_URL is not a PostgreSQL URL: {error}; write it as "
            "postgresql://user:password@host:5432/database, with %40 for an @ in the password"
        )
    if isinstance(error, asyncpg.InvalidParameterValueError | asyncpg.UndefinedObjectError) and (
        WRITER_ROLE in str(error)
    ):
        return SetupError(f"the database has no role {WRITER_ROLE!r}: run `daybook migrate`")
    if isinstance(
        error, asyncpg.UndefinedTableError | asyncpg.UndefinedFunctionError | asyncpg.UndefinedObjectError
    ):
        return SetupError(f"the database has no event log ({error}): run `daybook migrate`")
    return _away(error) if isinstance(error, AWAY) else error


def _away(error: Exception) -> LogUnavailable:
    if isinstance(error, _BUSY):
        return LogUnavailable(
            f"the event log is busy ({error}): another process appends, imports or archives; try again"
        )
    found = "the connection was lost" if isinstance(error, _LOST) else f"{type(error).__name__}: {error}"
    return LogUnavailable(
        f"the event log's database did not answer ({found}): check that PostgreSQL runs and has disk space, "
        "then try again"
    )


def _is_bad_url(error: Exception) -> bool:
    """Whether the driver could make no address of the URL.

    It says so itself, or leaves an error of int(), urlsplit() or the socket's as it was; that is told from a
    value that does not fit a statement by where it came from. A pool connects late, amid its first statement.
    """
    if isinstance(error, asyncpg.ClientConfigurationError):
        return True
    frames = (frame.f_globals.get("__name__") for frame, _ in walk_tb(error.__traceback__))
    return isinstance(error, ValueError | OverflowError) and "asyncpg.connect_utils" in frames
