"""The audit over PostgreSQL: what was altered is found and named, what was signed cannot be taken back."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from urllib.parse import urlsplit

import asyncpg
import pytest
from audited import altered, fill
from databases import fresh_database

from adapters.embedded.stack import StackUrls
from adapters.keys.audit_key import AuditKey, is_signed, read_or_make
from adapters.postgres.audit_pages import RecordPages
from adapters.postgres.checkpoints import PostgresCheckpoints
from adapters.postgres.event_log import PostgresEventLog
from adapters.postgres.migrate import migrate
from domain.audit.merkle import consistency_path, inclusion_path, is_consistent, leaf_hash, root_by_inclusion
from domain.errors import LogCorrupt
from replay.audit import Auditor, Verifier

COUNT = 3_000
AT_US = 1_750_000_000_000_000


@dataclass
class Audited:
    """A filled log, its auditor, and a connection of the database's owner."""

    url: str
    log: PostgresEventLog
    owner: asyncpg.Connection[asyncpg.Record]
    auditor: Auditor
    checkpoints: PostgresCheckpoints
    key: AuditKey

    def verifier(self, public_key: bytes | None = None) -> Verifier:
        pages = RecordPages(self.log)
        return Verifier(pages, self.checkpoints, is_signed, public_key or self.key.public_key)

    async def broken_at(self, *, from_start: bool = True) -> int:
        """The first bad position; the walk from every leaf must name the same."""
        with pytest.raises(LogCorrupt) as quick:
            await self.verifier().verify(from_start=from_start)
        with pytest.raises(LogCorrupt) as whole:
            await self.verifier().verify(from_start=from_start, every_leaf=True)
        assert quick.value.position == whole.value.position
        return quick.value.position


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> AuditKey:
    return read_or_make(tmp_path_factory.mktemp("keys") / "audit_key.pem")


@pytest.fixture(scope="module")
async def original(stack: StackUrls, key: AuditKey) -> AsyncIterator[str]:
    """The name of a database that is copied: 3,000 events, signed after 1,000, 1,300 and 2,500."""
    async with fresh_database(stack.database_url) as url:
        await migrate(url)
        log = await PostgresEventLog.open(url)
        after, before = 0, bytes(32)
        for size in (1_000, 1_300, 2_500, COUNT):
            before = await fill(url, size - after, after=after, before=before)
            after = size
            if size < COUNT:
                assert await auditor(log, key).checkpoint()
        await log.close()
        yield urlsplit(url).path[1:]


def auditor(log: PostgresEventLog, key: AuditKey) -> Auditor:
    pages, checkpoints = RecordPages(log), PostgresCheckpoints(log)
    return Auditor(pages, checkpoints, is_signed, key, lambda: AT_US, every_events=500, every_us=10**6)


@pytest.fixture
async def audited(stack: StackUrls, original: str, key: AuditKey) -> AsyncIterator[Audited]:
    """A copy of the log for one test to spoil."""
    async with fresh_database(stack.database_url, template=original) as url:
        log = await PostgresEventLog.open(url)
        owner = await asyncpg.connect(url)
        try:
            yield Audited(url, log, owner, auditor(log, key), PostgresCheckpoints(log), key)
        finally:
            await owner.close()
            await log.close()


async def test_an_honest_log_verifies_from_the_start_and_from_its_last_checkpoint(audited: Audited) -> None:
    whole = await audited.verifier().verify(from_start=True)
    assert (whole.events, whole.walked, whole.checkpoints, whole.signed) == (COUNT, COUNT, 3, 2_500)
    leaves = await audited.verifier().verify(from_start=True, every_leaf=True)
    assert leaves == whole
    resumed = await audited.verifier().verify()
    assert (resumed.events, resumed.walked, resumed.checkpoints) == (COUNT, 500, 0)
    assert resumed.chain_hash == whole.chain_hash


async def test_an_empty_log_verifies_and_is_not_signed(database: str, key: AuditKey) -> None:
    await migrate(database)
    log = await PostgresEventLog.open(database)
    try:
        verified = await Verifier(RecordPages(log), PostgresCheckpoints(log), is_signed, None).verify()
        assert (verified.events, verified.signed) == (0, 0)
        assert await auditor(log, key).checkpoint() is None
    finally:
        await log.close()


COLUMNS = {
    "stream": "'pool-9'",
    "version": "version + 1000000",
    "type": "'market.pool_updatee'",
    "schema_version": "schema_version + 1",
    "recorded_at": "recorded_at # 1",
    "slot": "slot # 1",
    "event_id": "'00000000-0000-4000-8000-00000000000f'",
    "causation_id": "'00000000-0000-4000-8000-00000000000f'",
    "correlation_id": "'00000000-0000-4000-8000-00000000000f'",
    "actor": "'recordes'",
    "data": "set_byte(data, 5, get_byte(data, 5) # 1)",
    "hash": "set_byte(hash, 31, get_byte(hash, 31) # 128)",
}


@pytest.mark.parametrize("column", COLUMNS)
async def test_a_change_in_any_column_is_named(audited: Audited, column: str) -> None:
    async with altered(audited.owner) as owner:
        await owner.execute(f"UPDATE events SET {column} = {COLUMNS[column]} WHERE position = 1501")  # noqa: S608 - ours
    assert await audited.broken_at() == 1_501


async def test_a_row_filed_under_the_other_category_is_found(audited: Audited) -> None:
    async with altered(audited.owner) as owner:
        await owner.execute("UPDATE events SET category = 'domain' WHERE position = 1501")
    assert await audited.broken_at() <= 1_501


@pytest.mark.parametrize("position", [1, 1_024, 1_025, 1_300, 2_999])
async def test_a_deleted_row_is_named(audited: Audited, position: int) -> None:
    async with altered(audited.owner) as owner:
        await owner.execute("DELETE FROM events WHERE position = $1", position)
    assert await audited.broken_at() == position


async def test_two_swapped_rows_are_named_at_the_first(audited: Audited) -> None:
    async with altered(audited.owner) as owner:
        await owner.execute("UPDATE events SET position = 5000 WHERE position = 801")
        await owner.execute("UPDATE events SET position = 801 WHERE position = 1802")
        await owner.execute("UPDATE events SET position = 1802 WHERE position = 5000")
    assert await audited.broken_at() == 801


@pytest.mark.parametrize("position", [0, 100, 101, 3_001])
async def test_an_inserted_row_is_named_wherever_it_stands(audited: Audited, position: int) -> None:
    """Beside a row of the same position, in the other category, it may be sorted before or behind it."""
    async with altered(audited.owner) as owner:
        kind = "domain" if position == 101 else "market"
        await owner.execute(
            "INSERT INTO events SELECT $1, 4000000, recorded_at, slot, schema_version, event_id, "
            "correlation_id, causation_id, $2, 'forged-1', type, actor, data, hash "
            "FROM events WHERE position = 50",
            position, kind,
        )  # fmt: skip
    assert await audited.broken_at() == position


async def test_a_tail_cut_off_behind_the_last_checkpoint_shows_in_the_head(audited: Audited) -> None:
    async with altered(audited.owner) as owner:
        await owner.execute("DELETE FROM events WHERE position > 2800")
    assert await audited.broken_at() == 2_801
    assert await audited.broken_at(from_start=False) == 2_801


async def test_a_tail_cut_off_with_its_head_shows_in_the_last_checkpoint(audited: Audited) -> None:
    async with altered(audited.owner) as owner:
        await owner.execute("DELETE FROM events WHERE position > 2000")
        await owner.execute(
            "UPDATE log_head SET position = 2000, hash = (SELECT hash FROM events WHERE position = 2000)"
        )
    assert await audited.broken_at() == 2_001
    assert await audited.broken_at(from_start=False) == 2_001


async def test_a_chain_computed_anew_shows_in_the_next_checkpoint(audited: Audited) -> None:
    """Whoever may write the database can make a consistent chain, but not the auditor's signature."""
    before = await audited.owner.fetchval("SELECT hash FROM events WHERE position = 1400")
    async with altered(audited.owner) as owner:
        await owner.execute("DELETE FROM events WHERE position > 1400")
    await fill(audited.url, 1_599, after=1_401, before=before)
    with pytest.raises(LogCorrupt) as broken:
        await audited.verifier().verify(from_start=True)
    assert 1_400 < broken.value.position <= 2_500


async def test_a_changed_head_is_named(audited: Audited) -> None:
    await audited.owner.execute("UPDATE log_head SET hash = sha256(hash)")
    assert await audited.broken_at() == COUNT


@pytest.mark.parametrize(
    "change",
    [
        "root = sha256(root)",
        "chain_hash = sha256(chain_hash)",
        "signed_at = signed_at + 1",
        "signature = set_byte(signature, 0, get_byte(signature, 0) # 1)",
        "public_key = sha256(public_key)",
        "frontier = set_byte(frontier, 0, get_byte(frontier, 0) # 1)",
    ],
)
async def test_an_altered_checkpoint_is_found(audited: Audited, change: str) -> None:
    async with altered(audited.owner) as owner:
        await owner.execute(f"UPDATE audit_checkpoints SET {change} WHERE tree_size = 2500")  # noqa: S608 - ours
    assert await audited.broken_at() == 2_500
    assert await audited.broken_at(from_start=False) == 2_500


async def test_a_checkpoint_of_another_key_does_not_count(audited: Audited) -> None:
    with pytest.raises(LogCorrupt, match="not by the auditor's key"):
        await audited.verifier(bytes(32)).verify()


async def test_altered_subtrees_do_not_lead_to_the_signed_root(audited: Audited) -> None:
    async with altered(audited.owner) as owner:
        await owner.execute("UPDATE audit_nodes SET hash = sha256(hash) WHERE index = 2")
    with pytest.raises(LogCorrupt, match="subtrees") as broken:
        await audited.verifier().verify(from_start=True)
    assert broken.value.position == 1_000
    await audited.verifier().verify(from_start=True, every_leaf=True)


async def test_the_auditor_signs_nothing_that_does_not_verify(audited: Audited) -> None:
    async with altered(audited.owner) as owner:
        await owner.execute("UPDATE events SET actor = 'x' WHERE position = 2700")
    with pytest.raises(LogCorrupt, match="position 2700"):
        await audited.auditor.checkpoint()
    newest = await audited.checkpoints.newest()
    assert newest is not None
    assert newest.size == 2_500


async def test_kept_subtrees_give_every_root_that_proofs_need(audited: Audited) -> None:
    signed = await audited.auditor.checkpoint()
    assert signed is not None
    root = signed.statement.root
    for position in (1, 2, 256, 257, 1_300, 2_560, 2_999, COUNT):
        path = [await audited.checkpoints.root(span) for span in inclusion_path(position - 1, COUNT)]
        digest = await audited.owner.fetchval("SELECT hash FROM events WHERE position = $1", position)
        assert root_by_inclusion(leaf_hash(digest), position - 1, COUNT, path) == root
    for older in await audited.checkpoints.between(0, COUNT, 10):
        path = [await audited.checkpoints.root(span) for span in consistency_path(older.size, COUNT)]
        assert is_consistent(older.size, COUNT, older.checkpoint.statement.root, root, path)
