"""The accounts around a PumpSwap vector: it gives the pool's bytes and says in words what the others hold."""

from __future__ import annotations

from typing import Any

from amm_checks.cases import accounts_of, address_of
from solders.pubkey import Pubkey

from adapters.solana.accounts import Account
from adapters.solana.programs import pumpswap_layout as layout
from adapters.solana.programs import token
from domain.market.amm.pumpswap import Fees, FeeTier

RECIPIENTS = tuple(Pubkey.from_bytes(bytes([n]) * 32) for n in range(1, 9))
BUYBACK = tuple(Pubkey.from_bytes(bytes([n]) * 32) for n in range(11, 19))
RESERVED = tuple(Pubkey.from_bytes(bytes([n]) * 32) for n in range(21, 29))


def global_config(said: dict[str, int]) -> layout.GlobalConfig:
    """The config a vector names by its three rates; the recipients are ours."""
    return layout.GlobalConfig(
        admin=Pubkey.default(),
        lp_fee_bps=said["lpFeeBasisPoints"],
        protocol_fee_bps=said["protocolFeeBasisPoints"],
        disable_flags=0,
        protocol_fee_recipients=RECIPIENTS,
        creator_fee_bps=said["coinCreatorFeeBasisPoints"],
        coin_creator_authority=Pubkey.default(),
        whitelist=Pubkey.default(),
        reserved_fee_recipient=RESERVED[0],
        mayhem_enabled=1,
        reserved_fee_recipients=RESERVED[1:],
        cashback_enabled=0,
        buyback_fee_recipients=BUYBACK,
        buyback_bps=0,
    )


def fees(said: dict[str, str]) -> Fees:
    """Three rates of a vector."""
    return Fees(int(said["lpFeeBps"]), int(said["protocolFeeBps"]), int(said["creatorFeeBps"]))


def fee_config(said: dict[str, Any]) -> layout.FeeConfig:
    """The schedule a vector names."""
    tiers = tuple(
        FeeTier(int(tier["marketCapLamportsThreshold"]), fees(tier["fees"])) for tier in said["feeTiers"]
    )
    return layout.FeeConfig(255, Pubkey.default(), fees(said["flatFees"]), tiers)


def accounts_around(pool: dict[str, Any]) -> dict[Pubkey, Account | None]:
    """Everything a quote of the vector needs, as bytes."""
    key, state = address_of(pool), pool["decoded"]["pool"]
    names = ("baseMint", "quoteMint", "poolBaseTokenAccount", "poolQuoteTokenAccount")
    base, quote, base_vault, quote_vault = (Pubkey.from_string(state[name]) for name in names)
    held_base, held_quote = int(pool["reserves"]["base"]), int(pool["reserves"]["quote"])
    ours = layout.encode_global_config(global_config(pool["globalConfig"]))
    schedule = pool["feeConfig"] and layout.encode_fee_config(fee_config(pool["feeConfig"]))
    made: dict[Pubkey, Account | None] = {
        layout.GLOBAL_CONFIG: Account(1, layout.PROGRAM_ID, ours),
        layout.FEE_CONFIG: Account(1, layout.FEE_PROGRAM, schedule) if schedule else None,
        base_vault: Account(1, token.TOKEN_PROGRAM, token.encode_token_account(base, key, held_base)),
        quote_vault: Account(1, token.TOKEN_PROGRAM, token.encode_token_account(quote, key, held_quote)),
        base: Account(1, token.TOKEN_PROGRAM, token.encode_mint(None, int(pool["supply"]), 6)),
        quote: Account(1, token.TOKEN_PROGRAM, token.encode_mint(None, 0, 9)),
    }
    return {**accounts_of(pool), **made}
