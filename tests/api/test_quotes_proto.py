"""The gRPC stubs are what `quotes.proto` makes today."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import pytest
from grpc_tools import protoc  # type: ignore[import-untyped] # it has no types

ROOT = Path(__file__).parents[2]
MADE = ("quotes_pb2.py", "quotes_pb2.pyi", "quotes_pb2_grpc.py")


def test_the_stubs_are_current(tmp_path: Path) -> None:
    """Make them again with `python -m grpc_tools.protoc`, as docs/how-to/quote-service.md says."""
    bundled = str(files("grpc_tools") / "_proto")
    outs = [f"--{kind}_out={tmp_path}" for kind in ("python", "pyi", "grpc_python")]
    assert protoc.main(["", f"-I{ROOT}", f"-I{bundled}", *outs, "api/grpc/quotes.proto"]) == 0
    for name in MADE:
        if (tmp_path / "api/grpc" / name).read_text() != (ROOT / "api/grpc" / name).read_text():
            pytest.fail(f"api/grpc/{name} is not what quotes.proto makes: make it again")
