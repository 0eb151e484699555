"""The disk is full: a clear refusal, nothing acknowledged is lost, and it goes on when there is space."""

from __future__ import annotations

from pathlib import Path

import pytest
from chaos import disk_full
from chaos.parts import disks

pytestmark = [
    pytest.mark.skipif(disks.missing() is not None, reason=f"a disk of its own {disks.missing()}"),
    pytest.mark.timeout(240),  # first start of a stack, on a disk behind a loop device
]


async def test_the_record_refuses_clearly_and_loses_nothing(tmp_path: Path) -> None:
    """PostgreSQL out of space: the refused appends are written once, with their ids, when there is space."""
    figures = await disk_full.postgres_full(tmp_path, 1)
    assert figures["passed"], figures
    assert figures["refused"] > 0


async def test_the_log_goes_on_while_jetstream_is_full(tmp_path: Path, database: str) -> None:
    """Delivery waits; afterwards JetStream holds every event, in order, once."""
    figures = await disk_full.jetstream_full(tmp_path, database, 1, alone_s=0.5)
    assert figures["passed"], figures
