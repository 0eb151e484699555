"""POST /v1/quote and /v1/quote/batch, GET /v1/pools, /v1/pools/{mint}, /v1/health and /v1/metrics."""

from __future__ import annotations

from typing import Any, Final, TypeVar

import msgspec
from fastapi import APIRouter, FastAPI, Request
from prometheus_client import generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from api import errors
from api.errors import json_response, problem_response
from api.limits import read_body
from api.quotes import (
    AnswerBody,
    Answers,
    BatchBody,
    Pools,
    QuotationBody,
    QuoteBody,
    QuoteServices,
    RefusalBody,
    pool_body,
    quotation_body,
    refusal_body,
    refusal_of,
)
from domain.chain import Mint
from domain.errors import DaybookError, InvalidInput
from domain.market.quotes import Quotation, QuoteRequest

T = TypeVar("T")

_quote_body: Final = msgspec.json.Decoder(QuoteBody)
_batch_body: Final = msgspec.json.Decoder(BatchBody)

_BODIES: Final = (QuoteBody, BatchBody, QuotationBody, Answers, Pools, RefusalBody)
_REFUSALS: Final = {
    400: "The question is not one.",
    404: "No pool of the book trades the token.",
    413: "The body is too long.",
    422: "No route for this amount.",
    503: "What is known of the pools is too old.",
}


def create_quotes_app(services: QuoteServices) -> FastAPI:
    """The application; run it with any ASGI server. Its description is at /v1/openapi.json."""
    app = FastAPI(
        title="daybook quotes",
        description="Exact quotes over the pools of Solana.",
        docs_url=None,  # FastAPI's own pages load scripts from a foreign host
        redoc_url=None,
        openapi_url="/v1/openapi.json",
    )
    errors.install(app, "POST /v1/quote and /v1/quote/batch, GET /v1/pools, /v1/health and /v1/metrics")
    _asking(app.router, services)
    _looking(app.router, services)
    _describe(app)
    return app


def _asking(router: APIRouter, services: QuoteServices) -> None:
    async def quote(request: Request) -> Response:
        try:
            wanted = _read(_quote_body, await read_body(request)).request()
            return json_response(quotation_body(wanted, await services.quotes.quote(wanted)))
        except DaybookError as error:
            return _refused(error)
        except ClientDisconnect:
            return Response(status_code=400)  # nobody reads it

    async def batch(request: Request) -> Response:
        try:
            bodies = _read(_batch_body, await read_body(request)).requests
            wanted = [body.request() for body in bodies]
            found = await services.quotes.quote_many(wanted)
        except DaybookError as error:
            return _refused(error)
        except ClientDisconnect:
            return Response(status_code=400)  # as above
        return json_response(Answers([_answer(*pair) for pair in zip(wanted, found, strict=True)]))

    # plain routes: what FastAPI does for typed ones takes longer than a known answer; `_describe` names them
    router.add_route("/v1/quote", quote, methods=["POST"])
    router.add_route("/v1/quote/batch", batch, methods=["POST"])


def _looking(router: APIRouter, services: QuoteServices) -> None:
    @router.get("/v1/pools", summary="Every pool that can be quoted", openapi_extra=_gives("Pools"))
    async def pools() -> Response:
        return _pools(services, None)

    @router.get("/v1/pools/{mint}", summary="The pools of one token", openapi_extra=_gives("Pools"))
    async def pools_of(mint: str) -> Response:
        try:
            return _pools(services, Mint(mint))
        except DaybookError as error:
            return _refused(error)

    @router.get("/v1/health", summary="How the pool book is")
    async def health() -> Response:
        found = services.health()
        body = {"status": "ok" if found.ok else "failing", "detail": found.detail, **found.figures}
        return json_response(body, 200 if found.ok else 503)

    @router.get("/v1/metrics", summary="What is counted, as Prometheus text")
    async def metrics() -> Response:
        return Response(generate_latest(services.registry), media_type=CONTENT_TYPE_PLAIN_0_0_4)


def _pools(services: QuoteServices, mint: Mint | None) -> Response:
    found = [pool_body(*each) for each in services.quotes.pools(mint)]
    return json_response(Pools(services.newest_slot(), found))


def _answer(request: QuoteRequest, found: Quotation | DaybookError) -> AnswerBody:
    if isinstance(found, DaybookError):
        return AnswerBody(refusal=refusal_body(refusal_of(found)))
    return AnswerBody(quotation=quotation_body(request, found))


def _read(decoder: msgspec.json.Decoder[T], body: bytes) -> T:
    """A body as what it must be.

    Raises:
        InvalidInput: it is not.
    """
    try:
        return decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidInput(f"the body cannot be read: {error}") from error


def _refused(error: DaybookError) -> Response:
    refusal = refusal_of(error)
    return problem_response(refusal.problem, refusal.status)


def _takes(summary: str, body: str, answer: str) -> dict[str, Any]:
    asked = {"required": True, "content": _content(body)}
    return {"summary": summary, "requestBody": asked, **_gives(answer)}


def _gives(answer: str) -> dict[str, Any]:
    refusals = {
        str(status): {"description": text, "content": _content("RefusalBody")}
        for status, text in _REFUSALS.items()
    }
    return {"responses": {"200": {"description": "The answer.", "content": _content(answer)}, **refusals}}


def _content(name: str) -> dict[str, Any]:
    return {"application/json": {"schema": {"$ref": f"#/components/schemas/{name}"}}}


_ASKING: Final = {
    "/v1/quote": {"post": _takes("The best route for one swap", "QuoteBody", "QuotationBody")},
    "/v1/quote/batch": {"post": _takes("Up to 100 quotes", "BatchBody", "Answers")},
}


def _describe(app: FastAPI) -> None:
    """What FastAPI does not see: the plain routes, and the bodies, msgspec's and so four times as fast."""
    _, schemas = msgspec.json.schema_components(_BODIES, ref_template="#/components/schemas/{name}")
    made = app.openapi

    def openapi() -> dict[str, Any]:
        document = made()
        document.setdefault("components", {}).setdefault("schemas", {}).update(schemas)
        document["paths"].update(_ASKING)
        return document

    app.openapi = openapi  # type: ignore[method-assign] # FastAPI's documented way to extend it
