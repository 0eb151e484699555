"""A local chain without a server, a wallet on it, and the swaps and transfers tests send."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import count

from solders.instruction import Instruction
from solders.keypair import Keypair
from solders.message import MessageV0
from solders.pubkey import Pubkey
from solders.system_program import TransferParams, transfer
from solders.transaction import VersionedTransaction

from adapters.localnet.faucet import Faucet
from adapters.localnet.founding import USDC_MINT, WSOL_MINT, Pool
from adapters.localnet.genesis import DEFAULT_POOLS, World, create_world
from adapters.localnet.history import Executed
from adapters.localnet.ledger import Ledger
from adapters.localnet.transaction_error import TransactionError
from adapters.solana.programs import raydium_cpmm as cpmm
from adapters.solana.programs import token
from adapters.solana.programs.associated_token import associated_address
from adapters.solana.programs.memo import memo

SOL = 10**9
NOW_US = 1_750_000_000_000_000


@dataclass(slots=True)
class LocalChain:
    """A ledger whose slots pass on demand, with one funded wallet."""

    ledger: Ledger
    world: World
    faucet: Faucet
    keypair: Keypair = field(default_factory=lambda: Keypair.from_seed(bytes(31) + b"\x05"))
    serial: count[int] = field(default_factory=lambda: count(1))

    @property
    def wallet(self) -> Pubkey:
        return self.keypair.pubkey()

    def tokens(self, mint: Pubkey, owner: Pubkey | None = None) -> int:
        """What a wallet's associated account holds."""
        account = self.ledger.account(associated_address(owner or self.wallet, mint))
        return token.token_amount(account.data) if account else 0

    def lamports(self, address: Pubkey) -> int:
        account = self.ledger.account(address)
        return account.lamports if account else 0

    def pool_state(self, pool: Pool) -> cpmm.PoolState:
        account = self.ledger.account(pool.address)
        assert account is not None
        return cpmm.decode_pool(account.data, account.owner)

    def swap(self, pool: Pool, amount: int, *, a_to_b: bool, least: int = 0) -> Instruction:
        """An exact-in swap between the wallet's associated accounts."""
        wsol, usdc = (associated_address(self.wallet, mint) for mint in (WSOL_MINT, USDC_MINT))
        accounts = cpmm.swap_accounts(
            pool.address,
            self.pool_state(pool),
            payer=self.wallet,
            user_in=wsol if a_to_b else usdc,
            user_out=usdc if a_to_b else wsol,
            a_to_b=a_to_b,
        )
        return cpmm.swap_base_input(accounts, amount_in=amount, minimum_amount_out=least)

    def pay(self, to: Pubkey, lamports: int) -> Instruction:
        return transfer(TransferParams(from_pubkey=self.wallet, to_pubkey=to, lamports=lamports))

    def sign(self, *instructions: Instruction) -> VersionedTransaction:
        """Sign with the newest blockhash."""
        blockhash = self.ledger.blocks.open.blockhash
        return VersionedTransaction(
            MessageV0.try_compile(self.wallet, instructions, [], blockhash), [self.keypair]
        )

    def unique(self) -> Instruction:
        """A memo that makes two otherwise equal transactions two."""
        return memo(f"number {next(self.serial)}")

    def send(self, *instructions: Instruction) -> Executed | TransactionError:
        return self.ledger.submit(self.sign(*instructions))

    def land(self, *instructions: Instruction) -> Executed:
        executed = self.send(*instructions)
        assert isinstance(executed, Executed), executed
        return executed


def local_chain(seed: int = 1, pools: Mapping[str, int] = DEFAULT_POOLS) -> LocalChain:
    """A fresh chain whose wallet holds 10 SOL, 1,000 wrapped SOL and 1,000,000 USDC."""
    ledger = Ledger(lambda: NOW_US, seed=seed)
    world = create_world(ledger, seed=seed, pools=pools)
    chain = LocalChain(ledger, world, Faucet(ledger, world.faucet))
    chain.faucet.fund(chain.wallet, lamports=10 * SOL, wsol=1_000 * SOL, usdc=10**12)
    return chain
