"""The command `daybook`, also as `python -m daybook`: it loads the rest, and may be stopped while it does."""

from __future__ import annotations

import signal
import sys


def main() -> None:
    """Load the command line, which takes a second, and run it."""
    try:
        from daybook.cli.main import main as run  # noqa: PLC0415 - here it can be interrupted in peace

        run()
    except KeyboardInterrupt:
        sys.stderr.write("stopped\n")
        sys.exit(128 + signal.SIGINT)  # as a shell says it


if __name__ == "__main__":
    main()
