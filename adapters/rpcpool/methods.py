"""What the proxy knows of Solana's methods: what may be repeated, fanned out or subscribed to."""

from __future__ import annotations

from typing import Final

READS: Final = frozenset(
    {
        "getAccountInfo",
        "getBalance",
        "getBlock",
        "getBlockCommitment",
        "getBlockHeight",
        "getBlockProduction",
        "getBlockTime",
        "getBlocks",
        "getBlocksWithLimit",
        "getClusterNodes",
        "getEpochInfo",
        "getEpochSchedule",
        "getFeeForMessage",
        "getFirstAvailableBlock",
        "getGenesisHash",
        "getHealth",
        "getHighestSnapshotSlot",
        "getIdentity",
        "getInflationGovernor",
        "getInflationRate",
        "getInflationReward",
        "getLargestAccounts",
        "getLatestBlockhash",
        "getLeaderSchedule",
        "getMaxRetransmitSlot",
        "getMaxShredInsertSlot",
        "getMinimumBalanceForRentExemption",
        "getMultipleAccounts",
        "getProgramAccounts",
        "getRecentPerformanceSamples",
        "getRecentPrioritizationFees",
        "getSignatureStatuses",
        "getSignaturesForAddress",
        "getSlot",
        "getSlotLeader",
        "getSlotLeaders",
        "getStakeMinimumDelegation",
        "getSupply",
        "getTokenAccountBalance",
        "getTokenAccountsByDelegate",
        "getTokenAccountsByOwner",
        "getTokenLargestAccounts",
        "getTokenSupply",
        "getTransaction",
        "getTransactionCount",
        "getVersion",
        "getVoteAccounts",
        "isBlockhashValid",
        "minimumLedgerSlot",
        "simulateTransaction",
    }
)
"""Asking twice changes nothing, so another endpoint may be asked."""

SEND: Final = "sendTransaction"
"""May go to many: the chain executes a signature once."""

ONCE: Final = frozenset({"requestAirdrop"})
"""Pays again when asked again: repeated only when it certainly did not arrive."""

KNOWN: Final = READS | ONCE | {SEND}

SUBSCRIPTIONS: Final = {
    kind: (f"{kind}Subscribe", f"{kind}Unsubscribe", f"{kind}Notification")
    for kind in ("account", "block", "logs", "program", "root", "signature", "slot", "slotsUpdates", "vote")
}
"""By kind: how it is asked for, how it is ended, how it notifies."""

SUBSCRIBE: Final = {asked: kind for kind, (asked, _, _) in SUBSCRIPTIONS.items()}
UNSUBSCRIBE: Final = {ended: kind for kind, (_, ended, _) in SUBSCRIPTIONS.items()}

SLOW: Final = frozenset(
    {
        "getBlock",
        "getBlocks",
        "getBlocksWithLimit",
        "getInflationReward",
        "getLargestAccounts",
        "getProgramAccounts",
        "getSignaturesForAddress",
        "getSupply",
        "getTokenAccountsByDelegate",
        "getTokenAccountsByOwner",
        "getTokenLargestAccounts",
        "getVoteAccounts",
        "requestAirdrop",
    }
)
"""A healthy node may work on these for many seconds: they get the whole time limit and are not hedged."""

ILL: Final = frozenset(
    {
        -32603,  # it failed while it was at it
        -32005,  # node is behind or unhealthy
        -32000,  # server error without a name of Solana's
    }
)
"""Refusals that tell of the node, not of the question: every other endpoint may be asked."""

LACKS: Final = frozenset(
    {
        -32601,  # this node does not serve the method
        -32001,  # block cleaned up: an archive may have it
        -32004,  # block not available for this slot
        -32007,  # slot skipped, or missing after a ledger jump
        -32008,  # no snapshot
        -32009,  # slot skipped, or missing in long-term storage
        -32010,  # key excluded from this node's index
        -32011,  # transaction history not kept
        -32014,  # block status not yet available
        -32016,  # minContextSlot not reached
        -32017,  # epoch rewards period active
        -32019,  # long-term storage unreachable
    }
)
"""Refusals for what a healthy node may lack: some others are asked, then it is believed.
The codes are those of Agave's rpc-client-api, custom_error.rs."""

LIMITED: Final = frozenset({-32429, 429})
"""Refusals for the rate in the body of an HTTP 200."""
