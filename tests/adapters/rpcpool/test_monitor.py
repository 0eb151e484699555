"""The look at all endpoints: the dead, the old and the lying are left, and come back when well."""

from __future__ import annotations

import pytest
from rpc_nodes import nodes, pool_over

from adapters.rpcpool.pool import RpcPool, open_pool
from adapters.rpcpool.slots import Standing
from domain.errors import SetupError


def standings(pool: RpcPool) -> list[Standing]:
    return [one.health.standing for one in pool.endpoints]


async def asked(pool: RpcPool, calls: int = 12) -> None:
    for _ in range(calls):
        assert (await pool.call("getSlot", b"[]")).result is not None


async def test_an_endpoint_that_claims_a_slot_nobody_has_is_not_asked() -> None:
    async with nodes(4) as them, pool_over(them) as pool:
        them[0].slot = 10**12
        await pool.monitor.check()
        assert standings(pool) == [Standing.AHEAD, *[Standing.TRUSTED] * 3]
        assert pool.monitor.head == 1_000
        before = len(them[0].calls)
        await asked(pool)
        assert len(them[0].calls) == before
        assert pool.health()[1]["endpoints"]["n0"]["state"] == "lying"


async def test_an_endpoint_that_goes_back_is_found_out_and_forgiven_later() -> None:
    async with nodes(3) as them, pool_over(them) as pool:
        await pool.monitor.check()
        them[0].slot = 970
        await pool.monitor.check()
        assert standings(pool)[0] is Standing.BACKWARDS
        for _ in range(3):
            for node in them:
                node.slot = 1_010
            await pool.monitor.check()
        before = len(them[0].calls)
        await asked(pool)
        assert len(them[0].calls) > before


async def test_a_laggard_is_left_until_it_has_caught_up() -> None:
    async with nodes(3) as them, pool_over(them) as pool:
        them[2].slot = 900
        await pool.monitor.check()
        assert standings(pool)[2] is Standing.LAGGING
        before = len(them[2].calls)
        await asked(pool)
        assert len(them[2].calls) == before
        them[2].slot = 1_001
        await pool.monitor.check()
        await asked(pool)
        assert len(them[2].calls) > before + 1


async def test_the_only_one_left_is_asked_even_when_it_lags() -> None:
    async with nodes(3) as them, pool_over(them) as pool:
        them[2].slot = 900
        await pool.monitor.check()
        await them[0].die()
        await them[1].die()
        await asked(pool, 5)


async def test_a_dead_endpoint_is_well_again_when_it_is_back() -> None:
    async with nodes(2) as them, pool_over(them) as pool:
        await them[0].die()
        await pool.monitor.check()
        assert [one.health.checked for one in pool.endpoints] == [False, True]
        ok, found = pool.health()
        assert (ok, found["well"]) == (True, 1)
        await them[0].start()
        await pool.monitor.check()
        assert pool.health()[1]["well"] == 2


@pytest.mark.parametrize("slot", [-1, 2**63, True, "12", None, 1.5])
async def test_a_slot_that_is_no_slot_is_no_health(slot: object) -> None:
    async with nodes(2) as them, pool_over(them) as pool:
        them[0].answers["getSlot"] = slot
        await pool.monitor.check()
        assert [one.health.checked for one in pool.endpoints] == [False, True]


async def test_who_asked_to_be_left_alone_is_not_asked_for_its_health() -> None:
    now = [0.0]
    async with nodes(2) as them, pool_over(them, clock=lambda: now[0]) as pool:
        them[0].mode, them[0].retry_after = "limited", "60"
        await pool.monitor.check()
        now[0] = 30.0
        await pool.monitor.check()
        assert [len(node.calls) for node in them] == [1, 2]
        now[0] = 61.0
        await pool.monitor.check()
        assert [len(node.calls) for node in them] == [2, 3]


async def test_an_endpoint_whose_limit_is_always_busy_is_still_looked_at() -> None:
    async with nodes(1) as [node], open_pool([node.config(requests_per_second=20.0)]) as pool:
        for _ in range(20):
            await pool.call("getSlot", b"[]")
        await pool.monitor.check()
        assert pool.endpoints[0].health.slot == 1_000


async def test_a_pool_without_endpoints_says_which_setting() -> None:
    with pytest.raises(SetupError, match="DAYBOOK_RPC_POOL__ENDPOINTS"):
        async with open_pool([]):
            pass


async def test_no_endpoint_well_is_said() -> None:
    async with nodes(1, mode="cut") as them, pool_over(them) as pool:
        await pool.monitor.check()
        assert pool.health()[0] is False
