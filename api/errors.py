"""How the doors say no: one JSON shape, `{error, detail, hint}`, and nothing of our insides in it."""

from __future__ import annotations

import uuid
from dataclasses import asdict, dataclass
from typing import Any, Final

import msgspec
import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from domain.errors import (
    DaybookError,
    InvalidInput,
    LogUnavailable,
    NotServedYet,
    ProjectionError,
    ReadModelBehind,
    ReadStoreUnavailable,
)

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Problem:
    """A refusal or failure, for a person.

    Attributes:
        error: a short stable word, e.g. `bad_input`.
        detail: what was found.
        hint: what to do.
    """

    error: str
    detail: str
    hint: str


_HINTS: Final = {
    400: ("bad_input", "Look at docs/reference/graphql.md for what is expected."),
    404: ("not_found", ""),  # each application says which doors it has
    405: ("method_not_allowed", "See the Allow header for the methods of this path."),
    413: ("too_large", "Send less in one request."),
    415: ("unsupported_media_type", "Send JSON with the header Content-Type: application/json."),
    422: ("bad_input", "Look at docs/reference/graphql.md for what is expected."),
    503: ("unavailable", "Look at /health for which dependency is away, and try again."),
}


_NOT_FOUND: Final = 404


class Refused(HTTPException):
    """A request that is answered with an HTTP error in our shape."""


def json_response(body: object, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """Any JSON-able value as a response."""
    return Response(msgspec.json.encode(body), status, headers, media_type="application/json")


def problem_response(problem: Problem, status: int, headers: dict[str, str] | None = None) -> Response:
    """A problem as a response."""
    return json_response(asdict(problem), status, headers)


def problem_of(error: BaseException) -> tuple[Problem, int]:
    """What a caller may know of an error, and its HTTP status; the rest is logged under a reference."""
    if isinstance(error, InvalidInput):
        return Problem("bad_input", str(error), _HINTS[400][1]), 400
    if isinstance(error, ReadModelBehind):
        return Problem("behind", str(error), "Ask again a little later, or without minPosition."), 503
    if isinstance(error, NotServedYet):
        return Problem("behind", str(error), "Ask again when the new version answers."), 503
    if isinstance(error, ReadStoreUnavailable | LogUnavailable | TimeoutError):
        _log.warning("answer_unavailable", error=str(error))
        return Problem("unavailable", "A database did not answer in time.", _HINTS[503][1]), 503
    reference = uuid.uuid4().hex[:12]
    ours = isinstance(error, DaybookError | ProjectionError)
    _log.error("answer_failed", reference=reference, error=repr(error), exc_info=None if ours else error)
    detail = f"Something went wrong here, not in your request (reference {reference})."
    return Problem("internal", detail, "The log names the cause under this reference."), 500


def install(app: FastAPI, doors: str) -> None:
    """Let every error of the app leave in our shape; `doors` are named where there is none."""
    app.state.doors = doors
    app.add_exception_handler(HTTPException, _refused)
    app.add_exception_handler(RequestValidationError, _not_valid)
    app.add_exception_handler(Exception, _failed)


async def _refused(request: Request, error: Any) -> Response:  # noqa: ANN401 - an HTTPException, by registration
    word, hint = _HINTS.get(error.status_code, ("refused", ""))
    if error.status_code == _NOT_FOUND:
        hint = f"The doors are {request.app.state.doors}."
    return problem_response(Problem(word, str(error.detail), hint), error.status_code, error.headers)


async def _not_valid(_request: Request, error: Any) -> Response:  # noqa: ANN401 - a RequestValidationError
    found = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors())
    return problem_response(Problem("bad_input", found, _HINTS[422][1]), 422)


async def _failed(_request: Request, error: Exception) -> Response:
    return problem_response(*problem_of(error))
