"""`daybook selftest log`: our log passes, connections cut and servers killed; a naive one is found out."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from random import Random
from typing import Any

import pytest

from adapters.embedded.stack import StackUrls
from adapters.postgres.migrate import migrate
from adapters.postgres.session import COPY_FROM
from daybook.cli.output import BAD_INPUT, DONE, NO
from daybook.cli.selftest.scratch import execute
from daybook.cli.selftest.workload import Caller

pytestmark = pytest.mark.timeout(180)  # six processes that load daybook, and up to two server restarts


def selftest(*arguments: str, database_url: str | None = None) -> tuple[int, dict[str, Any], str]:
    """Exit code, report and progress of a run."""
    environment = {name: value for name, value in os.environ.items() if name != "DAYBOOK_DATABASE_URL"}
    if database_url is not None:
        environment["DAYBOOK_DATABASE_URL"] = database_url
    command = [sys.executable, "-m", "daybook", "selftest", "log", "--json", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=150, env=environment, check=False)
    return done.returncode, json.loads(done.stdout.splitlines()[-1]), done.stderr


def test_nothing_is_skipped_doubled_or_lost_though_connections_are_cut(stack: StackUrls) -> None:
    """On a server of the user's, in a database of its own that is gone afterwards."""
    code, report, progress = selftest("--seconds", "3", "--processes", "2", database_url=stack.database_url)
    assert code == DONE, report
    assert report["appended"] == report["seen"] > 100
    assert (report["skipped"], report["doubled"], report["disordered"], report["lost_appends"]) == (
        0,
        0,
        0,
        0,
    )
    assert (report["chain"], report["stream_gaps"], report["wrong_repeats"]) == ("verified", 0, 0)
    assert report["kills"] == report["connection_kills"] > 0
    assert min(report["conflicts"], report["repeats"], report["slow_transactions"]) > 0
    assert "your log is not touched" in progress
    assert "seen" in progress


def test_some_appends_are_so_large_that_the_log_copies_them() -> None:
    """A kill must be able to hit that, too; most are small."""
    caller = Caller("w0-0", Random(1))
    sizes = [sum(len(append.events) for append in caller.next_step(1).appends) for _ in range(1_000)]
    assert 5 <= sum(size >= COPY_FROM for size in sizes) <= 20
    assert max(sizes) <= 2 * COPY_FROM


def test_ctrl_c_ends_the_writing_early_and_reports(stack: StackUrls) -> None:
    """Whoever asked for an hour gets the figures of the minutes that were enough, from all processes."""
    command = [sys.executable, "-m", "daybook", "selftest", "log", "--json", "--seconds", "3600"]
    environment = os.environ | {"DAYBOOK_DATABASE_URL": stack.database_url}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, process_group=0
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        for line in process.stderr:
            if " s left" in line and " 0 seen" not in line:
                break
        os.killpg(process.pid, signal.SIGINT)
        answer, words = process.stdout.read(), process.stderr.read()
    report = json.loads(answer.splitlines()[-1])
    assert (process.returncode, report["passed"]) == (DONE, True), report
    assert report["appended"] == report["seen"] > 0
    assert report["ended_early"]
    assert report["seconds"] < 60
    assert "Traceback" not in words


def test_a_naive_log_is_found_out_by_the_same_harness(stack: StackUrls) -> None:
    """The control: positions drawn before the commit, a reader of `position > last`."""
    code, report, _ = selftest(
        "--seconds", "2", "--processes", "2", "--control", "naive", database_url=stack.database_url
    )
    assert code == NO
    assert report["skipped"] > 0
    assert report["passed"] is False
    assert report["lost_appends"] == 0  # all are in the table: it is the reader that never sees them


def test_servers_and_writers_killed_lose_nothing(tmp_path: Path) -> None:
    """Kill -9 of PostgreSQL and of writing processes, on embedded servers of its own."""
    code, report, _ = selftest(
        "--seconds", "6", "--processes", "2", "--kill", "--seed", "3", "--data-dir", str(tmp_path / "servers")
    )
    assert code == DONE, report
    assert (report["skipped"], report["doubled"], report["lost_appends"], report["double_appends"]) == (
        0,
    ) * 4
    assert report["server_kills"] > 0
    assert report["appended"] == report["seen"] > 100


def test_a_server_of_the_users_is_never_killed(stack: StackUrls) -> None:
    """Bad input, said in a sentence, before anything is started."""
    code, report, _ = selftest("--kill", database_url=stack.database_url)
    assert code == BAD_INPUT
    assert "unset it" in report["error"]


async def test_a_writer_whose_work_fails_ends_though_nobody_told_it_to(database: str, tmp_path: Path) -> None:
    """It says why; the self-test would wait for it in vain."""
    await migrate(database)
    await execute(database, "DROP TABLE appends CASCADE")
    config = {
        "url": database,
        "name": "w0",
        "callers": 2,
        "seed": 1,
        "outcomes": str(tmp_path / "w0.outcomes"),
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-P", "-m", "daybook.cli.selftest.writer", json.dumps(config),
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert process.stderr is not None
    words = await asyncio.wait_for(process.stderr.read(), 60)  # its standard input stays open
    assert b"appends" in words
    assert await process.wait() != 0


def test_a_second_one_on_the_same_servers_is_refused(tmp_path: Path) -> None:
    """It would take the kills of the first for faults of the log."""
    place = ("--data-dir", str(tmp_path), "--processes", "1")
    command = [sys.executable, "-m", "daybook", "selftest", "log", "--json", "--seconds", "3600", *place]
    environment = {name: value for name, value in os.environ.items() if name != "DAYBOOK_DATABASE_URL"}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as first:
        assert first.stderr is not None
        assert "your log is not touched" in first.stderr.readline()
        code, said, _ = selftest("--seconds", "1", *place)
        first.send_signal(signal.SIGINT)
        first.communicate()
    assert code == BAD_INPUT
    assert "another self-test runs in" in said["error"]
    assert first.returncode == DONE
