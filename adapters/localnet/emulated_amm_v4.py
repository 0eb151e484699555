"""Raydium AMM v4 told in Python: its swaps with and without a market, errors by the program's own numbers.

The pool account holds nothing a swap changes but sums the program has stopped counting, so only tokens move.
"""

from __future__ import annotations

from typing import Final

from solders.instruction import Instruction
from solders.pubkey import Pubkey

from adapters.localnet.emulated_swap import (
    PANIC,
    CarriedOut,
    EmulatedSwaps,
    Leg,
    Order,
    Refusals,
    Swap,
    passed,
)
from adapters.localnet.emulation import Call, Stop
from adapters.localnet.transaction_error import InstructionError, custom
from adapters.solana.programs import raydium_amm_v4, token
from adapters.solana.programs import raydium_amm_v4_layout as layout
from domain.errors import DecodeError
from domain.market.amm.raydium_amm_v4 import AmmV4Pool, AmmV4Quote

INVALID_PROGRAM_ADDRESS: Final = 1
EXPECTED_ACCOUNT: Final = 3
INVALID_COIN_VAULT: Final = 4
INVALID_PC_VAULT: Final = 5
INVALID_SIGN_ACCOUNT: Final = 21
INVALID_STATUS: Final = 22
WRONG_ACCOUNTS_NUMBER: Final = 24
INVALID_AMM_ACCOUNT_OWNER: Final = 27
INVALID_INPUT: Final = 29
EXCEEDED_SLIPPAGE: Final = 30
INVALID_SPL_TOKEN_PROGRAM: Final = 38
INSUFFICIENT_FUNDS: Final = 40

_REFUSALS: Final = Refusals(
    paused=custom(INVALID_STATUS),
    zero_amount=custom(INVALID_INPUT),
    no_quote=PANIC,
    nothing_out=custom(INVALID_INPUT),
    below_limit=custom(EXCEEDED_SLIPPAGE),
    above_limit=custom(EXCEEDED_SLIPPAGE),
    unfilled=PANIC,
    names={},
)
_WITHOUT_MARKET: Final = 8
_WITH_MARKET: Final = (17, 18)


def emulated_amm_v4() -> EmulatedSwaps[AmmV4Quote]:
    """The four swap instructions of Raydium AMM v4."""
    return EmulatedSwaps(_name, _read, _REFUSALS)


def _name(data: bytes) -> str:
    return "SwapBaseOut" if data[:1] in (b"\x0b", b"\x11") else "SwapBaseIn"


def _read(call: Call) -> Swap[AmmV4Quote]:
    try:
        arguments = layout.decode_swap(call.instruction.data)
    except DecodeError:
        raise Stop("InvalidInstructionData") from None
    swap = _Accounts(call, with_market=arguments.with_market)
    order = Order(swap.a_to_b, arguments.exact_in, arguments.amount, arguments.limit)
    return Swap(order, swap.tradable, swap.carry_out, lambda: swap.no_quote(order))


class _Accounts:
    """One swap's accounts, each checked against the pool."""

    def __init__(self, call: Call, *, with_market: bool) -> None:
        metas = call.instruction.accounts
        if len(metas) < _WITHOUT_MARKET or (with_market and len(metas) not in _WITH_MARKET):
            raise Stop(custom(WRONG_ACCOUNTS_NUMBER))
        keys = [meta.pubkey for meta in metas]
        self._call = call
        self._with_market = with_market
        self._pool_key = keys[1]
        self._user_in, self._user_out, self._user = keys[-3:]
        _require(keys[0] == token.TOKEN_PROGRAM, INVALID_SPL_TOKEN_PROGRAM)
        _require(metas[-1].is_signer, INVALID_SIGN_ACCOUNT)
        self._pool = self._decoded()
        _require(self._pool.accepts_swaps(call.time.unix_time), INVALID_STATUS)
        self._authority = layout.authority(self._pool.nonce)
        _require(keys[2] == self._authority, INVALID_PROGRAM_ADDRESS)
        _require(self._pool.vault_a in keys, INVALID_COIN_VAULT)
        _require(self._pool.vault_b in keys, INVALID_PC_VAULT)
        source = self._mint(self._user_in)
        self.a_to_b = source == self._pool.mint_a
        mints = (self._pool.mint_a, self._pool.mint_b)
        _require((source, self._mint(self._user_out)) in (mints, mints[::-1]), INVALID_INPUT)

    def tradable(self) -> AmmV4Pool:
        """The pool as mathematics sees it now."""
        if self._pool.trades_on_market and not self._with_market:
            return raydium_amm_v4.tradable(self._pool, *self._held())
        accounts = passed(self._call, self._pool.mint_a, self._pool.mint_b)
        return raydium_amm_v4.quotable(self._pool_key, accounts, self._call.time)

    def no_quote(self, order: Order) -> InstructionError:
        """The error of a swap that has no quote."""
        reserves = raydium_amm_v4.tradable(self._pool, *self._held())
        paid, kept = (reserves.reserve_a, reserves.reserve_b)[:: 1 if self.a_to_b else -1]
        if order.exact_in:  # nothing to pay out, or, where nothing was paid in before, all there is
            return custom(INSUFFICIENT_FUNDS if kept else INVALID_INPUT)
        return custom(INVALID_INPUT) if order.amount * paid < kept - order.amount else PANIC

    def carry_out(self, quote: AmmV4Quote) -> CarriedOut:
        """User to vault and vault to user."""
        pool = self._pool
        side_a = (pool.mint_a, pool.decimals_a, pool.vault_a)
        side_b = (pool.mint_b, pool.decimals_b, pool.vault_b)
        (mint_in, decimals_in, vault_in), (mint_out, decimals_out, vault_out) = (
            (side_a, side_b) if self.a_to_b else (side_b, side_a)
        )
        program = token.TOKEN_PROGRAM
        paid = Leg(program, mint_in, decimals_in, self._user_in, vault_in, self._user)
        received = Leg(program, mint_out, decimals_out, vault_out, self._user_out, self._authority)
        transfers: tuple[Instruction, ...] = (
            paid.transfer(quote.amount_in),
            received.transfer(quote.amount_out),
        )
        return transfers, ()

    def _held(self) -> tuple[int, int]:
        vaults = (self._call.read(vault) for vault in (self._pool.vault_a, self._pool.vault_b))
        held_a, held_b = (token.token_amount(vault.data) if vault else 0 for vault in vaults)
        return held_a, held_b

    def _decoded(self) -> layout.PoolState:
        account = self._call.read(self._pool_key)
        if account is None or account.owner != layout.PROGRAM_ID:
            raise Stop(custom(INVALID_AMM_ACCOUNT_OWNER))
        try:
            return layout.decode_pool(account.data, account.owner)
        except DecodeError:
            raise Stop(custom(EXPECTED_ACCOUNT)) from None

    def _mint(self, address: Pubkey) -> Pubkey:
        account = self._call.read(address)
        if account is None or not token.is_token_account(account.data, account.owner):
            raise Stop(custom(EXPECTED_ACCOUNT))
        return Pubkey(account.data[:32])


def _require(holds: bool, error: int) -> None:
    if not holds:
        raise Stop(custom(error))
