"""Real program binaries from disk: `ID=path.so` read, checked, and run in place of an emulation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from solders.litesvm import LiteSVM
from solders.pubkey import Pubkey

from domain.errors import SetupError

MAX_BYTES: Final = 10 * 1024 * 1024
"""An account's largest size on chain, so a program's as well."""

_MAGIC: Final = b"\x7fELF\x02"  # 64 bits
_MACHINES: Final = (247, 263)  # BPF, and the SBF that newer compilers write
_MACHINE_AT: Final = 18


@dataclass(frozen=True, slots=True)
class ProgramFile:
    """One binary and the address it is to have."""

    program: Pubkey
    path: Path
    binary: bytes


def read_program(text: str) -> ProgramFile:
    """Read `ID=path.so`.

    Raises:
        SetupError: not of that form, the id is no address, or the file is missing or no Solana program.
    """
    name, separator, path_text = text.partition("=")
    if not separator or not path_text:
        raise SetupError(f"loading a program: found {text!r}, expected ID=path.so")
    try:
        program = Pubkey.from_string(name)
    except ValueError:
        raise SetupError(
            f"loading the program {path_text}: {name!r} is no address; give its id in base58"
        ) from None
    path = Path(path_text)
    return ProgramFile(program, path, _binary(path))


def read_programs(texts: Sequence[str]) -> tuple[ProgramFile, ...]:
    """Read several, each id once.

    Raises:
        SetupError: as `read_program`, or an id is given twice.
    """
    files = tuple(read_program(text) for text in texts)
    seen: dict[Pubkey, Path] = {}
    for file in files:
        if file.program in seen:
            raise SetupError(
                f"loading the program {file.path}: {file.program} was given before, with "
                f"{seen[file.program]}; give each id once"
            )
        seen[file.program] = file.path
    return files


def install(vm: LiteSVM, file: ProgramFile) -> None:
    """Put a binary on the chain.

    Raises:
        SetupError: the virtual machine cannot load it.
    """
    try:
        vm.add_program(file.program, file.binary)
    except Exception as error:  # LiteSVM's own error class derives from nothing else
        raise SetupError(
            f"loading the program {file.path} as {file.program}: the virtual machine refused it ({error}); "
            "build it with cargo build-sbf, or dump it again"
        ) from error


def _binary(path: Path) -> bytes:
    try:
        binary = path.read_bytes()
    except FileNotFoundError:
        raise SetupError(f"loading the program {path}: there is no such file; check the path") from None
    except OSError as error:
        raise SetupError(f"loading the program {path}: {error.strerror or error}") from error
    if len(binary) > MAX_BYTES:
        raise SetupError(
            f"loading the program {path}: it has {len(binary)} bytes, "
            f"more than the {MAX_BYTES} an account holds"
        )
    if (
        binary[:5] != _MAGIC
        or int.from_bytes(binary[_MACHINE_AT : _MACHINE_AT + 2], "little") not in _MACHINES
    ):
        raise SetupError(
            f"loading the program {path}: it starts with {binary[:4].hex() or 'nothing'} and is no 64 bit "
            "ELF file for Solana's virtual machine; give what cargo build-sbf or solana program dump makes"
        )
    return binary
