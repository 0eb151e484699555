"""The Chain port over a Solana node's JSON-RPC: blockhash, send, status, record, balances, settlements."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from typing import Any, Final

from solders.transaction import VersionedTransaction

from adapters.solana.accounts import Account, AccountReader, contextual, require_slot
from adapters.solana.jsonrpc import JsonRpc, unreadable
from adapters.solana.programs.token import TOKEN_PROGRAMS, is_token_account, token_amount
from adapters.solana.pubsub import PubSub
from adapters.solana.records import record_of, status_of
from commands.ports import ChainPoint, RecentBlockhash, SignatureStatus, TransactionRecord
from domain.chain import Address, Blockhash, BlockHeight, Commitment, Signature, Slot
from domain.errors import DecodeError, InvalidInput

SETTLEMENT_WAIT_S: Final = 120.0
"""A blockhash lives about 150 blocks of 400 ms; twice that, and nothing more can be heard of a signature."""


class RpcChain:
    """A Solana node behind the executor's port.

    Args:
        rpc: the node's methods.
        pubsub: its subscriptions, running; settlements come from it.
        preflight: let the node simulate before it accepts: a failing transaction costs no fee, a good one
            some time.
    """

    def __init__(self, rpc: JsonRpc, pubsub: PubSub, *, preflight: bool = True) -> None:
        self._rpc = rpc
        self._pubsub = pubsub
        self._accounts = AccountReader(rpc, commitment=Commitment.FINALIZED)
        self._preflight = preflight

    async def latest_blockhash(self) -> RecentBlockhash:
        """The newest blockhash at commitment confirmed."""
        method = "getLatestBlockhash"
        _, value = contextual(method, await self._rpc.call(method, {"commitment": Commitment.CONFIRMED}))
        match value:
            case {"blockhash": str(blockhash), "lastValidBlockHeight": int(height)}:
                return RecentBlockhash(Blockhash(blockhash), BlockHeight(height))
            case _:
                raise unreadable(method, str(value)[:60])

    async def tip(self, commitment: Commitment) -> ChainPoint:
        """The newest slot at a commitment and its block height, from one answer."""
        answer = await self._rpc.call("getEpochInfo", {"commitment": commitment})
        match answer:
            case {"absoluteSlot": int(slot), "blockHeight": int(height)}:
                return ChainPoint(Slot(slot), BlockHeight(height))
            case _:
                raise unreadable("getEpochInfo", str(answer)[:60])

    async def send(self, transaction: bytes) -> Signature:
        """Hand signed bytes to the node; acceptance is no promise that they land.

        Raises:
            InvalidInput: the bytes are no signed transaction.
            ChainError: the node refused them.
            ChainUnavailable: no answer; they may land all the same.
        """
        signature = _signature_of(transaction)
        config: dict[str, Any] = {"encoding": "base64", "skipPreflight": not self._preflight}
        if self._preflight:
            config["preflightCommitment"] = Commitment.PROCESSED  # sees the state we decided on
        answer = await self._rpc.call("sendTransaction", b64encode(transaction).decode(), config)
        if answer != signature:
            raise unreadable("sendTransaction", f"{str(answer)[:90]} for signature {signature}")
        return signature

    async def status(
        self, signature: Signature, *, search_history: bool = False, min_slot: Slot | None = None
    ) -> SignatureStatus:
        """What the node knows of a signature.

        The method takes no minContextSlot, so the slot of the answer is compared here.

        Raises:
            ChainError: the node refused, or is behind `min_slot` (code -32016).
            ChainUnavailable: no answer that can be read.
        """
        method = "getSignatureStatuses"
        answer = await self._rpc.call(method, [signature], {"searchTransactionHistory": search_history})
        slot, value = contextual(method, answer)
        require_slot(method, slot, min_slot)
        if not isinstance(value, list) or len(value) != 1:
            raise unreadable(method, f"{str(value)[:60]} for one signature")
        return status_of(slot, value[0])

    async def transaction(self, signature: Signature, commitment: Commitment) -> TransactionRecord | None:
        """The transaction with its balance changes; none when unknown at that commitment.

        Nodes give transactions from `confirmed` on; asked for `processed` they are asked for `confirmed`.
        """
        wanted = Commitment.CONFIRMED if commitment is Commitment.PROCESSED else commitment
        config = {"encoding": "json", "commitment": wanted, "maxSupportedTransactionVersion": 0}
        answer = await self._rpc.call("getTransaction", signature, config)
        return None if answer is None else record_of(signature, answer)

    async def balances(self, address: Address, token_accounts: Sequence[Address]) -> tuple[Slot, list[int]]:
        """Lamports of `address`, then base units of each token account (0 when missing), read in one slot.

        Finalized state only: what a rollback could still take back is not a balance.

        Raises:
            DecodeError: one of `token_accounts` is an account of another kind.
        """
        slot, (holder, *accounts) = await self._accounts.read([address, *token_accounts])
        tokens = (_base_units(name, account) for name, account in zip(token_accounts, accounts, strict=True))
        return slot, [holder.lamports if holder else 0, *tokens]

    async def settlements(self, signature: Signature) -> AsyncIterator[Commitment]:
        """Wakes when the signature reaches processed, confirmed, finalized; a hint only: ask `status`.

        Ends after finalized, after `SETTLEMENT_WAIT_S`, or at once where the node takes no subscription.
        """
        reached = self._pubsub.signature_commitments(signature, timeout_s=SETTLEMENT_WAIT_S)
        async with aclosing(reached):
            async for commitment in reached:
                yield commitment


def _signature_of(transaction: bytes) -> Signature:
    try:
        return Signature(str(VersionedTransaction.from_bytes(transaction).signatures[0]))
    except (ValueError, IndexError) as error:
        raise InvalidInput(
            f"sending {len(transaction)} bytes that are no signed transaction: {error}"
        ) from error


def _base_units(name: Address, account: Account | None) -> int:
    if account is None:
        return 0
    if is_token_account(account.data, account.owner):
        return token_amount(account.data)
    if not account.data and account.owner not in TOKEN_PROGRAMS:
        return 0  # lamports were sent to the address before the token account was opened there
    raise DecodeError(
        f"reading the balance of {name}: it is no token account but owned by {account.owner}; check it"
    )
