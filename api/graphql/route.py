"""POST /graphql: one JSON document in, one answer out; and the schema as text for people and tools.

There is no page to explore it with: those that exist load their scripts from other people's hosts.
"""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
from fastapi import APIRouter, Request
from starlette.responses import PlainTextResponse, Response
from strawberry.schema.exceptions import CannotGetOperationTypeError

from api.errors import Refused, json_response, problem_of, problem_response
from api.graphql.context import RequestContext
from api.graphql.schema import SCHEMA, explained, sdl
from api.limits import REQUEST_S, read_body
from api.services import ApiServices


class Question(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    """A GraphQL request as it travels.

    Attributes:
        query: the document.
        variables: values for its variables.
        operation_name: which of several operations to run.
        extensions: of the client; none is used.
    """

    query: str
    variables: dict[str, Any] | None = None
    operation_name: str | None = None
    extensions: dict[str, Any] | None = None


def graphql_router(services: ApiServices) -> APIRouter:
    """The GraphQL door."""
    router = APIRouter()

    @router.post("/graphql")
    async def ask(request: Request) -> Response:
        question = _question(request.headers.get("content-type", ""), await read_body(request))
        try:
            async with asyncio.timeout(REQUEST_S):
                return await _answered(services, question)
        except TimeoutError as error:
            return problem_response(*problem_of(error))

    @router.get("/graphql")
    async def explain() -> Response:
        raise Refused(
            405,
            "GraphQL questions are sent by POST, as JSON: "
            '{"query": "{ trades { nodes { id status } } }"}. The schema is at /graphql/schema.',
            {"Allow": "POST"},
        )

    @router.get("/graphql/schema")
    async def schema() -> Response:
        return PlainTextResponse(sdl())

    return router


def _question(content_type: str, body: bytes) -> Question:
    if content_type.partition(";")[0].strip().lower() != "application/json":
        raise Refused(415, f"The request's content type is {content_type or 'missing'!r}.")
    try:
        return msgspec.json.decode(body, type=Question)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Refused(400, f"The body is not a GraphQL request in JSON: {error}.") from None


async def _answered(services: ApiServices, question: Question) -> Response:
    try:
        result: Any = await SCHEMA.execute(
            question.query,
            question.variables,
            RequestContext(services),
            operation_name=question.operation_name,
        )
    except CannotGetOperationTypeError:
        raise Refused(
            400, f"The request has no operation named {question.operation_name!r}: name one it has."
        ) from None
    answer: dict[str, Any] = {"data": result.data}
    if result.errors:
        answer["errors"] = [explained(error) for error in result.errors]
    return json_response(answer)
