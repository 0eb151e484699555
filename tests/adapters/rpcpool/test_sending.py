"""Transactions: to several endpoints, the first that takes it answers, and a refusal must be certain."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from rpc_nodes import Mode, Node, Refused, nodes, pool_over
from waiting import until

from adapters.rpcpool.outcome import Answer
from adapters.rpcpool.pool import RpcPool

PREFLIGHT = Refused({"code": -32002, "message": "Transaction simulation failed", "data": {"err": "x"}})


async def send(pool: RpcPool) -> Answer:
    return await pool.call("sendTransaction", b'["AQID",{"encoding":"base64"}]')


def error(answer: Answer) -> dict[str, Any]:
    assert answer.error is not None, answer
    found: dict[str, Any] = msgspec.json.decode(answer.error)
    return found


def takes(them: list[Node], answer: object = "signature") -> None:
    for node in them:
        node.answers["sendTransaction"] = answer


async def test_a_transaction_goes_to_as_many_as_wanted() -> None:
    async with nodes(6) as them, pool_over(them, fanout=3) as pool:
        takes(them)
        assert (await send(pool)).result == b'"signature"'
        await until(lambda: sum(len(node.calls) for node in them) == 3)


async def test_one_that_takes_it_is_enough() -> None:
    """Refused here, lost there: where it was taken decides."""
    async with nodes(3) as them, pool_over(them) as pool:
        takes(them)
        them[0].answers["sendTransaction"] = PREFLIGHT
        them[1].mode = "cut"
        assert (await send(pool)).result == b'"signature"'


async def test_when_the_first_ones_are_away_others_are_asked() -> None:
    async with nodes(8) as them, pool_over(them, fanout=2) as pool:
        takes(them)
        for node in them[:6]:
            node.mode = "unhealthy"
        await them[6].die()
        assert (await send(pool)).result == b'"signature"'


async def test_those_that_hang_do_not_hold_it_up_for_their_whole_time() -> None:
    async with nodes(4) as them, pool_over(them, fanout=2) as pool:
        takes(them)
        them[0].mode = them[1].mode = "hang"
        assert (await send(pool)).result == b'"signature"'
        assert sum(len(node.calls) for node in them) > 2


async def test_a_refusal_by_all_is_told_as_it_is() -> None:
    async with nodes(3) as them, pool_over(them) as pool:
        takes(them, PREFLIGHT)
        answer = await send(pool)
        assert (answer.status, error(answer)) == (200, PREFLIGHT.error)


@pytest.mark.parametrize("mode", ["cut", "broken", "garbage"])
async def test_a_refusal_is_not_believed_while_another_may_have_passed_it_on(mode: Mode) -> None:
    """The client must ask for the status, not think it refused; what was said comes with the answer."""
    async with nodes(3) as them, pool_over(them) as pool:
        takes(them, PREFLIGHT)
        them[2].mode = mode
        answer = await send(pool)
        assert (answer.status, error(answer)["code"]) == (503, -32603)
        assert "outcome is unknown" in error(answer)["message"]
        assert error(answer)["data"] == {"refusal": PREFLIGHT.error}


async def test_an_endpoint_that_was_never_reached_casts_no_doubt_on_a_refusal() -> None:
    async with nodes(3) as them, pool_over(them) as pool:
        takes(them, PREFLIGHT)
        await them[0].die()
        them[1].mode = "limited"
        assert error(await send(pool))["code"] == -32002


async def test_nobody_there_is_an_unknown_outcome() -> None:
    async with nodes(2, mode="broken") as them, pool_over(them) as pool:
        answer = await send(pool)
        assert (answer.status, error(answer)["code"]) == (503, -32603)


async def test_an_airdrop_is_never_asked_for_twice() -> None:
    async with nodes(3) as them, pool_over(them) as pool:
        for node in them:
            node.mode = "cut"
        answer = await pool.call("requestAirdrop", b'["x",1]')
        assert (answer.status, error(answer)["code"]) == (503, -32603)
        assert sum(len(node.calls) for node in them) == 1


async def test_an_airdrop_that_certainly_did_not_arrive_is_asked_of_another() -> None:
    async with nodes(3) as them, pool_over(them) as pool:
        await them[0].die()
        them[1].mode = "limited"
        them[2].answers["requestAirdrop"] = "signature"
        assert (await pool.call("requestAirdrop", b'["x",1]')).result == b'"signature"'
