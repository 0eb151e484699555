"""How every command speaks: results on standard output, logs on standard error, errors as sentences."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec
import structlog
import typer

from domain.errors import DaybookError

DONE: Final = 0
NO: Final = 1
BAD_INPUT: Final = 2

JsonFlag = Annotated[bool, typer.Option("--json", help="Print one JSON object as the last line.")]
DataDir = Annotated[
    Path | None,
    typer.Option("--data-dir", help="The embedded servers' data folder.", show_default=".daybook"),
]


def print_json(result: dict[str, Any]) -> None:
    """Print `result` as one line of JSON on standard output."""
    sys.stdout.write(msgspec.json.encode(result).decode() + "\n")
    sys.stdout.flush()


def say(text: str = "") -> None:
    """Print a line for people on standard output."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def report_error(error: DaybookError, *, as_json: bool) -> int:
    """Say on standard error what went wrong and what to do; returns the exit code."""
    sys.stderr.write(f"daybook: {error}\n")
    if as_json:
        print_json({"error": str(error), "kind": type(error).__name__})
    return BAD_INPUT


def configure_logging(level: str, log_format: str) -> None:
    """Send structured logs to standard error: readable on a terminal, JSON elsewhere."""
    plain = log_format == "console" or (log_format == "auto" and sys.stderr.isatty())
    console = structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    renderer = console if plain else structlog.processors.JSONRenderer()
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )


def configure_logging_beside_progress(level: str, log_format: str) -> None:
    """As `configure_logging`, for a command that tells people how it goes: warnings only, in plain lines.

    A level or format that somebody chose, other than `info` and `auto`, is kept.
    """
    configure_logging(
        "warning" if level == "info" else level, "console" if log_format == "auto" else log_format
    )
