"""Raydium CPMM told in Python: what the program at its real address would do with a swap.

The checks, their order and the error numbers are the program's (April 2026). Two things the program does
are left out, since nothing here reads them: the price observation and the swap event log. Instructions
other than the two swaps are refused as unknown.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from solders.instruction import AccountMeta

from adapters.localnet import anchor
from adapters.localnet.emulated_swap import (
    PANIC,
    CarriedOut,
    EmulatedSwaps,
    Leg,
    Order,
    Refusals,
    Swap,
    rewritten,
)
from adapters.localnet.emulation import Call, Stop
from adapters.localnet.transaction_error import custom
from adapters.solana.programs import raydium_cpmm as cpmm
from adapters.solana.programs import token
from domain.market.amm.constant_product import ConstantProductPool, ConstantProductQuote

NOT_APPROVED: Final = 6000
EXCEEDED_SLIPPAGE: Final = 6005

_REFUSALS: Final = Refusals(
    paused=custom(NOT_APPROVED),
    zero_amount=custom(anchor.REQUIRE_GT_VIOLATED),
    no_quote=PANIC,
    nothing_out=custom(anchor.REQUIRE_GT_VIOLATED),
    below_limit=custom(EXCEEDED_SLIPPAGE),
    above_limit=custom(EXCEEDED_SLIPPAGE),
    unfilled=PANIC,
    names={
        NOT_APPROVED: ("NotApproved", "Not approved"),
        EXCEEDED_SLIPPAGE: ("ExceededSlippage", "Exceeds desired slippage limit"),
    },
)


def emulated_cpmm() -> EmulatedSwaps[ConstantProductQuote]:
    """The two swap instructions of Raydium CPMM."""
    return EmulatedSwaps(_name, _read, _REFUSALS)


def _name(data: bytes) -> str:
    return "SwapBaseOutput" if data[:8] == cpmm.SWAP_BASE_OUTPUT else "SwapBaseInput"


def _read(call: Call) -> Swap[ConstantProductQuote]:
    arguments = anchor.arguments(
        cpmm.decode_swap, call.instruction.data, (cpmm.SWAP_BASE_INPUT, cpmm.SWAP_BASE_OUTPUT)
    )
    swap = _Accounts(call)
    if not swap.pool.accepts_swaps(call.time.unix_time):
        raise Stop(custom(NOT_APPROVED))
    order = Order(swap.a_to_b, arguments.exact_in, arguments.amount, arguments.limit)
    return Swap(order, swap.tradable, swap.carry_out)


class _Accounts:
    """One swap's accounts, each checked against the pool."""

    def __init__(self, call: Call) -> None:
        metas = call.instruction.accounts
        anchor.require_count(metas, 13)
        keys = [meta.pubkey for meta in metas]
        self._call = call
        self._payer, authority, config_key, self._pool_key, self._user_in, self._user_out = keys[:6]
        self._vault_in, self._vault_out, self._program_in, self._program_out = keys[6:10]
        self._mint_in, self._mint_out, observation = keys[10:13]
        anchor.require_signer(metas[0])
        anchor.require_address(authority, cpmm.AUTHORITY, anchor.CONSTRAINT_SEEDS)
        self._pool_account = anchor.owned(call, self._pool_key, cpmm.PROGRAM_ID)
        self.pool = anchor.decoded(cpmm.decode_pool, self._pool_account)
        anchor.require_address(config_key, self.pool.amm_config)
        self._config = anchor.decoded(cpmm.decode_config, anchor.owned(call, config_key, cpmm.PROGRAM_ID))
        anchor.require_address(observation, self.pool.observation)
        self._check_sides(metas)

    def tradable(self) -> ConstantProductPool:
        """The pool as mathematics sees it now."""
        mints = [anchor.present(self._call, mint) for mint in (self.pool.mint_a, self.pool.mint_b)]
        fee_a, fee_b = (token.transfer_fee(mint.data, mint.owner, self._call.time.epoch) for mint in mints)
        vaults = [anchor.present(self._call, vault) for vault in (self.pool.vault_a, self.pool.vault_b)]
        held_a, held_b = (token.token_amount(vault.data) for vault in vaults)
        return cpmm.tradable(self.pool, self._config, held_a, held_b, (fee_a, fee_b))

    def carry_out(self, quote: ConstantProductQuote) -> CarriedOut:
        """User to vault, vault to user, and the pool account with the fees it now owes."""
        decimals = (self.pool.decimals_a, self.pool.decimals_b)
        decimals_in, decimals_out = decimals if self.a_to_b else decimals[::-1]
        paid = Leg(self._program_in, self._mint_in, decimals_in, self._user_in, self._vault_in, self._payer)
        received = Leg(
            self._program_out, self._mint_out, decimals_out, self._vault_out, self._user_out, cpmm.AUTHORITY
        )
        transfers = (
            paid.transfer(quote.amount_in),
            received.transfer(quote.amount_out + quote.out_transfer_fee),
        )
        data = cpmm.encode_pool(_after(self.pool, quote, self._call.time.epoch))
        return transfers, ((self._pool_key, rewritten(self._pool_account, data)),)

    def _check_sides(self, metas: Sequence[AccountMeta]) -> None:
        pool = self.pool
        side_a = (pool.vault_a, pool.token_program_a, pool.mint_a)
        side_b = (pool.vault_b, pool.token_program_b, pool.mint_b)
        self.a_to_b = self._vault_in == pool.vault_a
        if (self._vault_in, self._vault_out) not in ((side_a[0], side_b[0]), (side_b[0], side_a[0])):
            raise Stop(custom(anchor.CONSTRAINT_RAW))
        wanted_in, wanted_out = (side_a, side_b) if self.a_to_b else (side_b, side_a)
        anchor.require_address(self._program_in, wanted_in[1])
        anchor.require_address(self._program_out, wanted_out[1])
        anchor.require_address(self._mint_in, wanted_in[2])
        anchor.require_address(self._mint_out, wanted_out[2])
        for address in (self._user_in, self._user_out):
            anchor.require_token_account(self._call, address)
        anchor.require_writable(metas, (3, 4, 5, 6, 7, 12))


def _after(pool: cpmm.PoolState, quote: ConstantProductQuote, epoch: int) -> cpmm.PoolState:
    """The pool's account with the fees of one more swap."""
    creator_on_a = quote.creator_fee_on_input == quote.a_to_b
    fees_on_a = quote.a_to_b
    return replace(
        pool,
        protocol_fees_a=pool.protocol_fees_a + (quote.protocol_fee if fees_on_a else 0),
        protocol_fees_b=pool.protocol_fees_b + (0 if fees_on_a else quote.protocol_fee),
        fund_fees_a=pool.fund_fees_a + (quote.fund_fee if fees_on_a else 0),
        fund_fees_b=pool.fund_fees_b + (0 if fees_on_a else quote.fund_fee),
        creator_fees_a=pool.creator_fees_a + (quote.creator_fee if creator_on_a else 0),
        creator_fees_b=pool.creator_fees_b + (0 if creator_on_a else quote.creator_fee),
        recent_epoch=epoch,
    )
