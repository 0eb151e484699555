"""The RPC proxy: a call through it beside the same call made directly, and what clients see while nodes fail.

Three processes as in life: nodes, proxy, client. The nodes answer from memory, so that the figures are the
proxy's cost and not a node's. Rounds alternate between direct and proxied calls, so that what else the
machine does falls on both; on two cores the three processes also take the time from each other.

The second part runs 96 endpoints of which 95 fail at random - cut, refuse, hang, limit, talk nonsense, lie
about their slot - and counts the calls that fail: of a client that calls the failing endpoints directly in
turn, and of one that calls the proxy. The last line is JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import platform
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from itertools import cycle
from os import cpu_count, environ
from statistics import median, quantiles
from typing import Any

import aiohttp
import uvicorn
import uvloop

BODY = b'{"jsonrpc":"2.0","id":1,"method":"getSlot","params":[]}'
Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]
JSON = {"content-type": "application/json"}
ENDPOINTS = 96
FAULTS = ("cut", "broken", "limited", "unhealthy", "garbage", "hang", "lie")
PERIOD_S = 0.5
HANG_S = 8.0


def node(seed: int | None) -> App:
    """One application for all nodes, told apart by path; node 0 never fails, the rest as the seed says."""
    answer = b'{"jsonrpc":"2.0","result":1000,"id":1}'
    faults: Counter[str] = Counter()

    async def app(scope: dict[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        request = await receive()
        number = int(scope["path"].strip("/") or 0)
        fault = mood(seed, number) if seed is not None and number else "ok"
        faults[fault] += 1
        if scope["method"] == "GET":
            await respond(send, 200, json.dumps(faults).encode())
            return
        await misbehave(fault, send, answer, request["body"])

    return app


def mood(seed: int, number: int) -> str:
    """What a node does now: half the time it is well, and it changes its mind twice a second."""
    chance = random.Random(f"{seed} {number} {int(time.time() / PERIOD_S)}")
    return chance.choice(FAULTS) if chance.random() < 0.5 else "ok"


async def misbehave(fault: str, send: Send, answer: bytes, body: bytes) -> None:
    """Answer, or fail in the named way."""
    if fault == "hang":
        await asyncio.sleep(HANG_S)
    if fault in ("cut", "hang"):  # promising a body and not sending it makes the server cut the connection
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"1")]})
    elif fault == "broken":
        await respond(send, 500, b"oops")
    elif fault == "limited":
        await respond(send, 429, b"slow down", (b"retry-after", b"1"))
    elif fault == "unhealthy":
        await respond(send, 200, b'{"jsonrpc":"2.0","id":1,"error":{"code":-32005,"message":"behind"}}')
    elif fault == "garbage":
        await respond(send, 200, b"<html></html>")
    elif fault == "lie" and b"processed" in body:  # the proxy's own question for the slot
        await respond(send, 200, b'{"jsonrpc":"2.0","result":999999999,"id":1}')
    else:
        await respond(send, 200, answer)


async def respond(send: Send, status: int, body: bytes, *headers: tuple[bytes, bytes]) -> None:
    """Send one whole answer."""
    length = (b"content-length", str(len(body)).encode())
    await send({"type": "http.response.start", "status": status, "headers": [length, *headers]})
    await send({"type": "http.response.body", "body": body})


def serve_nodes(seed: int | None) -> None:
    """Serve until standard input closes, after one line with the port."""

    async def main() -> None:
        config = uvicorn.Config(
            node(seed), port=0, log_level="critical", access_log=False, lifespan="off", timeout_keep_alive=600
        )
        server = uvicorn.Server(config)
        serving = asyncio.create_task(server.serve())
        while not server.started:  # noqa: ASYNC110 - uvicorn sets no event
            await asyncio.sleep(0.01)
        port = server.servers[0].sockets[0].getsockname()[1]
        sys.stdout.write(json.dumps({"port": port}) + "\n")
        sys.stdout.flush()
        await asyncio.to_thread(sys.stdin.read)
        server.should_exit = True
        await serving

    uvloop.run(main())


@contextmanager
def process(command: list[str], **settings: str) -> Iterator[dict[str, Any]]:
    """Run a program that tells in its first line where it listens."""
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**environ, **settings},
    ) as running:
        assert running.stdin  # noqa: S101 - asked for above
        assert running.stdout  # noqa: S101 - asked for above
        try:
            yield json.loads(running.stdout.readline())
        finally:
            running.stdin.close()
            running.terminate()
            running.wait(20)


@contextmanager
def nodes_of(seed: int | None) -> Iterator[str]:
    """The nodes' address."""
    words = ["--nodes"] if seed is None else ["--nodes", "--seed", str(seed)]
    with process([sys.executable, __file__, *words]) as ready:
        yield f"http://127.0.0.1:{ready['port']}"


@contextmanager
def proxy_of(endpoints: list[dict[str, str]], **settings: str) -> Iterator[str]:
    """The proxy's URL."""
    command = [sys.executable, "-m", "daybook", "rpc-proxy", "--port", "0", "--json"]
    with process(command, DAYBOOK_RPC_POOL__ENDPOINTS=json.dumps(endpoints), **settings) as ready:
        yield ready["rpc_url"]


async def calls(
    http: aiohttp.ClientSession, urls: str | list[str], count: int, at_once: int
) -> dict[str, Any]:
    """Make calls, so many at a time, in turn at these URLs; what they took and how many got no result."""
    turns = cycle([urls] if isinstance(urls, str) else urls)
    taken: list[float] = []
    failed: Counter[str] = Counter()

    async def one(url: str) -> dict[str, Any]:
        try:
            async with http.post(url, data=BODY, headers=JSON) as response:
                found: dict[str, Any] = json.loads(await response.read())
                return found
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            return {"error": type(error).__name__}

    async def worker(share: int) -> None:
        for _ in range(share):
            began = time.perf_counter()
            answer = await one(next(turns))
            taken.append(time.perf_counter() - began)
            if answer.get("result") != 1000:  # a liar's slot would be a failure too
                failed[str(answer.get("error", answer))[:200]] += 1

    began = time.perf_counter()
    await asyncio.gather(*(worker(count // at_once) for _ in range(at_once)))
    return {"took_s": time.perf_counter() - began, "taken": taken, "failed": failed}


def summary(rounds: list[dict[str, Any]]) -> dict[str, float]:
    """Calls a second over all rounds, and the percentiles of all calls."""
    taken = [each for one in rounds for each in one["taken"]]
    cut = quantiles(taken, n=100)
    return {
        "calls_per_s": round(median(len(one["taken"]) / one["took_s"] for one in rounds), 1),
        "p50_ms": round(median(taken) * 1_000, 3),
        "p99_ms": round(cut[98] * 1_000, 3),
    }


async def overhead(rounds: int, per_round: int) -> dict[str, Any]:
    """Direct beside proxied, at concurrency 1 and 32."""
    found: dict[str, Any] = {}
    with (
        nodes_of(None) as nodes,
        proxy_of([{"url": f"{nodes}/{n}", "name": f"n{n}"} for n in range(4)]) as url,
    ):
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http:
            for at_once in (1, 32):
                done: dict[str, list[dict[str, Any]]] = {"direct": [], "proxy": []}
                for target in (f"{nodes}/0", url):
                    await calls(http, target, per_round, at_once)  # connections are opened, code is warm
                for _ in range(rounds):
                    for way, target in (("direct", f"{nodes}/0"), ("proxy", url)):
                        done[way].append(await calls(http, target, per_round, at_once))
                found[f"at_{at_once}"] = {way: summary(each) for way, each in done.items()}
    return found


async def failing(seconds: float, at_once: int, seed: int) -> dict[str, Any]:
    """Reads while 95 of 96 endpoints fail at random: in turn at the failing ones, and through the proxy."""
    patience = aiohttp.ClientTimeout(total=35)  # longer than the proxy's own
    with nodes_of(seed) as nodes:
        endpoints = [{"url": f"{nodes}/{n}", "name": f"n{n}"} for n in range(ENDPOINTS)]
        with proxy_of(endpoints, DAYBOOK_RPC_POOL__HEALTH_SECONDS="2") as url:
            connector = aiohttp.TCPConnector(limit=0)
            async with aiohttp.ClientSession(connector=connector, timeout=patience) as http:
                failing_urls = [f"{nodes}/{n}" for n in range(1, ENDPOINTS)]
                direct = await calls(http, failing_urls, 40 * at_once, 4 * at_once)
                rounds, ends = [], time.monotonic() + seconds
                while time.monotonic() < ends:
                    rounds.append(await calls(http, url, 20 * at_once, at_once))
                async with http.get(url.replace("/rpc", "/rpc/metrics")) as response:
                    metrics = await response.text()
                async with http.get(nodes) as response:
                    met = json.loads(await response.text())
    failed: Counter[str] = sum((one["failed"] for one in rounds), Counter())
    made = sum(len(one["taken"]) for one in rounds)
    return {
        "calls": made,
        "failed": failed.total(),
        "failed_share": failed.total() / made,
        "direct_failed_share": direct["failed"].total() / len(direct["taken"]),
        "reasons": dict(failed.most_common(3)),
        "attempts_that_failed": sum(count for fault, count in met.items() if fault not in ("ok", "lie")),
        "attempts": sum(met.values()),
        **{name: figure(metrics, name) for name in ("retries", "hedges", "hedged_answers")},
        **summary(rounds),
    }


def figure(metrics: str, name: str) -> int:
    """A counter of the proxy's metrics."""
    line = next(line for line in metrics.splitlines() if line.startswith(f"daybook_rpc_{name}_total "))
    return int(float(line.split()[1]))


async def main(wanted: argparse.Namespace) -> None:
    """Measure, print what was found, and one JSON line."""
    cost = await overhead(wanted.rounds, wanted.calls)
    chaos = await failing(wanted.seconds, 32, wanted.seed or 1)
    ratios = {}
    for at_once, ways in cost.items():
        direct, proxy = ways["direct"], ways["proxy"]
        ratios[f"calls_per_s_{at_once}"] = round(proxy["calls_per_s"] / direct["calls_per_s"], 3)
        for way, each in ways.items():
            rate, p50, p99 = each["calls_per_s"], each["p50_ms"], each["p99_ms"]
            print(f"{at_once:<6} {way:<7} {rate:8.0f}/s  p50 {p50} ms  p99 {p99} ms")
    added = cost["at_1"]["proxy"]["p50_ms"] - cost["at_1"]["direct"]["p50_ms"]
    print(f"the proxy adds {added:.3f} ms to a call at concurrency 1")
    print(
        f"{ENDPOINTS} endpoints, all but one failing at random: "
        f"{chaos['failed']} of {chaos['calls']} calls failed, "
        f"{chaos['direct_failed_share']:.0%} of those made directly; p50 {chaos['p50_ms']} ms, "
        f"p99 {chaos['p99_ms']} ms, {chaos['hedges']} hedges, {chaos['retries']} retries"
    )
    result = {
        "benchmark": "rpc_proxy",
        "ratios": {**ratios, "failed_share": chaos["failed_share"]},
        "overhead": {**cost, "added_p50_ms": round(added, 3)},
        "failing": chaos,
        "machine": {"cores": cpu_count(), "system": platform.platform()},
        "versions": {
            "python": platform.python_version(),
            **{name: version(name) for name in ("daybook", "aiohttp", "uvicorn", "httptools")},
        },
    }
    print(json.dumps(result))


def arguments() -> argparse.Namespace:
    """What was asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--calls", type=int, default=960, help="of one round")
    parser.add_argument("--seconds", type=float, default=20, help="of failing endpoints")
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--nodes", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    options = arguments()
    if options.nodes:
        serve_nodes(options.seed)
    else:
        uvloop.run(main(options))
