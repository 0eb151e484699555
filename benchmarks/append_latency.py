"""From append to visible in the read model: `make bench NAME=append_latency`; see appended_to_visible.py.

A file beside this one bears the name of a package, so the packages are looked for at the root first.
"""

from __future__ import annotations

import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    from benchmarks.appended_to_visible import main

    main()
