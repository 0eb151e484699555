"""The JSON-RPC methods about a cluster, answered for a cluster of one node that nobody votes in."""

from __future__ import annotations

from hashlib import sha256
from typing import Final

from solders.pubkey import Pubkey

from adapters.localnet.encoding import Json, ui_amount
from adapters.localnet.ledger import SLOTS_PER_EPOCH, Ledger
from adapters.localnet.params import Params
from adapters.localnet.refusals import RpcRefusal, invalid_params
from adapters.localnet.rpc_accounts import API_VERSION, Method, in_context, view
from adapters.solana.programs import token

MAX_LEADERS: Final = 5_000
MAX_REWARDS: Final = 100
LARGEST: Final = 20
NO_SNAPSHOT: Final = -32008


class ClusterMethods:
    """The one node, the epochs, and who holds most of a token."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        digest = sha256(b"daybook local node" + bytes(ledger.blocks.genesis)).digest()
        self._identity = str(Pubkey(digest))

    def methods(self) -> dict[str, Method]:
        """The methods by their JSON-RPC names."""
        return {
            "getClusterNodes": lambda _: [self._node()],
            "getEpochSchedule": lambda _: _EPOCH_SCHEDULE,
            "getHighestSnapshotSlot": self.no_snapshot,
            "getIdentity": lambda _: {"identity": self._identity},
            "getInflationGovernor": lambda _: _INFLATION_GOVERNOR,
            "getInflationRate": lambda _: {**_NO_INFLATION, "epoch": self._epoch()},
            "getInflationReward": lambda params: [None] * len(params.texts(0, at_most=MAX_REWARDS)),
            "getLeaderSchedule": self.leader_schedule,
            "getMaxRetransmitSlot": lambda _: self._ledger.blocks.open.slot,
            "getMaxShredInsertSlot": lambda _: self._ledger.blocks.open.slot,
            "getSlotLeader": lambda _: self._identity,
            "getSlotLeaders": self.slot_leaders,
            "getStakeMinimumDelegation": lambda params: in_context(view(self._ledger, params.config(0)), 1),
            "getTokenLargestAccounts": self.token_largest_accounts,
            "getVoteAccounts": lambda _: {"current": [], "delinquent": []},
        }

    def no_snapshot(self, _: Params) -> Json:
        """Refuse: there are none."""
        raise RpcRefusal(NO_SNAPSHOT, "No snapshot")

    def leader_schedule(self, params: Params) -> Json | None:
        """This node leads every slot of the current epoch; null for another epoch."""
        first = params.value(0) if len(params) else None
        epoch = self._epoch()
        asked = params.integer(0) // SLOTS_PER_EPOCH if isinstance(first, int) else epoch
        config = params.config(0) if isinstance(first, dict) else params.config(1)
        wanted = config.text("identity", self._identity)
        if asked != epoch:
            return None
        return {self._identity: list(range(SLOTS_PER_EPOCH))} if wanted == self._identity else {}

    def slot_leaders(self, params: Params) -> list[str]:
        """This node, as often as asked."""
        params.integer(0)
        limit = params.integer(1)
        if not 0 < limit <= MAX_LEADERS:
            raise invalid_params(f"Invalid limit; max {MAX_LEADERS}")
        return [self._identity] * limit

    def token_largest_accounts(self, params: Params) -> Json:
        """The 20 accounts that hold most of a mint."""
        mint = params.pubkey(0)
        block = view(self._ledger, params.config(1))
        account = self._ledger.account(mint, block.slot)
        if account is None:
            raise invalid_params("Invalid param: could not find mint")
        decimals = token.decode_mint(account.data, account.owner).decimals
        held = [
            (token.token_amount(found.data), str(key))
            for key, found in self._ledger.program_accounts(account.owner, block.slot)
            if token.is_token_account(found.data, found.owner) and found.data[:32] == bytes(mint)
        ]
        largest = sorted(held, key=lambda pair: (-pair[0], pair[1]))[:LARGEST]
        return in_context(
            block, [{"address": address, **ui_amount(amount, decimals)} for amount, address in largest]
        )

    def _epoch(self) -> int:
        return self._ledger.blocks.open.slot // SLOTS_PER_EPOCH

    def _node(self) -> Json:
        return {
            "pubkey": self._identity,
            "gossip": None,
            "tpu": None,
            "tpuQuic": None,
            "rpc": None,
            "version": API_VERSION,
            "featureSet": 0,
            "shredVersion": 1,
        }


_EPOCH_SCHEDULE: Final = {
    "slotsPerEpoch": SLOTS_PER_EPOCH,
    "leaderScheduleSlotOffset": SLOTS_PER_EPOCH,
    "warmup": False,
    "firstNormalEpoch": 0,
    "firstNormalSlot": 0,
}
_INFLATION_GOVERNOR: Final = {
    "initial": 0.0,
    "terminal": 0.0,
    "taper": 0.0,
    "foundation": 0.0,
    "foundationTerm": 0.0,
}
_NO_INFLATION: Final = {"total": 0.0, "validator": 0.0, "foundation": 0.0}
