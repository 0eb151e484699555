"""How fast read models catch up and are rebuilt: `make bench NAME=projections`; see catching_up.py.

This file bears the name of a package and lies first on the path of its own process, so it only makes way.
"""

from __future__ import annotations

import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    from benchmarks.catching_up import main

    main()
