"""Turns: so many at once, first come first served, and nobody holds the others up for long."""

from __future__ import annotations

import asyncio

import pytest
from waiting import until

from adapters.quotes.turns import Turns

FOR_EVER_S = 3_600.0


async def test_so_many_pass_at_once_and_in_the_order_they_came() -> None:
    turns, inside, most, order = Turns(2, FOR_EVER_S), 0, 0, []

    async def passer(number: int) -> None:
        nonlocal inside, most
        async with turns.turn():
            order.append(number)
            inside += 1
            most = max(most, inside)
            await asyncio.sleep(0)
            inside -= 1

    await asyncio.gather(*map(passer, range(7)))
    assert order == list(range(7))
    assert most == 2


async def test_who_takes_long_goes_on_and_lets_the_next_in() -> None:
    """And leaving at last frees no second place: then as many pass at once as before."""
    turns, release, inside = Turns(1, 0.01), asyncio.Event(), 0
    patient = Turns(1, FOR_EVER_S)

    async def passer(gate: Turns) -> None:
        nonlocal inside
        async with gate.turn():
            inside += 1
            await release.wait()
            inside -= 1

    slow = [asyncio.ensure_future(passer(turns)) for _ in range(3)]
    waiting = [asyncio.ensure_future(passer(patient)) for _ in range(3)]
    await until(lambda: inside == 4)
    release.set()
    await asyncio.gather(*slow, *waiting)
    assert turns._free._value == patient._free._value == 1


async def test_a_turn_that_fails_is_over() -> None:
    turns = Turns(1, FOR_EVER_S)
    with pytest.raises(ValueError, match="no"):
        async with turns.turn():
            raise ValueError("no")
    async with asyncio.timeout(5), turns.turn():
        pass
