"""PumpSwap told in Python: sell, buy and buy_exact_quote_in, errors by the program's own numbers.

Fees go where the program sends them: the pool's stays in its vault, the protocol's and the coin creator's
into their token accounts. Left out: volume counting, cashback, and the part of the protocol's fee that may go
to buybacks.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from solders.pubkey import Pubkey

from adapters.localnet import anchor
from adapters.localnet.emulated_swap import (
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
from adapters.solana.pool_program import SwapRequest
from adapters.solana.programs import pumpswap, pumpswap_swap, token
from adapters.solana.programs.pumpswap_layout import (
    GLOBAL_CONFIG,
    PROGRAM_ID,
    GlobalConfig,
    PoolState,
    decode_global_config,
    decode_pool,
)
from domain.market.amm.pumpswap import PumpSwapPool, PumpSwapQuote

ZERO_BASE_AMOUNT: Final = 6001
EXCEEDED_SLIPPAGE: Final = 6004
INVALID_PROTOCOL_FEE_RECIPIENT: Final = 6013
BUY_MORE_THAN_RESERVES: Final = 6016
DISABLED_BUY: Final = 6020
DISABLED_SELL: Final = 6021
OVERFLOW: Final = 6023
NOT_ENOUGH_FOR_FEES: Final = 6039
BUY_BELOW_MINIMUM: Final = 6040
BUYBACK_RECIPIENT_NOT_AUTHORIZED: Final = 6053

_REFUSALS: Final = Refusals(
    paused=custom(DISABLED_BUY),
    zero_amount=custom(ZERO_BASE_AMOUNT),
    no_quote=custom(OVERFLOW),
    nothing_out=custom(ZERO_BASE_AMOUNT),
    below_limit=custom(EXCEEDED_SLIPPAGE),
    above_limit=custom(EXCEEDED_SLIPPAGE),
    unfilled=custom(OVERFLOW),
    names={
        ZERO_BASE_AMOUNT: ("ZeroBaseAmount", "ZeroBaseAmount"),
        EXCEEDED_SLIPPAGE: ("ExceededSlippage", "ExceededSlippage"),
        INVALID_PROTOCOL_FEE_RECIPIENT: ("InvalidProtocolFeeRecipient", "InvalidProtocolFeeRecipient"),
        BUY_MORE_THAN_RESERVES: ("BuyMoreBaseAmountThanPoolReserves", "BuyMoreBaseAmountThanPoolReserves"),
        DISABLED_BUY: ("DisabledBuy", "DisabledBuy"),
        DISABLED_SELL: ("DisabledSell", "DisabledSell"),
        OVERFLOW: ("Overflow", "Overflow"),
        NOT_ENOUGH_FOR_FEES: (
            "BuyNotEnoughQuoteTokensToCoverFees",
            "buy: Not enough quote tokens to cover for fees.",
        ),
        BUY_BELOW_MINIMUM: (
            "BuySlippageBelowMinBaseAmountOut",
            "buy: slippage - would buy less tokens than expected min_base_amount_out",
        ),
        BUYBACK_RECIPIENT_NOT_AUTHORIZED: (
            "BuybackFeeRecipientNotAuthorized",
            "Buyback fee recipient not authorized",
        ),
    },
)
_KNOWN: Final = (pumpswap_swap.SELL, pumpswap_swap.BUY, pumpswap_swap.BUY_EXACT_QUOTE_IN)
_NAMES: Final = dict(zip(_KNOWN, ("Sell", "Buy", "BuyExactQuoteIn"), strict=True))
_FEWEST: Final = 23


def emulated_pumpswap() -> EmulatedSwaps[PumpSwapQuote]:
    """The three swap instructions of PumpSwap."""
    return EmulatedSwaps(lambda data: _NAMES.get(data[:8], "Swap"), _read, _REFUSALS)


def _read(call: Call) -> Swap[PumpSwapQuote]:
    arguments = anchor.arguments(pumpswap_swap.decode_swap, call.instruction.data, _KNOWN)
    order = Order(arguments.a_to_b, arguments.exact_in, arguments.amount, arguments.limit)
    swap = _Accounts(call, order)
    below = custom(EXCEEDED_SLIPPAGE if order.a_to_b else BUY_BELOW_MINIMUM)
    closed = _closed(order)
    return Swap(order, swap.tradable, swap.carry_out, lambda: swap.no_quote(order), below, closed)


class _Accounts:
    """One swap's accounts, each checked against the pool and the global config."""

    def __init__(self, call: Call, order: Order) -> None:
        metas = call.instruction.accounts
        anchor.require_count(metas, _FEWEST)
        keys = [meta.pubkey for meta in metas]
        self._call = call
        self._key, self._user = keys[:2]
        self._user_base, self._user_quote = keys[5:7]
        self._pool = anchor.decoded(decode_pool, anchor.owned(call, self._key, PROGRAM_ID))
        anchor.require_address(keys[2], GLOBAL_CONFIG, anchor.CONSTRAINT_SEEDS)
        config = anchor.decoded(decode_global_config, anchor.owned(call, GLOBAL_CONFIG, PROGRAM_ID))
        self._protocol, self._creator = keys[10], keys[17]
        self._accounts = passed(call)
        self._check(order, _recipients(self._pool, config, keys[9], keys[-2]))
        for user in (self._user_base, self._user_quote):
            anchor.require_token_account(call, user)

    def tradable(self) -> PumpSwapPool:
        """The pool as mathematics sees it now."""
        return pumpswap.quotable(self._key, self._accounts, self._call.time)

    def no_quote(self, order: Order) -> InstructionError:
        """The error of a swap that has no quote."""
        pool = self.tradable()
        if not (pool.sells if order.a_to_b else pool.buys):
            return _closed(order)
        if order.a_to_b:
            return custom(OVERFLOW)
        if order.exact_in:
            return custom(NOT_ENOUGH_FOR_FEES)
        return custom(BUY_MORE_THAN_RESERVES if order.amount >= pool.reserve_a else OVERFLOW)

    def carry_out(self, quote: PumpSwapQuote) -> CarriedOut:
        """The base tokens one way, the quote tokens the other, and the fees to their accounts."""
        pool, curve = self._pool, quote.curve_quote
        fees = ((self._protocol, quote.protocol_fee), (self._creator, quote.creator_fee))
        if quote.a_to_b:
            base = self._base(self._user_base, pool.base_vault, self._user)
            source, authority = pool.quote_vault, self._key
            parts = ((self._user_quote, quote.amount_out), *fees)
        else:
            base = self._base(pool.base_vault, self._user_base, self._key)
            source, authority = self._user_quote, self._user
            parts = ((pool.quote_vault, curve + quote.lp_fee), *fees)
        sold = base.transfer(quote.amount_in if quote.a_to_b else quote.amount_out)
        paid = [self._quote(source, to, authority).transfer(amount) for to, amount in parts if amount]
        return (sold, *paid), ()

    def _check(self, order: Order, recipients: tuple[Pubkey, Pubkey]) -> None:
        selling = order.a_to_b
        users = (self._user_base, self._user_quote)
        request = SwapRequest(
            self._key,
            self._accounts,
            self._user,
            *(users if selling else users[::-1]),
            selling,
            order.exact_in,
            order.amount,
            order.limit,
        )
        protocol, buyback = recipients
        named = replace(
            pumpswap.swap_accounts(request), protocol_recipient=protocol, buyback_recipient=buyback
        )
        build = (
            pumpswap_swap.sell(named, base_in=0, min_quote_out=0)
            if selling
            else (pumpswap_swap.buy(named, base_out=0, max_quote_in=0))
        )
        anchor.require_same(self._call.instruction.accounts, build.accounts, {})

    def _base(self, source: Pubkey, destination: Pubkey, authority: Pubkey) -> Leg:
        return self._leg(self._pool.base_mint, source, destination, authority)

    def _quote(self, source: Pubkey, destination: Pubkey, authority: Pubkey) -> Leg:
        return self._leg(self._pool.quote_mint, source, destination, authority)

    def _leg(self, mint: Pubkey, source: Pubkey, destination: Pubkey, authority: Pubkey) -> Leg:
        account = anchor.present(self._call, mint)
        decimals = anchor.decoded(token.decode_mint, account).decimals
        return Leg(account.owner, mint, decimals, source, destination, authority)


def _closed(order: Order) -> InstructionError:
    return custom(DISABLED_SELL if order.a_to_b else DISABLED_BUY)


def _recipients(
    pool: PoolState, config: GlobalConfig, protocol: Pubkey, buyback: Pubkey
) -> tuple[Pubkey, Pubkey]:
    """Hold the two fee recipients to the lists of the global config; the caller picks one of each."""
    reserved = (config.reserved_fee_recipient, *config.reserved_fee_recipients)
    if protocol not in (reserved if pool.mayhem else config.protocol_fee_recipients):
        raise Stop(custom(INVALID_PROTOCOL_FEE_RECIPIENT))
    if buyback not in config.buyback_fee_recipients:
        raise Stop(custom(BUYBACK_RECIPIENT_NOT_AUTHORIZED))
    return protocol, buyback
