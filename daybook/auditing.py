"""The auditor of a log: with the key and at the pace of the settings."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from adapters.keys.audit_key import is_signed, read_or_make
from adapters.postgres.audit_pages import RecordPages
from adapters.postgres.checkpoints import PostgresCheckpoints
from adapters.postgres.event_log import PostgresEventLog
from daybook.clock import now_us
from daybook.settings import Settings
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


def auditor_of(log: PostgresEventLog, plan: AuditPlan) -> Auditor:
    """Signs what it has walked itself.

    Raises:
        SetupError: the key file cannot be used.
    """
    return Auditor(
        RecordPages(log),
        PostgresCheckpoints(log),
        is_signed,
        read_or_make(plan.key_file),
        now_us,
        every_events=plan.every_events,
        every_us=plan.every_seconds * 1_000_000,
    )
