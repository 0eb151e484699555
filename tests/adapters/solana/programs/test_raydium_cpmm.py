"""Raydium CPMM bytes: decoded as the vectors say, encoded back, built byte for byte, refused when wrong."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from amm_checks.cases import accounts_of, address_of, time_of
from hypothesis import given
from hypothesis import strategies as st
from pool_contracts import fails_with, read_around, spoilt_surroundings
from solders.pubkey import Pubkey
from vector_accounts import REAL, account_bytes, instruction_of, needs_real_accounts, vector_pools

from adapters.solana.accounts import Account
from adapters.solana.pool_program import ChainTime, SwapRequest
from adapters.solana.programs import raydium_cpmm as cpmm
from adapters.solana.programs import token
from domain.errors import DecodeError, QuoteError
from domain.market.amm.constant_product import ConstantProductPool

VECTORS = vector_pools("raydium_cpmm")
POOL, OWNER = account_bytes(VECTORS[0]["accounts"]["pool"])
CONFIG, _ = account_bytes(VECTORS[0]["accounts"]["config"])
STATE = cpmm.decode_pool(POOL, OWNER)
ADDRESS = address_of(VECTORS[0])
ACCOUNTS = accounts_of(VECTORS[0])
TIME = time_of(VECTORS[0])
SOL_USDC = REAL / "accounts" / "raydium_cpmm_sol_usdc.json"


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["kind"])
def test_accounts_decode_to_the_vectors_fields_and_encode_back(vector: dict[str, Any]) -> None:
    raw, said = vector["accounts"], vector["decoded"]
    pool = cpmm.decode_pool(*account_bytes(raw["pool"]))
    config = cpmm.decode_config(*account_bytes(raw["config"]))
    assert str(pool.vault_a) == said["pool"]["vaultA"]
    assert str(pool.observation) == said["pool"]["observationId"]
    assert (pool.lp_supply, pool.open_time) == (int(said["pool"]["lpAmount"]), int(said["pool"]["openTime"]))
    assert (pool.creator_fee_on, bool(pool.enable_creator_fee)) == (
        said["pool"]["feeOn"],
        said["pool"]["enableCreatorFee"],
    )
    assert pool.creator_fees_b == int(said["pool"]["creatorFeesMintB"])
    assert config.trade_fee_rate == int(said["config"]["tradeFeeRate"])
    assert config.creator_fee_rate == int(said["config"]["creatorFeeRate"])
    assert cpmm.encode_pool(pool) == account_bytes(raw["pool"])[0]
    assert cpmm.encode_config(config) == account_bytes(raw["config"])[0]
    observation = account_bytes(raw["observation"])[0]
    assert len(observation) == cpmm.OBSERVATION_LENGTH
    assert observation.startswith(cpmm.OBSERVATION_DISCRIMINATOR)


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["kind"])
def test_swap_instructions_equal_the_vectors_byte_for_byte(vector: dict[str, Any]) -> None:
    pool_key = Pubkey.from_string(vector["accounts"]["pool"]["pubkey"])
    pool = cpmm.decode_pool(*account_bytes(vector["accounts"]["pool"]))
    assert vector["instructions"]
    for wanted in vector["instructions"]:
        accounts = cpmm.swap_accounts(
            pool_key,
            pool,
            payer=Pubkey.from_string(wanted["user"]),
            user_in=Pubkey.from_string(wanted["userIn"]),
            user_out=Pubkey.from_string(wanted["userOut"]),
            a_to_b=wanted["name"].endswith("a_to_b"),
        )
        first, second = int(wanted["arg0"]), int(wanted["arg1"])
        if "input" in wanted["name"]:
            built = cpmm.swap_base_input(accounts, amount_in=first, minimum_amount_out=second)
            assert cpmm.decode_swap(built.data) == cpmm.SwapArguments(True, first, second)
        else:
            built = cpmm.swap_base_output(accounts, max_amount_in=first, amount_out=second)
            assert cpmm.decode_swap(built.data) == cpmm.SwapArguments(False, second, first)
        assert instruction_of(built) == wanted["ix"]
        exact_in = "input" in wanted["name"]
        amount, limit = (first, second) if exact_in else (second, first)
        asked = SwapRequest(
            pool_key,
            accounts_of(vector),
            accounts.payer,
            accounts.user_in,
            accounts.user_out,
            wanted["name"].endswith("a_to_b"),
            exact_in,
            amount,
            limit,
        )
        assert cpmm.PROGRAM.swap(asked) == built


def test_the_authority_is_the_programs_own() -> None:
    assert str(cpmm.AUTHORITY) == "GpMZbSM2GgvTKHJirzeGfMFoaZ8UR2X7F4v8vHTvxFbL"
    assert cpmm.decode_pool(POOL, OWNER).authority_bump == cpmm.AUTHORITY_BUMP


def test_wrong_owner_length_and_type_are_refused_in_a_sentence() -> None:
    with pytest.raises(DecodeError, match="is owned by 1111"):
        cpmm.decode_pool(POOL, Pubkey.default())
    with pytest.raises(DecodeError, match="found 636 bytes, expected 637"):
        cpmm.decode_pool(POOL[:-1], OWNER)
    with pytest.raises(DecodeError, match="it starts with 0000000000000000"):
        cpmm.decode_pool(bytes(8) + POOL[8:], OWNER)
    with pytest.raises(DecodeError, match="found 637 bytes, expected 236"):
        cpmm.decode_config(POOL, OWNER)
    with pytest.raises(DecodeError, match="which is no Raydium CPMM swap"):
        cpmm.decode_swap(b"12345678")


def test_vaults_that_hold_less_than_the_fees_kept_in_them_are_no_pool() -> None:
    pool = cpmm.decode_pool(POOL, OWNER)
    with pytest.raises(DecodeError, match="different slots"):
        cpmm.tradable(pool, cpmm.decode_config(CONFIG, OWNER), 0, 10**12)


@given(data=st.binary(max_size=700), at=st.integers(0, 636), keep=st.booleans())
def test_malformed_accounts_raise_nothing_but_decode_errors(data: bytes, at: int, keep: bool) -> None:
    spoilt = POOL[:at] + data + POOL[at + len(data) :] if keep else data
    for decode in (cpmm.decode_pool, cpmm.decode_config):
        try:
            decode(spoilt, OWNER)
        except DecodeError:
            continue


@given(data=st.binary(max_size=40))
def test_malformed_swaps_raise_nothing_but_decode_errors(data: bytes) -> None:
    for start in (b"", cpmm.SWAP_BASE_INPUT, cpmm.SWAP_BASE_OUTPUT):
        try:
            cpmm.decode_swap(start + data)
        except DecodeError:
            continue


def test_the_directory_reads_what_is_around_a_pool() -> None:
    known = read_around(cpmm.PROGRAM, ADDRESS, ACCOUNTS)
    keys = (STATE.amm_config, STATE.vault_a, STATE.vault_b, STATE.mint_a, STATE.mint_b)
    assert set(known) == {ADDRESS, *keys}
    assert cpmm.PROGRAM.around(ADDRESS, {ADDRESS: Account(1, OWNER, b"rubbish")}) == ()


def test_spoilt_surroundings_are_refused() -> None:
    """Anything missing, of another program, or at another's vault."""
    spoilt = list(spoilt_surroundings(cpmm.PROGRAM, ADDRESS, ACCOUNTS, (STATE.vault_a, STATE.vault_b)))
    assert len(spoilt) == 16
    for accounts in spoilt:
        assert fails_with(cpmm.PROGRAM, ADDRESS, accounts, TIME).startswith("DecodeError")


@pytest.mark.parametrize("changes", [{"status": cpmm.SWAP_DISABLED}, {"open_time": 2_000}])
def test_a_pool_that_takes_no_swaps_is_refused_in_a_sentence(changes: dict[str, int]) -> None:
    closed = cpmm.encode_pool(replace(STATE, **changes))  # type: ignore[arg-type] # numbers all
    accounts = {**ACCOUNTS, ADDRESS: Account(1, OWNER, closed)}
    with pytest.raises(QuoteError, match="takes no swaps"):
        cpmm.PROGRAM.quotable(ADDRESS, accounts, ChainTime(1_999, 700))


@needs_real_accounts
def test_a_pool_of_the_main_network_is_read_and_quoted() -> None:
    """SOL against USDC; the dump holds no mints, so ours stand in."""
    raws = json.loads(SOL_USDC.read_text())["accounts"].values()
    accounts: dict[Pubkey, Account | None] = {}
    for raw in raws:
        data, owner = account_bytes(raw)
        accounts[Pubkey.from_string(raw["pubkey"])] = Account(raw["lamports"], owner, data)
    (pool,) = (key for key, each in accounts.items() if each and len(each.data) == cpmm.POOL_LENGTH)
    account = accounts[pool]
    assert account is not None
    state = cpmm.decode_pool(account.data, account.owner)
    assert cpmm.encode_pool(state) == account.data
    mint = Account(1, token.TOKEN_PROGRAM, token.encode_mint(None, 0, 9))
    made = cpmm.PROGRAM.quotable(pool, {**accounts, state.mint_a: mint, state.mint_b: mint}, TIME)
    assert isinstance(made, ConstantProductPool)
    units_b, units_a = made.spot_price()
    out = made.quote_exact_in(10**6, a_to_b=True).amount_out
    assert 0 < out < 10**6 * units_b // units_a
