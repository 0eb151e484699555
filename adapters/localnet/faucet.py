"""Money for wallets of the local network, sent by real signed transactions so that every balance has one."""

from __future__ import annotations

from itertools import count

from solders.instruction import Instruction
from solders.keypair import Keypair
from solders.message import MessageV0
from solders.pubkey import Pubkey
from solders.signature import Signature
from solders.system_program import TransferParams, transfer
from solders.token import ID as TOKEN_PROGRAM
from solders.transaction import VersionedTransaction

from adapters.localnet.founding import USDC_MINT, WSOL_MINT
from adapters.localnet.history import Executed
from adapters.localnet.ledger import Ledger
from adapters.localnet.transaction_error import sentence
from adapters.solana.programs.associated_token import associated_address, create_idempotent
from adapters.solana.programs.memo import memo
from adapters.solana.programs.token import transfer_checked
from domain.errors import InvalidInput


class Faucet:
    """Pays out of the faucet's own accounts; nothing is minted."""

    def __init__(self, ledger: Ledger, keypair: Keypair) -> None:
        self._ledger = ledger
        self._keypair = keypair
        self.address = keypair.pubkey()
        self._serial = count(1)

    def fund(self, wallet: Pubkey, *, lamports: int = 0, wsol: int = 0, usdc: int = 0) -> Signature:
        """Send lamports, and tokens to `wallet`'s associated accounts, which are created where missing.

        Raises:
            InvalidInput: nothing was asked for, or the transaction failed, e.g. an amount too small for rent.
        """
        instructions: list[Instruction] = []
        if lamports:
            instructions.append(
                transfer(TransferParams(from_pubkey=self.address, to_pubkey=wallet, lamports=lamports))
            )
        for mint, amount, decimals in ((WSOL_MINT, wsol, 9), (USDC_MINT, usdc, 6)):
            if amount:
                instructions += self._token_payment(wallet, mint, amount, decimals)
        if not instructions:
            raise InvalidInput(f"funding {wallet}: no amount was given; name lamports, wsol or usdc")
        # Two equal payments in one block would be one transaction; the serial number makes them two.
        return self._send([*instructions, memo(f"faucet payment {next(self._serial)}")], wallet)

    def _token_payment(self, wallet: Pubkey, mint: Pubkey, amount: int, decimals: int) -> list[Instruction]:
        pay = transfer_checked(
            TOKEN_PROGRAM,
            source=associated_address(self.address, mint),
            mint=mint,
            destination=associated_address(wallet, mint),
            authority=self.address,
            amount=amount,
            decimals=decimals,
        )
        return [create_idempotent(self.address, wallet, mint), pay]

    def _send(self, instructions: list[Instruction], wallet: Pubkey) -> Signature:
        blockhash = self._ledger.blocks.open.blockhash
        message = MessageV0.try_compile(self.address, instructions, [], blockhash)
        executed = self._ledger.submit(VersionedTransaction(message, [self._keypair]))
        error = executed.outcome.error if isinstance(executed, Executed) else executed
        if not isinstance(executed, Executed) or error is not None:
            raise InvalidInput(
                f"funding {wallet}: the payment failed: {sentence(error or 'AccountNotFound')}"
            )
        return executed.signature
