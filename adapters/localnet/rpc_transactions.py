"""The JSON-RPC methods that send, simulate and look up transactions."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Final

from solders.message import Message, MessageV0
from solders.pubkey import Pubkey
from solders.transaction import SanitizeError, VersionedTransaction

from adapters.localnet.base58 import b58decode
from adapters.localnet.blocks import Block
from adapters.localnet.encoding import (
    Json,
    account_json,
    inner_json,
    meta_json,
    parse_pubkey,
    parse_signature,
    return_json,
    status_json,
    transaction_json,
    version_json,
)
from adapters.localnet.faucet import Faucet
from adapters.localnet.history import Executed
from adapters.localnet.ledger import Ledger, Simulated
from adapters.localnet.messages import Loaded, load
from adapters.localnet.params import Config, Params
from adapters.localnet.refusals import (
    SIGNATURE_VERIFICATION_FAILURE,
    UNSUPPORTED_TRANSACTION_VERSION,
    RpcRefusal,
    invalid_params,
    preflight_failure,
)
from adapters.localnet.rpc import Accepted
from adapters.localnet.rpc_accounts import Method, in_context, view
from adapters.solana.programs.memo import PROGRAM_ID as MEMO_PROGRAM
from domain.chain import Commitment
from domain.errors import InvalidInput

PACKET_BYTES: Final = 1232
"""The largest transaction the network carries."""
MAX_STATUSES: Final = 256
MAX_SIGNATURES: Final = 1000


class TransactionMethods:
    """Transactions in and out; a `Listener` of the ledger for those that are to land later."""

    def __init__(self, ledger: Ledger, faucet: Faucet) -> None:
        self._ledger = ledger
        self._faucet = faucet
        self._delayed: list[tuple[int, VersionedTransaction]] = []
        ledger.listen(self)

    def methods(self) -> dict[str, Method]:
        """The methods by their JSON-RPC names."""
        return {
            "getSignatureStatuses": self.signature_statuses,
            "getSignaturesForAddress": self.signatures_for_address,
            "getTransaction": self.transaction,
            "requestAirdrop": self.request_airdrop,
            "simulateTransaction": self.simulate,
        }

    def accept(self, params: Params) -> Accepted:
        """Serve `sendTransaction`: check and simulate unless told not to; the answer is the signature.

        As on a node, `skipPreflight` answers the signature whatever becomes of the transaction.

        Raises:
            RpcRefusal: it cannot be read, its signatures are wrong, or the simulation failed.
        """
        transaction = self._checked(params)
        return Accepted(str(transaction.signatures[0]), lambda slots: self._deliver(transaction, slots))

    def accept_unchecked(self, params: Params) -> Accepted:
        """Serve `sendTransaction` as the block engine does: it is sent on without a simulation."""
        encoding = params.config(1).text("encoding", "base58")
        transaction = decode_transaction(params.text(0), encoding)
        return Accepted(str(transaction.signatures[0]), lambda slots: self._deliver(transaction, slots))

    def executed(self, executed: Executed) -> None:
        """Nothing to do here."""

    def rolled_back(self, kept: int, changed: Iterable[Pubkey]) -> None:
        """Nothing to do here: what was delayed was never on the fork."""

    def advanced(self, block: Block) -> None:
        """Let the delayed transactions whose slot has come land."""
        due = [transaction for slot, transaction in self._delayed if slot <= block.slot]
        self._delayed = [item for item in self._delayed if item[0] > block.slot]
        for transaction in due:
            self._ledger.submit(transaction)

    def _deliver(self, transaction: VersionedTransaction, slots: int) -> None:
        if slots:
            self._delayed.append((self._ledger.blocks.open.slot + slots, transaction))
        else:
            self._ledger.submit(transaction)

    def _checked(self, params: Params) -> VersionedTransaction:
        config = params.config(1)
        transaction = decode_transaction(params.text(0), config.text("encoding", "base58"))
        if config.flag("skipPreflight"):
            return transaction
        block = view(self._ledger, config, "preflightCommitment")
        if not all(transaction.verify_with_results()):
            raise RpcRefusal(SIGNATURE_VERIFICATION_FAILURE, "Transaction signature verification failure")
        refused = self._ledger.check(transaction, block)
        simulated = Simulated.refused(refused) if refused else self._ledger.simulate(transaction, block)
        if simulated.outcome.error is not None:
            raise preflight_failure(simulated.outcome)
        return transaction

    def simulate(self, params: Params) -> Json:
        """Run a transaction and undo it."""
        config = params.config(1)
        transaction = decode_transaction(params.text(0), config.text("encoding", "base58"))
        block = view(self._ledger, config)
        replaced = None
        if config.flag("replaceRecentBlockhash"):
            if config.flag("sigVerify"):
                raise invalid_params("sigVerify may not be used with replaceRecentBlockhash")
            transaction = _with_blockhash(transaction, self._ledger)
            replaced = {
                "blockhash": str(transaction.message.recent_blockhash),
                "lastValidBlockHeight": self._ledger.blocks.open.height + 150,
            }
        elif config.flag("sigVerify") and not all(transaction.verify_with_results()):
            raise RpcRefusal(SIGNATURE_VERIFICATION_FAILURE, "Transaction signature verification failure")
        refused = None if replaced else self._ledger.check(transaction, block)
        simulated = Simulated.refused(refused) if refused else self._ledger.simulate(transaction, block)
        return in_context(block, self._simulated(transaction, simulated, config, replaced))

    def _simulated(
        self, transaction: VersionedTransaction, simulated: Simulated, config: Config, replaced: Json | None
    ) -> Json:
        outcome = simulated.outcome
        body: Json = {
            "err": outcome.error,
            "logs": outcome.logs,
            "accounts": None,
            "unitsConsumed": outcome.units,
            "returnData": return_json(outcome),
            "innerInstructions": None,
            "replacementBlockhash": replaced,
        }
        wanted = config.raw.get("accounts")
        if isinstance(wanted, dict):
            encoding = Config(wanted).encoding("base64")
            keys = [parse_pubkey(str(address)) for address in wanted.get("addresses", [])]
            found = [simulated.after.get(key, self._ledger.account(key)) for key in keys]
            body["accounts"] = [
                None if account is None else account_json(self._ledger, account, encoding)
                for account in found
            ]
        if config.flag("innerInstructions"):
            loaded = load(transaction, self._ledger.account)
            body["innerInstructions"] = (
                inner_json(outcome, loaded, in_full=True) if isinstance(loaded, Loaded) else []
            )
        return body

    def signature_statuses(self, params: Params) -> Json:
        """What became of up to 256 signatures, null where nothing is known."""
        names, search = (
            params.texts(0, at_most=MAX_STATUSES),
            params.config(1).flag("searchTransactionHistory"),
        )
        block = self._ledger.blocks.at(Commitment.PROCESSED)
        found = [self._ledger.status(parse_signature(name), search_history=search) for name in names]
        return in_context(block, [self._status(executed, block) for executed in found])

    def _status(self, executed: Executed | None, block: Block) -> Json | None:
        if executed is None or executed.slot > block.slot:
            return None
        commitment = self._ledger.commitment_of(executed.slot)
        final = commitment is Commitment.FINALIZED
        return {
            "slot": executed.slot,
            "confirmations": None if final else self._ledger.blocks.depth(executed.slot),
            "err": executed.outcome.error,
            "status": status_json(executed.outcome.error),
            "confirmationStatus": commitment.value,
        }

    def transaction(self, params: Params) -> Json | None:
        """A landed transaction with its metadata, null where the asked commitment has none."""
        signature = parse_signature(params.text(0))
        config = encoding_config(params)
        executed = self._ledger.history.get(signature)
        if executed is None or executed.slot > settled_slot(self._ledger, config):
            return None
        return {
            "slot": executed.slot,
            "blockTime": executed.unix_time,
            **transaction_with_meta(
                executed, config.text("encoding", "json"), config.integer("maxSupportedTransactionVersion")
            ),
        }

    def signatures_for_address(self, params: Params) -> list[Json]:
        """The transactions that name an address, newest first."""
        address, config = params.pubkey(0), params.config(1)
        asked = config.integer("limit")
        limit = MAX_SIGNATURES if asked is None else asked
        if not 0 < limit <= MAX_SIGNATURES:
            raise invalid_params(f"Invalid limit; max {MAX_SIGNATURES}")
        settled = settled_slot(self._ledger, config)
        found = (executed for executed in self._ledger.history.of(address) if executed.slot <= settled)
        chosen = _between(found, config.text("before", ""), config.text("until", ""))
        return [self._signature_info(executed) for executed in islice(chosen, limit)]

    def _signature_info(self, executed: Executed) -> Json:
        return {
            "signature": str(executed.signature),
            "slot": executed.slot,
            "blockTime": executed.unix_time,
            "err": executed.outcome.error,
            "memo": _memos(executed),
            "confirmationStatus": self._ledger.commitment_of(executed.slot).value,
        }

    def request_airdrop(self, params: Params) -> str:
        """Lamports from the faucet, by a real transaction."""
        try:
            return str(self._faucet.fund(params.pubkey(0), lamports=params.integer(1)))
        except InvalidInput as error:
            raise RpcRefusal(-32603, f"airdrop request failed: {error}") from error


def transaction_with_meta(executed: Executed, encoding: str, highest: int | None) -> Json:
    """Give a landed transaction as `getTransaction` and `getBlock` show it, versions up to `highest`.

    Raises:
        RpcRefusal: the transaction is of a version the client did not say it reads.
    """
    version = version_json(executed.loaded.transaction)
    if version == 0 and highest is None:
        raise RpcRefusal(
            UNSUPPORTED_TRANSACTION_VERSION,
            "Transaction version (0) is not supported by the requesting client. Please try the request "
            'again with the following configuration parameter: "maxSupportedTransactionVersion": 0',
        )
    body: Json = {
        "transaction": transaction_json(executed.loaded, encoding),
        "meta": meta_json(executed, encoding),
    }
    return body if highest is None else {**body, "version": version}


def _memos(executed: Executed) -> str | None:
    """As a node shows them: the length in bytes, then the text; several are joined."""
    texts = [each.data for each in executed.loaded.instructions if each.program_id == MEMO_PROGRAM]
    shown = (f"[{len(text)}] {text.decode(errors='replace')}" for text in map(bytes, texts))
    return "; ".join(shown) or None


def decode_transaction(text: str, encoding: str) -> VersionedTransaction:
    """Read a signed transaction off the wire.

    Raises:
        RpcRefusal: the encoding is unknown, the text is not of it, or the bytes are no transaction.
    """
    raw = _decode_text(text, encoding)
    if len(raw) > PACKET_BYTES:
        raise invalid_params(
            f"decoded solana_transaction::versioned::VersionedTransaction too large: {len(raw)} bytes "
            f"(max: {PACKET_BYTES} bytes)"
        )
    try:
        transaction = VersionedTransaction.from_bytes(raw)
    except ValueError as error:
        raise invalid_params(
            f"failed to deserialize solana_transaction::versioned::VersionedTransaction: {error}"
        ) from error
    try:
        transaction.sanitize()
    except SanitizeError as error:
        raise invalid_params(f"invalid transaction: {error}") from error
    return transaction


def _decode_text(text: str, encoding: str) -> bytes:
    if encoding not in ("base58", "base64"):
        raise invalid_params(f"unsupported encoding: {encoding}. Supported encodings: base58, base64")
    try:
        return b64decode(text, validate=True) if encoding == "base64" else b58decode(text)
    except ValueError as error:
        raise invalid_params(f"invalid {encoding} encoding: {error}") from error


def _with_blockhash(transaction: VersionedTransaction, ledger: Ledger) -> VersionedTransaction:
    message = transaction.message
    newest = ledger.blocks.open.blockhash
    header = message.header
    counts = (
        header.num_required_signatures,
        header.num_readonly_signed_accounts,
        header.num_readonly_unsigned_accounts,
    )
    replaced: Message | MessageV0
    if isinstance(message, MessageV0):
        replaced = MessageV0(
            header, message.account_keys, newest, message.instructions, message.address_table_lookups
        )
    else:
        replaced = Message.new_with_compiled_instructions(
            *counts, message.account_keys, newest, message.instructions
        )
    return VersionedTransaction.populate(replaced, transaction.signatures)


def encoding_config(params: Params) -> Config:
    """Read the configuration of `getTransaction` or `getBlock`: an object or, as of old, an encoding."""
    second = params.value(1) if len(params) > 1 else None
    return Config({"encoding": second}) if isinstance(second, str) else params.config(1)


def settled_slot(ledger: Ledger, config: Config) -> int:
    """The newest slot that a lookup of landed transactions may show."""
    commitment = config.commitment()
    if commitment is Commitment.PROCESSED:
        raise invalid_params("Method does not support commitment below `confirmed`")
    return ledger.blocks.at(commitment).slot


def _between(found: Iterator[Executed], before: str, until: str) -> Iterator[Executed]:
    """Skip to just after `before` and stop at `until`, newest first."""
    waiting = bool(before)
    for executed in found:
        name = str(executed.signature) if waiting or until else ""
        if until and name == until:
            return
        if not waiting:
            yield executed
        elif name == before:
            waiting = False
