"""The emulated Raydium CPMM against what the real program did: every vector replayed as a transaction."""

from __future__ import annotations

from typing import Any

import pytest
from solders.account import Account
from solders.keypair import Keypair
from solders.message import MessageV0
from solders.pubkey import Pubkey
from solders.transaction import VersionedTransaction
from vector_accounts import account_bytes, vector_pools

from adapters.localnet.history import Executed
from adapters.localnet.ledger import SLOTS_PER_EPOCH, Ledger
from adapters.solana.programs import raydium_cpmm as cpmm
from adapters.solana.programs import token

U64_MAX = 2**64 - 1
USER = Keypair.from_seed(bytes(31) + b"\x09")
WALLET = USER.pubkey()
SIDES = {"a": Pubkey(bytes(31) + b"\x0a"), "b": Pubkey(bytes(31) + b"\x0b")}


class Replay:
    """One vector pool on a chain of the vector's epoch."""

    def __init__(self, vector: dict[str, Any]) -> None:
        self.accounts = {name: account_bytes(raw) for name, raw in vector["accounts"].items()}
        self.keys = {name: Pubkey.from_string(raw["pubkey"]) for name, raw in vector["accounts"].items()}
        self.ledger = Ledger(lambda: 1_760_000_000_000_000, first_slot=vector["epoch"] * SLOTS_PER_EPOCH)
        self.ledger.set_account(WALLET, Account(10**12, b"", Pubkey.default()))

    def run(self, case: dict[str, Any]) -> tuple[Any, int, int]:
        """Swap as the case says; gives (error, spent, received)."""
        a_to_b = case["side"] == "a_to_b"
        side_in, side_out = ("a", "b") if a_to_b else ("b", "a")
        exact_in, amount = case["mode"] == "exact_in", int(case["amount"])
        most = amount if exact_in else int(case["program"].get("spent", 2**62))
        for name, (data, owner) in self.accounts.items():
            self.ledger.set_account(self.keys[name], Account(10**10, data, owner))
        self._give(side_in, most)
        self._give(side_out, 0)
        data, owner = self.accounts["pool"]
        accounts = cpmm.swap_accounts(
            self.keys["pool"],
            cpmm.decode_pool(data, owner),
            payer=WALLET,
            user_in=SIDES[side_in],
            user_out=SIDES[side_out],
            a_to_b=a_to_b,
        )
        built = (
            cpmm.swap_base_input(accounts, amount_in=amount, minimum_amount_out=0)
            if exact_in
            else cpmm.swap_base_output(accounts, max_amount_in=U64_MAX, amount_out=amount)
        )
        self.ledger.advance()
        message = MessageV0.try_compile(WALLET, [built], [], self.ledger.blocks.open.blockhash)
        executed = self.ledger.submit(VersionedTransaction(message, [USER]))
        assert isinstance(executed, Executed)
        return executed.outcome.error, most - self._held(side_in), self._held(side_out)

    def _give(self, side: str, amount: int) -> None:
        """The user's account is the vault's with another owner and amount, extensions included."""
        data, owner = self.accounts[f"vault{side.upper()}"]
        mine = data[:32] + bytes(WALLET) + amount.to_bytes(8, "little") + data[72:]
        self.ledger.set_account(SIDES[side], Account(10**10, mine, owner))

    def _held(self, side: str) -> int:
        account = self.ledger.account(SIDES[side])
        assert account is not None
        return token.token_amount(account.data)


def wanted(case: dict[str, Any]) -> tuple[Any, int, int]:
    """What the real program did, in the same terms."""
    program = case["program"]
    if program["ok"]:
        return None, int(program["spent"]), int(program["received"])
    error = {"Custom": 2505} if "Custom(2505)" in program["err"] else "ProgramFailedToComplete"
    return {"InstructionError": [0, error]}, 0, 0


@pytest.mark.parametrize(
    "vector", vector_pools("raydium_cpmm"), ids=lambda vector: f"{vector['seed']}-{vector['kind']}"
)
def test_the_emulation_does_what_the_real_program_did(vector: dict[str, Any]) -> None:
    """Spent, received and the error of every case, over mints with and without transfer fees."""
    replay = Replay(vector)
    results = [(case, replay.run(case), wanted(case)) for case in vector["cases"]]
    different = [result for result in results if result[1] != result[2]]
    print(f"replayed {vector['kind']}: {len(results) - len(different)} of {len(results)} equal")  # noqa: T201 - the figure asked for
    assert not different
