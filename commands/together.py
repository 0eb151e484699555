"""Tasks that live and fail together, and fail with a plain error instead of a group of one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

from domain.errors import FencedOut


@asynccontextmanager
async def together() -> AsyncIterator[asyncio.TaskGroup]:
    """A task group that raises the error of the task that failed first, all others having ended.

    `FencedOut` goes before any other: whoever was taken over must not be started again.
    """
    try:
        async with asyncio.TaskGroup() as tasks:
            yield tasks
    except BaseExceptionGroup as group:
        errors = list(_single(group))
        fenced = (error for error in errors if isinstance(error, FencedOut))
        raise next(fenced, errors[0]) from group


def _single(group: BaseExceptionGroup[BaseException]) -> Iterator[BaseException]:
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _single(error)
        else:
            yield error
