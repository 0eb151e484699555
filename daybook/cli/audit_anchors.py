"""`daybook audit anchor` and the comparison of `verify --chain`: roots where nobody can take them back."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from daybook.cli.audit import AuditRoom, audit_app, broken_is_no, with_room
from daybook.cli.output import DataDir, JsonFlag, print_json, say
from daybook.clock import now_us
from daybook.settings import Settings, load_settings
from domain.audit.events import ANCHORS, AuditAnchored, memo_text
from domain.audit.merkle import EMPTY_ROOT
from domain.chain import Address, Signature
from domain.errors import InvalidInput, LogCorrupt, SetupError
from domain.events import ANY_VERSION, Cause, RecordedEvent, derived_id

if TYPE_CHECKING:
    from adapters.solana.jsonrpc import JsonRpc
    from adapters.solana.memo_anchors import Memo

PAGE = 500
"""Anchors of one read."""


@audit_app.command()
def anchor(
    *,
    rpc_url: Annotated[str | None, typer.Option(help="A Solana node; else DAYBOOK_RPC_URL.")] = None,
    keypair_file: Annotated[
        Path | None, typer.Option(help="Who signs and pays 5,000 lamports; else DAYBOOK_KEYPAIR_FILE.")
    ] = None,
    data_dir: DataDir = None,
    as_json: JsonFlag = False,
) -> None:
    """Sign what is new and write the root into a memo on Solana; the anchoring is itself recorded."""
    settings = load_settings(data_dir=data_dir, rpc_url=rpc_url, keypair_file=keypair_file)
    with broken_is_no(as_json=as_json):
        anchored = with_room(settings, _anchor)
    if as_json:
        print_json(
            {
                "tree_size": anchored.tree_size, "root": anchored.root, "memo": anchored.memo,
                "signature": anchored.signature, "slot": anchored.slot, "wallet": anchored.wallet,
            }
        )  # fmt: skip
    else:
        say(f"anchored {anchored.tree_size:,} events in slot {anchored.slot}")
        say(f"transaction {anchored.signature}")


async def _anchor(room: AuditRoom) -> AuditAnchored:
    from adapters.solana.memo_anchors import MemoWriter  # noqa: PLC0415 - only this command needs it
    from adapters.solana.signers import read_key_file  # noqa: PLC0415 - as above

    if room.settings.keypair_file is None:
        raise SetupError(
            "anchoring needs a wallet that signs: set DAYBOOK_KEYPAIR_FILE or give --keypair-file"
        )
    signer = read_key_file(room.settings.keypair_file)
    async with _node(room.settings) as rpc:
        signed = await room.sign()
        if signed is None:
            raise InvalidInput("the log is empty: there is nothing to anchor")
        said = signed.statement
        memo = await MemoWriter(rpc, signer).write(memo_text(said.tree_size, said.root))
        anchored = AuditAnchored(
            said.tree_size, said.root.hex(), memo.text, memo.signature, memo.slot, signer.address
        )
        await _record(room, anchored)
        await _book_fee(room, rpc, anchored)
    return anchored


async def _record(room: AuditRoom, anchored: AuditAnchored) -> None:
    from commands.ports import StreamAppend  # noqa: PLC0415 - each command loads only what it needs

    cause = Cause(derived_id("anchor", anchored.signature), None, "auditor")
    append = StreamAppend(ANCHORS, ANY_VERSION, [anchored], cause, now_us(), anchored.slot)
    await room.log.append([append], append_id=derived_id("anchored", anchored.signature))


async def _book_fee(room: AuditRoom, rpc: JsonRpc, anchored: AuditAnchored) -> None:
    """Where the wallet trades too, its books must know the fee: or they would differ from the chain."""
    from adapters.solana.pubsub import PubSub  # noqa: PLC0415 - each command loads only what it needs
    from adapters.solana.rpc import RpcChain  # noqa: PLC0415 - as above
    from commands.aggregates import Aggregates  # noqa: PLC0415 - as above
    from commands.wallets import Wallets  # noqa: PLC0415 - as above
    from domain.wallets.wallet import wallet_stream  # noqa: PLC0415 - as above

    if not await room.log.read_stream(wallet_stream(anchored.wallet), limit=1):
        return
    url = room.settings.rpc_url or ""
    quiet = PubSub(url.replace("http", "ws", 1), clock=now_us)  # never connected: nothing is awaited from it
    wallets = Wallets(room.log, Aggregates(room.log), RpcChain(rpc, quiet), now_us)
    await wallets.book(anchored.wallet, anchored.signature, "fee")


async def compare_anchors(room: AuditRoom) -> int:
    """Compare every recorded anchor with its transaction, and every memo on the chain with the record.

    Returns:
        How many anchors agree.

    Raises:
        LogCorrupt: an anchor has no such memo on the chain, or the chain anchors another history.
    """
    from adapters.solana.memo_anchors import MemoReader  # noqa: PLC0415 - each command loads only what it needs

    head = await room.log.head()
    async with _node(room.settings) as rpc:
        reader, wallets = MemoReader(rpc), _own_wallet(room.settings)
        known: set[Signature] = set()
        async for recorded in _recorded_anchors(room):
            event: AuditAnchored = recorded.event
            _compare(recorded, await reader.read(event.signature), await _root(room, event.tree_size))
            known.add(event.signature)
            wallets.add(event.wallet)
        for wallet in sorted(wallets):
            async for memo in reader.signed_by(wallet, "daybook/v1 n="):
                if memo.signature not in known:
                    await _compare_unrecorded(room, memo, head)
                    known.add(memo.signature)
    return len(known)


async def _compare_unrecorded(room: AuditRoom, memo: Memo, head: int) -> None:
    """A memo the record does not speak of: written by a process that died, or the record was cut off."""
    size = int(memo.text.removeprefix("daybook/v1 n=").partition(" ")[0])
    if size > head:
        raise LogCorrupt(
            head + 1, f"it is missing: transaction {memo.signature} anchors {size} events on the chain"
        )
    if memo.text != memo_text(size, await _root(room, size)):
        raise LogCorrupt(size, f"transaction {memo.signature} anchors another history: {memo.text}")


def _compare(recorded: RecordedEvent, memo: Memo | None, root: bytes) -> None:
    anchored: AuditAnchored = recorded.event
    expected = memo_text(anchored.tree_size, root)
    if memo is None:
        raise LogCorrupt(
            recorded.position, f"the chain has no finalized memo in transaction {anchored.signature}"
        )
    if memo.text != expected or anchored.memo != expected or anchored.wallet not in memo.signers:
        raise LogCorrupt(anchored.tree_size, f"the chain anchors {memo.text!r}, the record is {expected!r}")


async def _recorded_anchors(room: AuditRoom) -> AsyncIterator[RecordedEvent]:
    version = 0
    while page := await room.log.read_stream(ANCHORS, version, PAGE):
        for recorded in page:
            yield recorded
        version = page[-1].version


async def _root(room: AuditRoom, size: int) -> bytes:
    return await room.checkpoints.root((0, size)) if size else EMPTY_ROOT


def _own_wallet(settings: Settings) -> set[Address]:
    """Whose memos are looked for besides those of the recorded anchors' wallets."""
    from adapters.solana.signers import read_key_file  # noqa: PLC0415 - each command loads only what it needs

    return set() if settings.keypair_file is None else {read_key_file(settings.keypair_file).address}


def node_url(settings: Settings) -> str:
    """Where anchors are compared.

    Raises:
        SetupError: no node is named.
    """
    if settings.rpc_url is None:
        raise SetupError("anchors stand on the chain: set DAYBOOK_RPC_URL to a Solana node")
    return settings.rpc_url


@asynccontextmanager
async def _node(settings: Settings) -> AsyncIterator[JsonRpc]:
    from adapters.solana.jsonrpc import JsonRpc  # noqa: PLC0415 - each command loads only what it needs

    rpc = JsonRpc(node_url(settings))
    try:
        yield rpc
    finally:
        await rpc.aclose()
