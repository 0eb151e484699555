"""Orca Whirlpool bytes: decoded as the vectors say, encoded back, built byte for byte, refused when wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from amm_checks.cases import address_of, time_of
from hypothesis import given
from hypothesis import strategies as st
from solders.pubkey import Pubkey
from tick_pool_cases import Chain, changed, read_around, request_of
from vector_accounts import account_bytes, instruction_of, vector_pools

from adapters.solana.accounts import Account
from adapters.solana.pool_program import ChainTime, SwapRequest
from adapters.solana.programs import orca_whirlpool as orca
from adapters.solana.programs import orca_whirlpool_accounts as accounts
from adapters.solana.programs.orca_whirlpool import PROGRAM
from domain.errors import DecodeError, QuoteError
from domain.market.amm.ticks import MIN_TICK, WHIRLPOOL
from domain.market.amm.whirlpool import WhirlpoolPool

VECTORS = vector_pools("orca_whirlpool")
FIRST = VECTORS[0]
LIVELY = next(vector for vector in VECTORS if vector["kind"] == "adaptive_fee")
every_vector = pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: str(vector["seed"]))


def known_of(vector: dict[str, Any]) -> Chain:
    """What a chain holds around the vector's pool; tick arrays the vector leaves out are not there."""
    return read_around(PROGRAM, vector)[0]


POOL, CHAIN, TIME = address_of(FIRST), known_of(FIRST), time_of(FIRST)
RAW, OWNER = account_bytes(FIRST["accounts"]["pool"])
STATE = accounts.decode_pool(RAW, OWNER)

DECODERS: dict[str, tuple[Callable[[bytes, Pubkey], Any], Callable[[Any], bytes]]] = {
    "pool": (accounts.decode_pool, accounts.encode_pool),
    "tickArrays": (accounts.decode_tick_array, accounts.encode_tick_array),
    "oracle": (accounts.decode_oracle, accounts.encode_oracle),
}


def dynamic(data: bytes, owner: Pubkey) -> bytes:
    """A fixed tick array as the dynamic one with the same ticks."""
    array = accounts.decode_tick_array(data, owner)
    bits = sum(1 << place for place, tick in enumerate(array.ticks) if tick.initialised)
    return accounts.encode_tick_array(array._replace(bitmap=bits))


@every_vector
def test_accounts_encode_back_byte_for_byte(vector: dict[str, Any]) -> None:
    for name, (decode, encode) in DECODERS.items():
        raws = vector["accounts"].get(name) or []
        for raw in raws if isinstance(raws, list) else [raws]:
            data, owner = account_bytes(raw)
            assert encode(decode(data, owner)) == data, name


@every_vector
def test_accounts_decode_to_the_vectors_fields(vector: dict[str, Any]) -> None:
    said = vector["decoded"]["pool"]
    pool = accounts.decode_pool(*account_bytes(vector["accounts"]["pool"]))
    keys = (pool.config, pool.mint_a, pool.vault_a, pool.mint_b, pool.vault_b)
    names = ("whirlpoolsConfig", "tokenMintA", "tokenVaultA", "tokenMintB", "tokenVaultB")
    assert [str(key) for key in keys] == [said[name] for name in names]
    assert (pool.tick_spacing, pool.fee_rate, pool.protocol_fee_rate, pool.tick) == tuple(
        said[name] for name in ("tickSpacing", "feeRate", "protocolFeeRate", "tickCurrentIndex")
    )
    assert (pool.liquidity, pool.sqrt_price) == (int(said["liquidity"]), int(said["sqrtPrice"]))
    assert (pool.fee_growth_a, pool.fee_growth_b) == (
        int(said["feeGrowthGlobalA"]),
        int(said["feeGrowthGlobalB"]),
    )
    assert pool.is_adaptive == (vector["kind"] == "adaptive_fee")
    for raw, wanted in zip(vector["accounts"]["tickArrays"], vector["decoded"]["ticks"], strict=True):
        array = accounts.decode_tick_array(*account_bytes(raw))
        ticks = [
            [array.start + place * pool.tick_spacing, str(tick.liquidity_net), str(tick.liquidity_gross)]
            for place, tick in enumerate(array.ticks)
            if tick.initialised
        ]
        assert (array.start, ticks) == (wanted["start"], wanted["ticks"])
        assert str(accounts.tick_array_address(address_of(vector), array.start)) == raw["pubkey"]


def test_an_oracle_decodes_to_the_vectors_fields() -> None:
    said = LIVELY["decoded"]["oracle"]
    oracle = accounts.decode_oracle(*account_bytes(LIVELY["accounts"]["oracle"]))
    constants, variables = said["adaptiveFeeConstants"], said["adaptiveFeeVariables"]
    assert str(oracle.pool) == said["whirlpool"]
    assert list(oracle.fee) == [value for name, value in constants.items() if name != "reserved"]
    assert [str(value) for value in oracle.volatility] == [
        str(value) for name, value in variables.items() if name != "reserved"
    ]
    assert str(accounts.oracle_address(address_of(LIVELY))) == LIVELY["oracleAddress"]


@every_vector
def test_swap_instructions_equal_the_vectors_byte_for_byte(vector: dict[str, Any]) -> None:
    assert vector["instructions"]
    for wanted in vector["instructions"]:
        built = PROGRAM.swap(request_of(vector, wanted, known_of(vector)))
        assert instruction_of(built) == wanted["ix"]
        assert orca.decode_swap(built.data) == orca.SwapArguments(
            True, wanted["aToB"], int(wanted["amount"]), int(wanted["otherAmountThreshold"])
        )
        keys = [str(meta.pubkey) for meta in built.accounts]
        assert keys[11:14] == vector["swapTickArrays"]["a_to_b" if wanted["aToB"] else "b_to_a"]


@every_vector
def test_reading_around_a_pool_names_all_a_quote_needs(vector: dict[str, Any]) -> None:
    known, readings = read_around(PROGRAM, vector)
    assert readings == 2
    for way in vector["swapTickArrays"].values():
        assert {Pubkey.from_string(key) for key in way} <= set(known)


@every_vector
def test_dynamic_tick_arrays_quote_as_fixed_ones(vector: dict[str, Any]) -> None:
    known = known_of(vector)
    other = dict(known)
    for raw in vector["accounts"]["tickArrays"]:
        key, (data, owner) = Pubkey.from_string(raw["pubkey"]), account_bytes(raw)
        other[key] = Account(1, owner, dynamic(data, owner))
    pool = address_of(vector)
    assert PROGRAM.quotable(pool, other, time_of(vector)) == PROGRAM.quotable(pool, known, time_of(vector))


@every_vector
def test_a_pool_written_back_after_a_swap_is_the_pool_after_it(vector: dict[str, Any]) -> None:
    """As far as the tick arrays are the same: a swap that leaves its array sees others next time."""
    pool, chain = address_of(vector), known_of(vector)
    state = accounts.decode_pool(*account_bytes(vector["accounts"]["pool"]))
    before = PROGRAM.quotable(pool, chain, time_of(vector))
    assert isinstance(before, WhirlpoolPool)
    for case in vector["cases"]:
        if case["mode"] == "exact_out" or "error" in case:
            continue
        quote = before.quote_exact_in(int(case["amount"]), a_to_b=case["side"] == "a_to_b")
        written = orca.swapped(state, before, quote)
        decoded = accounts.decode_pool(accounts.encode_pool(written), OWNER)
        after = before.after(quote)
        assert (decoded.liquidity, decoded.sqrt_price, decoded.tick) == (
            after.liquidity,
            after.place.price,
            after.tick,
        )
        owed = state.protocol_fees_a + state.protocol_fees_b + quote.protocol_fee
        assert written.protocol_fees_a + written.protocol_fees_b == owed
        if quote.volatility:
            oracle = accounts.decode_oracle(*account_bytes(vector["accounts"]["oracle"]))
            data = accounts.encode_oracle(oracle._replace(volatility=quote.volatility))
            assert accounts.decode_oracle(data, OWNER).volatility == quote.volatility


def test_a_tick_array_that_does_not_exist_holds_no_ticks_and_one_not_read_ends_the_quotes() -> None:
    key = Pubkey.from_string(FIRST["swapTickArrays"]["a_to_b"][1])
    near, far = 10**6, max(int(case["amount"]) for case in FIRST["cases"] if case["side"] == "a_to_b")
    read = PROGRAM.quotable(POOL, {**CHAIN, key: None}, TIME)
    unread = PROGRAM.quotable(POOL, {name: one for name, one in CHAIN.items() if name != key}, TIME)
    whole = PROGRAM.quotable(POOL, CHAIN, TIME)
    paid = whole.quote_exact_in(near, a_to_b=True).amount_out
    assert read.quote_exact_in(near, a_to_b=True).amount_out == paid
    assert unread.quote_exact_in(near, a_to_b=True).amount_out == paid
    assert whole.quote_exact_in(far, a_to_b=True).amount_out
    with pytest.raises(QuoteError, match="three tick arrays of one swap end"):
        read.quote_exact_in(far, a_to_b=True)
    with pytest.raises(QuoteError, match="tick arrays that were read end"):
        unread.quote_exact_in(far, a_to_b=True)
    home = Pubkey.from_string(FIRST["swapTickArrays"]["a_to_b"][0])
    with pytest.raises(DecodeError, match="was not read"):
        PROGRAM.quotable(POOL, {name: one for name, one in CHAIN.items() if name != home}, TIME)


def test_at_the_lowest_price_the_last_array_stands_for_those_that_cannot_be() -> None:
    low = STATE._replace(tick=MIN_TICK, sqrt_price=WHIRLPOOL.at(MIN_TICK))
    chain = changed(CHAIN, POOL, accounts.encode_pool(low))
    built = PROGRAM.swap(SwapRequest(POOL, chain, OWNER, OWNER, OWNER, True, True, 1, 0))
    assert len({meta.pubkey for meta in built.accounts[11:14]}) == 1


def test_a_pool_whose_oracle_says_later_is_not_open_yet() -> None:
    pool, chain, time = address_of(LIVELY), known_of(LIVELY), time_of(LIVELY)
    key = accounts.oracle_address(pool)
    oracle = accounts.decode_oracle(*account_bytes(LIVELY["accounts"]["oracle"]))
    later = accounts.encode_oracle(oracle._replace(opens=time.unix_time + 1))
    with pytest.raises(QuoteError, match="it opens at"):
        PROGRAM.quotable(pool, changed(chain, key, later), time)
    foreign = changed(chain, key, accounts.encode_oracle(oracle._replace(pool=Pubkey.default())))
    with pytest.raises(DecodeError, match="belongs to pool 1111"):
        PROGRAM.quotable(pool, foreign, time)
    odd = changed(chain, key, accounts.encode_oracle(oracle._replace(fee=oracle.fee._replace(group_size=3))))
    with pytest.raises(DecodeError, match="groups of 3 ticks, which must divide"):
        PROGRAM.quotable(pool, odd, time)
    with pytest.raises(DecodeError, match=r"its oracle .* does not exist"):
        PROGRAM.quotable(pool, {**chain, key: None}, time)
    with pytest.raises(DecodeError, match="tick groups of 0"):
        accounts.decode_oracle(
            accounts.encode_oracle(oracle._replace(fee=oracle.fee._replace(group_size=0))), OWNER
        )


def test_more_liquidity_than_the_program_can_count_is_refused() -> None:
    data = accounts.encode_pool(STATE._replace(liquidity=2**97))
    with pytest.raises(QuoteError, match=r"above 2\^96"):
        PROGRAM.quotable(POOL, changed(CHAIN, POOL, data), TIME)


def test_accounts_of_another_pool_are_refused() -> None:
    other, key = Pubkey.default(), Pubkey.from_string(FIRST["swapTickArrays"]["a_to_b"][0])
    raw = CHAIN[key]
    assert raw
    array = accounts.decode_tick_array(raw.data, raw.owner)
    wrong = {
        f"tick array {key} is of pool {other}": changed(
            CHAIN, key, accounts.encode_tick_array(array._replace(pool=other))
        ),
        "from tick 8, expected": changed(CHAIN, key, accounts.encode_tick_array(array._replace(start=8))),
        "do not trade there": {**CHAIN, STATE.vault_a: CHAIN[STATE.vault_b]},
        "its mint .* does not exist": {**CHAIN, STATE.mint_b: None},
        "its account .* does not exist": {**CHAIN, POOL: None},
    }
    for sentence, chain in wrong.items():
        with pytest.raises(DecodeError, match=sentence):
            PROGRAM.quotable(POOL, chain, TIME)


def test_damaged_accounts_are_refused_in_a_sentence() -> None:
    with pytest.raises(DecodeError, match="is owned by 1111"):
        accounts.decode_pool(RAW, Pubkey.default())
    with pytest.raises(DecodeError, match="found 652 bytes, expected 653"):
        accounts.decode_pool(RAW[:-1], OWNER)
    with pytest.raises(DecodeError, match="another account type"):
        accounts.decode_pool(bytes(653), OWNER)
    moved, flat = STATE._replace(tick=STATE.tick + 2), STATE._replace(tick_spacing=0)
    for damaged in (moved, flat, STATE._replace(protocol_fee_rate=10_001)):
        with pytest.raises(DecodeError, match="do not go together"):
            accounts.decode_pool(accounts.encode_pool(damaged), OWNER)
    short = dynamic(*account_bytes(FIRST["accounts"]["tickArrays"][1]))
    for data in (short[:-1], short[:100], short[:60] + b"\x02" + short[61:]):
        with pytest.raises(DecodeError, match="dynamic Whirlpool tick array"):
            accounts.decode_tick_array(data, OWNER)


@pytest.mark.parametrize("data", [b"", b"\x01" * 8, orca.SWAP_V2, orca.SWAP_V2 + bytes(33) + b"\x02\x00"])
def test_other_instructions_are_no_swap(data: bytes) -> None:
    with pytest.raises(DecodeError, match="decoding a Whirlpool swap"):
        orca.decode_swap(data)


@pytest.mark.parametrize("name", [*DECODERS, "dynamic"])
@given(data=st.data())
def test_nothing_but_a_decode_error_escapes_a_decoder(name: str, data: st.DataObject) -> None:
    raws = LIVELY["accounts"]["tickArrays" if name == "dynamic" else name]
    raw, owner = account_bytes(raws[0] if isinstance(raws, list) else raws)
    raw = dynamic(raw, owner) if name == "dynamic" else raw
    fuzzed = bytearray(raw)
    changes = st.tuples(st.integers(0, len(raw) - 1), st.integers(0, 255))
    for at, byte in data.draw(st.lists(changes, max_size=30)):
        fuzzed[at] = byte
    cut = bytes(fuzzed[: data.draw(st.integers(0, len(raw)))]) if data.draw(st.booleans()) else bytes(fuzzed)
    decode, encode = DECODERS["tickArrays" if name == "dynamic" else name]
    try:
        decoded = decode(cut, owner)
    except DecodeError:
        return
    assert encode(decoded) == cut


LIVELY_CHAIN = known_of(LIVELY)
THERE = sorted((key for key, account in LIVELY_CHAIN.items() if account), key=str)


@given(data=st.data(), key=st.sampled_from(THERE), amount=st.integers(1, 2**64 - 1))
def test_nothing_but_a_refusal_escapes_a_damaged_pool(data: st.DataObject, key: Pubkey, amount: int) -> None:
    account, pool_key = LIVELY_CHAIN[key], address_of(LIVELY)
    assert account
    fuzzed = bytearray(account.data)
    for at in data.draw(st.lists(st.integers(8, len(fuzzed) - 1), min_size=1, max_size=4)):
        fuzzed[at] ^= data.draw(st.integers(1, 255))
    chain = changed(LIVELY_CHAIN, key, bytes(fuzzed))
    try:
        PROGRAM.around(pool_key, chain)
        pool = PROGRAM.quotable(pool_key, chain, ChainTime(time_of(LIVELY).unix_time, 10**6))
        for quote in (pool.quote_exact_in, pool.quote_exact_out):
            for a_to_b in (True, False):
                quote(amount, a_to_b=a_to_b)
    except (DecodeError, QuoteError):
        return
