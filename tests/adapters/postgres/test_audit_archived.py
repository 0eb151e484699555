"""The audit of a log whose old market events stand in files: walked, proved and found altered as before."""

from __future__ import annotations

from pathlib import Path

import asyncpg
import pytest
from audited import altered
from partitioned import SPAN, fill, migrate_with_small_partitions, partitions_made_in_time

from adapters.keys.audit_key import is_signed, read_or_make
from adapters.postgres.archiving import archivist
from adapters.postgres.audit_pages import RecordPages
from adapters.postgres.checkpoints import PostgresCheckpoints
from adapters.postgres.event_log import PostgresEventLog
from adapters.postgres.hash_chain import link
from domain.errors import LogCorrupt
from replay.audit import Auditor, Verifier
from replay.proofs import flaw, prove_inclusion


async def archive_all(url: str, folder: Path) -> int:
    async with archivist(url) as works:
        leaves = await works.closed_leaves(None, None)
        for leaf in leaves:
            await works.archive(leaf, folder, lambda _phase, _done, _total: None)
    return len(leaves)


async def test_an_archived_record_verifies_and_is_proved(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await migrate_with_small_partitions(database)
    key = read_or_make(tmp_path / "audit_key.pem")
    with partitions_made_in_time(monkeypatch):
        async with await PostgresEventLog.open(database) as log:
            await fill(log, 7 * SPAN)
            pages, checkpoints = RecordPages(log), PostgresCheckpoints(log)
            auditor = Auditor(pages, checkpoints, is_signed, key, lambda: 1, every_events=1, every_us=1)
            signed = await auditor.checkpoint()
            assert signed is not None
            assert await archive_all(database, tmp_path) >= 5
            verifier = Verifier(pages, checkpoints, is_signed, key.public_key)
            for every_leaf in (False, True):
                verified = await verifier.verify(from_start=True, every_leaf=every_leaf)
                assert (verified.walked, verified.checkpoints) == (7 * SPAN - 2, 1)
            for position in (1, 2, 100, 256, 300):
                proof = await prove_inclusion(position, signed, pages, checkpoints, link, is_signed)
                assert flaw(proof, link, is_signed) is None
            owner = await asyncpg.connect(database)
            async with altered(owner):
                await owner.execute("UPDATE events SET actor = 'x' WHERE position = 104")
            await owner.close()
            with pytest.raises(LogCorrupt) as broken:
                await verifier.verify(from_start=True)
            assert broken.value.position == 104
