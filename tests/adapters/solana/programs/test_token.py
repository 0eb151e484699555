"""Token accounts, mints, transfer fees, lookup tables and budgets: read, written back, refused when wrong."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from solders.compute_budget import set_compute_unit_limit, set_compute_unit_price
from solders.pubkey import Pubkey
from solders.system_program import ID as SYSTEM_PROGRAM
from vector_accounts import account_bytes, vector_pools

from adapters.solana.programs import compute_budget, lookup_table, token
from adapters.solana.programs.associated_token import associated_address, create_idempotent
from domain.errors import DecodeError
from domain.market.amm.pool import TransferFee

OWNER = Pubkey(bytes(31) + b"\x01")
MINT = Pubkey(bytes(31) + b"\x02")
FEE_MINT, FEE_OWNER = account_bytes(
    next(vector for vector in vector_pools("raydium_cpmm") if vector["seed"] == 11)["accounts"]["mintB"]
)


@given(amount=st.integers(0, 2**64 - 1), reserve=st.none() | st.integers(0, 2**64 - 1))
def test_a_token_account_reads_as_it_was_written(amount: int, reserve: int | None) -> None:
    data = token.encode_token_account(MINT, OWNER, amount, native_reserve=reserve)
    held = token.decode_token_account(data, token.TOKEN_PROGRAM)
    assert (held.mint, held.owner, held.amount, held.is_native) == (MINT, OWNER, amount, reserve)
    assert token.token_amount(data) == amount
    assert token.is_token_account(data, token.TOKEN_PROGRAM)


@given(supply=st.integers(0, 2**64 - 1), decimals=st.integers(0, 255))
def test_a_mint_reads_as_it_was_written(supply: int, decimals: int) -> None:
    mint = token.decode_mint(token.encode_mint(OWNER, supply, decimals), token.TOKEN_PROGRAM)
    assert (mint.supply, mint.decimals, mint.mint_authority) == (supply, decimals, OWNER)


def test_the_transfer_fee_is_the_one_in_force_in_the_epoch() -> None:
    assert token.transfer_fee(FEE_MINT, FEE_OWNER, 700) == TransferFee(100, 1_000)
    assert token.transfer_fee(FEE_MINT, FEE_OWNER, 701) == TransferFee(500, 10**15)
    assert token.transfer_fee(token.encode_mint(None, 0, 9), token.TOKEN_PROGRAM, 701) is None
    assert token.decode_mint(FEE_MINT, FEE_OWNER).is_initialized


@given(data=st.binary(max_size=300))
@pytest.mark.parametrize("decode", [token.decode_token_account, token.decode_mint])
def test_malformed_accounts_raise_nothing_but_decode_errors(
    decode: Callable[[bytes, Pubkey], object], data: bytes
) -> None:
    for program in (*token.TOKEN_PROGRAMS, SYSTEM_PROGRAM):
        for spoilt in (
            data,
            data + bytes(165 - len(data)) if len(data) < 165 else data,
            FEE_MINT[:166] + data,
        ):
            try:
                decode(spoilt, program)
                token.transfer_fee(spoilt, program, 1)
            except DecodeError:
                continue


@given(data=st.binary(max_size=200))
def test_malformed_lookup_tables_raise_nothing_but_decode_errors(data: bytes) -> None:
    for spoilt in (data, b"\x01\x00\x00\x00" + data, b"\x01\x00\x00\x00" + bytes(52) + data):
        try:
            lookup_table.decode_lookup_table(OWNER, spoilt, lookup_table.PROGRAM_ID)
        except DecodeError:
            continue


def test_another_programs_account_is_refused_by_name() -> None:
    with pytest.raises(DecodeError, match="owned by 11111111111111111111111111111111, not Tokenkeg"):
        token.decode_token_account(bytes(165), SYSTEM_PROGRAM)


def test_creating_an_associated_account_names_its_address() -> None:
    built = create_idempotent(OWNER, OWNER, MINT)
    assert built.accounts[1].pubkey == associated_address(OWNER, MINT)
    assert built.data == b"\x01"


def test_the_budget_is_what_was_asked_or_the_default() -> None:
    def read(*instructions: tuple[Pubkey, bytes]) -> tuple[int, int]:
        budget = compute_budget.read_budget(instructions)
        return budget.unit_limit, budget.priority_fee_lamports

    price = (compute_budget.PROGRAM_ID, bytes(set_compute_unit_price(1_500).data))
    limit = (compute_budget.PROGRAM_ID, bytes(set_compute_unit_limit(1_001).data))
    assert read((SYSTEM_PROGRAM, b""), (OWNER, b"")) == (203_000, 0)
    assert read(price, limit, (OWNER, b"")) == (1_001, 2)  # 1.5015 lamports, rounded up
    with pytest.raises(DecodeError, match="given before"):
        read(limit, limit)
    with pytest.raises(DecodeError, match="is not one"):
        read((compute_budget.PROGRAM_ID, b"\x09"))
