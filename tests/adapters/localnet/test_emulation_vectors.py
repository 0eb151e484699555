"""The emulated programs against what the real ones did: every vector replayed as a signed transaction."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from pumpswap_accounts import BUYBACK, RECIPIENTS, RESERVED, accounts_around, fees
from solders.account import Account
from solders.instruction import Instruction
from solders.keypair import Keypair
from solders.message import MessageV0
from solders.pubkey import Pubkey
from solders.transaction import VersionedTransaction
from vector_accounts import account_bytes, vector_pools

from adapters.localnet.history import Executed
from adapters.localnet.ledger import SLOTS_PER_EPOCH, Ledger
from adapters.solana.accounts import Account as ChainAccount
from adapters.solana.pool_program import PoolProgram, SwapRequest
from adapters.solana.pool_programs import POOL_PROGRAMS
from adapters.solana.programs import pumpswap, pumpswap_swap, token
from adapters.solana.programs.associated_token import associated_address

U64_MAX = 2**64 - 1
LAMPORTS = 10**10
NOW_S = 1_760_000_000
USER = Keypair.from_seed(bytes(31) + b"\x09")
WALLET = USER.pubkey()
SIDES = {"a": Pubkey(bytes(31) + b"\x0a"), "b": Pubkey(bytes(31) + b"\x0b")}
EXECUTED = {name: one for name, one in POOL_PROGRAMS.items() if name != "pumpswap"}
"""Of which the vectors say what a binary did."""


class Replay:
    """One vector pool on a chain of the vector's time and epoch."""

    def __init__(self, program: PoolProgram, vector: dict[str, Any]) -> None:
        self.program = program
        self.accounts = dict(_accounts(vector["accounts"]))
        self.pool = Pubkey.from_string(vector["accounts"]["pool"]["pubkey"])
        seconds = int(vector.get("timestamp", NOW_S))
        slot = int(vector.get("epoch", 1_000)) * SLOTS_PER_EPOCH
        self.ledger = Ledger(lambda: seconds * 1_000_000, first_slot=slot)
        self.ledger.set_account(WALLET, Account(10**12, b"", Pubkey.default()))
        self.changed = set(self.accounts)
        self.vaults = {side: Pubkey.from_string(vector["accounts"][name]["pubkey"])
                       for side, name in (("a", "vaultA"), ("b", "vaultB"))}  # fmt: skip

    def run(self, case: dict[str, Any]) -> tuple[Any, int, int]:
        """Swap as the case says; gives (error, spent, received)."""
        exact_in, amount = case["mode"] == "exact_in", int(case["amount"])
        most = amount if exact_in else int(case["program"].get("spent", 2**62))
        return self.swap(amount, most, a_to_b=case["side"] == "a_to_b", exact_in=exact_in)

    def swap(self, amount: int, most: int, *, a_to_b: bool, exact_in: bool) -> tuple[Any, int, int]:
        """Swap with `most` of the input in hand; gives (error, spent, received)."""
        side_in, side_out = ("a", "b") if a_to_b else ("b", "a")
        for key in self.changed & self.accounts.keys():
            data, owner = self.accounts[key]
            self.ledger.set_account(key, Account(LAMPORTS, data, owner))
        self._give(side_in, most)
        self._give(side_out, 0)
        limit = 0 if exact_in else U64_MAX
        user_in, user_out = SIDES[side_in], SIDES[side_out]
        request = SwapRequest(
            self.pool, self._read(), WALLET, user_in, user_out, a_to_b, exact_in, amount, limit
        )
        executed = self._submit(self.program.swap(request))
        self.changed = set(executed.changed)
        return executed.outcome.error, most - self._held(side_in), self._held(side_out)

    def _submit(self, built: Instruction) -> Executed:
        self.ledger.advance()
        message = MessageV0.try_compile(WALLET, [built], [], self.ledger.blocks.open.blockhash)
        executed = self.ledger.submit(VersionedTransaction(message, [USER]))
        assert isinstance(executed, Executed), executed
        return executed

    def _read(self) -> dict[Pubkey, ChainAccount | None]:
        return {key: ChainAccount(LAMPORTS, owner, data) for key, (data, owner) in self.accounts.items()}

    def _give(self, side: str, amount: int) -> None:
        """The user's account is the vault's with another owner and amount, extensions included."""
        data, owner = self.accounts[self.vaults[side]]
        mine = data[:32] + bytes(WALLET) + amount.to_bytes(8, "little") + data[72:]
        self.ledger.set_account(SIDES[side], Account(LAMPORTS, mine, owner))

    def _held(self, side: str) -> int:
        account = self.ledger.account(SIDES[side])
        assert account is not None
        return token.token_amount(account.data)


class PumpSwapReplay(Replay):
    """A PumpSwap vector, which gives the pool's bytes and says in words what lies around it."""

    def __init__(self, vector: dict[str, Any]) -> None:
        state = vector["decoded"]["pool"]
        names = (("vaultA", "poolBaseTokenAccount"), ("vaultB", "poolQuoteTokenAccount"))
        vaults = {name: {"pubkey": state[key]} for name, key in names}
        super().__init__(pumpswap.PROGRAM, {**vector, "accounts": {**vector["accounts"], **vaults}})
        around = accounts_around(vector)
        self.accounts = {key: (one.data, one.owner) for key, one in around.items() if one}
        quote = Pubkey.from_string(state["quoteMint"])
        creator = pumpswap_swap.creator_vault_authority(Pubkey.from_string(state["coinCreator"]))
        for owner in (*RECIPIENTS, *RESERVED, *BUYBACK, creator):
            held = token.encode_token_account(quote, owner, 0)
            self.accounts[associated_address(owner, quote)] = (held, token.TOKEN_PROGRAM)
        self.changed = set(self.accounts)


def _accounts(raw: Any) -> Iterator[tuple[Pubkey, tuple[bytes, Pubkey]]]:  # noqa: ANN401 - nested JSON
    """Every account of a vector, however deep."""
    if isinstance(raw, dict) and "pubkey" in raw:
        if raw.get("data") is not None:
            yield Pubkey.from_string(raw["pubkey"]), account_bytes(raw)
    elif isinstance(raw, dict | list):
        for one in raw.values() if isinstance(raw, dict) else raw:
            yield from _accounts(one)


def wanted(case: dict[str, Any]) -> tuple[Any, int, int]:
    """What the real program did, in the same terms; the vectors' swap was their second instruction."""
    program = case["program"]
    if program["ok"]:
        return None, int(program["spent"]), int(program["received"])
    number = program["err"].partition("Custom(")[2].partition(")")[0]
    error = {"Custom": int(number)} if number else "ProgramFailedToComplete"
    return {"InstructionError": [0, error]}, 0, 0


def test_pumpswap_does_what_its_sdk_reckons() -> None:
    """No PumpSwap binary was at hand, so its numbers are the SDK's: every case that has a swap and a u64."""
    graded = 0
    for vector in vector_pools("pumpswap"):
        replay = PumpSwapReplay(vector)
        for case in vector["cases"]:
            if "error" in case or case.get("amountOut") == "0" or int(case.get("amountIn", 0)) > U64_MAX:
                continue
            if (case["side"], case["mode"]) == ("sell", "exact_out"):
                continue  # the program has no such instruction
            amount, exact_in = int(case["amount"]), case["mode"] == "exact_in"
            error, spent, received = replay.swap(
                amount, int(case.get("amountIn", amount)), a_to_b=case["side"] == "sell", exact_in=exact_in
            )
            assert error is None, case
            if exact_in:
                assert (spent, received) == (_taken(vector, case), int(case["amountOut"])), case
            else:
                assert (spent, received) == (int(case["amountIn"]), amount), case
            graded += 1
    print(f"replayed pumpswap: {graded} cases as the SDK reckons them")  # noqa: T201 - the figure asked for
    assert graded > 150


def _taken(vector: dict[str, Any], case: dict[str, Any]) -> int:
    """What leaves the user's account: all of a sale; of a buy the curve's part and three fees rounded up."""
    if case["side"] == "sell":
        return int(case["amount"])
    curve, (lp, protocol, creator) = int(case["quoteWithoutFees"]), fees(vector["feesBps"])
    paid = creator if vector["coinCreator"] != str(Pubkey.default()) else 0
    return curve + sum(-(-curve * rate // 10_000) for rate in (lp, protocol, paid))


VECTORS = [(name, vector) for name in EXECUTED for vector in vector_pools(name)]


@pytest.mark.parametrize(
    ("protocol", "vector"), VECTORS, ids=[f"{name}-{one['seed']}-{one['kind']}" for name, one in VECTORS]
)
def test_the_emulation_does_what_the_real_program_did(protocol: str, vector: dict[str, Any]) -> None:
    """Spent, received and the error of every case a program executed, mints with transfer fees included."""
    replay = Replay(EXECUTED[protocol], vector)
    graded = [case for case in vector["cases"] if case.get("program")]
    results = [(case, replay.run(case), wanted(case)) for case in graded]
    different = [result for result in results if result[1] != result[2]]
    print(f"replayed {protocol} {vector['kind']}: {len(results) - len(different)} of {len(results)} equal")  # noqa: T201 - the figure asked for
    assert not different
