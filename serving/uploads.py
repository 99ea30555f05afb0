"""Reading uploaded pictures: in memory alone, no more bytes than allowed, and not for ever."""

import asyncio
from collections.abc import AsyncGenerator, Callable

from fastapi import Request
from python_multipart.multipart import parse_options_header
from starlette.requests import ClientDisconnect

from serving.forms import PictureForm, bad_form
from serving.problems import ProblemError, cut_off, too_large
from serving.settings import ServeSettings

Hold = Callable[[int], None]  # told of so many bytes that will be held; ProblemError where there is no room for them


def body(field: str, several: bool) -> dict[str, object]:
    """What OpenAPI says of a request whose pictures are uploaded as `field`."""
    picture = {"type": "string", "format": "binary"}
    schema = {"type": "array", "items": picture, "minItems": 1} if several else picture
    form = {"type": "object", "required": [field], "properties": {field: schema}, "additionalProperties": False}
    content = {"schema": form}
    return {"requestBody": {"required": True, "content": {"multipart/form-data": content}}}


async def read_pictures(request: Request, field: str, most: int, settings: ServeSettings, hold: Hold) -> list[bytes]:
    """The 1 to `most` pictures that a request brings as the files `field`; `hold` is told of its bytes as they come.

    Raises:
        ProblemError: there are none or more, one has too many bytes, the form is no form, the bytes come too slowly, or
            there is no room for them.
    """
    kind, options = parse_options_header(request.headers.get("content-type", ""))
    if kind != b"multipart/form-data":
        detail = f"send the picture as the file {field!r} of multipart/form-data"
        raise ProblemError(415, "no_upload", "Pictures are uploaded as a form", detail)
    if b"boundary" not in options:
        raise bad_form("the content type names no boundary")
    with PictureForm(options[b"boundary"], field, most, settings.max_bytes) as form:
        try:
            async with asyncio.timeout(settings.upload_timeout):
                async for chunk in _bounded(request, settings.request_bytes(most)):
                    hold(len(chunk))
                    form.write(chunk)
        except TimeoutError:
            detail = f"it did not arrive within {settings.upload_timeout:g} s"
            close = {"Connection": "close"}
            raise ProblemError(408, "slow_upload", "The upload took too long", detail, close) from None
        except ClientDisconnect:
            raise cut_off() from None
        return form.pictures()


async def _bounded(request: Request, allowed: int) -> AsyncGenerator[bytes, None]:
    """The body of a request as it comes; an error as soon as it is known to be too large."""
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > allowed:
        raise too_large(allowed)
    seen = 0
    async for chunk in request.stream():
        seen += len(chunk)
        if seen > allowed:
            raise too_large(allowed)
        yield chunk
