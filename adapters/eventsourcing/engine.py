"""The log behind synchronous calls: an event loop in a thread of its own, and one open log on it."""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
import weakref
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, Final, TypeVar

import asyncpg
from eventsourcing.persistence import (
    DatabaseError,
    DataError,
    IntegrityError,
    OperationalError,
    ProgrammingError,
)

from adapters.postgres.event_log import PostgresEventLog
from domain.errors import (
    AlreadyTracked,
    ConcurrencyError,
    DaybookError,
    InvalidInput,
    LogUnavailable,
    SetupError,
)

CALL_TIMEOUT_S: Final = 30.0
"""Longer than an append is retried while the database is away (10 s) and than any command may take (10 s)."""

T = TypeVar("T")


class Engine:
    """One log for all recorders of a factory; closed by `close`, or when nobody holds it any more.

    Args:
        database_url: of a migrated database.

    Attributes:
        log: the open log; its methods run on the engine's loop only, through `run`.

    Raises:
        SetupError: the database is not there or not migrated.
        OperationalError: no server answers.
    """

    def __init__(self, database_url: str) -> None:
        loop = asyncio.new_event_loop()
        thread = threading.Thread(target=_serve, args=(loop,), name="daybook log", daemon=True)
        thread.start()
        self._loop, self._thread = loop, thread
        try:
            self.log = self.run(PostgresEventLog.open(database_url))
        except BaseException:
            _close(loop, thread, None)
            raise
        self._finalizer = weakref.finalize(self, _close, loop, thread, self.log)

    def run(self, call: Coroutine[Any, Any, T]) -> T:
        """Await a call on the engine's loop; may be used by any number of threads at once.

        Raises:
            PersistenceError: of the library's kind for whatever went wrong.
        """
        if threading.current_thread() is self._thread or not self._thread.is_alive():
            call.close()
            raise ProgrammingError("the log was called after it was closed, or from its own thread")
        with translated():
            answer = asyncio.run_coroutine_threadsafe(call, self._loop)
            try:
                return answer.result(CALL_TIMEOUT_S)
            finally:
                answer.cancel()  # does nothing to one that is done

    def wake(self, event: threading.Event) -> concurrent.futures.Future[None]:
        """Set `event` whenever the log has grown, until the returned future is cancelled."""
        return asyncio.run_coroutine_threadsafe(self.log.ring_for_ever(event.set), self._loop)

    def close(self) -> None:
        """Close the log and end the thread; a second time does nothing."""
        self._finalizer()


def _serve(loop: asyncio.AbstractEventLoop) -> None:
    try:
        loop.run_forever()
    finally:
        loop.close()


def _close(loop: asyncio.AbstractEventLoop, thread: threading.Thread, log: PostgresEventLog | None) -> None:
    """End the loop; from its own thread, where the garbage collector may call it, without waiting."""
    closed = asyncio.run_coroutine_threadsafe(_shut(log), loop)
    closed.add_done_callback(lambda _closed: loop.call_soon_threadsafe(loop.stop))
    if threading.current_thread() is not thread:
        thread.join(CALL_TIMEOUT_S)


async def _shut(log: PostgresEventLog | None) -> None:
    if log is not None:
        await log.close()
    tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


@contextmanager
def translated() -> Iterator[None]:
    """Raise our errors as the library's, which its applications and runners know how to handle."""
    try:
        yield
    except (ConcurrencyError, AlreadyTracked, asyncpg.IntegrityConstraintViolationError) as error:
        raise IntegrityError(str(error)) from error
    except (LogUnavailable, concurrent.futures.TimeoutError) as error:
        raise OperationalError(str(error) or f"no answer within {CALL_TIMEOUT_S} s") from error
    except SetupError:
        raise  # names the setting to mend; nothing to handle
    except InvalidInput as error:
        raise DataError(str(error)) from error
    except (DaybookError, asyncpg.PostgresError) as error:
        raise DatabaseError(str(error)) from error
