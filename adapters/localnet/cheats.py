"""The local network's own methods, for tests and the demo; a real node has none of them.

- `localnet_info []`: mints, pools, faucet.
- `localnet_fund [address, {lamports, wsol, usdc}]`: a signed payment from the faucet; answers its signature.
- `localnet_advanceSlots [n]`: n slots pass at once; answers the new slot.
- `localnet_rollBack [n]`: the newest n unfinalized blocks are left as a dead fork; answers the new slot.
- `localnet_failNextCalls [{method, kind, count, slots, ms}]`: see `faults.py`.
- `localnet_setFaults [{kind: "percent:amount"}]`: faults by chance from now on; see `faults.py`.
- `localnet_setSwapsPaused [bool]`: every pool program refuses swaps with its own error.
"""

from __future__ import annotations

from typing import Final

from adapters.localnet.encoding import Json
from adapters.localnet.faucet import Faucet
from adapters.localnet.faults import Faults
from adapters.localnet.founding import USDC_MINT, WSOL_MINT
from adapters.localnet.genesis import World
from adapters.localnet.ledger import Ledger
from adapters.localnet.params import Params
from adapters.localnet.prices import FEEDS
from adapters.localnet.refusals import invalid_params
from adapters.localnet.rpc_accounts import Method
from adapters.solana.programs.pyth import feed_address
from domain.errors import InvalidInput

MAX_ADVANCE: Final = 10_000
"""Slots in one call: over an hour of chain time, half a second of ours."""


class CheatMethods:
    """Served on loopback only, as the whole server is."""

    def __init__(self, ledger: Ledger, world: World, faucet: Faucet, faults: Faults) -> None:
        self._ledger = ledger
        self._world = world
        self._faucet = faucet
        self._faults = faults

    def methods(self) -> dict[str, Method]:
        """The methods by their names."""
        return {
            "localnet_advanceSlots": self.advance_slots,
            "localnet_failNextCalls": self._faults.order,
            "localnet_fund": self.fund,
            "localnet_info": lambda _: describe(self._world),
            "localnet_rollBack": self.roll_back,
            "localnet_setFaults": self._faults.set_standing,
            "localnet_setSwapsPaused": self.set_swaps_paused,
        }

    def fund(self, params: Params) -> str:
        """Pay a wallet."""
        wallet, amounts = params.pubkey(0), params.config(1)
        lamports, wsol, usdc = (amounts.integer(key) or 0 for key in ("lamports", "wsol", "usdc"))
        try:
            return str(self._faucet.fund(wallet, lamports=lamports, wsol=wsol, usdc=usdc))
        except InvalidInput as error:
            raise invalid_params(str(error)) from error

    def advance_slots(self, params: Params) -> int:
        """Let slots pass."""
        count = params.integer(0)
        if count > MAX_ADVANCE:
            raise invalid_params(f"advancing {count} slots: at most {MAX_ADVANCE} in one call")
        for _ in range(count):
            pass_slot(self._ledger, self._faults)
        return self._ledger.blocks.open.slot

    def roll_back(self, params: Params) -> int:
        """Leave a fork."""
        try:
            return self._ledger.roll_back(params.integer(0)).slot
        except InvalidInput as error:
            raise invalid_params(str(error)) from error

    def set_swaps_paused(self, params: Params) -> bool:
        """Stop or resume all swaps."""
        paused = params.value(0) is True
        self._ledger.emulations.pause_swaps(paused)
        return paused


def pass_slot(ledger: Ledger, faults: Faults) -> None:
    """Let one slot pass; by a standing fault its newest blocks may turn out to be a dead fork."""
    ledger.advance()
    depth = min(faults.fork_depth(), ledger.blocks.unfinalized())
    if depth:
        ledger.roll_back(depth)


def describe(world: World) -> Json:
    """Name what is on the network: mints, pools and the faucet."""
    return {
        "mints": {"wsol": str(WSOL_MINT), "usdc": str(USDC_MINT)},
        "pools": [
            {
                "address": str(pool.address),
                "protocol": pool.protocol,
                "config": str(pool.config),
                "vault_a": str(pool.vault_a),
                "vault_b": str(pool.vault_b),
                "trade_fee_rate": pool.trade_fee_rate,
            }
            for pool in world.pools
        ],
        "flash_reserves": [
            {"address": str(one.address), "mint": str(one.mint), "protocol": "kamino_lend"}
            for one in world.reserves
        ],
        "price_feeds": {name: str(feed_address(feed_id)) for name, feed_id in FEEDS.items()},
        "faucet": str(world.faucet.pubkey()),
    }
