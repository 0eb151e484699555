"""A Raydium CPMM pool and the accounts around it, as bytes a node would serve."""

from __future__ import annotations

from dataclasses import replace

from scripted_node import ScriptedNode
from solders.pubkey import Pubkey
from solders.token import ID as TOKEN_PROGRAM

from adapters.solana.programs import raydium_cpmm, token
from adapters.solana.programs.raydium_cpmm import AmmConfig, PoolState
from domain.chain import USDC, WSOL, Address

MINT_A, MINT_B = Pubkey.from_string(WSOL), Pubkey.from_string(USDC)
NOBODY = Pubkey(bytes(31) + b"\x07")


def a_pool(index: int, **changed: object) -> tuple[Address, PoolState]:
    """Make pool number `index` of SOL and USDC."""
    config = raydium_cpmm.config_address(index)
    pool = raydium_cpmm.pool_address(config, MINT_A, MINT_B)
    state = PoolState(
        amm_config=config,
        pool_creator=NOBODY,
        vault_a=raydium_cpmm.vault_address(pool, MINT_A),
        vault_b=raydium_cpmm.vault_address(pool, MINT_B),
        lp_mint=raydium_cpmm.lp_mint_address(pool),
        mint_a=MINT_A,
        mint_b=MINT_B,
        token_program_a=TOKEN_PROGRAM,
        token_program_b=TOKEN_PROGRAM,
        observation=raydium_cpmm.observation_address(pool),
        authority_bump=raydium_cpmm.AUTHORITY_BUMP,
        status=0,
        lp_decimals=9,
        decimals_a=9,
        decimals_b=6,
        lp_supply=1,
        protocol_fees_a=10,
        protocol_fees_b=20,
        fund_fees_a=1,
        fund_fees_b=2,
        open_time=0,
        recent_epoch=0,
        creator_fee_on=0,
        enable_creator_fee=0,
    )
    return Address(str(pool)), replace(state, **changed)  # type: ignore[arg-type] # the test names the fields


def serve_pool(node: ScriptedNode, pool: Address, state: PoolState, held_a: int, held_b: int) -> None:
    """Put a pool with its config, mints and vaults on a node."""
    config = AmmConfig(255, False, 0, 2_500, 120_000, 40_000, 0, NOBODY, NOBODY)
    node.put(pool, raydium_cpmm.PROGRAM_ID, raydium_cpmm.encode_pool(state))
    node.put(state.amm_config, raydium_cpmm.PROGRAM_ID, raydium_cpmm.encode_config(config))
    node.put(MINT_A, TOKEN_PROGRAM, token.encode_mint(None, 1, 9))
    node.put(MINT_B, TOKEN_PROGRAM, token.encode_mint(None, 1, 6))
    fill_vaults(node, state, held_a, held_b)


def fill_vaults(node: ScriptedNode, state: PoolState, held_a: int, held_b: int) -> None:
    """Set what the vaults hold."""
    for vault, mint, held in ((state.vault_a, MINT_A, held_a), (state.vault_b, MINT_B, held_b)):
        account = token.encode_token_account(mint, raydium_cpmm.AUTHORITY, held)
        node.put(vault, TOKEN_PROGRAM, account)
