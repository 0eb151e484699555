"""The crowd: repeatable by seed, honest trades, gaps that pay, recorded prices, bad files refused."""

from __future__ import annotations

import gzip
import os
from pathlib import Path
from random import Random

import pytest
from localnets import NOW_US

from adapters.localnet.crowd import Crowd, RandomMarket, RecordedMarket
from adapters.localnet.faucet import Faucet
from adapters.localnet.founding import LAMPORTS_PER_SOL, Pool
from adapters.localnet.genesis import DEFAULT_PRICE, OPENERS, create_world
from adapters.localnet.history import Executed
from adapters.localnet.klines import HEADER, read_klines
from adapters.localnet.ledger import Ledger
from adapters.localnet.pools import chain_time, read_around
from adapters.solana.pool_programs import POOL_PROGRAMS
from domain.errors import SetupError
from domain.market.amm.constant_product import ConstantProductPool

SHARED = Path(os.environ.get("DAYBOOK_SHARED", Path(__file__).parents[3] / "../shared"))
GOOD = ",".join(HEADER) + "\n0,150,151,149,150.5,10\n60000,150.5,152,150,151,3\n"


def market_file(folder: Path, text: str) -> Path:
    path = folder / "prices.csv.gz"
    path.write_bytes(gzip.compress(text.encode()))
    return path


def run_crowd(trades: int, market: Path | None = None, seed: int = 1) -> tuple[Crowd, list[Executed], int]:
    """Let a crowd trade, a tenth of a second each; also counts trades after which a cycle would pay."""
    ledger = Ledger(lambda: NOW_US, seed=seed)
    path = read_klines(market) if market else None
    price = path.first_price if path else DEFAULT_PRICE
    world = create_world(ledger, seed=seed, price=price)
    rng = Random(seed)
    target = RecordedMarket(rng, path, 600, 2, NOW_US) if path else RandomMarket(rng, price, 2)
    crowd = Crowd(ledger, Faucet(ledger, world.faucet), world.pools, target, seed=seed, rng=rng)
    landed, paying = [], 0
    for number in range(1, trades + 1):
        executed = crowd.trade(NOW_US + number * 100_000)
        if executed is not None:
            landed.append(executed)
        paying += cycle_pays(*(pool_of(crowd, pool) for pool in world.pools))
        if number % 4 == 0:
            ledger.advance()
    return crowd, landed, paying


def test_a_crowd_with_one_pool_trades_on() -> None:
    """A large order rests its pool, and the only one cannot rest."""
    market = RandomMarket(Random(1), DEFAULT_PRICE, 1)
    assert {market.next_trade(NOW_US)[0] for _ in range(500)} == {0}


def pool_of(crowd: Crowd, pool: Pool) -> ConstantProductPool:
    ledger = crowd._ledger
    found = POOL_PROGRAMS[pool.protocol].quotable(pool.address, read_around(ledger, pool), chain_time(ledger))
    assert isinstance(found, ConstantProductPool)
    return found


def cycle_pays(first: ConstantProductPool, second: ConstantProductPool) -> bool:
    for sold, bought in ((first, second), (second, first)):
        out = sold.quote_exact_in(LAMPORTS_PER_SOL, a_to_b=True).amount_out
        if bought.quote_exact_in(out, a_to_b=False).amount_out > LAMPORTS_PER_SOL + 10_000:
            return True
    return False


def test_the_same_seed_makes_the_same_chain() -> None:
    first, again, other = (run_crowd(60, seed=seed)[1] for seed in (3, 3, 4))
    assert [one.signature for one in first] == [one.signature for one in again]
    assert [one.signature for one in first] != [one.signature for one in other]


def test_every_trade_lands_and_gaps_that_pay_open() -> None:
    crowd, landed, paying = run_crowd(300)
    assert crowd.swaps == len(landed)
    assert crowd.swaps > 250
    assert paying > 20


def test_the_crowd_follows_recorded_prices(tmp_path: Path) -> None:
    """The leading pool stands at the recorded price, but for the noise and the fee."""
    bars = "".join(f"{60_000 * n},{150 + n},{151 + n},{149 + n},{151 + n},1\n" for n in range(30))
    market = market_file(tmp_path, ",".join(HEADER) + "\n" + bars)
    crowd, _, paying = run_crowd(24, market)
    pool = pool_of(crowd, crowd._pools[0])
    recorded = read_klines(market).price(24 * 100 * 600)
    assert abs(pool.reserve_b * LAMPORTS_PER_SOL / pool.reserve_a / recorded - 1) < 0.001
    assert paying > 10


def test_a_bar_is_walked_from_open_over_its_extremes_to_close(tmp_path: Path) -> None:
    path = read_klines(market_file(tmp_path, GOOD))
    micro = 1_000_000
    assert [path.price(ms) // 1_000 for ms in (0, 20_000, 40_000, 60_000)] == [
        150_000,
        149_000,
        151_000,
        150_500,
    ]
    assert path.first_price == 150 * micro
    assert path.price(10**9) == 151 * micro
    assert path.length_ms == 120_000
    assert all(149 * micro <= path.price(ms) <= 151 * micro for ms in range(0, 60_000, 137))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "line 1: found 'nothing', expected 'open_time_ms"),
        ("time,open\n1,2\n", "line 1: found 'time,open'"),
        (",".join(HEADER) + "\n", "a header and no bar"),
        (GOOD + "120000,1,2\n", "line 4: found 3 columns"),
        (GOOD + "120000,x,2,1,1,1\n", "line 4: 'x' is not a price"),
        (GOOD + "120000,nan,2,1,1,1\n", "line 4: 'nan' is not a price"),
        (GOOD + "120000,-5,2,-9,1,1\n", "line 4: price -5 is not between"),
        (GOOD + "120000,5,2,1,1,1\n", "line 4: open 5 and close 1 do not lie between"),
        (GOOD + "60000,1,2,1,1,1\n", "line 4: time 60000 does not come after 60000"),
        (GOOD + "now,1,2,1,1,1\n", "line 4: invalid literal"),
    ],
)
def test_a_bad_market_file_is_named_with_its_line(tmp_path: Path, text: str, said: str) -> None:
    path = market_file(tmp_path, text)
    with pytest.raises(SetupError) as caught:
        read_klines(path)
    assert str(path) in str(caught.value)
    assert said in str(caught.value)


def test_what_is_no_gzip_file_is_refused(tmp_path: Path) -> None:
    plain, cut, missing = tmp_path / "plain.csv", tmp_path / "cut.csv.gz", tmp_path / "none.csv.gz"
    plain.write_text(GOOD)
    cut.write_bytes(gzip.compress(GOOD.encode())[:-12])
    for path in (plain, cut):
        with pytest.raises(SetupError, match="not a whole gzip file"):
            read_klines(path)
    with pytest.raises(SetupError, match="no such file"):
        read_klines(missing)
    with pytest.raises(SetupError, match="Is a directory"):
        read_klines(tmp_path)


def test_real_prices_open_gaps_that_pay() -> None:
    files = sorted((SHARED / "data/market").glob("*-1m-*.csv.gz"))
    if not files:
        pytest.skip(f"no recorded market under {SHARED}: set DAYBOOK_SHARED")
    assert run_crowd(200, files[-1])[2] > 5


def test_the_crowd_moves_pools_of_every_protocol_to_the_market() -> None:
    """Each trade lands; at the end no pool stands further from the market than its fee and a large order."""
    ledger = Ledger(lambda: NOW_US)
    world = create_world(ledger, seed=1, pools=dict.fromkeys(OPENERS, 1))
    rng = Random(5)
    market = RandomMarket(rng, DEFAULT_PRICE, len(world.pools))
    crowd = Crowd(ledger, Faucet(ledger, world.faucet), world.pools, market, seed=1, rng=rng)
    traded = set()
    for number in range(180):
        executed = crowd.trade(NOW_US)
        if executed is not None:
            assert executed.outcome.error is None, executed.outcome.logs
            traded.add(executed.loaded.instructions[-1].program_id)
        if number % 4 == 0:
            ledger.advance()
    assert len(traded) == len(OPENERS)
    for pool in world.pools:
        found = POOL_PROGRAMS[pool.protocol].quotable(
            pool.address, read_around(ledger, pool), chain_time(ledger)
        )
        units_b, units_a = found.spot_price()
        assert abs(units_b * LAMPORTS_PER_SOL / units_a / market.price(NOW_US) - 1) < 0.025
