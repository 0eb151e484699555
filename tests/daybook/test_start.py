"""The command can be stopped before it has loaded."""

from __future__ import annotations

import subprocess
import sys

INTERRUPTED = """
import sys
from daybook.__main__ import main

class CtrlC:
    def find_spec(self, name, path=None, target=None):
        if name == "typer":
            raise KeyboardInterrupt

sys.meta_path.insert(0, CtrlC())
main()
"""


def test_ctrl_c_while_loading_is_no_traceback() -> None:
    """Loading takes a second, in which people change their mind."""
    done = subprocess.run([sys.executable, "-c", INTERRUPTED], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "stopped\n")
