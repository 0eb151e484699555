"""`daybook audit checkpoint|verify|prove|consistency|check-proof`: is the record as it was written?"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from daybook.cli.events_export import MAX_POSITION
from daybook.cli.log_database import log_database
from daybook.cli.output import DONE, NO, DataDir, JsonFlag, print_json, say
from daybook.settings import Settings, load_settings
from domain.errors import InvalidInput, LogCorrupt

if TYPE_CHECKING:
    from adapters.postgres.audit_pages import RecordPages
    from adapters.postgres.checkpoints import PostgresCheckpoints
    from adapters.postgres.event_log import PostgresEventLog
    from domain.audit.checkpoint import Checkpoint
    from replay.audit import Progress, Verifier
    from replay.proofs import Proof

T = TypeVar("T")

audit_app = typer.Typer(
    help="Is the record as it was written? Sign it, verify it, prove a part of it.", no_args_is_help=True
)

PublicKey = Annotated[
    str | None, typer.Option(help="Whose signatures count, in hexadecimal; else the key file's.")
]
Out = Annotated[Path | None, typer.Option("--out", help="Write the document here; else to standard output.")]


@dataclass(frozen=True, slots=True)
class AuditRoom:
    """The log and what audits it."""

    settings: Settings
    log: PostgresEventLog
    pages: RecordPages
    checkpoints: PostgresCheckpoints

    async def sign(self, progress: Progress | None = None) -> Checkpoint | None:
        """Walk what is new and sign it with the key of the settings; nothing of an empty log."""
        from daybook.auditing import audit_plan, auditor_of  # noqa: PLC0415 - only where something is signed

        auditor = await auditor_of(self.log, audit_plan(self.settings))
        return await auditor.checkpoint(progress)

    def verifier(self, public_key: str | None) -> Verifier:
        """Takes the signatures of a given key, or of the key file where there is one."""
        from adapters.keys.audit_key import is_signed, read  # noqa: PLC0415 - each command loads only what it needs
        from replay.audit import Verifier  # noqa: PLC0415 - as above

        path, key = self.settings.audit_key, _key_of(public_key)
        if key is None and (path.exists() or self.settings.audit_key_file is not None):
            key = read(path).public_key
        return Verifier(self.pages, self.checkpoints, is_signed, key)


def with_room(settings: Settings, act: Callable[[AuditRoom], Awaitable[T]]) -> T:
    """Open the log, act, close it."""
    import uvloop  # noqa: PLC0415 - each command loads only what it needs

    async def run(url: str) -> T:
        async with _opened(settings, url) as room:
            return await act(room)

    with log_database(settings) as url:
        return uvloop.run(run(url))


@asynccontextmanager
async def _opened(settings: Settings, url: str) -> AsyncIterator[AuditRoom]:
    from adapters.postgres.audit_pages import RecordPages  # noqa: PLC0415 - each command loads only what it needs
    from adapters.postgres.checkpoints import PostgresCheckpoints  # noqa: PLC0415 - as above
    from adapters.postgres.event_log import PostgresEventLog  # noqa: PLC0415 - as above

    async with await PostgresEventLog.open(url) as log:
        yield AuditRoom(settings, log, RecordPages(log), PostgresCheckpoints(log))


@audit_app.command()
def checkpoint(*, data_dir: DataDir = None, as_json: JsonFlag = False) -> None:
    """Walk what is new and sign it; exit code 1 when it does not verify."""
    from daybook.cli.progress import progress  # noqa: PLC0415 - each command loads only what it needs

    settings = load_settings(data_dir=data_dir)
    with progress("signing") as report, broken_is_no(as_json=as_json):
        signed = with_room(settings, lambda room: room.sign(report))
    if as_json:
        print_json({"checkpoint": None if signed is None else shown(signed)})
    elif signed is None:
        say("the log is empty: there is nothing to sign")
    else:
        said = signed.statement
        say(f"signed {said.tree_size:,} events, root {said.root.hex()}")
        say(f"public key {signed.public_key.hex()}")


@audit_app.command()
def verify(
    *,
    from_start: Annotated[
        bool, typer.Option("--from-start", help="Read all events again, not only those after the checkpoint.")
    ] = False,
    every_leaf: Annotated[
        bool,
        typer.Option("--every-leaf", help="Read all events again and rebuild the tree from them; slower."),
    ] = False,
    chain: Annotated[
        bool,
        typer.Option("--chain", help="Also compare with the roots anchored on Solana."),
    ] = False,
    public_key: PublicKey = None,
    data_dir: DataDir = None,
    as_json: JsonFlag = False,
) -> None:
    """Walk the chain and the checkpoints; exit code 1 names the first position that was altered."""
    from daybook.cli.audit_anchors import compare_anchors, node_url  # noqa: PLC0415 - each command loads only what it needs
    from daybook.cli.progress import progress  # noqa: PLC0415 - as above

    settings = load_settings(data_dir=data_dir)
    if chain:
        node_url(settings)  # asked before a long walk

    async def act(room: AuditRoom) -> tuple[Any, int | None]:
        verified = await room.verifier(public_key).verify(
            from_start=from_start or every_leaf or chain, every_leaf=every_leaf, progress=report
        )
        return verified, await compare_anchors(room) if chain else None

    with progress("verifying") as report, broken_is_no(as_json=as_json):
        verified, anchors = with_room(settings, act)
    if as_json:
        facts = {name: getattr(verified, name) for name in ("events", "walked", "checkpoints", "signed")}
        print_json({"verified": True, **facts, "chain_hash": verified.chain_hash.hex(), "anchors": anchors})
        return
    say(f"verified: {verified.events:,} events, {verified.walked:,} of them read now")
    say(f"checkpoints compared: {verified.checkpoints:,}; signed through position {verified.signed:,}")
    if anchors is not None:
        say(f"anchors compared with the chain: {anchors:,}")


@audit_app.command()
def prove(
    position: Annotated[
        int, typer.Argument(min=1, max=MAX_POSITION, help="The event's position in the log.")
    ],
    *,
    out: Out = None,
    data_dir: DataDir = None,
    as_json: JsonFlag = False,
) -> None:
    """Prove that an event stands at this position of the signed record, as a document that proves itself."""
    from adapters.keys.audit_key import is_signed  # noqa: PLC0415 - each command loads only what it needs
    from adapters.postgres.hash_chain import link  # noqa: PLC0415 - as above
    from replay.proofs import prove_inclusion  # noqa: PLC0415 - as above

    async def act(room: AuditRoom) -> Proof:
        found = await room.checkpoints.between(position - 1, MAX_POSITION, 1)
        if not found:
            raise InvalidInput(
                f"position {position} is not signed, or not in the log: run `daybook audit checkpoint` first"
            )
        return await prove_inclusion(
            position, found[0].checkpoint, room.pages, room.checkpoints, link, is_signed
        )

    with broken_is_no(as_json=as_json):
        _hand_out(with_room(load_settings(data_dir=data_dir), act), out, as_json=as_json)


@audit_app.command()
def consistency(
    older: Annotated[int, typer.Argument(min=1, max=MAX_POSITION, help="Events the older one signed.")],
    newer: Annotated[int, typer.Argument(min=1, max=MAX_POSITION, help="Events the newer one signed.")],
    *,
    out: Out = None,
    data_dir: DataDir = None,
    as_json: JsonFlag = False,
) -> None:
    """Prove that one checkpoint's record is the beginning of another's."""
    from adapters.keys.audit_key import is_signed  # noqa: PLC0415 - each command loads only what it needs
    from adapters.postgres.hash_chain import link  # noqa: PLC0415 - as above
    from replay.proofs import prove_consistency  # noqa: PLC0415 - as above

    async def act(room: AuditRoom) -> Proof:
        if older > newer:
            raise InvalidInput(f"{older} events cannot be the beginning of {newer}: give the smaller first")
        one, other = [await _signed(room, size) for size in (older, newer)]
        return await prove_consistency(one, other, room.checkpoints, link, is_signed)

    with broken_is_no(as_json=as_json):
        _hand_out(with_room(load_settings(data_dir=data_dir), act), out, as_json=as_json)


@audit_app.command()
def check_proof(
    file: Annotated[Path, typer.Argument(help="A document of `prove` or `consistency`.")],
    *,
    public_key: Annotated[
        str | None,
        typer.Option(
            help="The auditor's published key, in hexadecimal. Without it the signer is named: compare."
        ),
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Check a proof by itself: no database, no network; exit code 1 when it does not hold."""
    from adapters.keys.audit_key import is_signed  # noqa: PLC0415 - each command loads only what it needs
    from adapters.postgres.hash_chain import link  # noqa: PLC0415 - as above
    from replay.proofs import MAX_DOCUMENT_BYTES, Inclusion, decode, flaw  # noqa: PLC0415 - as above

    expected = _key_of(public_key)
    proof = decode(_read(file, MAX_DOCUMENT_BYTES))
    signed = proof.checkpoint if isinstance(proof, Inclusion) else proof.newer
    wrong = flaw(proof, link, is_signed)
    if wrong is None and expected is not None and signed.public_key != expected.hex():
        wrong = f"it is signed by {signed.public_key}, not by the key that was given"
    what = (
        f"event {proof.event.event_id} ({proof.event.type}) at position {proof.event.position}"
        if isinstance(proof, Inclusion)
        else f"the first {proof.older.tree_size} events"
    )
    if as_json:
        print_json({"holds": wrong is None, "reason": wrong, "of": what, "public_key": signed.public_key})
    elif wrong is None:
        say(f"holds: {what} in the record of {signed.tree_size:,} events")
        say(f"signed by {signed.public_key}" + ("" if expected else ": compare it with the published one"))
    else:
        say(f"DOES NOT HOLD: {wrong}")
    raise typer.Exit(DONE if wrong is None else NO)


class broken_is_no:  # noqa: N801 - used as a statement, like the context managers of contextlib
    """A record that does not verify is an answer, exit code 1, and not a failure of the command."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json

    def __enter__(self) -> None:
        """Nothing yet."""

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        """Say what is broken and leave.

        Raises:
            typer.Exit: with 1, when the record does not verify.
        """
        if isinstance(error, LogCorrupt):
            if self._as_json:
                print_json({"verified": False, "position": error.position, "reason": str(error)})
            else:
                say(f"BROKEN: {error}")
            raise typer.Exit(NO) from error


async def _signed(room: AuditRoom, size: int) -> Checkpoint:
    found = await room.checkpoints.between(size - 1, size, 1)
    if not found:
        raise InvalidInput(
            f"no checkpoint signed exactly {size} events: `daybook audit checkpoints` lists what was signed"
        )
    return found[0].checkpoint


def _hand_out(proof: Proof, out: Path | None, *, as_json: bool) -> None:
    from replay.proofs import encode  # noqa: PLC0415 - each command loads only what it needs

    if out is None:
        document = encode(proof).decode()
        say(" ".join(document.split("\n")) if as_json else document.rstrip())
        return
    try:
        out.write_bytes(encode(proof))
    except OSError as error:
        raise InvalidInput(f"writing {out}: {error.strerror}; choose another file") from error
    if as_json:
        print_json({"written": str(out)})
    else:
        say(f"written to {out}: check it anywhere with `daybook audit check-proof {out}`")


def shown(checkpoint: Checkpoint) -> dict[str, Any]:
    """A checkpoint as a JSON object."""
    from replay.proofs import SignedRoot  # noqa: PLC0415 - each command loads only what it needs

    signed = SignedRoot.of(checkpoint)
    return {name: getattr(signed, name) for name in signed.__struct_fields__}


def _key_of(public_key: str | None) -> bytes | None:
    if public_key is None:
        return None
    try:
        key = bytes.fromhex(public_key)
    except ValueError:
        key = b""
    if len(key) != 32:
        raise InvalidInput(f"public key {public_key[:70]!r} is not 64 hexadecimal digits: copy it whole")
    return key


def _read(file: Path, limit: int) -> bytes:
    try:
        with file.open("rb") as stream:
            return stream.read(limit + 1)
    except OSError as error:
        raise InvalidInput(f"reading {file}: {error.strerror}; check the path") from error
