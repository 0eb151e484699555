"""Builds an order's one transaction: budget, legs, tip; signed; the same bytes for the same inputs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from solders.compute_budget import set_compute_unit_limit, set_compute_unit_price
from solders.hash import Hash
from solders.instruction import Instruction
from solders.message import Message, to_bytes_versioned
from solders.pubkey import Pubkey
from solders.signature import Signature as RawSignature
from solders.system_program import TransferParams, transfer
from solders.transaction import VersionedTransaction

from adapters.solana.accounts import public_key
from adapters.solana.pool_directory import PROTOCOL, PoolDirectory
from adapters.solana.programs.associated_token import associated_address
from adapters.solana.programs.compute_budget import MAX_UNITS
from adapters.solana.programs.raydium_cpmm import PoolState, swap_accounts, swap_base_input
from adapters.solana.signers import Signer
from commands.ports import RecentBlockhash, SignedTransaction
from domain.chain import Address, Blockhash, Signature
from domain.errors import DecodeError, InvalidInput
from domain.money import U64_MAX, Lamports
from domain.trading.events import Leg

MAX_TRANSACTION_BYTES: Final = 1_232
"""What fits one IPv6 packet (1,280) less its headers; a node takes no more."""


class CycleTransactionBuilder:
    """Builds and signs transactions for the wallets whose signers it holds.

    Tokens go from and to the wallet's associated token accounts, which must exist.

    Args:
        directory: where the pools' accounts are looked up.
        signers: one for each wallet.
        tip_account: who gets the tip; none when no order pays one.
    """

    def __init__(
        self, directory: PoolDirectory, signers: Iterable[Signer], *, tip_account: Address | None = None
    ) -> None:
        self._directory = directory
        self._signers = {signer.address: signer for signer in signers}
        self._tip_account = None if tip_account is None else public_key(tip_account)

    async def build(
        self,
        *,
        wallet: Address,
        legs: Sequence[Leg],
        tip_lamports: Lamports,
        compute_unit_limit: int,
        compute_unit_price_micro_lamports: int,
        recent: RecentBlockhash,
    ) -> SignedTransaction:
        """All legs, budget and tip in one transaction, signed by the wallet's key.

        Raises:
            InvalidInput: an unknown pool or wallet, an amount out of range, or over 1,232 bytes.
            ChainUnavailable: pool accounts had to be read and were not answered.
        """
        signer = self._signers.get(wallet)
        if signer is None:
            raise InvalidInput(f"signing for wallet {wallet}: its key is not loaded; name its key file")
        payer = public_key(wallet)
        instructions = _budget(compute_unit_limit, compute_unit_price_micro_lamports)
        instructions += [await self._swap(payer, leg) for leg in legs]
        instructions += self._tip(payer, tip_lamports)
        # The legacy form: two bytes smaller than version 0 as long as no lookup table is used.
        message = Message.new_with_blockhash(instructions, payer, _hash(recent.blockhash))
        signature = RawSignature.from_bytes(await signer.sign(to_bytes_versioned(message)))
        transaction = bytes(VersionedTransaction.populate(message, [signature]))
        if len(transaction) > MAX_TRANSACTION_BYTES:
            raise InvalidInput(
                f"a transaction of {len(legs)} legs has {len(transaction)} bytes, a node takes "
                f"{MAX_TRANSACTION_BYTES}: use fewer legs"
            )
        return SignedTransaction(
            Signature(str(signature)), transaction, recent.blockhash, recent.last_valid_block_height
        )

    async def _swap(self, payer: Pubkey, leg: Leg) -> Instruction:
        state = await self._pool(leg)
        mint_in, mint_out = public_key(leg.mint_in), public_key(leg.mint_out)
        if {mint_in, mint_out} != {state.mint_a, state.mint_b}:
            raise InvalidInput(
                f"swapping {leg.mint_in} for {leg.mint_out} in pool {leg.pool}: it trades {state.mint_a} and "
                f"{state.mint_b}; check the route"
            )
        if not (0 < leg.amount_in <= U64_MAX and 0 <= leg.min_amount_out <= U64_MAX):
            raise InvalidInput(
                f"swapping {leg.amount_in} for at least {leg.min_amount_out} in pool {leg.pool}: amounts on "
                "chain are whole numbers below 2^64; check the route"
            )
        a_to_b = mint_in == state.mint_a
        programs = (state.token_program_a, state.token_program_b)
        accounts = swap_accounts(
            public_key(leg.pool),
            state,
            payer=payer,
            user_in=associated_address(payer, mint_in, programs[0 if a_to_b else 1]),
            user_out=associated_address(payer, mint_out, programs[1 if a_to_b else 0]),
            a_to_b=a_to_b,
        )
        return swap_base_input(accounts, amount_in=leg.amount_in, minimum_amount_out=leg.min_amount_out)

    async def _pool(self, leg: Leg) -> PoolState:
        if leg.protocol != PROTOCOL:
            raise InvalidInput(
                f"a leg names protocol {leg.protocol!r}, known is {PROTOCOL!r}: check the route"
            )
        try:
            return await self._directory.pool(leg.pool)
        except DecodeError as error:
            raise InvalidInput(f"building a swap: {error}") from error

    def _tip(self, payer: Pubkey, lamports: Lamports) -> list[Instruction]:
        if lamports == 0:
            return []
        if self._tip_account is None:
            raise InvalidInput(
                f"a tip of {lamports} lamports was asked for, but no tip account is set: set one"
            )
        if not 0 < lamports <= U64_MAX:
            raise InvalidInput(f"a tip of {lamports} lamports was asked for: give a whole number below 2^64")
        return [transfer(TransferParams(from_pubkey=payer, to_pubkey=self._tip_account, lamports=lamports))]


def _budget(unit_limit: int, unit_price_micro_lamports: int) -> list[Instruction]:
    if not 0 < unit_limit <= MAX_UNITS or not 0 <= unit_price_micro_lamports <= U64_MAX:
        raise InvalidInput(
            f"a budget of {unit_limit} compute units at {unit_price_micro_lamports} micro-lamports was asked "
            f"for: give 1 to {MAX_UNITS} units and a price below 2^64"
        )
    limit = set_compute_unit_limit(unit_limit)
    return (
        [limit, set_compute_unit_price(unit_price_micro_lamports)] if unit_price_micro_lamports else [limit]
    )


def _hash(blockhash: Blockhash) -> Hash:
    try:
        return Hash.from_string(blockhash)
    except ValueError as error:
        raise InvalidInput(f"{blockhash!r} is no blockhash: {error}") from error
