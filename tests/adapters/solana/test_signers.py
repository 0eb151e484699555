"""Keys sign, and show themselves nowhere."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import pytest
from solders.keypair import Keypair
from solders.pubkey import Pubkey
from solders.signature import Signature

from adapters.solana.signers import MemorySigner, read_key_file
from domain.errors import InvalidInput, SetupError

KEYPAIR = Keypair.from_seed(bytes(range(32)))


def key_file(folder: Path, content: str, mode: int = 0o600) -> Path:
    path = folder / "id.json"
    path.write_text(content)
    path.chmod(mode)
    return path


async def test_a_key_file_signs_for_its_wallet(tmp_path: Path) -> None:
    signer = read_key_file(key_file(tmp_path, json.dumps(list(bytes(KEYPAIR)))))
    signature = await signer.sign(b"message")
    assert signer.address == str(KEYPAIR.pubkey())
    assert Signature.from_bytes(signature).verify(Pubkey.from_string(signer.address), b"message")
    assert signature == await MemorySigner.from_seed(bytes(range(32))).sign(b"message")


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o666])
def test_a_key_file_others_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    with pytest.raises(SetupError, match="chmod 600"):
        read_key_file(key_file(tmp_path, json.dumps(list(bytes(KEYPAIR))), mode))


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{}",
        "secret",
        json.dumps([1] * 63),
        json.dumps([300] * 64),
        json.dumps(["1"] * 64),
        json.dumps([*bytes(32), *bytes(32)]),
        "[" + "1," * 5_000 + "1]",
    ],
)
def test_a_file_that_is_no_key_is_refused_without_repeating_it(tmp_path: Path, content: str) -> None:
    with pytest.raises(SetupError, match="is not Solana's array of 64 numbers") as caught:
        read_key_file(key_file(tmp_path, content))
    assert caught.value.__cause__ is None
    assert "secret" not in str(caught.value)


def test_a_missing_key_file(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="No such file"):
        read_key_file(tmp_path / "none.json")


def test_a_seed_of_another_length() -> None:
    with pytest.raises(InvalidInput, match="32 bytes"):
        MemorySigner.from_seed(b"short")


def test_no_trace_of_the_key() -> None:
    signer = MemorySigner(KEYPAIR)
    assert repr(signer) == f"MemorySigner({KEYPAIR.pubkey()})"
    with pytest.raises(TypeError, match="not pickled"):
        pickle.dumps(signer)
