"""The block engine's JSON-RPC methods, with the rules and words of Jito's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from solders.transaction import VersionedTransaction

from adapters.localnet.bundles import (
    MAX_TRANSACTIONS,
    MIN_TIP_LAMPORTS,
    TIP_ACCOUNTS,
    BlockEngine,
    BundleStatus,
    Record,
    make_bundle,
)
from adapters.localnet.encoding import Json, account_json, parse_pubkey, return_json
from adapters.localnet.ledger import Ledger, Simulated
from adapters.localnet.messages import static_writable
from adapters.localnet.params import Config, Params
from adapters.localnet.refusals import RpcRefusal, invalid_params
from adapters.localnet.rpc import Accept, Accepted
from adapters.localnet.rpc_accounts import Method, in_context
from adapters.localnet.rpc_transactions import decode_transaction

MAX_STATUSES: Final = 5
CONGESTED: Final = -32097
LAMPORTS_PER_SOL: Final = 10**9

_PERCENTILES: Final = (25, 50, 75, 95, 99)


class BundleMethods:
    """Bundles in, what became of them out."""

    def __init__(self, ledger: Ledger, engine: BlockEngine) -> None:
        self._ledger = ledger
        self._engine = engine

    def methods(self) -> dict[str, Method]:
        """The reading methods by their names."""
        return {
            "getBundleStatuses": self.statuses,
            "getInflightBundleStatuses": self.inflight_statuses,
            "getTipAccounts": lambda _: [str(account) for account in TIP_ACCOUNTS],
            "simulateBundle": self.simulate,
        }

    def sending(self) -> dict[str, Accept]:
        """The method that sends."""
        return {"sendBundle": self.accept}

    def accept(self, params: Params) -> Accepted:
        """Serve `sendBundle`: up to five signed transactions; the answer is the bundle's id.

        Raises:
            RpcRefusal: one cannot be read, is not signed, has expired or landed, or nobody is tipped.
        """
        texts = params.texts(0, at_most=2**16)
        if not 0 < len(texts) <= MAX_TRANSACTIONS:
            raise invalid_params(f"bundle must contain between 1 and {MAX_TRANSACTIONS} transactions")
        encoding = params.config(1).text("encoding", "base58")
        return self.accept_all([decode_transaction(text, encoding) for text in texts])

    def accept_alone(self, params: Params) -> Accepted:
        """Serve `sendTransaction` with `bundleOnly`: a bundle of one; the answer is its signature."""
        encoding = params.config(1).text("encoding", "base58")
        transaction = decode_transaction(params.text(0), encoding)
        accepted = self.accept_all([transaction])
        return Accepted(str(transaction.signatures[0]), accepted.deliver)

    def accept_all(self, transactions: Sequence[VersionedTransaction]) -> Accepted:
        """Check a bundle as the engine does before it queues it."""
        for transaction in transactions:
            self._check(transaction)
        if len({transaction.signatures[0] for transaction in transactions}) < len(transactions):
            raise invalid_params("bundle contains duplicate transactions")
        if not any(_locks_tip_account(transaction) for transaction in transactions):
            raise invalid_params(
                "Bundles must write lock at least one tip account to be eligible for the auction."
            )
        if self._engine.full():
            raise RpcRefusal(CONGESTED, "Network congested. Endpoint is globally rate limited.")
        bundle = make_bundle(transactions)
        return Accepted(bundle.name, lambda slots: self._engine.queue(bundle, slots))

    def _check(self, transaction: VersionedTransaction) -> None:
        if not all(transaction.verify_with_results()):
            raise invalid_params(f"transaction {transaction.signatures[0]} is invalid")
        refused = self._ledger.check(transaction, self._ledger.blocks.open)
        if refused == "AlreadyProcessed":
            raise invalid_params("bundle contains an already processed transaction")
        if refused is not None:
            raise invalid_params("bundle contains an expired blockhash")

    def statuses(self, params: Params) -> Json:
        """Bundles that landed, null for all others."""
        found = [self._engine.record(name) for name in _names(params)]
        return in_context(self._ledger.blocks.open, [self._landed(record) for record in found])

    def _landed(self, record: Record | None) -> Json | None:
        if record is None or record.slot is None:
            return None
        return {
            "bundle_id": record.bundle.name,
            "transactions": [str(one.signatures[0]) for one in record.bundle.transactions],
            "slot": record.slot,
            "confirmation_status": self._ledger.commitment_of(record.slot).value,
            "err": {"Ok": None},
        }

    def inflight_statuses(self, params: Params) -> Json:
        """Bundles of the last five minutes: Invalid where unknown, else Pending, Failed or Landed."""
        found = [(name, self._engine.record(name)) for name in _names(params)]
        value = [
            {
                "bundle_id": name,
                "status": (record.status if record else BundleStatus.INVALID).value,
                "landed_slot": record.slot if record else None,
            }
            for name, record in found
        ]
        return in_context(self._ledger.blocks.open, value)

    def simulate(self, params: Params) -> Json:
        """Run a bundle and undo it: results up to the first transaction that fails."""
        wanted, config = Config(params.mapping(0)), params.config(1)
        texts = Params([wanted.raw.get("encodedTransactions")]).texts(0, at_most=MAX_TRANSACTIONS)
        encoding = config.text("transactionEncoding", "base64")
        transactions = [decode_transaction(text, encoding) for text in texts]
        if not transactions:
            raise invalid_params("encodedTransactions names no transaction")
        shown = [
            _addresses(config.raw.get(key), len(transactions))
            for key in ("preExecutionAccountsConfigs", "postExecutionAccountsConfigs")
        ]
        self._check_signatures(transactions, config)
        results = self._ledger.simulate_bundle(
            transactions, any_blockhash=config.flag("replaceRecentBlockhash")
        )
        value = {
            "summary": _summary(transactions, results),
            "transactionResults": [
                self._result(result, before, after)
                for result, before, after in zip(results, *shown, strict=False)  # ends with the first failure
            ],
        }
        return in_context(self._ledger.blocks.open, value)

    @staticmethod
    def _check_signatures(transactions: Sequence[VersionedTransaction], config: Config) -> None:
        if config.flag("skipSigVerify"):
            return
        for transaction in transactions:
            if not all(transaction.verify_with_results()):
                raise invalid_params(f"transaction {transaction.signatures[0]} is invalid")

    def _result(self, result: Simulated, before: list[str] | None, after: list[str] | None) -> Json:
        return {
            "err": result.outcome.error,
            "logs": result.outcome.logs,
            "unitsConsumed": result.outcome.units,
            "returnData": return_json(result.outcome),
            "preExecutionAccounts": self._accounts(before, result.before),
            "postExecutionAccounts": self._accounts(after, result.after),
        }

    def _accounts(self, names: list[str] | None, known: Any) -> list[Json | None] | None:  # noqa: ANN401 - a mapping
        if names is None:
            return None
        keys = [parse_pubkey(name) for name in names]
        found = [known[key] if key in known else self._ledger.account(key) for key in keys]
        return [account_json(self._ledger, account, "base64") if account else None for account in found]

    def tip_floor(self, time: str) -> list[Json]:
        """Give what bundles tipped lately, in SOL as the real endpoint has it: for display, hence floats."""
        tips = sorted(self._engine.tips) or [MIN_TIP_LAMPORTS]
        floor = {
            f"landed_tips_{percent}th_percentile": _percentile(tips, percent) / LAMPORTS_PER_SOL
            for percent in _PERCENTILES
        }
        median = floor["landed_tips_50th_percentile"]
        return [{"time": time, **floor, "ema_landed_tips_50th_percentile": median}]


def _names(params: Params) -> list[str]:
    names = params.texts(0, at_most=2**16)
    if len(names) > MAX_STATUSES:
        raise invalid_params(f"Invalid params: at most {MAX_STATUSES} bundle ids, found {len(names)}")
    return names


def _locks_tip_account(transaction: VersionedTransaction) -> bool:
    """Whether a tip account is among the writable addresses named outright, not through a lookup table."""
    keys = transaction.message.account_keys
    writable = static_writable(transaction, len(keys))
    return any(key in TIP_ACCOUNTS for key, may in zip(keys, writable, strict=True) if may)


def _addresses(raw: object, count: int) -> list[list[str] | None]:
    """Read a list, one entry a transaction, of null or {"addresses": [...]}."""
    if raw is None:
        return [None] * count
    if not isinstance(raw, list) or len(raw) != count:
        raise invalid_params(
            "Invalid params: pre/postExecutionAccountsConfigs must be equal in length to the transactions"
        )
    return [
        None if item is None else Params([_mapping(item).get("addresses")]).texts(0, at_most=100)
        for item in raw
    ]


def _mapping(item: object) -> Json:
    return Params([item]).mapping(0)


def _summary(transactions: Sequence[VersionedTransaction], results: Sequence[Simulated]) -> Any:  # noqa: ANN401 - text or object
    error = results[-1].outcome.error
    if error is None:
        return "succeeded"
    signature = str(transactions[len(results) - 1].signatures[0])
    return {"failed": {"error": {"TransactionFailure": [signature, error]}, "tx_signature": signature}}


def _percentile(ordered: Sequence[int], percent: int) -> int:
    return ordered[min(len(ordered) * percent // 100, len(ordered) - 1)]
