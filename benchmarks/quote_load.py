"""The quote service's doors over all vector pools, in a process of its own, and clients that load them.

Run as a program it serves until standard input ends and says where. Clients are kept lean: a raw HTTP/1.1
connection each, and one gRPC channel, so that what is measured is the service. A gRPC method that does
nothing is served and loaded beside it: what grpc.aio itself takes on both sides.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from itertools import count
from pathlib import Path
from statistics import quantiles
from typing import Any

import grpc
import uvloop
from vector_book import Clock, vector_book

from adapters.quotes.service import Quotes
from api.grpc import quotes_pb2 as messages
from api.grpc import quotes_pb2_grpc as stubs
from api.grpc.server import grpc_server
from api.quotes import QuoteServices
from api.rest.quotes import create_quotes_app
from api.services import Health
from daybook.web import listen, serving
from domain.errors import QuoteError
from domain.market.quotes import QuoteRequest

CONCURRENCY = 32
ECHO = "Echo"
"""The method that does nothing, of a service of the same name."""
SMALLEST, LARGEST = 1_000_000, 50_000_000
"""Base units asked for: each new question asks for one more."""
Ask = Callable[[dict[str, Any]], Awaitable[None]]


@contextmanager
def served() -> Iterator[dict[str, Any]]:
    """The doors in a process of their own: where they are, and questions they can answer."""
    command = [sys.executable, "-P", str(Path(__file__))]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin  # noqa: S101 - asked for above
        assert process.stdout  # noqa: S101 - asked for above
        try:
            yield json.loads(process.stdout.readline())
        finally:
            process.stdin.close()
            process.wait(20)


async def load_http(facts: dict[str, Any], seconds: float) -> dict[str, Any]:
    """32 connections, each asking again as soon as it is answered."""
    host, port = facts["http"].split(":")
    streams = [await asyncio.open_connection(host, int(port)) for _ in range(CONCURRENCY)]

    def asker(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Ask:
        async def ask(question: dict[str, Any]) -> None:
            body = json.dumps(question).encode()
            writer.write(
                b"POST /v1/quote HTTP/1.1\r\nhost: q\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)
            )
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200"), head  # noqa: S101 - a refusal would spoil the figure
            length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
            await reader.readexactly(length)

        return ask

    return await load([asker(*stream) for stream in streams], facts["questions"], seconds)


async def load_grpc(facts: dict[str, Any], seconds: float) -> dict[str, Any]:
    """32 calls under way on one channel, and beside it the same of the method that does nothing.

    `of_empty` is the share of the empty method's calls a second that quotes reach.
    """
    async with grpc.aio.insecure_channel(facts["grpc"]) as channel:
        stub = stubs.QuotesStub(channel)

        async def ask(question: dict[str, Any]) -> None:
            await stub.Quote(messages.QuoteRequest(**question))

        found = await load([ask] * CONCURRENCY, facts["questions"], seconds)
    empty = await _load_echo(facts, seconds)
    shares = {
        name: round(found[name]["per_s"] / empty["per_s"], 2) for name in ("new_questions", "known_questions")
    }
    return {**found, "empty_method": empty, "of_empty": shares}


async def _load_echo(facts: dict[str, Any], seconds: float) -> dict[str, Any]:
    """No message is read or built."""
    async with grpc.aio.insecure_channel(facts["echo"]) as channel:
        echo: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(f"/{ECHO}/{ECHO}")

        async def ask(_: dict[str, Any]) -> None:
            await echo(b"")

        return await _closed([ask] * CONCURRENCY, facts["questions"], seconds, lambda: 0)


async def load(askers: list[Ask], questions: list[dict[str, Any]], seconds: float) -> dict[str, Any]:
    """New questions at once as fast as they are answered; then the same ones at 1,000 a second."""
    gc.collect()
    gc.freeze()  # what was loaded before must not stop the clients
    serial = count()
    fresh = {"closed": await _closed(askers, questions, seconds, lambda: next(serial))}
    same = await _closed(askers, questions, seconds, lambda: 0)
    paced = await _paced(askers, questions, seconds, serial)
    return {"new_questions": fresh["closed"], "known_questions": same, "new_at_1000_a_second": paced}


async def _closed(
    askers: list[Ask], questions: list[dict[str, Any]], seconds: float, more: Callable[[], int]
) -> dict[str, Any]:
    taken: list[float] = []
    until = time.perf_counter() + seconds

    async def keep_asking(ask: Ask, first: int) -> None:
        for number in count(first):  # until the time is over
            if time.perf_counter() >= until:
                return
            taken.append(await _timed(ask, questions[number % len(questions)], more()))

    began = time.perf_counter()
    await asyncio.gather(*(keep_asking(ask, place) for place, ask in enumerate(askers)))
    return _figures(taken, time.perf_counter() - began)


async def _paced(
    askers: list[Ask], questions: list[dict[str, Any]], seconds: float, serial: Iterator[int]
) -> dict[str, Any]:
    """Latency counts from when a question was due, not from when it could be sent."""
    taken: list[float] = []
    due: asyncio.Queue[float | None] = asyncio.Queue()

    async def work(ask: Ask) -> None:
        while (at := await due.get()) is not None:  # ends with a none for each
            number = next(serial)
            await _timed(ask, questions[number % len(questions)], number)
            taken.append((time.perf_counter() - at) * 1_000)

    workers = [asyncio.ensure_future(work(ask)) for ask in askers]
    began = time.perf_counter()
    for number in range(int(seconds * 1_000)):
        at = began + number / 1_000
        await asyncio.sleep(max(0.0, at - time.perf_counter()))
        due.put_nowait(at)
    for _ in workers:
        due.put_nowait(None)
    await asyncio.gather(*workers)
    return _figures(taken, time.perf_counter() - began)


async def _timed(ask: Ask, question: dict[str, Any], more: int) -> float:
    asked = {**question, "amount": question["amount"] + more}
    began = time.perf_counter()
    await ask(asked)
    return (time.perf_counter() - began) * 1_000


def _figures(taken_ms: list[float], seconds: float) -> dict[str, Any]:
    cuts = quantiles(taken_ms, n=100)
    return {
        "per_s": round(len(taken_ms) / seconds),
        "p50_ms": round(cuts[49], 2),
        "p99_ms": round(cuts[98], 2),
    }


@asynccontextmanager
async def echo_server() -> AsyncIterator[int]:
    """Give back what came, as bytes; gives the port."""

    async def echo(request: bytes, _: object) -> bytes:
        return request

    server = grpc.aio.server()
    method: grpc.RpcMethodHandler[bytes, bytes] = grpc.unary_unary_rpc_method_handler(echo)
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(ECHO, {ECHO: method})])
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield port
    finally:
        await server.stop(None)


async def main() -> None:
    """Serve, and say where."""
    clock = Clock()
    quotes = Quotes(vector_book(clock), clock, max_stale_us=5_000_000)
    doors = QuoteServices(quotes, lambda: Health(ok=True, detail=""), quotes.metrics.registry, lambda: 0)
    questions = []
    for pool, *_ in quotes.pools():
        with contextlib.suppress(QuoteError):  # some vector pools hold less, some pay nothing for so little
            for amount in (SMALLEST, LARGEST):
                await quotes.quote(QuoteRequest(pool.mint_a, pool.mint_b, amount))
            questions.append({"input_mint": pool.mint_a, "output_mint": pool.mint_b, "amount": SMALLEST})
    gc.collect()
    gc.freeze()  # as `daybook quotes serve` does
    listening: socket.socket = listen("127.0.0.1", 0)
    server = serving(create_quotes_app(doors))
    async with grpc_server(doors, "127.0.0.1", 0) as port, echo_server() as echo_port:
        running = asyncio.ensure_future(server.run_service(listening))
        facts = {
            "http": f"127.0.0.1:{listening.getsockname()[1]}",
            "grpc": f"127.0.0.1:{port}",
            "echo": f"127.0.0.1:{echo_port}",
            "questions": questions,
        }
        print(json.dumps(facts), flush=True)
        await asyncio.to_thread(sys.stdin.read)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


if __name__ == "__main__":
    uvloop.run(main())
