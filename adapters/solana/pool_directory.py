"""The accounts around each pool that never change: read once, checked, kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from solders.pubkey import Pubkey

from adapters.solana.accounts import Account, AccountReader
from adapters.solana.programs import raydium_cpmm, token
from adapters.solana.programs.raydium_cpmm import PoolState
from domain.chain import Address, Mint
from domain.errors import DecodeError

PROTOCOL: Final = "raydium_cpmm"
_POOLS_PER_READ: Final = 20
"""A pool has five accounts around it and a node reads 100 at once."""
_MINT_A_AT: Final = 168
_MINT_B_AT: Final = 200


class PoolDirectory:
    """Pools by address, each as it was when first read: use what never changes of it, not its fees."""

    def __init__(self, accounts: AccountReader) -> None:
        self._accounts = accounts
        self._known: dict[Address, PoolState] = {}

    async def pool(self, pool: Address) -> PoolState:
        """One pool.

        Raises:
            DecodeError: the account is no pool whose surroundings are in order.
            InvalidInput: `pool` is no address.
            ChainUnavailable: the node did not answer.
        """
        found = (await self.pools([pool]))[pool]
        if isinstance(found, DecodeError):
            raise found
        return found

    async def vaults(self, pool: Address) -> tuple[Address, Address]:
        """The pool's vaults of token a and token b."""
        state = await self.pool(pool)
        return Address(str(state.vault_a)), Address(str(state.vault_b))

    async def pools(self, pools: Sequence[Address]) -> dict[Address, PoolState | DecodeError]:
        """Many pools; a bad one is an error in its place and spoils no other.

        Raises:
            InvalidInput: one is no address.
            ChainUnavailable: the node did not answer.
        """
        answer: dict[Address, PoolState | DecodeError] = {}
        unknown = [pool for pool in dict.fromkeys(pools) if pool not in self._known]
        for start in range(0, len(unknown), _POOLS_PER_READ):
            answer |= await self._read(unknown[start : start + _POOLS_PER_READ])
        self._known |= {pool: found for pool, found in answer.items() if isinstance(found, PoolState)}
        return {pool: self._known.get(pool) or answer[pool] for pool in pools}

    async def of_pair(self, mint_a: Mint, mint_b: Mint) -> list[Address]:
        """Every pool of two mints, whichever comes first.

        Raises:
            ChainError: the node refused; public nodes often refuse to search, then name the pools.
        """
        low, high = sorted(bytes(Pubkey.from_string(mint)) for mint in (mint_a, mint_b))
        found = await self._accounts.of_program(
            raydium_cpmm.PROGRAM_ID,
            length=raydium_cpmm.POOL_LENGTH,
            matching={_MINT_A_AT: low, _MINT_B_AT: high},
        )
        return [address for address, _ in found]

    async def _read(self, pools: Sequence[Address]) -> dict[Address, PoolState | DecodeError]:
        _, accounts = await self._accounts.read(pools)
        answer: dict[Address, PoolState | DecodeError] = {}
        for pool, account in zip(pools, accounts, strict=True):
            try:
                answer[pool] = _pool_state(pool, account)
            except DecodeError as error:
                answer[pool] = error
        around = await self._read_around([state for state in answer.values() if isinstance(state, PoolState)])
        for pool, state in answer.items():
            try:
                if isinstance(state, PoolState):
                    _check(pool, state, around)
            except DecodeError as error:
                answer[pool] = error
        return answer

    async def _read_around(self, states: Sequence[PoolState]) -> dict[Pubkey, Account | None]:
        wanted = list(dict.fromkeys(key for state in states for key in _around(state)))
        if not wanted:
            return {}
        _, accounts = await self._accounts.read([Address(str(key)) for key in wanted])
        return dict(zip(wanted, accounts, strict=True))


def _pool_state(pool: Address, account: Account | None) -> PoolState:
    if account is None:
        raise DecodeError(f"reading pool {pool}: there is no such account; check the address and the network")
    try:
        return raydium_cpmm.decode_pool(account.data, account.owner)
    except DecodeError as error:
        raise DecodeError(f"reading pool {pool}: {error}") from error


def _around(state: PoolState) -> tuple[Pubkey, ...]:
    return state.amm_config, state.vault_a, state.vault_b, state.mint_a, state.mint_b


def _check(pool: Address, state: PoolState, around: Mapping[Pubkey, Account | None]) -> None:
    """Refuse a pool whose surroundings are not what the program would have made."""
    config = _present(pool, "fee config", state.amm_config, around)
    raydium_cpmm.decode_config(config.data, config.owner)
    for vault, mint in ((state.vault_a, state.mint_a), (state.vault_b, state.mint_b)):
        _check_vault(pool, vault, mint, _present(pool, "vault", vault, around))
        _check_mint(pool, mint, _present(pool, "mint", mint, around))


def _present(pool: Address, kind: str, key: Pubkey, around: Mapping[Pubkey, Account | None]) -> Account:
    account = around[key]
    if account is None:
        raise DecodeError(f"reading pool {pool}: its {kind} {key} does not exist; the pool cannot trade")
    return account


def _check_vault(pool: Address, vault: Pubkey, mint: Pubkey, account: Account) -> None:
    held = token.decode_token_account(account.data, account.owner)
    if held.mint != mint or held.owner != raydium_cpmm.AUTHORITY:
        raise DecodeError(
            f"reading pool {pool}: its vault {vault} holds {held.mint} for {held.owner}, expected {mint} for "
            "the program's authority; do not trade there"
        )


def _check_mint(pool: Address, mint: Pubkey, account: Account) -> None:
    token.decode_mint(account.data, account.owner)
    terms = (token.transfer_fee(account.data, account.owner, epoch) for epoch in (0, 2**63))
    if any(fee is not None and fee.bps for fee in terms):  # now, or from a later epoch on
        raise DecodeError(
            f"reading pool {pool}: its mint {mint} charges a fee on every transfer, which our pool states do "
            "not carry; trade other pools"
        )
