"""The JSON-RPC methods that read accounts, balances and rent."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from solders.account import Account
from solders.pubkey import Pubkey

from adapters.localnet.blocks import Block
from adapters.localnet.encoding import Json, account_json, parse_pubkey, ui_amount
from adapters.localnet.ledger import Ledger
from adapters.localnet.params import Config, Params
from adapters.localnet.refusals import invalid_params, min_context_slot_not_reached
from adapters.solana.programs import token

API_VERSION = "2.3.0"
MAX_MULTIPLE_ACCOUNTS = 100

_DELEGATED = b"\x01\0\0\0"
_DELEGATE_AT, _DELEGATE_END = 72, 108

Method = Callable[[Params], Any]


def view(ledger: Ledger, config: Config, key: str = "commitment") -> Block:
    """The block a call reads at; `key` names the commitment in the configuration.

    Raises:
        RpcRefusal: the block of that commitment is older than `minContextSlot`.
    """
    block = ledger.blocks.at(config.commitment(key))
    wanted = config.integer("minContextSlot")
    if wanted is not None and block.slot < wanted:
        raise min_context_slot_not_reached(block.slot)
    return block


def in_context(block: Block, value: Any) -> Json:  # noqa: ANN401 - any JSON
    """Wrap an answer with the slot it was read at."""
    return {"context": {"apiVersion": API_VERSION, "slot": block.slot}, "value": value}


class AccountMethods:
    """Accounts as they were at the slot of the asked commitment."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def methods(self) -> dict[str, Method]:
        """The methods by their JSON-RPC names."""
        return {
            "getAccountInfo": self.account_info,
            "getBalance": self.balance,
            "getMinimumBalanceForRentExemption": self.minimum_balance,
            "getMultipleAccounts": self.multiple_accounts,
            "getProgramAccounts": self.program_accounts,
            "getTokenAccountBalance": self.token_account_balance,
            "getTokenAccountsByDelegate": self.token_accounts_by_delegate,
            "getTokenAccountsByOwner": self.token_accounts_by_owner,
            "getTokenSupply": self.token_supply,
        }

    def account_info(self, params: Params) -> Json:
        """One account, null where there is none."""
        address, config = params.pubkey(0), params.config(1)
        block = view(self._ledger, config)
        return in_context(block, self._one(address, config, block, "binary"))

    def multiple_accounts(self, params: Params) -> Json:
        """Up to 100 accounts of one slot, in order."""
        addresses, config = params.texts(0, at_most=MAX_MULTIPLE_ACCOUNTS), params.config(1)
        block = view(self._ledger, config)
        keys = [parse_pubkey(address) for address in addresses]
        return in_context(block, [self._one(key, config, block, "base64") for key in keys])

    def balance(self, params: Params) -> Json:
        """Lamports of one account, 0 where there is none."""
        address = params.pubkey(0)
        block = view(self._ledger, params.config(1))
        account = self._ledger.account(address, block.slot)
        return in_context(block, account.lamports if account else 0)

    def minimum_balance(self, params: Params) -> int:
        """Lamports an account of that many bytes must hold."""
        return self._ledger.rent(params.integer(0))

    def program_accounts(self, params: Params) -> Any:  # noqa: ANN401 - a list, or one in context
        """Every account of a program that passes all filters."""
        program, config = params.pubkey(0), params.config(1)
        block = view(self._ledger, config)
        filters = config.filters()
        found = [
            {"pubkey": str(key), "account": self._json(account, config, "base64")}
            for key, account in self._ledger.program_accounts(program, block.slot)
            if all(item.matches(account.data) for item in filters)
        ]
        return in_context(block, found) if config.flag("withContext") else found

    def token_account_balance(self, params: Params) -> Json:
        """What one token account holds."""
        address = params.pubkey(0)
        block = view(self._ledger, params.config(1))
        account = self._ledger.account(address, block.slot)
        if account is None:
            raise invalid_params("Invalid param: could not find account")
        if not token.is_token_account(account.data, account.owner):
            raise invalid_params("Invalid param: not a Token account")
        held = token.decode_token_account(account.data, account.owner)
        return in_context(block, ui_amount(held.amount, self._ledger.decimals(held.mint)))

    def token_supply(self, params: Params) -> Json:
        """How much of a mint there is."""
        address = params.pubkey(0)
        block = view(self._ledger, params.config(1))
        account = self._ledger.account(address, block.slot)
        if account is None:
            raise invalid_params("Invalid param: could not find account")
        mint = token.decode_mint(account.data, account.owner)
        return in_context(block, ui_amount(mint.supply, mint.decimals))

    def token_accounts_by_owner(self, params: Params) -> Json:
        """Every token account of a wallet, of one mint or of one token program."""
        return self._token_accounts(params, lambda data, key: data[32:64] == key)

    def token_accounts_by_delegate(self, params: Params) -> Json:
        """Every token account that a delegate may spend of, of one mint or of one token program."""
        return self._token_accounts(
            params, lambda data, key: data[_DELEGATE_AT:_DELEGATE_END] == _DELEGATED + key
        )

    def _token_accounts(self, params: Params, matches: Callable[[bytes, bytes], bool]) -> Json:
        owner, config = params.pubkey(0), params.config(2)
        mint, programs = self._token_filter(params.mapping(1))
        block = view(self._ledger, config)
        found = [
            {"pubkey": str(key), "account": self._json(account, config, "base64")}
            for program in programs
            for key, account in self._ledger.program_accounts(program, block.slot)
            if token.is_token_account(account.data, account.owner)
            and matches(account.data, bytes(owner))
            and (mint is None or account.data[:32] == bytes(mint))
        ]
        return in_context(block, found)

    def _token_filter(self, wanted: Json) -> tuple[Pubkey | None, tuple[Pubkey, ...]]:
        if "mint" in wanted:
            mint = parse_pubkey(str(wanted["mint"]))
            if self._ledger.account(mint) is None:
                raise invalid_params("Invalid param: could not find mint")
            return mint, token.TOKEN_PROGRAMS
        if "programId" in wanted:
            program = parse_pubkey(str(wanted["programId"]))
            if program not in token.TOKEN_PROGRAMS:
                raise invalid_params("Invalid param: unrecognized Token program id")
            return None, (program,)
        raise invalid_params("Invalid params: expected a mint or a programId.")

    def _one(self, address: Pubkey, config: Config, block: Block, encoding: str) -> Json | None:
        account = self._ledger.account(address, block.slot)
        return None if account is None else self._json(account, config, encoding)

    def _json(self, account: Account, config: Config, encoding: str) -> Json:
        return account_json(self._ledger, account, config.encoding(encoding), config.data_slice())
