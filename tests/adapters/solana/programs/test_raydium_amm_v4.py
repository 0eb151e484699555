"""Raydium AMM v4 bytes: decoded as the vectors say, built byte for byte, refused when wrong."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from amm_checks.cases import accounts_of, address_of, time_of
from hypothesis import given
from hypothesis import strategies as st
from pool_contracts import fails_with, read_around, spoilt_surroundings
from solders.pubkey import Pubkey
from vector_accounts import account_bytes, instruction_of, vector_pools

from adapters.solana.accounts import Account
from adapters.solana.pool_program import ChainTime, SwapRequest
from adapters.solana.programs import openbook
from adapters.solana.programs import raydium_amm_v4_layout as v4
from adapters.solana.programs.raydium_amm_v4 import PROGRAM, tradable
from domain.errors import DecodeError, QuoteError
from domain.market.amm.raydium_amm_v4 import AmmV4Pool

VECTORS = vector_pools("raydium_amm_v4")
POOL, OWNER = account_bytes(VECTORS[0]["accounts"]["pool"])
STATE = v4.decode_pool(POOL, OWNER)
ADDRESS = address_of(VECTORS[0])
ACCOUNTS = accounts_of(VECTORS[0])
MARKET = Pubkey.from_bytes(b"\x0a" * 32)
TIME = ChainTime(1_800_000_000, 700)
NUMBERS = {
    "status": "status",
    "nonce": "nonce",
    "decimals_a": "baseDecimal",
    "decimals_b": "quoteDecimal",
    "swap_fee_numerator": "swapFeeNumerator",
    "swap_fee_denominator": "swapFeeDenominator",
    "need_take_pnl_a": "baseNeedTakePnl",
    "need_take_pnl_b": "quoteNeedTakePnl",
    "open_time": "poolOpenTime",
    "vault_a": "baseVault",
    "vault_b": "quoteVault",
    "mint_a": "baseMint",
    "mint_b": "quoteMint",
    "lp_mint": "lpMint",
    "open_orders": "openOrders",
    "market": "marketId",
    "market_program": "marketProgramId",
    "target_orders": "targetOrders",
    "owner": "owner",
    "lp_supply": "lpReserve",
}


def market_of(keys: dict[str, Any]) -> v4.MarketAccounts:
    """The market accounts a vector's instruction was built with."""
    names = ("openOrders", "targetOrders", "marketProgramId", "marketId", "marketBids", "marketAsks")
    vaults = ("marketEventQueue", "marketBaseVault", "marketQuoteVault", "marketAuthority")
    return v4.MarketAccounts(*(Pubkey.from_string(keys[name]) for name in names + vaults))


def with_market(*, base: int, quote: int, resting: bool) -> dict[Pubkey, Account | None]:
    """The first vector's pool as one that trades on a market, with its open orders and market."""
    state = replace(STATE, status=v4.INITIALIZED, market=MARKET)
    own, order = bytes(state.market), b"\x00" if resting else b"\xff"
    nonce = next(n for n in range(256) if _derives(own, n, state.market_program))
    names = (b"\x01" * 32, b"\x02" * 32, b"\x03" * 32, bytes(16), b"\x04" * 32, bytes(24), b"\x05" * 32)
    queues = (b"\x06" * 32, b"\x07" * 32, b"\x08" * 32, bytes(32))
    head = b"serum" + (3).to_bytes(8, "little") + own + nonce.to_bytes(8, "little")
    market = head + b"".join(names + queues) + b"padding"
    amounts = b"".join(n.to_bytes(8, "little") for n in (0, base, 0, quote))
    traders = own + bytes(v4.authority(state.nonce))
    orders = b"serum" + (5).to_bytes(8, "little") + traders + amounts + b"\xff" * 15 + order
    orders = orders.ljust(openbook.OPEN_ORDERS_LENGTH - 7, b"\0") + b"padding"
    return {
        **ACCOUNTS,
        ADDRESS: Account(1, v4.PROGRAM_ID, v4.encode_pool(state)),
        state.open_orders: Account(1, state.market_program, orders),
        state.market: Account(1, state.market_program, market),
    }


def _derives(own: bytes, nonce: int, program: Pubkey) -> bool:
    try:
        Pubkey.create_program_address([own, nonce.to_bytes(8, "little")], program)
    except Exception:  # noqa: BLE001 - solders does not export the error it raises
        return False
    return True


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["kind"])
def test_pools_decode_to_the_vectors_fields_and_encode_back(vector: dict[str, Any]) -> None:
    data, owner = account_bytes(vector["accounts"]["pool"])
    pool, said = v4.decode_pool(data, owner), vector["decoded"]["pool"]
    assert {ours: str(getattr(pool, ours)) for ours in NUMBERS} == {
        ours: said[theirs] for ours, theirs in NUMBERS.items()
    }
    assert v4.encode_pool(pool) == data
    assert str(v4.authority(pool.nonce)) == vector["authority"]


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["kind"])
def test_swap_instructions_equal_the_vectors_byte_for_byte(vector: dict[str, Any]) -> None:
    pool = v4.decode_pool(*account_bytes(vector["accounts"]["pool"]))
    assert len(vector["instructions"]) == 4
    for wanted in vector["instructions"]:
        market = None if "v2" in wanted["name"] else market_of(wanted["poolKeys"])
        user, user_in, user_out = (Pubkey.from_string(wanted[name]) for name in ("user", "userIn", "userOut"))
        accounts = v4.SwapAccounts(
            address_of(vector), v4.authority(pool.nonce), pool.vault_a, pool.vault_b, user_in, user_out, user
        )
        first, second = int(wanted["arg0"]), int(wanted["arg1"])
        exact_in = "base_in" in wanted["name"]
        if exact_in:
            built = v4.swap_base_in(accounts, first, second, market)
        else:
            built = v4.swap_base_out(accounts, second, first, market)
        assert instruction_of(built) == wanted["ix"]
        assert v4.decode_swap(built.data) == v4.SwapArguments(
            exact_in, *((first, second) if exact_in else (second, first)), market is not None
        )


@pytest.mark.parametrize("exact_in", [True, False])
@pytest.mark.parametrize("traded", [True, False])
def test_the_contract_builds_the_form_the_pools_status_asks_for(exact_in: bool, traded: bool) -> None:
    accounts = with_market(base=0, quote=0, resting=False) if traded else ACCOUNTS
    user = Pubkey.from_bytes(b"\x09" * 32)
    built = PROGRAM.swap(SwapRequest(ADDRESS, accounts, user, user, user, True, exact_in, 5, 7))
    assert len(built.accounts) == (18 if traded else 8)
    assert v4.decode_swap(built.data) == v4.SwapArguments(exact_in, 5, 7, traded)


def test_only_a_pool_on_a_market_asks_for_the_markets_accounts() -> None:
    plain = read_around(PROGRAM, ADDRESS, ACCOUNTS)
    assert set(plain) == {ADDRESS, STATE.vault_a, STATE.vault_b, STATE.mint_a, STATE.mint_b}
    traded = read_around(PROGRAM, ADDRESS, with_market(base=0, quote=0, resting=False))
    assert set(traded) - set(plain) == {MARKET, STATE.open_orders}
    assert PROGRAM.around(ADDRESS, {ADDRESS: None}) == ()


def test_what_lies_on_the_market_counts_as_reserve() -> None:
    plain = PROGRAM.quotable(ADDRESS, ACCOUNTS, TIME)
    traded = PROGRAM.quotable(ADDRESS, with_market(base=5, quote=7, resting=False), TIME)
    assert isinstance(plain, AmmV4Pool)
    assert isinstance(traded, AmmV4Pool)
    assert (traded.reserve_a, traded.reserve_b) == (plain.reserve_a + 5, plain.reserve_b + 7)


def test_a_pool_with_orders_standing_is_refused() -> None:
    with pytest.raises(QuoteError, match="orders standing"):
        PROGRAM.quotable(ADDRESS, with_market(base=5, quote=7, resting=True), TIME)


@pytest.mark.parametrize(
    ("status", "at", "open_"),
    [(1, 0, True), (6, 0, True), (7, 99, False), (7, 100, True), *((s, 100, False) for s in (2, 3, 4, 5))],
)
def test_only_three_states_swap_and_one_of_them_waits(status: int, at: int, open_: bool) -> None:
    assert replace(STATE, status=status, open_time=100).accepts_swaps(at) is open_


def test_a_pool_that_takes_no_swaps_is_refused_in_a_sentence() -> None:
    disabled = Account(1, v4.PROGRAM_ID, v4.encode_pool(replace(STATE, status=2)))
    with pytest.raises(QuoteError, match="takes no swaps: status 2"):
        PROGRAM.quotable(ADDRESS, {**ACCOUNTS, ADDRESS: disabled}, TIME)


@pytest.mark.parametrize("traded", [True, False])
def test_spoilt_surroundings_are_refused(traded: bool) -> None:
    """Anything missing, of another program, or at another's vault."""
    accounts = with_market(base=1, quote=1, resting=False) if traded else ACCOUNTS
    spoilt = list(spoilt_surroundings(PROGRAM, ADDRESS, accounts, (STATE.vault_a, STATE.vault_b)))
    assert len(spoilt) >= 14
    unread = (MARKET,)  # its account only builds instructions
    for accounts_ in spoilt:
        same = all(accounts_[key] == accounts[key] for key in accounts if key not in unread)
        assert fails_with(PROGRAM, ADDRESS, accounts_, time_of(VECTORS[0])).startswith("DecodeError") or same


def test_bad_pools_are_refused_in_a_sentence() -> None:
    with pytest.raises(DecodeError, match="is owned by 1111"):
        v4.decode_pool(POOL, Pubkey.default())
    with pytest.raises(DecodeError, match="found 751 bytes, expected 752"):
        v4.decode_pool(POOL[:-1], OWNER)
    for change, sentence in (
        ({"status": 0}, "status 0 is not from 1 to 7"),
        ({"nonce": 255}, "give no address"),
        ({"nonce": 256}, "nonce 256 is above 255"),
        ({"swap_fee_numerator": 10_000}, "leaves nothing to trade"),
    ):
        with pytest.raises(DecodeError, match=sentence):
            v4.decode_pool(v4.encode_pool(replace(STATE, **change)), OWNER)  # type: ignore[arg-type] # numbers all
    with pytest.raises(DecodeError, match="profit waiting"):
        tradable(replace(STATE, need_take_pnl_a=1), 0, 0)


@given(data=st.binary(max_size=800), at=st.integers(0, 751), keep=st.booleans())
def test_malformed_accounts_raise_nothing_but_decode_errors(data: bytes, at: int, keep: bool) -> None:
    spoilt = POOL[:at] + data + POOL[at + len(data) :] if keep else data
    try:
        state = v4.decode_pool(spoilt, OWNER)
    except DecodeError:
        return
    assert v4.encode_pool(state) == spoilt


@given(data=st.binary(max_size=400), nonce=st.integers(0, 2**64 - 1))
def test_malformed_markets_and_swaps_raise_nothing_but_decode_errors(data: bytes, nonce: int) -> None:
    market = b"serum" + (3).to_bytes(8, "little") + data[:32].ljust(32, b"\0") + nonce.to_bytes(8, "little")
    for spoilt in (data, market.ljust(381, b"\0") + b"padding"):
        for decode in (
            lambda raw: openbook.decode_market(raw, OWNER),
            openbook.decode_open_orders,
            v4.decode_swap,
        ):
            try:
                decode(spoilt)
            except DecodeError:
                continue
