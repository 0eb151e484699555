"""Everything is killed -9 while trades are written: a short run of tests/chaos/kills.py."""

from __future__ import annotations

from pathlib import Path

import pytest
from chaos import kills


@pytest.mark.timeout(300)  # seven processes that load daybook, five kills or more, and the time to catch up
async def test_whatever_is_killed_nothing_acknowledged_is_lost_and_all_copies_agree(tmp_path: Path) -> None:
    """Acks, streams, chain, read models and JetStream agree; what remembers its place apart does not."""
    figures = await kills.run(3, 3, tmp_path)
    assert figures["passed"], figures
    assert min(figures["killed"].values()) > 0
    names = ("control_acknowledged_early_lost", "control_projector_off_by", "control_relay_off_by")
    assert any(figures[name] for name in names), figures
