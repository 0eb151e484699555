"""The command `daybook`, also as `python -m daybook`: it loads the rest, and may be stopped while it does."""

from __future__ import annotations

import sys

STOPPED = 130
"""Exit code of a command that was stopped with Ctrl-C, as a shell says it: 128 and the signal's number."""


def main() -> None:
    """Load the command line, which takes a second, and run it."""
    try:
        from daybook.cli.main import main as run  # noqa: PLC0415 - here it can be interrupted in peace
    except KeyboardInterrupt:
        sys.exit(STOPPED)
    run()


if __name__ == "__main__":
    main()
