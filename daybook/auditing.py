"""The auditor of a log: with the key and at the pace of the settings."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from adapters.keys.audit_key import AuditKey, is_signed, read, read_or_make
from adapters.postgres.audit_pages import RecordPages
from adapters.postgres.checkpoints import PostgresCheckpoints
from adapters.postgres.event_log import PostgresEventLog
from daybook.clock import now_us
from daybook.settings import Settings
from domain.errors import SetupError
from replay.audit import Auditor


@dataclass(frozen=True, slots=True)
class AuditPlan:
    """How the record is signed while it grows.

    Attributes:
        key_file: the auditor's key, made on first use.
        every_events, every_seconds: sign after so many new events, or after so long if any are new.
    """

    key_file: Path
    every_events: int
    every_seconds: int


def audit_plan(settings: Settings) -> AuditPlan:
    """As the settings say."""
    return AuditPlan(settings.audit_key, settings.audit_checkpoint_events, settings.audit_checkpoint_seconds)


async def audit(log: PostgresEventLog, plan: AuditPlan) -> None:
    """Sign the record while it grows, until cancelled.

    Raises:
        SetupError: the key file cannot be used.
        LogCorrupt: the record does not verify.
    """
    auditor = await auditor_of(log, plan)
    await auditor.run()


async def auditor_of(log: PostgresEventLog, plan: AuditPlan) -> Auditor:
    """Signs what it has walked itself.

    Raises:
        SetupError: the key file cannot be used, or another key signed the record so far.
    """
    checkpoints = PostgresCheckpoints(log)
    newest = await checkpoints.newest()
    signer = None if newest is None else newest.checkpoint.public_key
    return Auditor(
        RecordPages(log),
        checkpoints,
        is_signed,
        _key(plan.key_file, signer),
        now_us,
        every_events=plan.every_events,
        every_us=plan.every_seconds * 1_000_000,
    )


def _key(path: Path, signer: bytes | None) -> AuditKey:
    """The key in a file, made there where nothing is signed yet: a mistyped name makes no second one."""
    if signer is None:
        return read_or_make(path)
    if not path.exists():
        raise SetupError(
            f"the record is signed by {signer.hex()}, and there is no audit key {path}: put that key's file "
            "there, or name it in DAYBOOK_AUDIT_KEY_FILE"
        )
    key = read(path)
    if key.public_key != signer:
        raise SetupError(
            f"the record is signed by {signer.hex()}, and audit key {path} is {key.public_key.hex()}: name "
            "the first one's file in DAYBOOK_AUDIT_KEY_FILE; if it never was yours, somebody else signed the "
            "record: see `daybook audit verify`"
        )
    return key
