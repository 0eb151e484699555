"""Raydium CLMM bytes: decoded as the vectors say, encoded back, built byte for byte, refused when wrong."""

from __future__ import annotations

from collections.abc import Callable
from struct import pack
from typing import Any

import pytest
from amm_checks.cases import accounts_of, address_of, quotable, time_of
from hypothesis import given
from hypothesis import strategies as st
from solders.pubkey import Pubkey
from tick_pool_cases import Chain, changed, read_around, request_of
from vector_accounts import account_bytes, instruction_of, vector_pools

from adapters.solana.pool_program import ChainTime, SwapRequest
from adapters.solana.programs import raydium_clmm as clmm
from adapters.solana.programs import raydium_clmm_accounts as accounts
from adapters.solana.programs.raydium_clmm import PROGRAM
from domain.errors import DecodeError, QuoteError
from domain.market.amm.clmm import ClmmPool

VECTORS = vector_pools("raydium_clmm")
FIRST = VECTORS[0]
POOL, CHAIN, TIME = address_of(FIRST), accounts_of(FIRST), time_of(FIRST)
RAW, OWNER = account_bytes(FIRST["accounts"]["pool"])
STATE = accounts.decode_pool(RAW, OWNER)
every_vector = pytest.mark.parametrize(
    "vector", VECTORS, ids=lambda vector: f"{vector['seed']}-{vector['kind']}"
)

DECODERS: dict[str, tuple[Callable[[bytes, Pubkey], Any], Callable[[Any], bytes]]] = {
    "pool": (accounts.decode_pool, accounts.encode_pool),
    "config": (accounts.decode_config, accounts.encode_config),
    "observation": (accounts.decode_observations, accounts.encode_observations),
    "bitmapExtension": (accounts.decode_extension, accounts.encode_extension),
    "tickArrays": (accounts.decode_tick_array, accounts.encode_tick_array),
}


@every_vector
def test_accounts_encode_back_byte_for_byte(vector: dict[str, Any]) -> None:
    for name, (decode, encode) in DECODERS.items():
        raws = vector["accounts"][name]
        for raw in raws if isinstance(raws, list) else [raws]:
            data, owner = account_bytes(raw)
            assert encode(decode(data, owner)) == data, name


@every_vector
def test_accounts_decode_to_the_vectors_fields(vector: dict[str, Any]) -> None:
    said, config_said = vector["decoded"]["pool"], vector["decoded"]["config"]
    pool = accounts.decode_pool(*account_bytes(vector["accounts"]["pool"]))
    config = accounts.decode_config(*account_bytes(vector["accounts"]["config"]))
    keys = (
        pool.amm_config,
        pool.owner,
        pool.mint_a,
        pool.mint_b,
        pool.vault_a,
        pool.vault_b,
        pool.observation,
    )
    names = ("configId", "creator", "mintA", "mintB", "vaultA", "vaultB", "observationId")
    assert [str(key) for key in keys] == [said[name] for name in names]
    assert (pool.decimals_a, pool.decimals_b, pool.tick_spacing, pool.tick) == tuple(
        said[name] for name in ("mintDecimalsA", "mintDecimalsB", "tickSpacing", "tickCurrent")
    )
    assert (pool.liquidity, pool.sqrt_price) == (int(said["liquidity"]), int(said["sqrtPriceX64"]))
    assert (pool.fee_growth_a, pool.fee_growth_b) == (
        int(said["feeGrowthGlobalX64A"]),
        int(said["feeGrowthGlobalX64B"]),
    )
    assert (pool.protocol_fees_a, pool.protocol_fees_b, pool.recent_epoch) == (
        int(said["protocolFeesTokenA"]),
        int(said["protocolFeesTokenB"]),
        int(said["recentEpoch"]),
    )
    assert pool.bitmap.hex() == said["tickArrayBitmap"]["hex"]
    assert (config.number, config.trade_fee_rate, config.protocol_fee_rate, config.fund_fee_rate) == tuple(
        config_said[name] for name in ("index", "tradeFeeRate", "protocolFeeRate", "fundFeeRate")
    )
    for raw, wanted in zip(vector["accounts"]["tickArrays"], vector["decoded"]["ticks"], strict=True):
        array = accounts.decode_tick_array(*account_bytes(raw))
        ticks = [
            [t.tick, str(t.liquidity_net), str(t.liquidity_gross)] for t in array.ticks if t.liquidity_gross
        ]
        assert (array.start, array.initialised, ticks) == (wanted["start"], wanted["count"], wanted["ticks"])
        assert accounts.tick_array_address(address_of(vector), array.start) == Pubkey.from_string(
            raw["pubkey"]
        )


@every_vector
def test_the_bitmaps_name_the_arrays_there_are(vector: dict[str, Any]) -> None:
    """One of the vectors lies so low that only the extension knows its arrays."""
    pool = accounts.decode_pool(*account_bytes(vector["accounts"]["pool"]))
    extension = accounts.decode_extension(*account_bytes(vector["accounts"]["bitmapExtension"]))
    bits = accounts.array_bits(pool.bitmap, extension)
    there = [array["start"] // (60 * pool.tick_spacing) for array in vector["decoded"]["ticks"]]
    assert accounts.arrays_from(bits, there[0], 99, down=False) == there
    assert accounts.arrays_from(bits, there[-1], 99, down=True) == there[::-1]
    assert accounts.arrays_from(bits, there[1], 1, down=True) == [there[1]]
    assert accounts.arrays_from(bits, there[0] - 1, 99, down=True) == []


@pytest.mark.parametrize("array", [-7_394, -1_025, -1_024, -513, -512, -1, 0, 511, 512, 1_023, 1_024, 7_393])
def test_an_arrays_bit_is_where_the_program_puts_it(array: int) -> None:
    """The program's own offsets: 512 arrays a chunk, from 0 outwards, bits ascending with the tick."""
    bitmap, above, below = bytearray(128), bytearray(896), bytearray(896)
    if -512 <= array < 512:
        target, bit = bitmap, array + 512
    elif array > 0:
        target, bit = above, array - 512
    else:
        chunk, rest = divmod(-array, 512)
        target, bit = below, (chunk - 1) * 512 + 512 - rest if rest else (chunk - 2) * 512
    target[bit // 8] |= 1 << bit % 8
    extension = accounts.BitmapExtension(POOL, bytes(above), bytes(below))
    bits = accounts.array_bits(bytes(bitmap), extension)
    assert bits == 1 << array - accounts.FIRST_ARRAY
    if target is bitmap:
        assert accounts.array_bits(bytes(bitmap), None) == bits


@every_vector
def test_swap_instructions_equal_the_vectors_byte_for_byte(vector: dict[str, Any]) -> None:
    assert vector["instructions"]
    for wanted in vector["instructions"]:
        built = PROGRAM.swap(request_of(vector, wanted, accounts_of(vector)))
        assert instruction_of(built) == wanted["ix"]
        assert clmm.decode_swap(built.data) == clmm.SwapArguments(
            wanted["isBaseInput"], int(wanted["amount"]), int(wanted["otherAmountThreshold"])
        )


@every_vector
def test_reading_around_a_pool_names_all_a_quote_needs(vector: dict[str, Any]) -> None:
    known, readings = read_around(PROGRAM, vector)
    assert readings == 3, "the pool, what it names, then the tick arrays its bitmaps name"
    assert {Pubkey.from_string(raw["pubkey"]) for raw in vector["accounts"]["tickArrays"]} <= set(known)
    assert quotable(PROGRAM, vector, known) == quotable(PROGRAM, vector)


@every_vector
def test_a_pool_written_back_after_a_swap_is_the_pool_after_it(vector: dict[str, Any]) -> None:
    pool, chain = address_of(vector), accounts_of(vector)
    state = accounts.decode_pool(*account_bytes(vector["accounts"]["pool"]))
    before = quotable(PROGRAM, vector)
    assert isinstance(before, ClmmPool)
    for case in vector["cases"]:
        if case["mode"] == "exact_out" or "error" in case:
            continue
        quote = before.quote_exact_in(int(case["amount"]), a_to_b=case["side"] == "a_to_b")
        written = clmm.swapped(state, before, quote)
        now = PROGRAM.quotable(pool, changed(chain, pool, accounts.encode_pool(written)), time_of(vector))
        after = before.after(quote)
        assert isinstance(now, ClmmPool)
        assert (now.place, now.bands) == (after.place._replace(tick=after.tick), after.bands)
        fees = written.protocol_fees_a + written.protocol_fees_b + written.fund_fees_a + written.fund_fees_b
        owed = state.protocol_fees_a + state.protocol_fees_b + state.fund_fees_a + state.fund_fees_b
        assert fees - owed == quote.protocol_fee + quote.fund_fee


def without(array: int) -> Chain:
    """The first vector's accounts but for one of its tick arrays."""
    key = accounts.tick_array_address(POOL, array * 60 * STATE.tick_spacing)
    assert key in CHAIN
    return {name: account for name, account in CHAIN.items() if name != key}


def test_a_swap_that_needs_a_tick_array_that_was_not_read_is_refused() -> None:
    pool = PROGRAM.quotable(POOL, without(3), TIME)
    assert not pool.quote_exact_in(10**6, a_to_b=False).partial
    with pytest.raises(QuoteError, match="tick array at tick 21600, which was not read"):
        pool.quote_exact_in(10**15, a_to_b=True)
    request = SwapRequest(POOL, without(3), OWNER, OWNER, OWNER, True, True, 10**15, 0)
    with pytest.raises(QuoteError, match="was not read"):
        PROGRAM.swap(request)


def test_a_swap_names_as_many_arrays_as_it_crosses_and_one_more() -> None:
    vector = next(vector for vector in VECTORS if len(vector["accounts"]["tickArrays"]) == 6)
    ours = quotable(PROGRAM, vector)
    most = max(
        int(case["amount"]) for case in vector["cases"] if case["side"] == "b_to_a" and "partial" in case
    )
    request = SwapRequest(address_of(vector), accounts_of(vector), OWNER, OWNER, OWNER, False, True, most, 0)
    named = len(PROGRAM.swap(request).accounts) - 14
    assert ours.quote_exact_in(most, a_to_b=False).partial
    assert named == 4, "all there are from the price up"
    small = SwapRequest(address_of(vector), accounts_of(vector), OWNER, OWNER, OWNER, False, True, 10, 0)
    assert len(PROGRAM.swap(small).accounts) - 14 == clmm.FEWEST_ARRAYS


def test_limit_orders_are_a_wall_no_quote_passes() -> None:
    start = 21_600
    key = accounts.tick_array_address(POOL, start)
    raw = CHAIN[key]
    assert raw
    array = accounts.decode_tick_array(raw.data, raw.owner)
    place = next(place for place, tick in enumerate(array.ticks) if tick.tick == 26_280)
    with_order = array.ticks[place]._replace(rest=bytes(88) + pack("<Q", 5) + bytes(36))
    ticks = (*array.ticks[:place], with_order, *array.ticks[place + 1 :])
    data = accounts.encode_tick_array(array._replace(ticks=ticks))
    pool, plain = PROGRAM.quotable(POOL, changed(CHAIN, key, data), TIME), quotable(PROGRAM, FIRST)
    assert pool.quote_exact_in(10**6, a_to_b=True) == plain.quote_exact_in(10**6, a_to_b=True)
    with pytest.raises(QuoteError, match="limit orders at tick 26280"):
        pool.quote_exact_in(10**15, a_to_b=True)
    assert plain.quote_exact_in(10**15, a_to_b=True).amount_out


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"status": 1 << 4}, "takes no swaps"),
        ({"open_time": TIME.unix_time}, "takes no swaps"),
        ({"fee_on": 1}, "one token only"),
        ({"dynamic_fee": b"\x01" + bytes(79)}, "follows the price"),
    ],
)
def test_a_pool_that_does_not_trade_as_our_mathematics_does_is_refused(
    change: dict[str, Any], sentence: str
) -> None:
    data = accounts.encode_pool(STATE._replace(**change))
    with pytest.raises(QuoteError, match=sentence):
        PROGRAM.quotable(POOL, changed(CHAIN, POOL, data), TIME)


def test_a_pool_that_opened_a_second_ago_trades() -> None:
    data = accounts.encode_pool(STATE._replace(open_time=TIME.unix_time - 1, status=0b1111))
    pool = PROGRAM.quotable(POOL, changed(CHAIN, POOL, data), TIME)
    assert pool.quote_exact_in(10**6, a_to_b=True).amount_out


def test_accounts_of_another_pool_are_refused() -> None:
    other, key = Pubkey.default(), accounts.tick_array_address(POOL, 28_800)
    raw = CHAIN[key]
    extension = accounts.extension_address(POOL)
    assert raw
    array = accounts.decode_tick_array(raw.data, raw.owner)
    wrong = {
        f"tick array {key} is of pool {other}": changed(
            CHAIN, key, accounts.encode_tick_array(array._replace(pool=other))
        ),
        "holds ticks out of place": changed(
            CHAIN, key, accounts.encode_tick_array(array._replace(ticks=array.ticks[::-1]))
        ),
        f"belongs to pool {other}": changed(
            CHAIN, extension, accounts.encode_extension(accounts.BitmapExtension(other))
        ),
        "do not trade there": {**CHAIN, STATE.vault_a: CHAIN[STATE.vault_b]},
        "its fee config .* does not exist": {**CHAIN, STATE.amm_config: None},
        "its mint .* does not exist": {**CHAIN, STATE.mint_b: None},
        "its account .* does not exist": {**CHAIN, POOL: None},
    }
    for sentence, chain in wrong.items():
        with pytest.raises(DecodeError, match=sentence):
            PROGRAM.quotable(POOL, chain, TIME)


def test_damaged_accounts_are_refused_in_a_sentence() -> None:
    with pytest.raises(DecodeError, match="is owned by 1111"):
        accounts.decode_pool(RAW, Pubkey.default())
    with pytest.raises(DecodeError, match="found 1543 bytes, expected 1544"):
        accounts.decode_pool(RAW[:-1], OWNER)
    with pytest.raises(DecodeError, match="another account type"):
        accounts.decode_pool(bytes(1_544), OWNER)
    with pytest.raises(DecodeError, match="do not go together"):
        accounts.decode_pool(accounts.encode_pool(STATE._replace(tick=STATE.tick + 2)), OWNER)
    config = accounts.decode_config(*account_bytes(FIRST["accounts"]["config"]))
    with pytest.raises(DecodeError, match="leaves nothing to trade"):
        accounts.decode_config(accounts.encode_config(config._replace(trade_fee_rate=10**6)), OWNER)


@pytest.mark.parametrize("data", [b"", b"\x01" * 8, clmm.SWAP_V2, clmm.SWAP_V2 + bytes(32) + b"\x02"])
def test_other_instructions_are_no_swap(data: bytes) -> None:
    with pytest.raises(DecodeError, match="decoding a Raydium CLMM swap"):
        clmm.decode_swap(data)


@pytest.mark.parametrize("name", list(DECODERS))
@given(data=st.data())
def test_nothing_but_a_decode_error_escapes_a_decoder(name: str, data: st.DataObject) -> None:
    raws = FIRST["accounts"][name]
    raw, owner = account_bytes(raws[0] if isinstance(raws, list) else raws)
    fuzzed = bytearray(raw)
    changes = st.tuples(st.integers(0, len(raw) - 1), st.integers(0, 255))
    for at, byte in data.draw(st.lists(changes, max_size=30)):
        fuzzed[at] = byte
    cut = bytes(fuzzed[: data.draw(st.integers(0, len(raw)))]) if data.draw(st.booleans()) else bytes(fuzzed)
    decode, encode = DECODERS[name]
    try:
        decoded = decode(cut, owner)
    except DecodeError:
        return
    assert encode(decoded) == cut


@given(data=st.data(), key=st.sampled_from(sorted(CHAIN, key=str)), amount=st.integers(1, 2**64 - 1))
def test_nothing_but_a_refusal_escapes_a_damaged_pool(data: st.DataObject, key: Pubkey, amount: int) -> None:
    account = CHAIN[key]
    assert account
    fuzzed = bytearray(account.data)
    for at in data.draw(st.lists(st.integers(8, len(fuzzed) - 1), min_size=1, max_size=4)):
        fuzzed[at] ^= data.draw(st.integers(1, 255))
    chain = changed(CHAIN, key, bytes(fuzzed))
    try:
        PROGRAM.around(POOL, chain)
        pool = PROGRAM.quotable(POOL, chain, ChainTime(TIME.unix_time, 10**6))
        for quote in (pool.quote_exact_in, pool.quote_exact_out):
            for a_to_b in (True, False):
                quote(amount, a_to_b=a_to_b)
    except (DecodeError, QuoteError):
        return
