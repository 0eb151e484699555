"""The self-test's other processes: writers that may be killed and started again, and the one reader."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import sys
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from daybook.cli.selftest.verdict import reader_result
from domain.errors import LogError

START_S: Final = 120.0
"""A process imports its modules in a second, in many on a busy machine; a killed server is back sooner."""

STOP_S: Final = 60.0
"""Appends under way are finished; a server that was just killed is back long before."""

READ_S: Final = 600.0
"""A reader that fell behind by millions of events still reads hundreds of thousands a second."""


class Writers:
    """Writing processes; each new one has a name, and so streams, of its own.

    Args:
        url: the scratch database.
        folder: for what the callers were told.
        seed: of all choices.
        callers: in each process.
        control: whether they write the naive log.
    """

    def __init__(self, url: str, folder: Path, seed: int, callers: int, *, control: bool) -> None:
        self._url = url
        self._folder = folder
        self._seed = seed
        self._callers = callers
        self._module = "daybook.cli.selftest.naive" if control else "daybook.cli.selftest.writer"
        self._running: list[asyncio.subprocess.Process] = []
        self._started = 0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        for process in self._running:
            await _kill(process)

    async def start(self, count: int) -> None:
        """So many more; returns when all of them are connected.

        Raises:
            LogError: one of them ended instead.
        """
        new = [await self._start() for _ in range(count)]
        for process in new:
            await _ready(process)

    async def _start(self) -> asyncio.subprocess.Process:
        name = f"w{self._started}"
        self._started += 1
        config = {
            "url": self._url,
            "name": name,
            "callers": self._callers,
            "seed": self._seed,
            "outcomes": str(self._folder / f"{name}.outcomes"),
        }
        process = await _spawn(self._module, config)
        self._running.append(process)
        return process

    async def kill_one(self) -> None:
        """Kill -9 of the oldest, and a new one in its place."""
        await _kill(self._running.pop(0))
        await self.start(1)

    def check(self) -> None:
        """Raise LogError when one has ended by itself."""
        for process in self._running:
            if process.returncode is not None:
                raise LogError(
                    f"a writing process of the self-test ended with code {process.returncode}: "
                    "its last words stand above"
                )

    async def stop(self) -> None:
        """Let them finish what is under way.

        Raises:
            LogError: one of them did not.
        """
        for process in self._running:
            if process.stdin is not None:
                process.stdin.close()
        for process in self._running:
            try:
                await asyncio.wait_for(process.wait(), STOP_S)
            except TimeoutError as error:
                raise LogError(
                    f"a writing process did not end within {STOP_S:.0f} s of being asked"
                ) from error
        self.check_ended_well()

    def check_ended_well(self) -> None:
        """Raise LogError unless all ended with code 0."""
        codes = [process.returncode for process in self._running]
        if any(codes):
            raise LogError(f"writing processes of the self-test ended with codes {codes}: see above")


class Reader:
    """The tailing reader's process.

    Args:
        url: the scratch database.
        control: whether it reads the naive log.
    """

    def __init__(self, url: str, *, control: bool) -> None:
        self._config = {"url": url, "control": control}
        self._lines: list[bytes] = []
        self._process: asyncio.subprocess.Process | None = None
        self._listening: asyncio.Task[None] | None = None
        self.seen = 0

    async def __aenter__(self) -> Self:
        self._process = await _spawn("daybook.cli.selftest.reader", self._config)
        self._listening = asyncio.create_task(self._listen(self._process))
        return self

    async def __aexit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        if self._process is not None:
            await _kill(self._process)
        if self._listening is not None:
            await self._listening

    async def _listen(self, process: asyncio.subprocess.Process) -> None:
        if process.stdout is None:
            return
        async for line in process.stdout:
            self.seen = json.loads(line).get("seen", self.seen)
            self._lines = [line]

    async def finish(self, end: int) -> dict[str, Any]:
        """Name the last position, and get what it saw.

        Raises:
            LogError: it ended without a result.
        """
        if self._process is None or self._process.stdin is None or self._listening is None:
            raise LogError("the reader was asked for its result before it was started")
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self._process.stdin.write(f"{end}\n".encode())
            await self._process.stdin.drain()
        try:
            await asyncio.wait_for(self._listening, READ_S)
            return reader_result(self._lines)
        except (TimeoutError, asyncio.IncompleteReadError) as error:
            raise LogError(
                "the reading process of the self-test ended without a result: its last words stand above"
            ) from error


async def _spawn(module: str, config: dict[str, Any]) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-P", "-m", module, json.dumps(config),
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        start_new_session=True,  # Ctrl-C is for us: they end when we say so, or with us
    )  # fmt: skip


async def _ready(process: asyncio.subprocess.Process) -> None:
    line = b""
    if process.stdout is not None:
        with contextlib.suppress(TimeoutError):
            line = await asyncio.wait_for(process.stdout.readline(), START_S)
    if not line:
        raise LogError("a writing process of the self-test did not start: its last words stand above")


async def _kill(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGKILL)
    await process.wait()
