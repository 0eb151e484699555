"""The power fails under load: what reached the disk is all that is left. PostgreSQL must have every append.

    make chaos NAME=power_cut ARGS="--seconds 8"

The whole stack lives on an ext4 in a loop device. While trades are written, its backing file is copied, which
is what the device holds at that moment without any cache; everything is killed, the copy is mounted in the
same place, and the stack starts on it. Needs root and loop devices.

The control is a JetStream with its default `sync_interval` on the same disk: it must lose messages that it
acknowledged, or the cut was none. Our JetStream loses its tail, too, and the relay fills it again.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import signal
import sys
import tempfile
import time
from pathlib import Path
from random import Random
from typing import Any, Final

import nats
import nats.errors
import nats.js.errors
import psutil
from chaos.kills import Stage
from chaos.parts import books
from chaos.parts.disks import Disk, disk, missing
from nats.js.api import StreamConfig
from nats_server import NatsServer
from waiting import until, until_open

from adapters.embedded.stack import StackUrls, attach
from adapters.jetstream.relay import Relay
from adapters.jetstream.streams import STREAMS
from adapters.postgres.migrate import migrate
from domain.errors import DaybookError, DeliveryError

DISK_MB: Final = 600
CONTROL: Final = "CONTROL"
PUBLISHERS: Final = 8
BACK_S: Final = 120.0
GONE_S: Final = 20.0


class Control:
    """Publishers on a JetStream with default settings, and what it acknowledged."""

    def __init__(self, server: NatsServer) -> None:
        self.server = server
        self.acknowledged: list[int] = []

    async def publish(self) -> None:
        """Publish from several tasks until cancelled or cut off."""
        client = await nats.connect(self.server.url, allow_reconnect=False)
        jetstream = client.jetstream(timeout=5)
        await jetstream.add_stream(StreamConfig(name=CONTROL, subjects=["control.>"]))

        async def one() -> None:
            while True:
                ack = await jetstream.publish("control.events", b"x" * 200)
                self.acknowledged.append(ack.seq)

        with contextlib.suppress(nats.errors.Error, nats.js.errors.Error, OSError):
            await asyncio.gather(*(one() for _ in range(PUBLISHERS)))

    async def held(self) -> int:
        """The last sequence it has; 0 when the stream itself is gone."""
        client = await nats.connect(self.server.url, allow_reconnect=False)
        try:
            return (await client.jetstream(timeout=10).stream_info(CONTROL)).state.last_seq
        except nats.js.errors.NotFoundError:
            return 0
        finally:
            await client.close()


async def run(seconds: float, seed: int, folder: Path) -> dict[str, Any]:
    """One cut; all figures."""
    with disk(folder / "power", DISK_MB) as cut:
        before = await _until_the_cut(cut, folder, seconds, seed)
        cut.mount()
        return {**await _after(cut, before), "seconds": seconds, "seed": seed}


async def _until_the_cut(cut: Disk, folder: Path, seconds: float, seed: int) -> dict[str, Any]:
    """Load, the copy, and the end of every process; what had been acknowledged when the copy began."""
    copy = folder / "copy.img"
    (cut.place / "control").mkdir()
    control = Control(NatsServer(cut.place / "control"))
    stack = attach(cut.place / "servers")
    urls = await asyncio.to_thread(stack.__enter__)
    await migrate(urls.database_url)
    stage = Stage(urls, folder, Random(seed), seed, controls=False)
    relay = asyncio.create_task(Relay(urls.database_url, urls.nats_url).run())
    await control.server.start()
    publishing = asyncio.create_task(control.publish())
    try:
        await stage.start("writer")
        await stage.start("writer")
        await asyncio.sleep(seconds)  # the moment of the cut, not a wait for something
        acknowledged = books.noted(folder).acknowledged
        published = list(control.acknowledged)
        await asyncio.to_thread(cut.cut, copy)
    finally:
        await stage.end()
        relay.cancel()
        publishing.cancel()
        await asyncio.gather(relay, publishing, return_exceptions=True)
        control.server.stop()
        await asyncio.to_thread(_kill_all, cut.place)
    cut.unmount()
    copy.replace(cut.image)
    intended = books.noted(folder).intended  # also of what was written while the copy was made
    return {
        "acknowledged": acknowledged,
        "intended": intended,
        "published": published,
        "control": control,
    }


def _kill_all(place: Path) -> None:
    """Kill -9 of the supervisor and every server that lives on the disk."""
    victims = [
        process
        for process in psutil.process_iter(["cwd", "cmdline"])
        if _lives_on(process, place) and process.pid != os.getpid()
    ]
    for process in victims:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.send_signal(signal.SIGKILL)
    psutil.wait_procs(victims, timeout=GONE_S)


def _lives_on(process: psutil.Process, place: Path) -> bool:
    cwd, command = process.info["cwd"] or "", " ".join(process.info["cmdline"] or [])
    supervises = "adapters.embedded.supervisor" in command and f'"{place}/' in command
    return supervises or Path(cwd).is_relative_to(place)


async def _after(cut: Disk, before: dict[str, Any]) -> dict[str, Any]:
    """Power is back: start on what is left, and look everything up."""
    control: Control = before["control"]
    started = time.monotonic()
    async with attach(cut.place / "servers") as urls, await until_open(urls.database_url) as log:
        up_s = time.monotonic() - started
        figures = await books.log_figures(log, before["intended"], before["acknowledged"])
        held = await _held(urls)
        relay = Relay(urls.database_url, urls.nats_url)
        running = asyncio.create_task(relay.run())
        try:
            await until(lambda: _all_delivered(relay, figures["appended"]), timeout_s=BACK_S)
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
        refilled = [
            message
            for stream in STREAMS.values()
            for message in await books.held_by(urls.nats_url, stream.name)
        ]
        positions = sorted(position for position, _ in refilled)
    await control.server.start()
    control_held = await control.held()
    control.server.stop()
    control_lost = sum(sequence > control_held for sequence in before["published"])
    zero = ("lost_appends", "stream_gaps", "double_events", "double_appends")
    whole = not any(figures[name] for name in zero)
    whole = whole and figures["chain"] == "verified" and bool(before["acknowledged"])
    return {
        "passed": whole and positions == list(range(1, figures["appended"] + 1)),
        "control_failed": control_lost > 0,
        "acknowledged": len(before["acknowledged"]),
        **figures,
        "jetstream_held_after_the_cut": held,
        "jetstream_refilled": len(positions),
        "control_acknowledged": len(before["published"]),
        "control_lost": control_lost,
        "up_after_s": round(up_s, 1),
    }


async def _held(urls: StackUrls) -> int:
    """What our JetStream has before the relay fills it again."""
    try:
        return await Relay(urls.database_url, urls.nats_url).delivered()
    except DeliveryError:
        return 0  # not even its streams were on the disk


async def _all_delivered(relay: Relay, events: int) -> bool:
    with contextlib.suppress(DaybookError):
        return await relay.delivered() >= events
    return False


def main() -> int:
    """Run once and say what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    if reason := missing():
        print(json.dumps({"skipped": reason}))  # noqa: T201 - the result
        return 2
    with tempfile.TemporaryDirectory(prefix="daybook-power-") as folder:
        figures = asyncio.run(run(arguments.seconds, arguments.seed, Path(folder)))
    print(json.dumps(figures))  # noqa: T201 - the result
    return 0 if figures["passed"] and figures["control_failed"] else 1


if __name__ == "__main__":
    sys.exit(main())
