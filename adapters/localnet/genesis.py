"""What the local chain is born with: two mints, a faucet, and two SOL/USDC pools of different fees.

Every address follows from the seed or from the programs' own derivations, so two networks of one seed are
the same chain.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from math import isqrt
from typing import Final

from solders.account import Account
from solders.keypair import Keypair
from solders.pubkey import Pubkey
from solders.system_program import ID as SYSTEM_PROGRAM
from solders.token import ID as TOKEN_PROGRAM

from adapters.localnet.bundles import TIP_ACCOUNTS
from adapters.localnet.ledger import Ledger
from adapters.solana.programs import raydium_cpmm as cpmm
from adapters.solana.programs import token
from adapters.solana.programs.associated_token import associated_address
from domain.chain import USDC, WSOL

WSOL_MINT: Final = Pubkey.from_string(WSOL)
USDC_MINT: Final = Pubkey.from_string(USDC)
LAMPORTS_PER_SOL: Final = 10**9

DEFAULT_PRICE: Final = 150_000_000
"""Micro-USDC per SOL when no market file names a price."""

PROTOCOL_SHARE: Final = 120_000
FUND_SHARE: Final = 40_000
"""Raydium's own shares of the trade fee, in 10^-6."""

_FAUCET_LAMPORTS: Final = 10**18
_FAUCET_WSOL: Final = 10**17
_FAUCET_USDC: Final = 10**17


@dataclass(frozen=True, slots=True)
class PoolPlan:
    """A pool to open: fee config number, its trade fee in 10^-6, and its depth in lamports."""

    config_index: int
    trade_fee_rate: int
    depth_lamports: int


POOLS: Final = (
    PoolPlan(config_index=0, trade_fee_rate=2_500, depth_lamports=20_000 * LAMPORTS_PER_SOL),
    PoolPlan(config_index=5, trade_fee_rate=500, depth_lamports=5_000 * LAMPORTS_PER_SOL),
)
"""A deep pool at 0.25 % and a shallow one at 0.05 %: a gap of about 0.31 % pays for both legs."""


@dataclass(frozen=True, slots=True)
class Pool:
    """A pool of the local network."""

    address: Pubkey
    config: Pubkey
    vault_a: Pubkey
    vault_b: Pubkey
    trade_fee_rate: int


@dataclass(frozen=True, slots=True)
class World:
    """What genesis made."""

    faucet: Keypair
    pools: tuple[Pool, ...]


def named_keypair(seed: int, name: str) -> Keypair:
    """Give the key pair that `name` has on the network of `seed`; worth nothing anywhere else."""
    return Keypair.from_seed(sha256(f"daybook local network {seed} {name}".encode()).digest())


def create_world(ledger: Ledger, *, seed: int, price: int = DEFAULT_PRICE) -> World:
    """Write the accounts of block 0; both pools open at `price` micro-USDC per SOL."""
    faucet = named_keypair(seed, "faucet")
    owner = faucet.pubkey()
    pools = tuple(_open_pool(ledger, plan, owner, price) for plan in POOLS)
    depth = sum(plan.depth_lamports * price // LAMPORTS_PER_SOL for plan in POOLS)
    ledger.set_account(owner, Account(_FAUCET_LAMPORTS, b"", SYSTEM_PROGRAM))
    for account in TIP_ACCOUNTS:  # an account below rent could not take a small tip
        ledger.set_account(account, Account(ledger.rent(0), b"", SYSTEM_PROGRAM))
    _write_mint(ledger, WSOL_MINT, token.encode_mint(None, 0, 9))
    _write_mint(ledger, USDC_MINT, token.encode_mint(owner, _FAUCET_USDC + depth, 6))
    _write_tokens(ledger, associated_address(owner, WSOL_MINT), WSOL_MINT, owner, _FAUCET_WSOL)
    _write_tokens(ledger, associated_address(owner, USDC_MINT), USDC_MINT, owner, _FAUCET_USDC)
    return World(faucet, pools)


def _open_pool(ledger: Ledger, plan: PoolPlan, creator: Pubkey, price: int) -> Pool:
    config_key = cpmm.config_address(plan.config_index)
    address = cpmm.pool_address(config_key, WSOL_MINT, USDC_MINT)
    amounts = (plan.depth_lamports, plan.depth_lamports * price // LAMPORTS_PER_SOL)
    state = _pool_state(address, config_key, creator, lp_supply=isqrt(amounts[0] * amounts[1]))
    config = cpmm.AmmConfig(
        bump=255,
        disable_create_pool=False,
        index=plan.config_index,
        trade_fee_rate=plan.trade_fee_rate,
        protocol_fee_rate=PROTOCOL_SHARE,
        fund_fee_rate=FUND_SHARE,
        create_pool_fee=150_000_000,
        protocol_owner=creator,
        fund_owner=creator,
    )
    _write(ledger, config_key, cpmm.encode_config(config), cpmm.PROGRAM_ID)
    _write(ledger, address, cpmm.encode_pool(state), cpmm.PROGRAM_ID)
    _write(ledger, state.observation, cpmm.encode_observation(address), cpmm.PROGRAM_ID)
    _write_mint(ledger, state.lp_mint, token.encode_mint(cpmm.AUTHORITY, state.lp_supply, 9))
    _write_tokens(ledger, state.vault_a, WSOL_MINT, cpmm.AUTHORITY, amounts[0])
    _write_tokens(ledger, state.vault_b, USDC_MINT, cpmm.AUTHORITY, amounts[1])
    return Pool(address, config_key, state.vault_a, state.vault_b, plan.trade_fee_rate)


def _pool_state(address: Pubkey, config: Pubkey, creator: Pubkey, *, lp_supply: int) -> cpmm.PoolState:
    return cpmm.PoolState(
        amm_config=config,
        pool_creator=creator,
        vault_a=cpmm.vault_address(address, WSOL_MINT),
        vault_b=cpmm.vault_address(address, USDC_MINT),
        lp_mint=cpmm.lp_mint_address(address),
        mint_a=WSOL_MINT,
        mint_b=USDC_MINT,
        token_program_a=TOKEN_PROGRAM,
        token_program_b=TOKEN_PROGRAM,
        observation=cpmm.observation_address(address),
        authority_bump=cpmm.AUTHORITY_BUMP,
        status=0,
        lp_decimals=9,
        decimals_a=9,
        decimals_b=6,
        lp_supply=lp_supply,
        protocol_fees_a=0,
        protocol_fees_b=0,
        fund_fees_a=0,
        fund_fees_b=0,
        open_time=0,
        recent_epoch=0,
        creator_fee_on=0,
        enable_creator_fee=0,
    )


def _write(ledger: Ledger, address: Pubkey, data: bytes, owner: Pubkey, lamports: int = 0) -> None:
    ledger.set_account(address, Account(ledger.rent(len(data)) + lamports, data, owner))


def _write_mint(ledger: Ledger, address: Pubkey, data: bytes) -> None:
    _write(ledger, address, data, TOKEN_PROGRAM)


def _write_tokens(ledger: Ledger, address: Pubkey, mint: Pubkey, owner: Pubkey, amount: int) -> None:
    native = mint == WSOL_MINT
    reserve = ledger.rent(token.TOKEN_ACCOUNT_LENGTH) if native else None
    data = token.encode_token_account(mint, owner, amount, native_reserve=reserve)
    _write(ledger, address, data, TOKEN_PROGRAM, lamports=amount if native else 0)
