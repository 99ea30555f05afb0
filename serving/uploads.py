"""Reading uploaded pictures: in memory alone, no more bytes than allowed, and not for ever."""

import asyncio
from collections.abc import AsyncGenerator

from fastapi import Request
from python_multipart.multipart import parse_options_header
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect

from serving.problems import ProblemError, too_large
from serving.settings import ServeSettings

FRAMING = 4096  # bytes that boundaries and headers of a part may take, beside the picture


class _InMemory(MultiPartParser):
    spool_max_size = 0  # a spooled file of size 0 never goes to disk


def body(field: str, several: bool) -> dict[str, object]:
    """What OpenAPI says of a request whose pictures are uploaded as `field`."""
    picture = {"type": "string", "format": "binary"}
    schema = {"type": "array", "items": picture, "minItems": 1} if several else picture
    form = {"type": "object", "required": [field], "properties": {field: schema}, "additionalProperties": False}
    content = {"schema": form}
    return {"requestBody": {"required": True, "content": {"multipart/form-data": content}}}


async def read_pictures(request: Request, field: str, most: int, settings: ServeSettings) -> list[bytes]:
    """The 1 to `most` pictures that a request brings as the files `field`.

    Raises:
        ProblemError: there are none or more, one has too many bytes, the form is no form, or the bytes come too slowly.
    """
    kind, _ = parse_options_header(request.headers.get("content-type", ""))
    if kind != b"multipart/form-data":
        detail = f"send the picture as the file {field!r} of multipart/form-data"
        raise ProblemError(415, "no_upload", "Pictures are uploaded as a form", detail)
    allowed = most * (settings.max_bytes + FRAMING)
    parser = _InMemory(request.headers, _bounded(request, allowed), max_files=most, max_fields=0)
    try:
        async with asyncio.timeout(settings.upload_timeout):
            form = await parser.parse()
    except TimeoutError:
        detail = f"it did not arrive within {settings.upload_timeout:g} s"
        raise ProblemError(408, "slow_upload", "The upload took too long", detail, {"Connection": "close"}) from None
    except ClientDisconnect:  # nobody reads what is answered, but the metrics count it
        raise ProblemError(400, "cut_off", "The upload was cut off", "the client went away") from None
    except MultiPartException as error:
        raise ProblemError(422, "bad_form", "The form cannot be used", error.message) from None
    try:
        files = [(name, value) for name, value in form.multi_items() if isinstance(value, UploadFile)]
        unknown = sorted({name for name, _ in files} - {field})
        if unknown or not files:
            detail = f"{', '.join(map(repr, unknown)) or 'nothing'} was uploaded; allowed: {field!r}"
            raise ProblemError(422, "bad_form", "The form cannot be used", detail)
        pictures = [await file.read() for _, file in files]
    finally:
        await form.close()
    if any(len(picture) > settings.max_bytes for picture in pictures):
        raise too_large(settings.max_bytes)
    return pictures


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
