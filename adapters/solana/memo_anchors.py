"""Texts that no one can take back: written as an SPL memo in a finalized transaction, and read again."""

from __future__ import annotations

import asyncio
from base64 import b64decode, b64encode
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, Final

from solders.hash import Hash
from solders.message import Message, to_bytes_versioned
from solders.pubkey import Pubkey
from solders.signature import Signature as RawSignature
from solders.transaction import VersionedTransaction

from adapters.solana.accounts import contextual, public_key
from adapters.solana.jsonrpc import JsonRpc, unreadable
from adapters.solana.programs.memo import PROGRAM_ID, memo
from adapters.solana.records import status_of
from adapters.solana.signers import Signer
from commands.ports import SignatureStatus
from domain.chain import Address, Commitment, Signature, Slot
from domain.errors import ChainError, ChainUnavailable

FINAL_WAIT_S: Final = 120.0
"""A blockhash lives about a minute and finality takes 13 s; after twice that it did not land."""

LOOK_S: Final = 0.2
"""Half a slot between two looks."""

LOOKS: Final = 10
"""Looks at a transaction no node has seen before it is sent again: nodes drop some when they are busy."""

PAGE: Final = 1_000
"""Signatures of one answer: as many as a node gives."""

MAX_PAGES: Final = 100
"""A wallet of its own needs one a day for a century of hourly anchors."""


@dataclass(frozen=True, slots=True)
class Memo:
    """A memo that stands on the chain.

    Attributes:
        text: what it says.
        signature: the transaction's id.
        slot: where it was executed.
        signers: who signed it.
    """

    text: str
    signature: Signature
    slot: Slot
    signers: tuple[Address, ...]


class MemoReader:
    """Reads memos of one node's finalized transactions.

    Args:
        rpc: the node's methods.
    """

    def __init__(self, rpc: JsonRpc) -> None:
        self._rpc = rpc

    async def read(self, signature: Signature) -> Memo | None:
        """The memo of a finalized, successful transaction; none when the node has no such one.

        Raises:
            ChainError, ChainUnavailable: the node refused or did not answer.
        """
        config = {
            "encoding": "base64",
            "commitment": Commitment.FINALIZED,
            "maxSupportedTransactionVersion": 0,
        }
        answer = await self._rpc.call("getTransaction", signature, config)
        if answer is None or (answer.get("meta") or {}).get("err") is not None:
            return None
        try:
            transaction = VersionedTransaction.from_bytes(b64decode(answer["transaction"][0]))
            text = memo_of(transaction)
            slot = Slot(int(answer["slot"]))
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise unreadable("getTransaction", f"{type(error).__name__}: {error}") from error
        if text is None:
            return None
        message = transaction.message
        signers = message.account_keys[: message.header.num_required_signatures]
        return Memo(text, signature, slot, tuple(Address(str(signer)) for signer in signers))

    async def signed_by(self, wallet: Address, prefix: str) -> AsyncIterator[Memo]:
        """Memos that begin with `prefix` in transactions `wallet` signed, newest first.

        Memos of transactions that only name the wallet are passed over: anyone can send those.

        Raises:
            ChainError: there are more transactions than are looked through, or the node refused.
            ChainUnavailable: the node did not answer.
        """
        before: str | None = None
        for _ in range(MAX_PAGES):
            config: dict[str, Any] = {"limit": PAGE, "commitment": Commitment.FINALIZED}
            if before is not None:
                config["before"] = before
            entries = await self._rpc.call("getSignaturesForAddress", wallet, config)
            for entry in entries:
                if entry.get("err") is None and prefix in (entry.get("memo") or ""):
                    found = await self.read(Signature(entry["signature"]))
                    if found is not None and wallet in found.signers and found.text.startswith(prefix):
                        yield found
            if len(entries) < PAGE:
                return
            before = entries[-1]["signature"]
        raise ChainError(
            f"{wallet} has more than {PAGE * MAX_PAGES} transactions: anchor with a wallet of its own"
        )


class MemoWriter:
    """Writes memos signed and paid by one wallet: 5,000 lamports each.

    Args:
        rpc: the node's methods.
        signer: the wallet's key.
    """

    def __init__(self, rpc: JsonRpc, signer: Signer) -> None:
        self._rpc = rpc
        self._signer = signer
        self._reader = MemoReader(rpc)

    @property
    def wallet(self) -> Address:
        """Who signs."""
        return self._signer.address

    async def write(self, text: str) -> Memo:
        """Write a memo and wait until nothing can take it back.

        Raises:
            ChainError: the node refused it, or it failed: does the wallet hold 5,000 lamports?
            ChainUnavailable: it was not finalized in time; it may be later, and does no harm then.
        """
        transaction = await self._signed(text)
        signature = Signature(str(VersionedTransaction.from_bytes(transaction).signatures[0]))
        try:
            async with asyncio.timeout(FINAL_WAIT_S):
                await self._land(transaction, signature)
                while (found := await self._reader.read(signature)) is None:  # noqa: ASYNC110 - asked over HTTP
                    await asyncio.sleep(LOOK_S)
        except TimeoutError as error:
            raise ChainUnavailable(
                f"memo {signature} was not finalized within {FINAL_WAIT_S:g} s: look at the node, try again"
            ) from error
        return found

    async def _signed(self, text: str) -> bytes:
        method = "getLatestBlockhash"
        _, value = contextual(method, await self._rpc.call(method, {"commitment": Commitment.CONFIRMED}))
        try:
            blockhash = Hash.from_string(value["blockhash"])
        except (KeyError, TypeError, ValueError) as error:
            raise unreadable(method, str(value)[:60]) from error
        payer: Pubkey = public_key(self._signer.address)
        message = Message.new_with_blockhash([memo(text, payer)], payer, blockhash)
        signature = RawSignature.from_bytes(await self._signer.sign(to_bytes_versioned(message)))
        return bytes(VersionedTransaction.populate(message, [signature]))

    async def _land(self, transaction: bytes, signature: Signature) -> None:
        """Send the same bytes until they are final; the chain refuses a second copy."""
        wire = b64encode(transaction).decode()
        config = {"encoding": "base64", "preflightCommitment": Commitment.CONFIRMED}
        looks = 0
        while (status := await self._status(signature)).commitment is not Commitment.FINALIZED:
            if status.error is not None:
                raise ChainError(f"memo {signature} failed: {status.error}; check the wallet's lamports")
            if status.slot is None and looks % LOOKS == 0:
                await self._rpc.call("sendTransaction", wire, config)
            looks += 1
            await asyncio.sleep(LOOK_S)

    async def _status(self, signature: Signature) -> SignatureStatus:
        method = "getSignatureStatuses"
        slot, values = contextual(method, await self._rpc.call(method, [signature], {}))
        if not isinstance(values, list) or len(values) != 1:
            raise unreadable(method, f"{str(values)[:60]} for one signature")
        return status_of(slot, values[0])


def memo_of(transaction: VersionedTransaction) -> str | None:
    """The text of a transaction's first memo; none when it has none.

    Raises:
        ValueError: it is not UTF-8.
    """
    keys = transaction.message.account_keys
    for instruction in transaction.message.instructions:
        if instruction.program_id_index < len(keys) and keys[instruction.program_id_index] == PROGRAM_ID:
            return bytes(instruction.data).decode()
    return None
