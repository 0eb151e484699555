"""What is kept: answers that can never change, and nothing else."""

from __future__ import annotations

import json

import pytest

from adapters.rpcpool.cache import ENTRY_BYTES, AnswerCache, cache_key

HEAD = 10_000


def key(method: str, *params: object, head: int | None = HEAD) -> bytes | None:
    return cache_key(method, json.dumps(params).encode(), head)


@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("getGenesisHash", ()),
        ("getEpochSchedule", ()),
        ("getTransaction", ("sig",)),
        ("getTransaction", ("sig", "base64")),
        ("getTransaction", ("sig", {"commitment": "finalized", "encoding": "json"})),
        ("getBlock", (5, {"transactionDetails": "none"})),
        ("getBlockTime", (HEAD - 150,)),
    ],
)
def test_kept(method: str, params: tuple[object, ...]) -> None:
    assert key(method, *params) is not None


@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("getSlot", ()),
        ("getAccountInfo", ("x", {"commitment": "finalized"})),
        ("getTransaction", ("sig", {"commitment": "confirmed"})),
        ("getTransaction", ("sig", 7)),
        ("getBlock", (5, {"commitment": "processed"})),
        ("getBlockTime", (HEAD - 149,)),
        ("getBlockTime", (True,)),
        ("getBlockTime", ("5",)),
        ("getBlockTime", ()),
        ("getGenesisHash", (1,)),
        ("sendTransaction", ("tx",)),
    ],
)
def test_never_kept(method: str, params: tuple[object, ...]) -> None:
    assert key(method, *params) is None


def test_a_block_time_is_not_kept_while_the_head_is_unknown() -> None:
    assert key("getBlockTime", 5, head=None) is None


def test_params_that_are_no_list_are_passed_on() -> None:
    assert cache_key("getTransaction", b'{"a":1}', HEAD) is None
    assert cache_key("getTransaction", b"[" * 100_000, HEAD) is None


def test_spelling_does_not_matter_and_meaning_does() -> None:
    one = cache_key("getBlock", b'[5,{"encoding":"json","commitment":"finalized"}]', HEAD)
    two = cache_key("getBlock", b'[ 5, {"commitment":"finalized", "encoding":"json"} ]', HEAD)
    three = cache_key("getBlock", b'[5,{"encoding":"base64","commitment":"finalized"}]', HEAD)
    assert one == two != three


def test_null_is_not_kept() -> None:
    cache = AnswerCache(10**6)
    cache.put(b"k", b"null")
    assert cache.get(b"k") is None
    assert cache.used_bytes == 0


def test_the_bound_holds_and_the_least_used_goes_first() -> None:
    entry = 1 + 100 + ENTRY_BYTES
    cache = AnswerCache(10 * entry)
    for name in b"abcdefghij":
        cache.put(bytes([name]), bytes(100))
    assert cache.get(b"a") == bytes(100)  # used: `b` is the least used now
    cache.put(b"k", bytes(100))
    assert cache.get(b"b") is None
    assert cache.get(b"a") == cache.get(b"k") == bytes(100)
    assert cache.used_bytes == 10 * entry


def test_one_answer_may_not_drive_out_the_others() -> None:
    cache = AnswerCache(1_000)
    cache.put(b"big", bytes(1_000))
    assert cache.get(b"big") is None


def test_a_cache_of_no_bytes_keeps_nothing() -> None:
    cache = AnswerCache(0)
    cache.put(b"k", b"1")
    assert cache.get(b"k") is None
