"""What a request is told when it fails: problem details (RFC 9457), as application/problem+json."""

import http
from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from faceline.errors import PictureError

MEDIA_TYPE = "application/problem+json"
# The status of each reason that `faceline.faces.decoding` gives.
STATUSES = {
    "empty_file": 422,
    "not_a_picture": 415,
    "unsupported_format": 415,
    "too_many_pixels": 413,
    "too_small": 422,
    "truncated_picture": 422,
}
TITLES = {
    "empty_file": "The picture has no bytes",
    "not_a_picture": "This is not a picture",
    "unsupported_format": "Pictures of this format are not read",
    "too_many_pixels": "The picture has too many pixels",
    "too_small": "The picture is too small",
    "truncated_picture": "The picture is damaged or cut off",
}


class Problem(BaseModel):
    """Problem details of RFC 9457."""

    type: str = Field(description="What kind of problem, for programs", examples=["urn:faceline:not_a_picture"])
    title: str = Field(description="The same for people", examples=["This is not a picture"])
    status: int = Field(description="The HTTP status", examples=[415])
    detail: str = Field(description="What is wrong with this request", examples=["6 bytes of no known format"])


class ProblemError(Exception):
    """A request that cannot be answered.

    Args:
        status: of HTTP.
        kind: what programs tell it by.
        title: what kind of problem it is, for people.
        detail: what is wrong with this request.
        headers: that the answer bears.
    """

    def __init__(self, status: int, kind: str, title: str, detail: str, headers: Mapping[str, str] | None = None):
        super().__init__(kind, detail)
        self.problem = Problem(type=f"urn:faceline:{kind}", title=title, status=status, detail=detail)
        self.headers = headers


def too_large(allowed: int) -> ProblemError:
    """A body of more bytes than are allowed."""
    return ProblemError(413, "too_many_bytes", "The request is too large", f"more than {allowed} bytes")


def cut_off() -> ProblemError:
    """A client that went away: nobody reads what is answered, but the metrics count it."""
    return ProblemError(400, "cut_off", "The request was cut off", "the client went away")


def overloaded(detail: str, kind: str = "overloaded") -> ProblemError:
    """More work than the server takes on; the client may ask again."""
    return ProblemError(503, kind, "The server is busy", detail, {"Retry-After": "1"})


def failed() -> ProblemError:
    """A fault of ours: the client learns no more, the log has it."""
    return ProblemError(500, "internal_error", "The server failed", "the fault is in its log")


def unusable(error: PictureError) -> ProblemError:
    """A picture that cannot be used."""
    return ProblemError(STATUSES[error.reason], error.reason, TITLES[error.reason], error.detail)


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """What OpenAPI says of answers with these statuses."""
    content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {status: {"description": http.HTTPStatus(status).phrase, "content": content} for status in statuses}


def install(app: FastAPI) -> None:
    """Let every error of `app` be told as a problem."""

    @app.exception_handler(ProblemError)
    def problem(request: Request, error: ProblemError) -> Response:
        return _answer(error)

    @app.exception_handler(HTTPException)
    def of_http(request: Request, error: HTTPException) -> Response:
        phrase = http.HTTPStatus(error.status_code).phrase
        kind = phrase.lower().replace(" ", "_")
        return _answer(ProblemError(error.status_code, kind, phrase, error.detail, error.headers))

    @app.exception_handler(RequestValidationError)
    def invalid(request: Request, error: RequestValidationError) -> Response:
        told = "; ".join(f"{item['loc'][-1]}: {item['msg']}" for item in error.errors())
        return _answer(ProblemError(422, "unknown_option", "An option is unknown or not allowed", told))

    @app.exception_handler(Exception)
    def unexpected(request: Request, error: Exception) -> Response:
        return _answer(failed())


def _answer(error: ProblemError) -> Response:
    return JSONResponse(error.problem.model_dump(), error.problem.status, error.headers, MEDIA_TYPE)
