"""What every account of block 0 is written with: addresses out of the seed, rent, tokens out of nothing."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from solders.account import Account
from solders.keypair import Keypair
from solders.pubkey import Pubkey
from solders.token import ID as TOKEN_PROGRAM

from adapters.localnet.ledger import Ledger
from adapters.solana.programs import token
from domain.chain import USDC, WSOL

WSOL_MINT: Final = Pubkey.from_string(WSOL)
USDC_MINT: Final = Pubkey.from_string(USDC)
LAMPORTS_PER_SOL: Final = 10**9


@dataclass(frozen=True, slots=True)
class Pool:
    """A pool of the local network: token a is wrapped SOL, token b USDC.

    Attributes:
        config: its fee config; the pool itself where the protocol has none for each pool.
        trade_fee_rate: in 10^-6 of the input, or of the quote token.
    """

    address: Pubkey
    config: Pubkey
    vault_a: Pubkey
    vault_b: Pubkey
    trade_fee_rate: int
    protocol: str = "raydium_cpmm"


def named_keypair(seed: int, name: str) -> Keypair:
    """Give the key pair that `name` has on the network of `seed`; worth nothing anywhere else."""
    return Keypair.from_seed(sha256(f"daybook local network {seed} {name}".encode()).digest())


class Founding:
    """Writes accounts before the first transaction; `price` is micro-USDC per SOL."""

    def __init__(self, ledger: Ledger, seed: int, creator: Pubkey, price: int) -> None:
        self.creator = creator
        self.price = price
        self.usdc = 0
        """USDC handed out so far: the mint's supply in the end."""
        self._ledger = ledger
        self._seed = seed

    def address(self, name: str) -> Pubkey:
        """An address that nobody signs for."""
        return Pubkey(sha256(f"daybook local account {self._seed} {name}".encode()).digest())

    def worth(self, lamports: int) -> int:
        """What an amount of SOL is worth, micro-USDC."""
        return lamports * self.price // LAMPORTS_PER_SOL

    def write(self, address: Pubkey, data: bytes, owner: Pubkey, lamports: int = 0) -> None:
        """Write an account with its rent and `lamports` on top."""
        account = Account(self._ledger.rent(len(data)) + lamports, data, owner)
        self._ledger.set_account(address, account)

    def write_mint(self, address: Pubkey, authority: Pubkey | None, supply: int, decimals: int) -> None:
        """Write a token's mint."""
        self.write(address, token.encode_mint(authority, supply, decimals), TOKEN_PROGRAM)

    def write_tokens(self, address: Pubkey, mint: Pubkey, owner: Pubkey, amount: int) -> None:
        """Write a token account; wrapped SOL is backed by as many lamports."""
        native = mint == WSOL_MINT
        reserve = self._ledger.rent(token.TOKEN_ACCOUNT_LENGTH) if native else None
        data = token.encode_token_account(mint, owner, amount, native_reserve=reserve)
        self.write(address, data, TOKEN_PROGRAM, lamports=amount if native else 0)
        self.usdc += amount if mint == USDC_MINT else 0

    def write_vaults(self, vaults: tuple[Pubkey, Pubkey], owner: Pubkey, amounts: tuple[int, int]) -> None:
        """Write a pool's two vaults: wrapped SOL and USDC."""
        for vault, mint, amount in zip(vaults, (WSOL_MINT, USDC_MINT), amounts, strict=True):
            self.write_tokens(vault, mint, owner, amount)
