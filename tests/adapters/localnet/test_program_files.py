"""Real binaries instead of emulations: loaded, run, and refused in a sentence where they are none."""

from __future__ import annotations

from pathlib import Path

import pytest
from localnets import NOW_US, LocalChain, local_chain
from solders.account import Account
from solders.instruction import Instruction
from solders.litesvm import LiteSVM
from solders.pubkey import Pubkey
from solders.token import ID as TOKEN_PROGRAM

from adapters.localnet.ledger import Ledger
from adapters.localnet.program_files import read_program, read_programs
from adapters.solana.programs import memo, raydium_cpmm
from domain.errors import SetupError

LOADER_HEADER = 45
"""What the upgradeable loader writes in front of a binary."""


def binary_of(program: Pubkey) -> bytes:
    """A real program's ELF file, as LiteSVM carries it."""
    account = LiteSVM().get_account(program)
    assert account is not None
    if account.data[:4] != b"\x02\0\0\0":
        return account.data
    holder = LiteSVM().get_account(Pubkey(account.data[4:36]))
    assert holder is not None
    return holder.data[LOADER_HEADER:]


def test_a_binary_runs_in_place_of_the_emulation(tmp_path: Path) -> None:
    """The memo program at CPMM's address: it takes a memo where the emulation knows no such instruction."""
    path = tmp_path / "memo.so"
    path.write_bytes(binary_of(memo.PROGRAM_ID))
    instruction = Instruction(raydium_cpmm.PROGRAM_ID, b"a real binary", [])
    emulated = local_chain()
    assert emulated.land(instruction).outcome.error == {"InstructionError": [0, {"Custom": 101}]}
    file = read_program(f"{raydium_cpmm.PROGRAM_ID}={path}")
    real = LocalChain(Ledger(lambda: NOW_US, programs=[file]), emulated.world, emulated.faucet)
    real.ledger.set_account(real.wallet, _purse(emulated))
    executed = real.land(instruction)
    assert executed.outcome.error is None
    assert any("a real binary" in line for line in executed.outcome.logs)


def _purse(chain: LocalChain) -> Account:
    account = chain.ledger.account(chain.wallet)
    assert account is not None
    return account


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "expected ID=path.so"),
        (f"{TOKEN_PROGRAM}", "expected ID=path.so"),
        (f"{TOKEN_PROGRAM}=", "expected ID=path.so"),
        ("abc={folder}/good.so", "'abc' is no address"),
        (f"{TOKEN_PROGRAM}={{folder}}/none.so", "there is no such file"),
        (f"{TOKEN_PROGRAM}={{folder}}", "Is a directory"),
        (f"{TOKEN_PROGRAM}={{folder}}/text.so", "it starts with 68656c6c and is no 64 bit ELF"),
        (f"{TOKEN_PROGRAM}={{folder}}/empty.so", "it starts with nothing"),
        (f"{TOKEN_PROGRAM}={{folder}}/other.so", "no 64 bit ELF"),
    ],
)
def test_what_is_no_program_is_refused(tmp_path: Path, text: str, said: str) -> None:
    elf = bytearray(binary_of(memo.PROGRAM_ID))
    (tmp_path / "good.so").write_bytes(elf)
    (tmp_path / "text.so").write_bytes(b"hello, world, this is no program")
    (tmp_path / "empty.so").write_bytes(b"")
    elf[18:20] = b"\x3e\x00"  # x86-64
    (tmp_path / "other.so").write_bytes(elf)
    with pytest.raises(SetupError, match=r"loading (a|the) program") as caught:
        read_program(text.format(folder=tmp_path))
    assert said in str(caught.value)


def test_a_cut_binary_and_an_id_given_twice_are_refused(tmp_path: Path) -> None:
    good, cut = tmp_path / "good.so", tmp_path / "cut.so"
    good.write_bytes(binary_of(TOKEN_PROGRAM))
    cut.write_bytes(good.read_bytes()[:5_000])
    with pytest.raises(SetupError, match="give each id once"):
        read_programs([f"{TOKEN_PROGRAM}={good}", f"{TOKEN_PROGRAM}={cut}"])
    files = read_programs([f"{raydium_cpmm.PROGRAM_ID}={cut}"])
    with pytest.raises(SetupError, match="the virtual machine refused it"):
        Ledger(lambda: NOW_US, programs=files)
