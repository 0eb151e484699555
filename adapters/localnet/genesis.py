"""What the local chain is born with: two mints, a faucet, pools, flash loans, price feeds and tip accounts.

Every address follows from the seed or from the programs' own derivations, so two networks of one seed are
the same chain.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from solders.account import Account
from solders.keypair import Keypair
from solders.pubkey import Pubkey
from solders.system_program import ID as SYSTEM_PROGRAM

from adapters.localnet.bundles import TIP_ACCOUNTS
from adapters.localnet.founding import (
    LAMPORTS_PER_SOL,
    USDC_MINT,
    WSOL_MINT,
    Founding,
    Pool,
    named_keypair,
)
from adapters.localnet.genesis_bins import open_dlmm
from adapters.localnet.genesis_products import open_amm_v4, open_cpmm, open_pumpswap
from adapters.localnet.genesis_ticks import open_clmm, open_whirlpool
from adapters.localnet.ledger import Ledger
from adapters.localnet.prices import FEEDS, first_price
from adapters.solana.programs import kamino, pyth
from adapters.solana.programs.associated_token import associated_address
from domain.errors import InvalidInput

DEFAULT_PRICE: Final = 150_000_000
"""Micro-USDC per SOL when no market file names a price."""

OPENERS: Final[Mapping[str, Callable[[Founding, int], Pool]]] = {
    "raydium_cpmm": open_cpmm,
    "raydium_amm_v4": open_amm_v4,
    "raydium_clmm": open_clmm,
    "orca_whirlpool": open_whirlpool,
    "meteora_dlmm": open_dlmm,
    "pumpswap": open_pumpswap,
}
"""The protocols whose pools can be opened, in the order of their listing."""

DEFAULT_POOLS: Final[Mapping[str, int]] = {"raydium_cpmm": 2}
"""The two pools that the demo trades between."""
MAX_POOLS: Final = 100
"""Of one protocol; more would only make the start slow."""

FLASH_LOAN_RATE: Final = (1 << 60) // 100_000
"""What a flash loan costs: a thousandth of a percent, in 2^-60."""

_FAUCET_LAMPORTS: Final = 10**18
_FAUCET_WSOL: Final = 10**17
_FAUCET_USDC: Final = 10**17
_LENT_WSOL: Final = 100_000 * LAMPORTS_PER_SOL
_LENT_USDC: Final = 15_000_000_000_000
_PUBLISHER_LAMPORTS: Final = 10**15


@dataclass(frozen=True, slots=True)
class FlashReserve:
    """A Kamino reserve that gives flash loans of one mint."""

    address: Pubkey
    mint: Pubkey


@dataclass(frozen=True, slots=True)
class World:
    """What genesis made.

    Attributes:
        reserves: give flash loans of wrapped SOL and of USDC.
        publisher: signs the price feeds' updates.
    """

    faucet: Keypair
    pools: tuple[Pool, ...]
    reserves: tuple[FlashReserve, ...]
    publisher: Keypair


def read_pools(texts: list[str]) -> dict[str, int]:
    """Read `PROTOCOL=COUNT`, or `all` for one pool of each protocol and two of CPMM, added up.

    Raises:
        InvalidInput: the protocol is unknown or the count is no number from 0 to `MAX_POOLS`.
    """
    wanted: dict[str, int] = {}
    for text in texts:
        if text == "all":
            wanted |= {**dict.fromkeys(OPENERS, 1), **DEFAULT_POOLS}
            continue
        name, separator, count = text.partition("=")
        if name not in OPENERS:
            raise InvalidInput(
                f"opening the pools {text!r}: {name!r} is no protocol; known: all, {', '.join(OPENERS)}"
            )
        if not separator:
            raise InvalidInput(f"opening the pools {text!r}: how many? write {name}=1")
        if not count.isdecimal() or int(count) > MAX_POOLS:
            raise InvalidInput(f"opening the pools {text!r}: {count!r} is no number from 0 to {MAX_POOLS}")
        wanted[name] = int(count)
    return wanted


def create_world(
    ledger: Ledger, *, seed: int, price: int = DEFAULT_PRICE, pools: Mapping[str, int] = DEFAULT_POOLS
) -> World:
    """Write the accounts of block 0; every pool opens at `price` micro-USDC per SOL."""
    faucet, publisher = named_keypair(seed, "faucet"), named_keypair(seed, "price publisher")
    owner = faucet.pubkey()
    founding = Founding(ledger, seed, owner, price)
    opened = tuple(
        opener(founding, number)
        for protocol, opener in OPENERS.items()
        for number in range(pools.get(protocol, 0))
    )
    reserves = tuple(
        _open_reserve(founding, name, mint, amount)
        for name, mint, amount in (("wsol", WSOL_MINT, _LENT_WSOL), ("usdc", USDC_MINT, _LENT_USDC))
    )
    ledger.set_account(owner, Account(_FAUCET_LAMPORTS, b"", SYSTEM_PROGRAM))
    for account in TIP_ACCOUNTS:  # an account below rent could not take a small tip
        ledger.set_account(account, Account(ledger.rent(0), b"", SYSTEM_PROGRAM))
    founding.write_tokens(associated_address(owner, WSOL_MINT), WSOL_MINT, owner, _FAUCET_WSOL)
    founding.write_tokens(associated_address(owner, USDC_MINT), USDC_MINT, owner, _FAUCET_USDC)
    _open_feeds(ledger, founding, publisher.pubkey())
    founding.write_mint(WSOL_MINT, None, 0, 9)
    founding.write_mint(USDC_MINT, owner, founding.usdc, 6)
    return World(faucet, opened, reserves, publisher)


def _open_reserve(founding: Founding, name: str, mint: Pubkey, amount: int) -> FlashReserve:
    market = founding.address("kamino lending market")
    address, vault, fees = (
        founding.address(f"kamino {name} {part}") for part in ("reserve", "vault", "fees")
    )
    reserve = kamino.new_reserve(market, mint, vault, fees, available=amount, flash_loan_rate=FLASH_LOAN_RATE)
    authority = kamino.market_authority(market)
    founding.write(address, kamino.encode_reserve(reserve), kamino.PROGRAM_ID)
    founding.write_tokens(vault, mint, authority, amount)
    founding.write_tokens(fees, mint, authority, 0)
    return FlashReserve(address, mint)


def _open_feeds(ledger: Ledger, founding: Founding, publisher: Pubkey) -> None:
    """Write both price accounts as of the first block, and say who may update them."""
    ledger.set_account(publisher, Account(_PUBLISHER_LAMPORTS, b"", SYSTEM_PROGRAM))
    ledger.emulations.pyth.publisher = publisher
    for name, feed_id in FEEDS.items():
        update = first_price(name, founding.price, ledger.blocks.open.unix_time, ledger.blocks.open.slot)
        data = pyth.encode_price_update(update)
        founding.write(pyth.feed_address(feed_id), data, pyth.RECEIVER_ID)
