"""PumpSwap bytes: decoded in every length, built byte for byte, refused when wrong."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import pytest
from amm_checks.cases import address_of, time_of
from hypothesis import given
from hypothesis import strategies as st
from pool_contracts import fails_with, read_around, spoilt_surroundings
from pumpswap_accounts import BUYBACK, RECIPIENTS, RESERVED, accounts_around, fee_config, global_config
from solders.pubkey import Pubkey
from vector_accounts import account_bytes, instruction_of, vector_pools

from adapters.solana.accounts import Account
from adapters.solana.pool_program import SwapRequest
from adapters.solana.programs import pumpswap_layout as layout
from adapters.solana.programs import pumpswap_swap as instructions
from adapters.solana.programs.associated_token import associated_address
from adapters.solana.programs.pumpswap import PROGRAM, STABLE_MINTS, pool_authority, tiers_of
from adapters.solana.programs.token import NATIVE_MINT, TOKEN_PROGRAM
from domain.errors import DecodeError, QuoteError
from domain.market.amm.pumpswap import Fees, FeeTier, PumpSwapPool

VECTORS = vector_pools("pumpswap")
POOL, OWNER = account_bytes(VECTORS[0]["accounts"]["pool"])
STATE = layout.decode_pool(POOL, OWNER)
ADDRESS = address_of(VECTORS[0])
ACCOUNTS = accounts_around(VECTORS[0])
CONFIG = global_config(VECTORS[0]["globalConfig"])
SCHEDULE = fee_config(VECTORS[0]["feeConfig"])
TIME = time_of(VECTORS[0])
USER, BASE, QUOTE = (Pubkey.from_bytes(bytes([n]) * 32) for n in (31, 32, 33))
STABLE = (FeeTier(0, Fees(1, 2, 3)),)
EXOTIC = Fees(4, 5, 6)


def request(accounts: dict[Pubkey, Account | None], *, a_to_b: bool, exact_in: bool) -> SwapRequest:
    """A swap of 5 with a limit of 7."""
    user_in, user_out = (BASE, QUOTE) if a_to_b else (QUOTE, BASE)
    return SwapRequest(ADDRESS, accounts, USER, user_in, user_out, a_to_b, exact_in, 5, 7)


def with_pool(**changes: Any) -> dict[Pubkey, Account | None]:  # noqa: ANN401 - a pool's fields are of many types
    """The first vector with another pool account."""
    changed = layout.encode_pool(replace(STATE, **changes))
    return {**ACCOUNTS, ADDRESS: Account(1, layout.PROGRAM_ID, changed)}


def with_config(**changes: Any) -> dict[Pubkey, Account | None]:  # noqa: ANN401 - as above
    """The first vector with another global config."""
    changed = layout.encode_global_config(replace(CONFIG, **changes))
    return {**ACCOUNTS, layout.GLOBAL_CONFIG: Account(1, layout.PROGRAM_ID, changed)}


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["kind"])
def test_pools_decode_to_the_vectors_fields_and_encode_back(vector: dict[str, Any]) -> None:
    data, owner = account_bytes(vector["accounts"]["pool"])
    pool, said = layout.decode_pool(data, owner), vector["decoded"]["pool"]
    names = [field.name for field in fields(pool)][:-2]
    assert len(names) == len(said)
    for name, (theirs, value) in zip(names, said.items(), strict=True):
        ours = getattr(pool, name)
        wanted = int(value) if isinstance(ours, int) else value
        assert (ours if isinstance(ours, int) else str(ours)) == wanted, theirs
    assert layout.encode_pool(pool) == data


@pytest.mark.parametrize("length", layout.POOL_LENGTHS)
def test_a_pool_of_any_age_decodes_and_what_it_lacks_is_0(length: int) -> None:
    data = POOL[:length].ljust(length, b"\0")
    pool = layout.decode_pool(data, OWNER)
    assert layout.encode_pool(pool) == data
    lacking = {"coin_creator": 243, "mayhem": 244, "cashback": 245, "virtual_quote": 261}
    full = layout.decode_pool(POOL, OWNER)
    for name, end in lacking.items():
        nothing = Pubkey.default() if name == "coin_creator" else 0
        assert getattr(pool, name) == (getattr(full, name) if length >= end else nothing)


@pytest.mark.parametrize("length", [*layout.GLOBAL_CONFIG_LENGTHS, 1_000])
def test_a_global_config_of_any_age_decodes_and_encodes_back(length: int) -> None:
    data = layout.encode_global_config(replace(CONFIG, creator_fee_configurable=1)).ljust(1_000, b"\7")[
        :length
    ]
    config = layout.decode_global_config(data, OWNER)
    assert layout.encode_global_config(config) == data
    assert config.creator_fee_configurable == (1 if length >= 949 else 0)
    assert (config.protocol_fee_recipients, config.buyback_fee_recipients) == (RECIPIENTS, BUYBACK)


@pytest.mark.parametrize("length", [*layout.FEE_CONFIG_LENGTHS, 5_000])
def test_a_fee_config_of_any_age_has_the_lists_of_its_age(length: int) -> None:
    made = replace(SCHEDULE, stable_tiers=STABLE, exotic=EXOTIC, length=length)
    data = layout.encode_fee_config(made)
    config = layout.decode_fee_config(data, layout.FEE_PROGRAM)
    assert len(data) == length
    assert layout.encode_fee_config(config) == data
    assert config.tiers == SCHEDULE.tiers
    assert config.stable_tiers == (STABLE if length >= 4_073 else ())
    assert config.exotic == (EXOTIC if length >= 4_097 else layout.NO_FEES)


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["kind"])
def test_swap_instructions_equal_the_vectors_byte_for_byte(vector: dict[str, Any]) -> None:
    pool = layout.decode_pool(*account_bytes(vector["accounts"]["pool"]))
    assert [wanted["name"] for wanted in vector["instructions"]] == ["buy", "sell"]
    for wanted in vector["instructions"]:
        (theirs,) = (each for each in wanted["ixs"] if each["programId"] == str(layout.PROGRAM_ID))
        user, base, quote = (Pubkey.from_string(wanted[name]) for name in ("user", "userBase", "userQuote"))
        accounts = instructions.SwapAccounts(
            address_of(vector),
            user,
            pool.base_mint,
            pool.quote_mint,
            base,
            quote,
            pool.base_vault,
            pool.quote_vault,
            Pubkey.from_string(theirs["keys"][9]["pubkey"]),  # the SDK picks both recipients by chance
            Pubkey.from_string(theirs["keys"][-2]["pubkey"]),
            TOKEN_PROGRAM,
            TOKEN_PROGRAM,
            pool.coin_creator,
        )
        first, second = int(wanted["arg0"]), int(wanted["arg1"])
        if wanted["name"] == "buy":
            built = instructions.buy(accounts, base_out=first, max_quote_in=second)
        else:
            built = instructions.sell(accounts, base_in=first, min_quote_out=second)
        assert instruction_of(built) == theirs
        selling = wanted["name"] == "sell"
        assert instructions.decode_swap(built.data) == instructions.SwapArguments(
            selling, selling, first, second
        )


@pytest.mark.parametrize(
    ("a_to_b", "exact_in", "name", "count"),
    [
        (True, True, instructions.SELL, 24),
        (False, True, instructions.BUY_EXACT_QUOTE_IN, 26),
        (False, False, instructions.BUY, 26),
    ],
)
def test_the_contract_builds_what_the_request_asks(
    a_to_b: bool, exact_in: bool, name: bytes, count: int
) -> None:
    built = PROGRAM.swap(request(ACCOUNTS, a_to_b=a_to_b, exact_in=exact_in))
    assert (built.data[:8], len(built.accounts)) == (name, count)
    assert instructions.decode_swap(built.data) == instructions.SwapArguments(a_to_b, exact_in, 5, 7)
    keys = [meta.pubkey for meta in built.accounts]
    assert (keys[5], keys[6]) == (BASE, QUOTE)
    assert keys[9] in RECIPIENTS
    assert keys[-2] in BUYBACK


def test_a_sale_for_an_exact_amount_has_no_instruction() -> None:
    with pytest.raises(QuoteError, match="sell an exact amount instead"):
        PROGRAM.swap(request(ACCOUNTS, a_to_b=True, exact_in=False))


def test_a_mayhem_pool_pays_the_reserved_recipients() -> None:
    built = PROGRAM.swap(request(with_pool(mayhem=1), a_to_b=True, exact_in=True))
    assert built.accounts[9].pubkey in RESERVED


@pytest.mark.parametrize(("a_to_b", "more"), [(True, 2), (False, 1)])
def test_a_cashback_pool_names_the_users_volume_accounts(a_to_b: bool, more: int) -> None:
    plain = PROGRAM.swap(request(ACCOUNTS, a_to_b=a_to_b, exact_in=True)).accounts
    built = PROGRAM.swap(request(with_pool(cashback=1), a_to_b=a_to_b, exact_in=True)).accounts
    volume = instructions.volume_account(USER)
    wanted = [associated_address(volume, STATE.quote_mint), volume]
    assert [meta.pubkey for meta in built[-3 - more : -3]] == wanted[:more]
    assert [meta.pubkey for meta in built[-3:]] == [meta.pubkey for meta in plain[-3:]]


@pytest.mark.parametrize(
    ("changes", "tiers"),
    [
        ({}, SCHEDULE.tiers),
        ({"creator": USER}, (FeeTier(0, SCHEDULE.flat),)),
        ({"quote_mint": STABLE_MINTS[0]}, STABLE),
        ({"quote_mint": USER}, (FeeTier(0, EXOTIC),)),
    ],
)
def test_the_schedule_follows_creator_and_quote_mint(
    changes: dict[str, Pubkey], tiers: tuple[FeeTier, ...]
) -> None:
    schedule = replace(SCHEDULE, stable_tiers=STABLE, exotic=EXOTIC)
    pool = replace(STATE, **changes)  # type: ignore[arg-type] # keys all
    assert tiers_of(pool, CONFIG, schedule) == tiers
    assert STATE.creator == pool_authority(STATE.base_mint)


def test_schedules_not_yet_written_fall_back() -> None:
    stable, other = (replace(STATE, quote_mint=mint) for mint in (STABLE_MINTS[0], USER))
    assert tiers_of(stable, CONFIG, SCHEDULE) == SCHEDULE.tiers
    assert tiers_of(other, CONFIG, SCHEDULE) == (FeeTier(0, SCHEDULE.flat),)
    assert tiers_of(STATE, CONFIG, None) == (FeeTier(0, Fees(20, 5, 5)),)


def test_a_creators_own_rate_counts_only_where_the_program_lets_it() -> None:
    pool, lets = replace(STATE, creator_fee_bps=77), replace(CONFIG, creator_fee_configurable=1)
    assert {tier.fees.creator for tier in tiers_of(pool, lets, SCHEDULE)} == {77}
    assert tiers_of(pool, CONFIG, SCHEDULE) == SCHEDULE.tiers
    without = replace(pool, coin_creator=Pubkey.default())
    assert {tier.fees.creator for tier in tiers_of(without, lets, SCHEDULE)} == {0}
    with pytest.raises(DecodeError, match="leaves nothing to trade"):
        tiers_of(replace(pool, creator_fee_bps=9_999), lets, SCHEDULE)


def test_a_mayhem_pools_cap_is_reckoned_with_a_fixed_supply() -> None:
    pool = PROGRAM.quotable(ADDRESS, with_pool(mayhem=1), TIME)
    assert isinstance(pool, PumpSwapPool)
    assert pool.supply == 10**15


def test_the_programs_flags_stop_one_side_or_both() -> None:
    no_buys = PROGRAM.quotable(ADDRESS, with_config(disable_flags=layout.DISABLE_BUY), TIME)
    assert isinstance(no_buys, PumpSwapPool)
    assert (no_buys.buys, no_buys.sells) == (False, True)
    with pytest.raises(QuoteError, match="takes no swaps"):
        PROGRAM.quotable(ADDRESS, with_config(disable_flags=layout.DISABLE_BUY | layout.DISABLE_SELL), TIME)


def test_the_directory_reads_seven_accounts() -> None:
    known = read_around(PROGRAM, ADDRESS, ACCOUNTS)
    assert set(known) == {
        ADDRESS,
        layout.GLOBAL_CONFIG,
        layout.FEE_CONFIG,
        STATE.base_vault,
        STATE.quote_vault,
        STATE.base_mint,
        NATIVE_MINT,
    }
    assert PROGRAM.around(ADDRESS, {ADDRESS: Account(1, layout.PROGRAM_ID, b"rubbish")}) == ()


def test_spoilt_surroundings_are_refused() -> None:
    """Anything missing, of another program, or at another's vault; only a fee config may be missing."""
    vaults = (STATE.base_vault, STATE.quote_vault)
    spoilt = list(spoilt_surroundings(PROGRAM, ADDRESS, ACCOUNTS, vaults))
    assert len(spoilt) == 18
    for accounts in spoilt:
        sentence = fails_with(PROGRAM, ADDRESS, accounts, TIME)
        assert sentence.startswith("DecodeError") or accounts[layout.FEE_CONFIG] is None


def test_bad_accounts_are_refused_in_a_sentence() -> None:
    with pytest.raises(DecodeError, match="is owned by 1111"):
        layout.decode_pool(POOL, Pubkey.default())
    with pytest.raises(DecodeError, match="found 269 bytes, expected 300, 270"):
        layout.decode_pool(POOL[:-1], OWNER)
    with pytest.raises(DecodeError, match="it starts with 0000"):
        layout.decode_pool(bytes(270), OWNER)
    data = layout.encode_fee_config(SCHEDULE)
    for spoilt, sentence in (
        (data[:2_511], "expected 2512 or more"),
        (data[:65] + b"\xff" * 4 + data[69:], "run past the end"),
        (data[:65] + bytes(4) + data[69:], "no fee tiers"),
        (layout.encode_fee_config(replace(SCHEDULE, flat=Fees(9_999, 1, 0))), "leave nothing to trade"),
    ):
        with pytest.raises(DecodeError, match=sentence):
            layout.decode_fee_config(spoilt, layout.FEE_PROGRAM)
    nobody = with_config(protocol_fee_recipients=(Pubkey.default(),) * 8)
    with pytest.raises(DecodeError, match="names no fee recipient"):
        PROGRAM.swap(request(nobody, a_to_b=True, exact_in=True))


@given(data=st.binary(max_size=400), at=st.integers(0, 4_096), keep=st.booleans())
def test_malformed_accounts_raise_nothing_but_decode_errors(data: bytes, at: int, keep: bool) -> None:
    schedule, config = layout.encode_fee_config(SCHEDULE), layout.encode_global_config(CONFIG)
    for right, owner, decode, encode in (
        (POOL, OWNER, layout.decode_pool, layout.encode_pool),
        (config, OWNER, layout.decode_global_config, layout.encode_global_config),
        (schedule, layout.FEE_PROGRAM, layout.decode_fee_config, layout.encode_fee_config),
    ):
        start = at % len(right)
        spoilt = right[:start] + data + right[start + len(data) :] if keep else data
        try:
            decoded = decode(spoilt, owner)
        except DecodeError:
            continue
        assert encode(decoded) == spoilt  # type: ignore[arg-type] # each encodes what its pair decodes


@given(data=st.binary(max_size=40))
def test_malformed_swaps_raise_nothing_but_decode_errors(data: bytes) -> None:
    for start in (b"", instructions.BUY, instructions.SELL, instructions.BUY_EXACT_QUOTE_IN):
        try:
            instructions.decode_swap(start + data)
        except DecodeError:
            continue
