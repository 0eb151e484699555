"""What snapshots promise: to change nothing but speed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import pytest
from given import OWNER, SOL, a_wallet, moved
from hypothesis import given, settings
from hypothesis import strategies as st
from logged import CAUSE, Kept, new_id

from adapters.postgres.states import decode_state, encode_state
from commands import aggregates
from commands.aggregates import Aggregates, decisions, fold
from commands.ports import StreamAppend
from domain.chain import WSOL, Mint, Signature, Slot
from domain.errors import InvariantBroken
from domain.money import Lamports
from domain.strategies.strategy import Strategy
from domain.wallets.wallet import Wallet, wallet_stream

STREAM = wallet_stream(OWNER)

Step = Callable[[Wallet, int], object]


def deposit(wallet: Wallet, at: int) -> None:
    wallet.book("deposit", Signature(f"s{at}"), Slot(at), moved(WSOL, at), at)


def reserve(wallet: Wallet, at: int) -> None:
    wallet.reserve(f"order-{at}", WSOL, 1, Lamports(1), at)


def release(wallet: Wallet, at: int) -> None:
    if wallet.reserved:
        wallet.release(min(wallet.reserved), at)


def disagree(wallet: Wallet, at: int) -> None:
    wallet.compare(Mint("native"), at, Slot(at), at)


def resolve(wallet: Wallet, at: int) -> None:
    wallet.resolve("agreed", at)


def lived(steps: Sequence[Step]) -> StreamAppend:
    """A wallet's events after these steps."""
    wallet = a_wallet()
    for at, step in enumerate(steps, 10):
        step(wallet, at)
    (append,) = decisions(wallet, CAUSE, 1)
    return append


steps_ = st.lists(st.sampled_from([deposit, reserve, release, disagree, resolve]), max_size=30)


@settings(deadline=None)
@given(steps=steps_, data=st.data())
def test_a_snapshot_and_the_rest_fold_to_the_same(steps: list[Step], data: st.DataObject) -> None:
    """Wherever the cut is, and whatever happened: fold(snapshot + rest) = fold(all)."""
    append = lived(steps)
    cut = data.draw(st.integers(1, len(append.events)))
    whole: Wallet | None = None
    part: Wallet | None = None
    for place, event in enumerate(append.events, 1):
        whole, part = event.mutate(whole), event.mutate(part)  # type: ignore[attr-defined]  # aggregates' events do
        if place == cut:
            assert part is not None
            part = decode_state(Wallet, STREAM, part.version, encode_state(part))
    assert part == whole


async def test_a_saved_state_is_loaded_and_older_ones_are_gone(kept: Kept) -> None:
    """The newest counts; saving an older one later changes nothing."""
    assert await kept.snapshots.load(Wallet, STREAM) is None
    append = lived([deposit, reserve])
    states = [_after(append, count) for count in (2, 4, 3)]
    for state in states:
        await kept.snapshots.save(state)
    found = await kept.snapshots.load(Wallet, STREAM)
    assert (found, found is not None and found.version) == (states[1], 4)
    await kept.snapshots.discard(STREAM)
    assert await kept.snapshots.load(Wallet, STREAM) is None


def _after(append: StreamAppend, count: int) -> Wallet:
    wallet: Wallet | None = None
    for event in append.events[:count]:
        wallet = event.mutate(wallet)  # type: ignore[attr-defined]  # aggregates' events do
    assert wallet is not None
    return wallet


async def test_a_state_of_another_version_is_ignored_and_removed(
    kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also one of another kind: a later look by the old version finds nothing either."""
    await kept.snapshots.save(_after(lived([]), 2))
    today = Wallet.class_version
    monkeypatch.setattr(Wallet, "class_version", today + 1)
    assert await kept.snapshots.load(Wallet, STREAM) is None
    monkeypatch.setattr(Wallet, "class_version", today)
    assert await kept.snapshots.load(Wallet, STREAM) is None
    await kept.snapshots.save(_after(lived([]), 2))
    assert await kept.snapshots.load(Strategy, STREAM) is None
    assert await kept.snapshots.load(Wallet, STREAM) is None


def test_what_is_not_in_the_log_is_not_kept() -> None:
    """A wallet with undecided events, and a class that does not say what its state is."""
    with pytest.raises(InvariantBroken, match="not in the log"):
        encode_state(a_wallet())
    with pytest.raises(InvariantBroken, match="Strategy annotates no fields"):
        decode_state(Strategy, "x", 1, b"{}")


async def test_a_long_wallet_is_loaded_from_its_snapshot(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    """Taken every so many events; without it, or with one of another log, the same wallet is loaded."""
    monkeypatch.setattr(aggregates, "SNAPSHOT_EVERY", 5)
    appends = [lived([deposit] * count) for count in (1, 7, 20)]
    for before, after in pairwise([None, *appends]):
        assert after is not None
        done = len(before.events) if before else 0
        await kept.log.append([_from(after, done)], append_id=new_id())
        async with Aggregates(kept.log, kept.snapshots).hold(Wallet, STREAM) as wallet:
            assert wallet == await fold(kept.log, STREAM)
    assert (found := await kept.snapshots.load(Wallet, STREAM)) is not None
    assert found.version == 22

    strange = lived([deposit] * 19 + [reserve])
    await kept.snapshots.discard(STREAM)
    await kept.snapshots.save(_after(_at_another_time(strange), 22))
    async with Aggregates(kept.log, kept.snapshots).hold(Wallet, STREAM) as wallet:
        assert wallet == await fold(kept.log, STREAM)
        assert wallet.expected[WSOL] == 100 * SOL + sum(range(10, 30))


def _from(append: StreamAppend, done: int) -> StreamAppend:
    return StreamAppend(append.stream, done, append.events[done:], CAUSE, 1)


def _at_another_time(append: StreamAppend) -> StreamAppend:
    """As if its last event had been another one."""
    wallet = _after(append, len(append.events) - 1)
    deposit(wallet, 999)
    (last,) = decisions(wallet, CAUSE, 1)
    return StreamAppend(STREAM, 0, [*append.events[:-1], *last.events], CAUSE, 1)
