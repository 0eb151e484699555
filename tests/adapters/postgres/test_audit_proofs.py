"""Proofs and notes over PostgreSQL: a forged proof does not hold, a sealed text opens with its key alone."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from uuid import UUID, uuid4

import msgspec
import pytest
from audited import fill
from databases import fresh_database
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from waiting import until

from adapters.embedded.stack import StackUrls
from adapters.keys.audit_key import AuditKey, is_signed, read_or_make
from adapters.postgres.audit_pages import RecordPages
from adapters.postgres.checkpoints import PostgresCheckpoints
from adapters.postgres.event_log import PostgresEventLog
from adapters.postgres.hash_chain import link
from adapters.postgres.migrate import migrate
from adapters.postgres.rows import EncodedAppend
from adapters.postgres.vault import PostgresVault
from commands.notes import Notes
from domain.audit.checkpoint import Checkpoint
from domain.errors import InvalidInput, LogCorrupt, LogError, SetupError
from domain.events import Cause
from domain.personal import Personal
from replay.audit import Auditor
from replay.proofs import Consistency, Inclusion, decode, encode, flaw, prove_consistency, prove_inclusion

AT_US = 1_750_000_000_000_000


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> AuditKey:
    return read_or_make(tmp_path_factory.mktemp("keys") / "audit_key.pem")


@pytest.fixture(scope="module")
async def log(stack: StackUrls) -> AsyncIterator[PostgresEventLog]:
    async with fresh_database(stack.database_url) as url:
        await migrate(url)
        await fill(url, 900)
        async with await PostgresEventLog.open(url) as opened:
            yield opened


@pytest.fixture(scope="module")
async def signed(log: PostgresEventLog, key: AuditKey) -> list[Checkpoint]:
    """Two checkpoints, signed by a service that runs: after some events, and after some time."""
    checkpoints, now = PostgresCheckpoints(log), [AT_US]
    auditor = Auditor(
        RecordPages(log), checkpoints, is_signed, key, lambda: now[0], every_events=100, every_us=10**6
    )
    service = asyncio.create_task(auditor.run())
    try:
        await until(checkpoints.newest)
        notes = Notes(log, PostgresVault(log.pool), lambda: AT_US)
        await notes.write("client-9", "likes proofs", actor="tests", note_id=uuid4())
        now[0] += 10**6
        await until(lambda: _signed(checkpoints, 901))
    finally:
        service.cancel()
        await asyncio.gather(service, return_exceptions=True)
    return [each.checkpoint for each in await checkpoints.between(0, 10_000, 10)]


async def _signed(checkpoints: PostgresCheckpoints, size: int) -> bool:
    newest = await checkpoints.newest()
    return newest is not None and newest.size == size


async def included(log: PostgresEventLog, position: int, checkpoint: Checkpoint) -> Inclusion:
    return await prove_inclusion(
        position, checkpoint, RecordPages(log), PostgresCheckpoints(log), link, is_signed
    )


async def test_every_position_is_proved_against_every_checkpoint(
    log: PostgresEventLog, signed: list[Checkpoint]
) -> None:
    assert [each.statement.tree_size for each in signed] == [900, 901]
    for position in (1, 2, 255, 256, 257, 511, 769, 899, 900):
        for checkpoint in signed:
            proof = decode(encode(await included(log, position, checkpoint)))
            assert flaw(proof, link, is_signed) is None


async def test_the_older_record_is_proved_to_begin_the_newer(
    log: PostgresEventLog, signed: list[Checkpoint]
) -> None:
    older, newer = signed
    proof = await prove_consistency(older, newer, PostgresCheckpoints(log), link, is_signed)
    assert flaw(decode(encode(proof)), link, is_signed) is None
    swapped = Consistency(proof.newer, proof.older, proof.path)
    assert flaw(swapped, link, is_signed) is not None
    short = Consistency(proof.older, proof.newer, proof.path[:-1])
    assert flaw(short, link, is_signed) is not None
    stranger = Consistency(
        proof.older, msgspec.structs.replace(proof.newer, public_key="00" * 32), proof.path
    )
    assert flaw(stranger, link, is_signed) == "the two checkpoints are signed with different keys"


async def test_a_proof_is_not_made_of_what_was_altered(
    log: PostgresEventLog, signed: list[Checkpoint]
) -> None:
    other = replace(signed[0], statement=replace(signed[0].statement, root=bytes(32)))
    with pytest.raises(LogCorrupt, match="would not hold"):
        await included(log, 5, other)
    with pytest.raises(LogCorrupt, match="missing"):
        await included(log, 1_000, signed[0])


@pytest.fixture(scope="module")
async def document(log: PostgresEventLog, signed: list[Checkpoint]) -> bytes:
    return encode(await included(log, 300, signed[0]))


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_no_changed_byte_of_a_proof_goes_unnoticed(document: bytes, data: st.DataObject) -> None:
    """Unless the document still says the very same."""
    place = data.draw(st.integers(0, len(document) - 1))
    forged = document[:place] + data.draw(st.binary(min_size=1, max_size=1)) + document[place + 1 :]
    try:
        proof = decode(forged)
    except InvalidInput:
        return
    assert proof == decode(document) or flaw(proof, link, is_signed) is not None


def test_hostile_documents_are_refused_or_flawed(document: bytes) -> None:
    proof = decode(document)
    assert isinstance(proof, Inclusion)
    long = msgspec.structs.replace(proof.event, stream="x" * 70_000)
    assert "cannot be hashed" in (flaw(msgspec.structs.replace(proof, event=long), link, is_signed) or "")
    for bad in (b"[" * 100_000, b" " * 5_000_000, document.replace(b'"path"', b'"paths"')):
        with pytest.raises(InvalidInput, match="no proof"):
            decode(bad)


async def test_a_sealed_text_opens_with_its_own_subject_and_key_alone(log: PostgresEventLog) -> None:
    vault = PostgresVault(log.pool)
    one = await vault.seal("a", "a secret", first=True)
    other = await vault.seal("a", "a secret", first=False)
    assert one.sealed != other.sealed
    assert b"secret" not in one.sealed
    assert await vault.open(one) == "a secret"
    await vault.seal("b", "-", first=True)
    for wrong in (Personal("b", one.sealed), Personal("a", one.sealed[:-1]), Personal("a", b"")):
        with pytest.raises(LogError, match="does not open"):
            await vault.open(wrong)
    assert await vault.erase("a", AT_US)
    assert await vault.open(one) is None


async def test_a_key_that_is_missing_is_not_taken_for_a_destroyed_one(log: PostgresEventLog) -> None:
    """A log brought elsewhere without its keys: nothing is called erased, and no second key is made."""
    notes = Notes(log, PostgresVault(log.pool), lambda: AT_US)
    await notes.write("d", "text", actor="tests", note_id=UUID(int=8))
    await log.pool.execute("UPDATE subject_keys SET subject = 'elsewhere' WHERE subject = 'd'")
    with pytest.raises(LogError, match="copy that table"):
        await notes.read("d")
    with pytest.raises(LogError, match="copy that table"):
        await notes.write("d", "more", actor="tests", note_id=UUID(int=9))
    await log.pool.execute("UPDATE subject_keys SET subject = 'd' WHERE subject = 'elsewhere'")
    assert [note.text for note in await notes.read("d")] == ["text"]


async def test_label_and_client_address_are_sealed_as_the_text_is(log: PostgresEventLog) -> None:
    """None of them stands in the row; with the key all are gone, of an old note without them as well."""
    vault = PostgresVault(log.pool)
    notes = Notes(log, vault, lambda: AT_US)
    sealed = base64.b64encode((await vault.seal("f", "older", first=True)).sealed)
    old = b'{"subject":"f","text":{"subject":"f","sealed":"%s"}}' % sealed
    append = EncodedAppend(
        "note-f", 0, [("note.written", 1, old)], Cause(uuid4(), None, "tests"), AT_US, None
    )
    await log.append_rows([append], append_id=uuid4())
    told = {"label": "VIP", "client_address": "192.0.2.7"}
    await notes.write("f", "newer", actor="tests", note_id=uuid4(), **told)
    rows = await log.read_stream_rows("note-f")
    assert not [each for each in ("newer", *told.values()) if each.encode() in rows[1].data]
    found = [(note.text, note.label, note.client_address) for note in await notes.read("f")]
    assert found == [("older", None, None), ("newer", "VIP", "192.0.2.7")]
    assert await notes.erase("f", actor="tests")
    found = [(note.text, note.label, note.client_address) for note in await notes.read("f")]
    assert found == [(None, None, None)] * 2


@pytest.mark.parametrize("told", [{"label": ""}, {"client_address": "x" * 256}], ids=["empty", "too long"])
async def test_a_note_with_a_label_or_address_of_no_size_is_refused(
    log: PostgresEventLog, told: dict[str, str]
) -> None:
    notes = Notes(log, PostgresVault(log.pool), lambda: AT_US)
    with pytest.raises(InvalidInput, match="characters was given"):
        await notes.write("g", "text", actor="tests", note_id=uuid4(), **told)
    assert await notes.read("g") == []


@pytest.mark.parametrize(
    ("subject", "actor"),
    [("e", "x" * 201), ("😀" * 64, "tests"), ("e", "x\n")],
    ids=["long actor", "long subject", "no actor"],
)
async def test_an_erasure_that_cannot_be_recorded_destroys_nothing(
    log: PostgresEventLog, subject: str, actor: str
) -> None:
    """The log would refuse the stream's or the actor's name: that is said while the key is still there."""
    vault = PostgresVault(log.pool)
    sealed = await vault.seal(subject, "text", first=True)
    with pytest.raises(InvalidInput, match="nothing was done"):
        await Notes(log, vault, lambda: AT_US).erase(subject, actor=actor)
    assert await vault.open(sealed) == "text"


async def test_a_note_repeated_with_its_id_is_recorded_once(log: PostgresEventLog) -> None:
    notes = Notes(log, PostgresVault(log.pool), lambda: AT_US)
    places = [await notes.write("c", "text", actor="tests", note_id=UUID(int=7)) for _ in range(2)]
    assert places[0] == places[1]
    assert len(await notes.read("c")) == 1


@pytest.mark.parametrize(
    ("subject", "text"),
    [("", "x"), ("a" * 65, "x"), ("a\n", "x"), ("a ", "x"), ("a", ""), ("a", "x" * 10_001)],
)
async def test_what_is_no_subject_or_no_note_is_refused(
    log: PostgresEventLog, subject: str, text: str
) -> None:
    """Before a key is made for it."""
    keys = await log.pool.fetch("SELECT * FROM subject_keys")
    with pytest.raises(InvalidInput):
        await Notes(log, PostgresVault(log.pool), lambda: AT_US).write(
            subject, text, actor="tests", note_id=uuid4()
        )
    assert await log.pool.fetch("SELECT * FROM subject_keys") == keys


def test_a_key_file_others_may_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "key.pem"
    made = read_or_make(path)
    assert read_or_make(path).public_key == made.public_key
    assert [each.name for each in path.parent.iterdir()] == ["key.pem"]
    path.chmod(0o640)
    with pytest.raises(SetupError, match="chmod 600"):
        read_or_make(path)


@pytest.mark.parametrize(
    "content", [b"", b"no key", b"-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----\n"]
)
def test_a_file_without_a_key_is_refused_and_not_repeated(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "key.pem"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(SetupError, match="holds no unencrypted Ed25519 key"):
        read_or_make(path)
