"""The JSON-RPC methods that look blocks up."""

from __future__ import annotations

from itertools import islice
from typing import Final

from adapters.localnet.blocks import Header
from adapters.localnet.encoding import Json, account_roles
from adapters.localnet.history import Executed
from adapters.localnet.ledger import Ledger
from adapters.localnet.params import Config, Params
from adapters.localnet.refusals import BLOCK_NOT_AVAILABLE, SLOT_SKIPPED, RpcRefusal, invalid_params
from adapters.localnet.rpc_accounts import Method, view
from adapters.localnet.rpc_transactions import encoding_config, settled_slot, transaction_with_meta

MAX_BLOCKS: Final = 500_000
"""The widest range of slots one call may ask for, as on a node."""
SAMPLE_SLOTS: Final = 150
SAMPLE_SECONDS: Final = 60
"""A performance sample is a minute of 400 ms slots."""
MAX_SAMPLES: Final = 720


class BlockMethods:
    """Blocks and what landed in them."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def methods(self) -> dict[str, Method]:
        """The methods by their JSON-RPC names."""
        return {
            "getBlock": self.block,
            "getBlockCommitment": lambda params: {"commitment": None, "totalStake": 0 * params.integer(0)},
            "getBlockProduction": self.production,
            "getBlockTime": self.time,
            "getBlocks": self.blocks,
            "getBlocksWithLimit": self.blocks_with_limit,
            "getFirstAvailableBlock": lambda _: self._first(),
            "getRecentPerformanceSamples": self.samples,
            "minimumLedgerSlot": lambda _: self._first(),
        }

    def block(self, params: Params) -> Json:
        """One block with its transactions, as far as asked for.

        Raises:
            RpcRefusal: it is not confirmed yet, was skipped, or lies too far back.
        """
        slot, config = params.integer(0), encoding_config(params)
        header = self._header(slot, config)
        shown = self._transactions(self._ledger.history.in_slot(slot), config)
        rewards: Json = {} if config.raw.get("rewards") is False else {"rewards": []}
        return {
            "blockHeight": header.height,
            "blockTime": header.unix_time,
            "blockhash": str(header.blockhash),
            "parentSlot": header.parent_slot,
            "previousBlockhash": str(header.parent_blockhash),
            **shown,
            **rewards,
        }

    def time(self, params: Params) -> int:
        """When a slot's block was made, seconds since the epoch."""
        slot = params.integer(0)
        header = self._ledger.blocks.header(slot)
        if header is None:
            raise RpcRefusal(BLOCK_NOT_AVAILABLE, f"Block not available for slot {slot}")
        return header.unix_time

    def blocks(self, params: Params) -> list[int]:
        """The slots from a first to a last that have a block."""
        first = params.integer(0)
        second = params.value(1) if len(params) > 1 else None
        named = isinstance(second, int)
        settled = settled_slot(self._ledger, params.config(2 if named or len(params) > 2 else 1))
        last = min(params.integer(1), settled) if named else settled
        if last - first > MAX_BLOCKS:
            raise invalid_params(f"Slot range too large; max {MAX_BLOCKS}")
        return [slot for slot in self._slots() if first <= slot <= last]

    def blocks_with_limit(self, params: Params) -> list[int]:
        """The first slots from a slot on that have a block, up to a number of them."""
        first, limit = params.integer(0), params.integer(1)
        if limit > MAX_BLOCKS:
            raise invalid_params(f"Limit too large; max {MAX_BLOCKS}")
        settled = settled_slot(self._ledger, params.config(2))
        found = (slot for slot in self._slots() if first <= slot <= settled)
        return list(islice(found, limit))

    def production(self, params: Params) -> Json:
        """Who made blocks: nobody is named here, since nobody votes."""
        block = view(self._ledger, params.config(0))
        value = {"byIdentity": {}, "range": {"firstSlot": self._first(), "lastSlot": block.slot}}
        return {"context": {"slot": block.slot}, "value": value}

    def samples(self, params: Params) -> list[Json]:
        """Transactions in each finished minute of slots, newest first."""
        limit = params.integer(0) if len(params) else MAX_SAMPLES
        if limit > MAX_SAMPLES:
            raise invalid_params(f"Invalid limit; max {MAX_SAMPLES}")
        slots = self._slots()
        ends = range(len(slots) - 1, SAMPLE_SLOTS - 1, -SAMPLE_SLOTS)
        return [self._sample(slots[end - SAMPLE_SLOTS : end]) for end in islice(ends, limit)]

    def _sample(self, slots: list[int]) -> Json:
        landed = sum(len(self._ledger.history.in_slot(slot)) for slot in slots)
        return {
            "slot": slots[-1],
            "numSlots": len(slots),
            "numTransactions": landed,
            "numNonVoteTransactions": landed,
            "samplePeriodSecs": SAMPLE_SECONDS,
        }

    def _first(self) -> int:
        """The oldest block of which everything is kept."""
        return self._slots()[0]

    def _slots(self) -> list[int]:
        """Every block of which everything is kept, oldest first."""
        dropped = self._ledger.history.dropped_slot
        return [header.slot for header in self._ledger.blocks.headers() if header.slot > dropped]

    def _header(self, slot: int, config: Config) -> Header:
        settled = settled_slot(self._ledger, config)
        header = self._ledger.blocks.header(slot)
        if slot > settled:
            raise RpcRefusal(BLOCK_NOT_AVAILABLE, f"Block not available for slot {slot}")
        if header is None or slot <= self._ledger.history.dropped_slot:
            raise RpcRefusal(
                SLOT_SKIPPED, f"Slot {slot} was skipped, or missing due to ledger jump to recent snapshot"
            )
        return header

    @staticmethod
    def _transactions(landed: tuple[Executed, ...], config: Config) -> Json:
        details = config.text("transactionDetails", "full")
        if details == "none":
            return {}
        if details == "signatures":
            return {"signatures": [str(one.signature) for one in landed]}
        if details not in ("full", "accounts"):
            raise invalid_params(
                f"Invalid params: unknown variant `{details}`, expected full, accounts, signatures or none."
            )
        highest = config.integer("maxSupportedTransactionVersion")
        if details == "full":
            encoding = config.text("encoding", "json")
            return {"transactions": [transaction_with_meta(one, encoding, highest) for one in landed]}
        shown = [(one, transaction_with_meta(one, "json", highest)) for one in landed]
        return {"transactions": [_accounts_only(*item) for item in shown]}


def _accounts_only(executed: Executed, shown: Json) -> Json:
    """A transaction as `transactionDetails: accounts` shows it: who took part, what they held."""
    left_out = ("innerInstructions", "logMessages", "rewards", "loadedAddresses", "computeUnitsConsumed")
    return {
        **shown,
        "transaction": {
            "accountKeys": account_roles(executed.loaded),
            "signatures": shown["transaction"]["signatures"],
        },
        "meta": {key: value for key, value in shown["meta"].items() if key not in left_out},
    }
