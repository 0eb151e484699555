"""The JSON-RPC methods about the chain itself: slots, blockhashes, fees, health."""

from __future__ import annotations

from base64 import b64decode
from typing import Final

from solders.message import Message, MessageV0, from_bytes_versioned

from adapters.localnet.blocks import MAX_AGE
from adapters.localnet.encoding import Json
from adapters.localnet.ledger import SLOTS_PER_EPOCH, Ledger
from adapters.localnet.params import Params
from adapters.localnet.refusals import invalid_params
from adapters.localnet.rpc_accounts import API_VERSION, Method, in_context, view
from adapters.solana.programs import compute_budget
from domain.errors import DecodeError

FEATURE_SET: Final = 0
"""No feature set of a released node; tells this network from one."""

_PRIORITIZATION_SLOTS: Final = 150


class ChainMethods:
    """Where the chain stands."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def methods(self) -> dict[str, Method]:
        """The methods by their JSON-RPC names."""
        return {
            "getBlockHeight": lambda params: view(self._ledger, params.config(0)).height,
            "getEpochInfo": self.epoch_info,
            "getFeeForMessage": self.fee_for_message,
            "getGenesisHash": lambda _: str(self._ledger.blocks.genesis),
            "getHealth": lambda _: "ok",
            "getLatestBlockhash": self.latest_blockhash,
            "getRecentPrioritizationFees": self.recent_prioritization_fees,
            "getSlot": lambda params: view(self._ledger, params.config(0)).slot,
            "getTransactionCount": lambda _: self._ledger.history.total,
            "getVersion": lambda _: {"solana-core": API_VERSION, "feature-set": FEATURE_SET},
            "isBlockhashValid": self.is_blockhash_valid,
        }

    def latest_blockhash(self, params: Params) -> Json:
        """The newest blockhash of that commitment and the last height that accepts it."""
        block = view(self._ledger, params.config(0))
        return in_context(
            block, {"blockhash": str(block.blockhash), "lastValidBlockHeight": block.height + MAX_AGE}
        )

    def is_blockhash_valid(self, params: Params) -> Json:
        """Whether the bank of that commitment takes transactions naming a blockhash."""
        name = params.text(0)
        block = view(self._ledger, params.config(1))
        return in_context(block, self._ledger.blocks.valid_name(name, block))

    def epoch_info(self, params: Params) -> Json:
        """Epoch, slot and height."""
        block = view(self._ledger, params.config(0))
        return {
            "absoluteSlot": block.slot,
            "blockHeight": block.height,
            "epoch": block.slot // SLOTS_PER_EPOCH,
            "slotIndex": block.slot % SLOTS_PER_EPOCH,
            "slotsInEpoch": SLOTS_PER_EPOCH,
            "transactionCount": self._ledger.history.total,
        }

    def fee_for_message(self, params: Params) -> Json:
        """What a message would cost, null where its blockhash is no longer accepted."""
        message = _message(params.text(0))
        block = view(self._ledger, params.config(1))
        if not self._ledger.blocks.valid(message.recent_blockhash, block):
            return in_context(block, None)
        keys = message.account_keys
        try:
            calls = [(keys[item.program_id_index], bytes(item.data)) for item in message.instructions]
            budget = compute_budget.read_budget(calls)
        except (DecodeError, IndexError):
            return in_context(block, None)
        signatures = message.header.num_required_signatures
        fee = signatures * compute_budget.LAMPORTS_PER_SIGNATURE + budget.priority_fee_lamports
        return in_context(block, fee)

    def recent_prioritization_fees(self, params: Params) -> list[Json]:
        """The lowest price per compute unit that landed in each recent slot, micro-lamports; 0 for none."""
        wanted = {*params.texts(0, at_most=128)} if len(params) else set()
        lowest: dict[int, int] = {}
        newest = self._ledger.blocks.open.slot
        for executed in self._ledger.history.recent():
            if newest - executed.slot >= _PRIORITIZATION_SLOTS:
                break
            if wanted and not wanted & {str(key) for key in executed.loaded.writable_keys()}:
                continue
            calls = [(item.program_id, item.data) for item in executed.loaded.instructions]
            price = compute_budget.read_budget(calls).unit_price
            lowest[executed.slot] = min(price, lowest.get(executed.slot, price))
        slots = range(max(newest - _PRIORITIZATION_SLOTS + 1, 0), newest + 1)
        return [{"slot": slot, "prioritizationFee": lowest.get(slot, 0)} for slot in slots]


def _message(text: str) -> Message | MessageV0:
    try:
        message = from_bytes_versioned(b64decode(text, validate=True))
    except ValueError as error:
        raise invalid_params(f"invalid base64 message: {error}") from error
    if not isinstance(message, Message | MessageV0):
        raise invalid_params("the message's version is not supported")
    return message
