"""Meteora DLMM bytes: decoded as the vectors say, encoded back, built byte for byte, refused when wrong."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from amm_checks import meteora_dlmm as vector_check
from amm_checks.cases import accounts_of, address_of, time_of
from hypothesis import given
from hypothesis import strategies as st
from solders.pubkey import Pubkey
from vector_accounts import REAL, account_bytes, needs_real_accounts, vector_pools

from adapters.solana.accounts import Account
from adapters.solana.pool_program import SwapRequest
from adapters.solana.programs import meteora_dlmm as dlmm
from adapters.solana.programs import meteora_dlmm_accounts as layouts
from adapters.solana.programs import meteora_dlmm_arrays as arrays
from adapters.solana.programs.meteora_dlmm_after import accounts_after
from domain.errors import DecodeError, QuoteError

VECTORS = vector_pools("meteora_dlmm")
FIRST = VECTORS[0]["accounts"]
POOL, OWNER = account_bytes(FIRST["pool"])
ARRAY, _ = account_bytes(FIRST["binArrays"][0])
ORACLE, _ = account_bytes(FIRST["oracle"])
KEY = address_of(VECTORS[0])
EXTENSION = layouts.encode_bitmap_extension(layouts.BitmapExtension(KEY, 0, 0))
PARAMETERS = {
    "base_factor": "baseFactor",
    "filter_period": "filterPeriod",
    "decay_period": "decayPeriod",
    "reduction_factor": "reductionFactor",
    "variable_fee_control": "variableFeeControl",
    "max_volatility_accumulator": "maxVolatilityAccumulator",
    "min_bin_id": "minBinId",
    "max_bin_id": "maxBinId",
    "protocol_share": "protocolShare",
    "base_fee_power_factor": "baseFeePowerFactor",
    "function_type": "functionType",
    "collect_fee_mode": "collectFeeMode",
}
FIELDS = {
    "active_id": "activeId",
    "bin_step": "binStep",
    "status": "status",
    "pair_type": "pairType",
    "activation_type": "activationType",
    "mint_a": "tokenXMint",
    "mint_b": "tokenYMint",
    "vault_a": "reserveX",
    "vault_b": "reserveY",
    "oracle": "oracle",
    "activation_point": "activationPoint",
    "token_program_flag_a": "tokenMintXProgramFlag",
    "version": "version",
}

Accounts = dict[Pubkey, Account | None]


def read_around(vector: dict[str, Any]) -> Accounts:
    """What a reader ends with who asks again until nothing is missing."""
    chain, known = accounts_of(vector), Accounts()
    while wanted := dlmm.around(address_of(vector), known):
        assert not set(wanted) & set(known), "an account is never asked for twice"
        known |= {key: chain.get(key) for key in wanted}
    return known


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["kind"])
def test_accounts_decode_to_the_vectors_fields_and_encode_back(vector: dict[str, Any]) -> None:
    said, raw = vector["decoded"], vector["accounts"]
    pool = layouts.decode_pool(*account_bytes(raw["pool"]))
    for ours, theirs in PARAMETERS.items():
        assert getattr(pool, ours) == said["pool"]["parameters"][theirs], ours
    for ours, theirs in FIELDS.items():
        assert str(getattr(pool, ours)) == str(said["pool"][theirs]), ours
    remembered = said["pool"]["vParameters"]
    assert pool.volatility_accumulator == remembered["volatilityAccumulator"]
    assert pool.volatility_reference == remembered["volatilityReference"]
    assert pool.index_reference == remembered["indexReference"]
    assert pool.last_update_timestamp == int(remembered["lastUpdateTimestamp"])
    assert pool.protocol_fees_b == int(said["pool"]["protocolFee"]["amountY"])
    words = [int(word) for word in said["pool"]["binArrayBitmap"]]
    assert pool.bin_array_bitmap == sum(word << 64 * at for at, word in enumerate(words))
    assert layouts.encode_pool(pool) == account_bytes(raw["pool"])[0]
    oracle, owner = account_bytes(raw["oracle"])
    assert layouts.encode_oracle(layouts.decode_oracle(oracle, owner)) == oracle


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["kind"])
def test_bin_arrays_decode_to_the_vectors_bins_and_encode_back(vector: dict[str, Any]) -> None:
    for raw, said in zip(vector["accounts"]["binArrays"], vector["decoded"]["bins"], strict=True):
        data, owner = account_bytes(raw)
        array = layouts.decode_bin_array(data, owner)
        assert array.index == int(said["index"])
        assert array.pool == address_of(vector)
        assert str(arrays.bin_array_address(array.pool, array.index)) == raw["pubkey"]
        for bin_id, amount_a, amount_b, price in said["bins"]:
            held = array.bins[bin_id - array.index * layouts.BINS_PER_ARRAY]
            assert (held.amount_a, held.amount_b, held.price) == (int(amount_a), int(amount_b), int(price))
        assert layouts.encode_bin_array(array) == data
        assert _with_liquidity(array) == layouts.decode_liquidity(data, owner).bins


def _with_liquidity(array: layouts.BinArray) -> tuple[tuple[object, ...], ...]:
    rows = (
        (
            array.index * layouts.BINS_PER_ARRAY + at,
            held.price,
            held.amount_a,
            held.amount_b,
            held.processed_order_remaining_amount,
            held.open_order_amount,
            bool(held.limit_order_ask_side),
        )
        for at, held in enumerate(array.bins)
    )
    return tuple(row for row in rows if any(row[2:6]))


def test_addresses_are_derived_as_the_program_does() -> None:
    pool = layouts.decode_pool(POOL, OWNER)
    assert str(dlmm.EVENT_AUTHORITY) == "D1ZN9Wj1fRSUQfCjhvnu1hqDMT7hzjzBBpi12nVniYD6"
    assert arrays.array_index(-1) == -1
    assert arrays.array_index(pool.active_id) == -2


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["kind"])
def test_swap_instructions_equal_the_vectors_byte_for_byte(vector: dict[str, Any]) -> None:
    """Built from nothing but what `around` asked for."""
    known = read_around(vector)
    assert vector["instructions"]
    for wanted in vector["instructions"]:
        user, user_in, user_out = (Pubkey.from_string(wanted[name]) for name in ("user", "userIn", "userOut"))
        amount, limit = int(wanted["amount"]), int(wanted["minOut"])
        request = SwapRequest(
            address_of(vector),
            known,
            user,
            user_in,
            user_out,
            a_to_b=wanted["name"].endswith("a_to_b"),
            exact_in=True,
            amount=amount,
            limit=limit,
        )
        built = dlmm.swap(request)
        assert str(built.program_id) == wanted["ix"]["programId"]
        assert built.data.hex() == wanted["ix"]["data"]
        metas = [
            {"pubkey": str(meta.pubkey), "signer": meta.is_signer, "writable": meta.is_writable}
            for meta in built.accounts
        ]
        assert metas == wanted["ix"]["keys"]
        assert dlmm.decode_swap(built.data) == dlmm.SwapArguments(True, amount, limit)
        exact_out = dlmm.swap(replace(request, exact_in=False))
        assert exact_out.accounts == built.accounts
        assert exact_out.data[:8].hex() == "2bd7f784893cf351"  # swap_exact_out2 of the published IDL
        assert dlmm.decode_swap(exact_out.data) == dlmm.SwapArguments(False, amount, limit)


def test_a_far_bin_array_is_found_in_the_extension() -> None:
    """Past the 1,024 arrays of the pool's own bitmap the search goes on in the extension, on both sides."""
    pool = replace(layouts.decode_pool(POOL, OWNER), bin_array_bitmap=1 << 512 + 3 | 1 << 512 - 2)
    extension = layouts.BitmapExtension(KEY, positive=1 << 0 | 1 << 6_143, negative=1 << 1 | 1 << 6_143)
    assert layouts.decode_bitmap_extension(layouts.encode_bitmap_extension(extension), OWNER) == extension

    def ahead(active: int, *, a_to_b: bool, known: layouts.BitmapExtension | None) -> tuple[int, ...]:
        return arrays.arrays_ahead(replace(pool, active_id=active), known, a_to_b=a_to_b, count=4)

    assert ahead(0, a_to_b=False, known=None) == (3,)
    assert ahead(0, a_to_b=True, known=None) == (-2,)
    assert ahead(0, a_to_b=False, known=extension) == (3, 512, 6_655)
    assert ahead(0, a_to_b=True, known=extension) == (-2, -514, -6_656)
    assert ahead(600 * 70, a_to_b=True, known=extension) == (512, 3, -2, -514)
    assert ahead(-6_200 * 70, a_to_b=False, known=extension) == (-514, -2, 3, 512)
    assert ahead(-600 * 70, a_to_b=True, known=None) == ()


def test_a_pools_extension_is_named_in_the_swap() -> None:
    known = read_around(VECTORS[0])
    extension = arrays.bitmap_extension_address(KEY)
    assert known[extension] is None
    request = SwapRequest(KEY, known, KEY, KEY, KEY, a_to_b=True, exact_in=True, amount=1, limit=0)
    assert dlmm.swap(request).accounts[1].pubkey == dlmm.PROGRAM.program_id
    known[extension] = Account(1, OWNER, EXTENSION)
    assert dlmm.swap(request).accounts[1].pubkey == extension


def test_bins_that_were_not_read_are_not_quoted() -> None:
    """A missing array ends the liquidity: the swap could not name it either."""
    vector = next(vector for vector in VECTORS if vector["kind"] == "gaps")
    chain = accounts_of(vector)
    whole = dlmm.quotable(address_of(vector), chain, time_of(vector))
    missing = arrays.bin_array_address(address_of(vector), -25)
    part = dlmm.quotable(address_of(vector), {**chain, missing: None}, time_of(vector))
    assert min(held.bin_id for held in part.bins) >= -24 * 70 > min(held.bin_id for held in whole.bins)


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["kind"])
def test_accounts_written_after_a_swap_are_the_pool_after_it(vector: dict[str, Any]) -> None:
    """Decoding what was written gives the pool that `after` promised, and the protocol its fees beside it."""
    key, known = address_of(vector), accounts_of(vector)
    pool = dlmm.quotable(key, known, time_of(vector))
    for case in (case for case in vector["cases"] if case["program"]["ok"]):
        ask = pool.quote_exact_in if case["mode"] == "exact_in" else pool.quote_exact_out
        quote = ask(int(case["amount"]), a_to_b=case["side"] == "a_to_b")
        written = accounts_after(key, known, pool, quote)
        changed = {to: replace(_present(known, to), data=data) for to, data in written.items()}
        again = dlmm.quotable(key, {**known, **changed}, time_of(vector))
        after = pool.after(quote)
        # the vaults move by token transfers, and an emptied bin is no longer a bin of the pool
        assert (again.active_id, again.volatility) == (after.active_id, after.volatility)
        assert again.bins == tuple(held for held in after.bins if any(held[2:6]))
        before, now = (layouts.decode_pool(data, OWNER) for data in (_present(known, key).data, written[key]))
        owed = now.protocol_fees_a + now.protocol_fees_b - before.protocol_fees_a - before.protocol_fees_b
        assert owed == quote.protocol_fee + quote.surplus_out
        for to in written.keys() - {key}:
            _check_only_amounts_moved(_present(known, to).data, written[to])


def _check_only_amounts_moved(before: bytes, after: bytes) -> None:
    """What a swap does not write of a bin array stays byte for byte."""
    old, new = (layouts.decode_bin_array(data, OWNER) for data in (before, after))
    moved = ("amount_a", "amount_b", "processed_order_remaining_amount", "open_order_amount")
    bins = tuple(
        was._replace(**{name: getattr(now, name) for name in moved})
        for was, now in zip(old.bins, new.bins, strict=True)
    )
    assert new == replace(old, bins=bins)
    assert new != old


def _present(accounts: Accounts, key: Pubkey) -> Account:
    account = accounts[key]
    assert account is not None
    return account


def test_wrong_owner_length_type_and_modes_are_refused_in_a_sentence() -> None:
    with pytest.raises(DecodeError, match="is owned by 1111"):
        layouts.decode_pool(POOL, Pubkey.default())
    with pytest.raises(DecodeError, match="found 903 bytes, expected 904"):
        layouts.decode_pool(POOL[:-1], OWNER)
    with pytest.raises(DecodeError, match="it starts with 0000000000000000"):
        layouts.decode_bin_array(bytes(8) + ARRAY[8:], OWNER)
    with pytest.raises(DecodeError, match="index 9000 is beyond"):
        layouts.decode_bin_array(ARRAY[:8] + (9_000).to_bytes(8, "little") + ARRAY[16:], OWNER)
    with pytest.raises(DecodeError, match="3231 bytes are no whole number of observations"):
        layouts.decode_oracle(ORACLE[:-1], OWNER)
    for at, mode in ((36, "fee mode"), (35, "function type"), (75, "pair type"), (82, "status")):
        with pytest.raises(DecodeError, match=f"{mode} 9 is unknown"):
            layouts.decode_pool(POOL[:at] + b"\x09" + POOL[at + 1 :], OWNER)
    with pytest.raises(DecodeError, match="bin step 0"):
        layouts.decode_pool(POOL[:80] + bytes(2) + POOL[82:], OWNER)
    with pytest.raises(DecodeError, match="which is no Meteora DLMM swap"):
        dlmm.decode_swap(b"12345678")
    with pytest.raises(DecodeError, match="2 slices of transfer hook accounts"):
        dlmm.decode_swap(dlmm.SWAP + bytes(16) + b"\x02\x00\x00\x00")


def test_accounts_that_are_not_the_pools_own_are_refused() -> None:
    """Whoever can write an account can shape one like a pool: vaults, mints and arrays must be the pool's."""
    known, time = accounts_of(VECTORS[0]), time_of(VECTORS[0])
    state = layouts.decode_pool(POOL, OWNER)
    array = arrays.bin_array_address(KEY, -2)

    def spoilt(key: Pubkey, change: Callable[[bytes], bytes]) -> Accounts:
        account = _present(known, key)
        return {**known, key: replace(account, data=change(account.data))}

    def foreign(data: bytes) -> bytes:
        return data[:32] + bytes(32) + data[64:]

    with pytest.raises(DecodeError, match="do not trade there"):
        dlmm.quotable(KEY, spoilt(state.vault_a, foreign), time)
    with pytest.raises(DecodeError, match="number -2 of 1111"):
        dlmm.quotable(KEY, spoilt(array, lambda data: data[:24] + bytes(32) + data[56:]), time)
    extension = arrays.bitmap_extension_address(KEY)
    stranger = Account(1, OWNER, layouts.encode_bitmap_extension(layouts.BitmapExtension(OWNER, 0, 0)))
    with pytest.raises(DecodeError, match="bitmap extension"):
        dlmm.quotable(KEY, {**known, extension: stranger}, time)
    with pytest.raises(DecodeError, match="does not exist"):
        dlmm.quotable(KEY, {**known, state.mint_b: None}, time)


def test_a_pool_that_takes_no_swaps_is_refused() -> None:
    known, time = accounts_of(VECTORS[0]), time_of(VECTORS[0])
    state = layouts.decode_pool(POOL, OWNER)

    def with_state(**changed: int) -> Accounts:
        data = layouts.encode_pool(replace(state, **changed))  # type: ignore[arg-type] # whole numbers only
        return {**known, KEY: Account(1, OWNER, data)}

    with pytest.raises(QuoteError, match="switched off"):
        dlmm.quotable(KEY, with_state(status=1), time)
    late = {"pair_type": 2, "activation_type": 1, "activation_point": time.unix_time + 1}
    with pytest.raises(QuoteError, match="opens at second"):
        dlmm.quotable(KEY, with_state(**late), time)
    dlmm.quotable(KEY, with_state(**{**late, "activation_point": time.unix_time}), time)
    by_slot = {"pair_type": 2, "activation_type": 0, "activation_point": 5}
    dlmm.quotable(KEY, with_state(**by_slot), time)
    with pytest.raises(QuoteError, match="opens at slot 5"):
        dlmm.quotable(KEY, with_state(**by_slot, last_update_timestamp=0), time)


@given(data=st.binary(max_size=904), at=st.integers(0, 903), keep=st.booleans())
def test_malformed_accounts_raise_nothing_but_decode_errors(data: bytes, at: int, keep: bool) -> None:
    decoders = (
        (POOL, layouts.decode_pool),
        (ARRAY, layouts.decode_bin_array),
        (ARRAY, layouts.decode_liquidity),
        (EXTENSION, layouts.decode_bitmap_extension),
        (ORACLE, layouts.decode_oracle),
    )
    for sample, decode in decoders:
        spoilt = (sample[:at] + data + sample[at + len(data) :])[: len(sample)] if keep else data
        try:
            decode(spoilt, OWNER)
        except DecodeError:
            continue


@given(data=st.binary(min_size=1, max_size=60), at=st.integers(8, 903))
def test_a_spoilt_pool_is_refused_or_quoted_but_never_breaks(data: bytes, at: int) -> None:
    known = accounts_of(VECTORS[0])
    known[KEY] = Account(1, OWNER, (POOL[:at] + data + POOL[at + len(data) :])[:904])
    try:
        pool = dlmm.quotable(KEY, known, time_of(VECTORS[0]))
        pool.quote_exact_in(10**6, a_to_b=True)
        pool.quote_exact_out(10**6, a_to_b=False)
    except (DecodeError, QuoteError):
        return


@given(data=st.binary(max_size=40))
def test_malformed_swaps_raise_nothing_but_decode_errors(data: bytes) -> None:
    for start in (b"", dlmm.SWAP, dlmm.SWAP_EXACT_OUT):
        try:
            dlmm.decode_swap(start + data)
        except DecodeError:
            continue


@needs_real_accounts
def test_pools_as_the_chain_holds_them_are_quoted_as_the_program_paid() -> None:
    pools = json.loads((REAL / "meteora_dlmm_real.json").read_text())["pools"]
    assert sum(vector_check.check(pool)[0] for pool in pools) == sum(len(pool["cases"]) for pool in pools) > 0
    for key, raw in ((address_of(pool), pool["accounts"]["pool"]) for pool in pools):
        real = layouts.decode_pool(*account_bytes(raw))
        assert arrays.oracle_address(key) == real.oracle
        assert arrays.vault_address(key, real.mint_a) == real.vault_a
        assert arrays.vault_address(key, real.mint_b) == real.vault_b


@needs_real_accounts
@pytest.mark.parametrize(
    "file", sorted(REAL.glob("accounts/meteora_dlmm_*.json")), ids=lambda file: file.stem
)
def test_real_accounts_decode_and_encode_back(file: Path) -> None:
    decoders: dict[str, tuple[Callable[..., Any], Callable[[Any], bytes]]] = {
        "lb_pair": (layouts.decode_pool, layouts.encode_pool),
        "bin_array": (layouts.decode_bin_array, layouts.encode_bin_array),
        "oracle": (layouts.decode_oracle, layouts.encode_oracle),
    }
    seen = set()
    for name, raw in json.loads(file.read_text())["accounts"].items():
        kind = next((kind for kind in decoders if name.startswith(kind)), None)
        if kind:
            decode, encode = decoders[kind]
            data, owner = account_bytes(raw)
            assert encode(decode(data, owner)) == data, name
            seen.add(kind)
    assert seen == set(decoders)
