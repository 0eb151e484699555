"""The gRPC server of the quote service: answers, health and reflection."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final, NoReturn

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from api.grpc import quotes_pb2 as messages
from api.grpc import quotes_pb2_grpc as stubs
from api.limits import MAX_BODY_BYTES
from api.quotes import QuoteServices, refusal_of
from domain.chain import Mint
from domain.errors import DaybookError, InvalidInput, SetupError
from domain.market.quotes import Quotation, QuotedLeg, QuoteRequest
from domain.market.routing.graph import TradablePool
from domain.market.routing.routes import MAX_LEGS, MAX_PARTS

SERVICE: Final = messages.DESCRIPTOR.services_by_name["Quotes"].full_name
_MODES: Final = frozenset(messages.Mode.values())
GRACE_S: Final = 3.0
"""Answers under way get this long at the end."""


class QuotesServicer(stubs.QuotesServicer):
    """The three calls of `quotes.proto`; every error leaves as a status in our words."""

    def __init__(self, services: QuoteServices) -> None:
        self._services = services

    async def Quote(  # noqa: N802 - the .proto's name
        self, request: messages.QuoteRequest, context: _Context
    ) -> messages.Quotation:
        """The best route for one swap."""
        try:
            wanted = _request(request)
            return _quotation(wanted, await self._services.quotes.quote(wanted))
        except Exception as error:  # noqa: BLE001 - nothing of our insides may leave
            await _refuse(context, error)

    async def QuoteBatch(  # noqa: N802 - as above
        self, request: messages.QuoteBatchRequest, context: _Context
    ) -> messages.QuoteBatchResponse:
        """Up to 100 questions."""
        try:
            wanted = [_request(one) for one in request.requests]
            found = await self._services.quotes.quote_many(wanted)
            return messages.QuoteBatchResponse(answers=map(_answer, wanted, found))
        except Exception as error:  # noqa: BLE001 - as above
            await _refuse(context, error)

    async def Pools(  # noqa: N802 - as above
        self, request: messages.PoolsRequest, context: _Context
    ) -> messages.PoolsResponse:
        """The pools that can be quoted."""
        try:
            found = self._services.quotes.pools(Mint(request.mint) if request.mint else None)
            return messages.PoolsResponse(
                newest_slot=self._services.newest_slot(), pools=[_pool(*each) for each in found]
            )
        except Exception as error:  # noqa: BLE001 - as above
            await _refuse(context, error)


_Context = grpc.aio.ServicerContext[object, object]


@asynccontextmanager
async def grpc_server(services: QuoteServices, host: str, port: int) -> AsyncIterator[int]:
    """Serve while the block runs; gives the port. Answers under way are finished at the end.

    Args:
        services: whom to ask.
        host: where to listen.
        port: 0 takes a free one.

    Raises:
        SetupError: the port is taken, or the host is not ours.
    """
    options = [("grpc.max_receive_message_length", MAX_BODY_BYTES), ("grpc.so_reuseport", 0)]
    server = grpc.aio.server(options=options)
    stubs.add_QuotesServicer_to_server(QuotesServicer(services), server)
    well = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(well, server)
    reflection.enable_server_reflection((SERVICE, health.SERVICE_NAME, reflection.SERVICE_NAME), server)
    address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    try:
        bound = server.add_insecure_port(address)
    except RuntimeError as error:
        raise SetupError(
            f"gRPC cannot listen on {address}: stop what listens there, or set DAYBOOK_QUOTES__GRPC_PORT "
            "(0 takes a free one)"
        ) from error
    await server.start()
    for name in ("", SERVICE):
        await well.set(name, health_pb2.HealthCheckResponse.SERVING)
    try:
        yield bound
    finally:
        await well.enter_graceful_shutdown()
        await server.stop(GRACE_S)


async def _refuse(context: _Context, error: Exception) -> NoReturn:
    refusal = refusal_of(error)
    metadata = (("error", refusal.problem.error), ("hint", refusal.problem.hint))
    await context.abort(grpc.StatusCode[refusal.code], refusal.problem.detail, metadata)


def _request(asked: messages.QuoteRequest) -> QuoteRequest:
    """The question.

    Raises:
        InvalidInput: a mode of another version.
    """
    if asked.mode not in _MODES:
        raise InvalidInput(f"mode {asked.mode} is unknown: name MODE_EXACT_IN or MODE_EXACT_OUT")
    return QuoteRequest(
        Mint(asked.input_mint),
        Mint(asked.output_mint),
        asked.amount,
        asked.mode != messages.MODE_EXACT_OUT,
        asked.max_legs or MAX_LEGS,
        asked.max_parts or MAX_PARTS,
    )


def _answer(request: QuoteRequest, found: Quotation | DaybookError) -> messages.BatchAnswer:
    if isinstance(found, DaybookError):
        problem = refusal_of(found).problem
        refusal = messages.Refusal(error=problem.error, detail=problem.detail, hint=problem.hint)
        return messages.BatchAnswer(refusal=refusal)
    return messages.BatchAnswer(quotation=_quotation(request, found))


def _quotation(request: QuoteRequest, found: Quotation) -> messages.Quotation:
    answer = messages.Quotation(
        input_mint=request.mint_in,
        output_mint=request.mint_out,
        mode=messages.MODE_EXACT_IN if request.exact_in else messages.MODE_EXACT_OUT,
        amount_in=found.amount_in,
        amount_out=found.amount_out,
        price_impact_ppm=found.price_impact_ppm,
        slot=found.slot,
        newest_slot=found.newest_slot,
        stale_slots=found.stale_slots,
        stale_ms=found.stale_us // 1_000,
        source=found.source,
    )
    for legs in found.paths:  # made in their places: what is handed in is copied
        path = answer.paths.add(amount_in=legs[0].amount_in, amount_out=legs[-1].amount_out)
        for leg in legs:
            _add_leg(path, leg)
    return answer


def _add_leg(path: messages.Path, leg: QuotedLeg) -> None:
    path.legs.add(
        pool=leg.pool,
        protocol=leg.protocol,
        input_mint=leg.mint_in,
        output_mint=leg.mint_out,
        amount_in=leg.amount_in,
        amount_out=leg.amount_out,
        fee_in=leg.fee_in,
        fee_out=leg.fee_out,
        price_impact_ppm=leg.price_impact_ppm,
        slot=leg.slot,
    )


def _pool(pool: TradablePool, stale_slots: int, stale_us: int) -> messages.Pool:
    price_b, price_a = pool.pool.spot_price()
    return messages.Pool(
        pool=pool.address,
        protocol=pool.protocol,
        mint_a=pool.mint_a,
        mint_b=pool.mint_b,
        price_b=str(price_b),
        price_a=str(price_a),
        slot=pool.slot,
        stale_slots=stale_slots,
        stale_ms=stale_us // 1_000,
    )
