"""The local chain keeps a node's rules: atomic, conserving, one landing a signature, forks that vanish."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from localnets import SOL, LocalChain, local_chain
from solders.account import Account
from solders.address_lookup_table_account import AddressLookupTableAccount
from solders.compute_budget import set_compute_unit_limit, set_compute_unit_price
from solders.instruction import Instruction
from solders.keypair import Keypair
from solders.message import Message, MessageV0
from solders.pubkey import Pubkey
from solders.transaction import VersionedTransaction

from adapters.localnet.blocks import FINALIZED_AFTER, MAX_AGE
from adapters.localnet.founding import USDC_MINT, WSOL_MINT
from adapters.localnet.history import Executed
from adapters.localnet.transaction_error import sentence
from adapters.solana.programs import raydium_cpmm as cpmm
from adapters.solana.programs import token
from adapters.solana.programs.compute_budget import read_budget
from adapters.solana.programs.lookup_table import create_lookup_table, extend_lookup_table
from adapters.solana.programs.memo import memo
from domain.chain import Commitment
from domain.errors import InvalidInput

STRANGER = Pubkey(bytes(31) + b"\x63")


@pytest.fixture
def chain() -> LocalChain:
    return local_chain()


def quote(chain: LocalChain, index: int, amount: int, *, a_to_b: bool) -> int:
    """What our mathematics says pool `index` pays."""
    pool = chain.world.pools[index]
    account = chain.ledger.account(pool.config)
    assert account is not None
    held = [
        token.token_amount(vault.data)
        for key in (pool.vault_a, pool.vault_b)
        if (vault := chain.ledger.account(key))
    ]
    config = cpmm.decode_config(account.data, account.owner)
    tradable = cpmm.tradable(chain.pool_state(pool), config, held[0], held[1])
    return tradable.quote_exact_in(amount, a_to_b=a_to_b).amount_out


def everything(chain: LocalChain) -> tuple[int, int, int]:
    """All lamports, and all wrapped SOL and USDC in token accounts, that anybody holds."""
    programs = (Pubkey.default(), token.TOKEN_PROGRAM, cpmm.PROGRAM_ID)
    slot = chain.ledger.blocks.open.slot
    accounts = [
        account for program in programs for _, account in chain.ledger.program_accounts(program, slot)
    ]
    held = {WSOL_MINT: 0, USDC_MINT: 0}
    for account in accounts:
        if token.is_token_account(account.data, account.owner):
            held[Pubkey(account.data[:32])] += token.token_amount(account.data)
    return sum(account.lamports for account in accounts), held[WSOL_MINT], held[USDC_MINT]


def test_two_legs_and_a_tip_land_together(chain: LocalChain) -> None:
    """A cycle over both pools with budget and tip: exact amounts, one fee, priority included."""
    first, second = chain.world.pools
    out = quote(chain, 0, SOL, a_to_b=True)
    back = quote(chain, 1, out, a_to_b=False)
    lamports = chain.lamports(chain.wallet)
    wsol, usdc = chain.tokens(WSOL_MINT), chain.tokens(USDC_MINT)
    executed = chain.land(
        set_compute_unit_limit(200_000),
        set_compute_unit_price(10_000),
        chain.swap(first, SOL, a_to_b=True, least=out),
        chain.swap(second, out, a_to_b=False, least=back),
        chain.pay(chain.faucet.address, 1_000),
    )
    assert executed.outcome.error is None
    assert executed.outcome.fee == 5_000 + 2_000
    assert chain.lamports(chain.wallet) == lamports - 7_000 - 1_000
    assert chain.tokens(WSOL_MINT) == wsol - SOL + back
    assert chain.tokens(USDC_MINT) == usdc
    assert sorted(executed.outcome.inner) == [2, 3]
    assert [len(calls) for calls in executed.outcome.inner.values()] == [2, 2]


def test_a_failing_leg_undoes_the_other_and_keeps_the_fee(chain: LocalChain) -> None:
    first, second = chain.world.pools
    keys = [first.address, first.vault_a, first.vault_b, second.address, second.vault_a, second.vault_b]
    before = [chain.ledger.account(key) for key in keys]
    lamports, wsol = chain.lamports(chain.wallet), chain.tokens(WSOL_MINT)
    executed = chain.land(
        chain.pay(STRANGER, SOL),
        chain.swap(first, SOL, a_to_b=True),
        chain.swap(second, 10**8, a_to_b=False, least=10**18),
    )
    assert executed.outcome.error == {"InstructionError": [2, {"Custom": 6005}]}
    assert sentence(executed.outcome.error) == "Error processing Instruction 2: custom program error: 0x1775"
    assert "Error Code: ExceededSlippage" in "".join(executed.outcome.logs)
    assert [chain.ledger.account(key) for key in keys] == before
    assert chain.ledger.account(STRANGER) is None
    assert chain.tokens(WSOL_MINT) == wsol
    assert chain.lamports(chain.wallet) == lamports - 5_000
    assert executed.changed == (chain.wallet,)


def test_a_transfer_failing_after_a_swap_undoes_the_swap(chain: LocalChain) -> None:
    wsol = chain.tokens(WSOL_MINT)
    executed = chain.land(
        chain.swap(chain.world.pools[0], SOL, a_to_b=True), memo("note"), chain.pay(STRANGER, 10**15)
    )
    assert executed.outcome.error == {"InstructionError": [2, {"Custom": 1}]}
    assert chain.tokens(WSOL_MINT) == wsol


def test_a_swap_of_more_than_one_has_fails_as_the_token_program_says(chain: LocalChain) -> None:
    executed = chain.land(chain.swap(chain.world.pools[0], 10**15, a_to_b=True))
    assert executed.outcome.error == {"InstructionError": [0, {"Custom": 1}]}


def test_too_small_a_budget_ends_the_transaction(chain: LocalChain) -> None:
    executed = chain.land(set_compute_unit_limit(1_000), chain.swap(chain.world.pools[0], SOL, a_to_b=True))
    assert executed.outcome.error == {"InstructionError": [1, "ComputationalBudgetExceeded"]}


def test_a_faulty_budget_is_named_and_refused(chain: LocalChain) -> None:
    """It never lands, so it costs nothing."""
    price = set_compute_unit_price(1)
    swap = chain.swap(chain.world.pools[0], SOL, a_to_b=True)
    assert chain.send(price, price, swap) == {"DuplicateInstruction": 1}


@pytest.mark.parametrize(
    ("change", "number"),
    [
        ({"amm_config": STRANGER}, 2012),
        ({"pool": cpmm.config_address(0)}, 3002),
        ({"pool": STRANGER}, 3012),
        ({"observation": STRANGER}, 2012),
        ({"mint_in": USDC_MINT, "mint_out": WSOL_MINT}, 2012),
        ({"vault_out": STRANGER}, 2003),
        ({"user_in": STRANGER}, 3012),
        ({"user_out": WSOL_MINT}, 3007),
    ],
)
def test_a_swap_with_a_wrong_account_is_refused_as_anchor_does(
    chain: LocalChain, change: dict[str, Pubkey], number: int
) -> None:
    pool = chain.world.pools[0]
    right = chain.swap(pool, SOL, a_to_b=True)
    accounts = cpmm.swap_accounts(
        pool.address,
        chain.pool_state(pool),
        payer=chain.wallet,
        user_in=right.accounts[4].pubkey,
        user_out=right.accounts[5].pubkey,
        a_to_b=True,
    )
    built = cpmm.swap_base_input(replace(accounts, **change), amount_in=SOL, minimum_amount_out=0)
    executed = chain.land(built)
    assert executed.outcome.error == {"InstructionError": [0, {"Custom": number}]}


def test_unknown_instructions_of_the_pool_program_are_refused(chain: LocalChain) -> None:
    right = chain.swap(chain.world.pools[0], SOL, a_to_b=True)
    for data, number in ((b"deposit!" + bytes(16), 101), (right.data[:12], 102)):
        executed = chain.land(Instruction(right.program_id, data, right.accounts), chain.unique())
        assert executed.outcome.error == {"InstructionError": [0, {"Custom": number}]}


def test_a_paused_program_refuses_swaps(chain: LocalChain) -> None:
    chain.ledger.emulations.pause_swaps(True)
    executed = chain.land(chain.swap(chain.world.pools[0], SOL, a_to_b=True))
    assert executed.outcome.error == {"InstructionError": [0, {"Custom": 6000}]}


@settings(max_examples=15, deadline=None)
@given(
    swaps=st.lists(
        st.tuples(
            st.integers(0, 1), st.booleans(), st.integers(1, 10**10), st.sampled_from([0, 0, 10**19 - 1])
        ),
        min_size=1,
        max_size=12,
    )
)
def test_money_is_neither_made_nor_lost(swaps: list[tuple[int, bool, int, int]]) -> None:
    """Over any swaps, landed or failed: lamports shrink by the fees alone, tokens not at all."""
    chain = local_chain()
    lamports, wsol, usdc = everything(chain)
    fees = 0
    for index, a_to_b, amount, least in swaps:
        swap = chain.swap(chain.world.pools[index], amount, a_to_b=a_to_b, least=least)
        executed = chain.land(swap, chain.pay(STRANGER, SOL // 100), chain.unique())
        fees += executed.outcome.fee
        moved = sum(executed.post_balances) - sum(executed.pre_balances)
        assert moved == -executed.outcome.fee
    assert everything(chain) == (lamports - fees, wsol, usdc)


def test_the_books_of_deltas_equal_the_chain(chain: LocalChain) -> None:
    """Adding up pre and post balances of every transaction gives what the accounts hold."""
    start = chain.tokens(USDC_MINT)
    for number in range(20):
        chain.land(
            chain.swap(chain.world.pools[number % 2], SOL + number, a_to_b=number % 3 == 0), chain.unique()
        )
    deltas = 0
    for executed in chain.ledger.history.of(chain.wallet):
        for side, balances in ((1, executed.post_tokens), (-1, executed.pre_tokens)):
            deltas += side * sum(
                b.amount for b in balances if b.owner == chain.wallet and b.mint == USDC_MINT
            )
    assert chain.tokens(USDC_MINT) == deltas
    assert deltas != start


def test_the_same_transaction_lands_once(chain: LocalChain) -> None:
    signed = chain.sign(chain.pay(STRANGER, SOL))
    assert isinstance(chain.ledger.submit(signed), Executed)
    assert chain.ledger.submit(signed) == "AlreadyProcessed"
    assert chain.lamports(STRANGER) == SOL


def test_a_blockhash_lives_150_blocks(chain: LocalChain) -> None:
    late, too_late = chain.sign(chain.pay(STRANGER, SOL)), chain.sign(chain.pay(STRANGER, 2 * SOL))
    for _ in range(MAX_AGE):
        chain.ledger.advance()
    assert isinstance(chain.ledger.submit(late), Executed)
    chain.ledger.advance()
    assert chain.ledger.submit(too_late) == "BlockhashNotFound"


def test_a_wrong_signature_is_refused(chain: LocalChain) -> None:
    signed = chain.sign(chain.pay(STRANGER, SOL))
    forged = VersionedTransaction.populate(signed.message, [Keypair().sign_message(b"x")])
    assert chain.ledger.submit(forged) == "SignatureFailure"


@pytest.mark.parametrize("swap_too", [False, True])
def test_a_payer_without_the_fee_is_refused_and_loses_nothing(chain: LocalChain, swap_too: bool) -> None:
    """LiteSVM and our own charging for emulated programs agree on every refusal."""
    poor = Keypair.from_seed(bytes(32))
    more = [chain.swap(chain.world.pools[0], SOL, a_to_b=True)] if swap_too else []
    for lamports, refusal in (
        (0, "AccountNotFound"),
        (4_000, "InsufficientFundsForFee"),
        (891_000, {"InsufficientFundsForRent": {"account_index": 0}}),
    ):
        if lamports:
            chain.ledger.set_account(poor.pubkey(), Account(lamports, b"", Pubkey.default()))
        message = MessageV0.try_compile(
            poor.pubkey(), [memo("hello"), *more], [], chain.ledger.blocks.open.blockhash
        )
        signers = [poor, chain.keypair] if swap_too else [poor]
        assert chain.ledger.submit(VersionedTransaction(message, signers)) == refusal
        assert chain.lamports(poor.pubkey()) == lamports


def test_default_fees_are_what_litesvm_charges(chain: LocalChain) -> None:
    """The fee of a transaction it runs whole equals the fee our own budget reading gives."""
    for instructions in (
        [set_compute_unit_price(777_777), chain.pay(STRANGER, SOL)],
        [set_compute_unit_price(12_345), chain.pay(STRANGER, SOL), memo("one"), memo("two")],
        [set_compute_unit_limit(54_321), set_compute_unit_price(7), memo("three")],
    ):
        executed = chain.land(*instructions)
        budget = read_budget([(item.program_id, item.data) for item in executed.loaded.instructions])
        assert executed.outcome.fee == 5_000 + budget.priority_fee_lamports


def test_accounts_are_read_at_each_commitment(chain: LocalChain) -> None:
    ledger = chain.ledger
    ledger.advance()
    chain.land(chain.pay(STRANGER, SOL))

    def held(commitment: Commitment) -> int:
        account = ledger.account(STRANGER, ledger.blocks.at(commitment).slot)
        return account.lamports if account else 0

    assert [held(level) for level in Commitment] == [SOL, 0, 0]
    ledger.advance()
    chain.land(chain.pay(STRANGER, SOL), chain.unique())
    assert [held(level) for level in Commitment] == [2 * SOL, SOL, 0]
    for _ in range(FINALIZED_AFTER - 1):
        ledger.advance()
    assert [held(level) for level in Commitment] == [2 * SOL, 2 * SOL, SOL]


def test_a_fork_that_is_left_takes_its_transactions_along(chain: LocalChain) -> None:
    """Accounts, statuses and blockhashes of the dropped blocks are gone; the chain goes on in later slots."""
    ledger = chain.ledger
    ledger.advance()
    kept = chain.land(chain.pay(STRANGER, SOL))
    pools = [ledger.account(pool.vault_a) for pool in chain.world.pools]
    ledger.advance()
    height, slot = ledger.blocks.open.height, ledger.blocks.open.slot
    lost = chain.sign(chain.pay(STRANGER, SOL), chain.swap(chain.world.pools[0], SOL, a_to_b=True))
    assert isinstance(ledger.submit(lost), Executed)
    ledger.advance()
    ledger.roll_back(2)
    assert chain.lamports(STRANGER) == SOL
    assert [ledger.account(pool.vault_a) for pool in chain.world.pools] == pools
    assert ledger.history.get(lost.signatures[0]) is None
    assert ledger.history.get(kept.signature) is kept
    assert ledger.blocks.open.slot == slot + 2
    assert ledger.blocks.open.height == height
    assert ledger.submit(lost) == "BlockhashNotFound"


def test_only_unfinalized_blocks_roll_back(chain: LocalChain) -> None:
    for _ in range(50):
        chain.ledger.advance()
    with pytest.raises(InvalidInput, match="only the newest 31"):
        chain.ledger.roll_back(32)
    chain.ledger.roll_back(31)


def test_simulating_changes_nothing_and_says_what_would_happen(chain: LocalChain) -> None:
    before = everything(chain)
    pool = chain.world.pools[0]
    signed = chain.sign(chain.swap(pool, SOL, a_to_b=True), chain.pay(STRANGER, SOL))
    simulated = chain.ledger.simulate(signed, chain.ledger.blocks.open)
    assert simulated.outcome.error is None
    after = simulated.after[STRANGER]
    assert after is not None
    assert after.lamports == SOL
    assert everything(chain) == before
    assert chain.ledger.account(STRANGER) is None


def test_a_simulation_at_an_older_commitment_sees_the_older_accounts(chain: LocalChain) -> None:
    rich = Keypair.from_seed(b"\x07" * 32)
    chain.ledger.advance()
    chain.land(chain.pay(rich.pubkey(), SOL))
    blockhash = chain.ledger.blocks.genesis
    message = Message.new_with_blockhash([memo("x")], rich.pubkey(), blockhash)
    signed = VersionedTransaction(message, [rich])
    finalized = chain.ledger.blocks.at(Commitment.FINALIZED)
    assert chain.ledger.simulate(signed, finalized).outcome.error == "AccountNotFound"
    assert chain.ledger.simulate(signed, chain.ledger.blocks.open).outcome.error is None
    assert chain.lamports(rich.pubkey()) == SOL


def test_a_swap_through_a_lookup_table_lands(chain: LocalChain) -> None:
    """The table is made by the real program; the emulated swap's accounts come out of it."""
    ledger = chain.ledger
    recent = ledger.blocks.open.slot
    ledger.advance()
    create, table = create_lookup_table(chain.wallet, chain.wallet, recent)
    swap = chain.swap(chain.world.pools[0], SOL, a_to_b=True)
    addresses = [meta.pubkey for meta in swap.accounts if not meta.is_signer]
    made = chain.land(create, extend_lookup_table(table, chain.wallet, chain.wallet, addresses))
    assert made.outcome.error is None
    ledger.advance()
    message = MessageV0.try_compile(
        chain.wallet, [swap], [AddressLookupTableAccount(table, addresses)], ledger.blocks.open.blockhash
    )
    assert len(message.account_keys) == 2
    executed = ledger.submit(VersionedTransaction(message, [chain.keypair]))
    assert isinstance(executed, Executed)
    assert executed.outcome.error is None
    assert executed.loaded.writable_lookups == 6


def test_an_unknown_lookup_table_is_refused(chain: LocalChain) -> None:
    swap = chain.swap(chain.world.pools[0], SOL, a_to_b=True)
    addresses = [meta.pubkey for meta in swap.accounts if not meta.is_signer]
    message = MessageV0.try_compile(
        chain.wallet,
        [swap],
        [AddressLookupTableAccount(STRANGER, addresses)],
        chain.ledger.blocks.open.blockhash,
    )
    refused = chain.ledger.submit(VersionedTransaction(message, [chain.keypair]))
    assert refused == "AddressLookupTableNotFound"


def test_the_faucet_refuses_nothing_and_too_little(chain: LocalChain) -> None:
    with pytest.raises(InvalidInput, match="no amount was given"):
        chain.faucet.fund(STRANGER)
    with pytest.raises(InvalidInput, match="insufficient funds for rent"):
        chain.faucet.fund(STRANGER, lamports=1)
    assert chain.faucet.fund(STRANGER, lamports=SOL) != chain.faucet.fund(STRANGER, lamports=SOL)
    assert chain.lamports(STRANGER) == 2 * SOL
