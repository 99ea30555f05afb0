"""The REST API: `create_app` gives it, `serving.server` runs it."""

import asyncio
import os
import secrets
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import asynccontextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Depends, FastAPI, Query, Request, Response, Security
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import RedirectResponse
from fastapi.security import APIKeyHeader
from fastapi.staticfiles import StaticFiles
from fastapi_offline import FastAPIOffline
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import BaseModel, ConfigDict, Field

from faceline.learning.card import Card
from serving import problems
from serving.answers import BatchAnswer, Health, PictureAnswer
from serving.device import BUILT
from serving.metrics import Measured
from serving.page.gate import Gate
from serving.problems import Problem, ProblemError, cut_off, documented
from serving.service import Service
from serving.settings import ServeSettings
from serving.uploads import body, read_pictures

ABOUT = """Finds the faces in pictures and says how old they look, of which gender and race.

Gender and race are labels as the training data have them, predicted by appearance; errors differ between groups, and
the card says by how much. Pictures are neither kept nor logged."""

DEVICE = Path(__file__).parent / "device"
DEVICE_POLICY = (
    "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'; connect-src 'self'; "
    "style-src 'self'; img-src 'self' blob:; base-uri 'none'; form-action 'none'"
)

Answer = TypeVar("Answer")
key_header = APIKeyHeader(name="X-API-Key", auto_error=False, description="Where the server was started with one")


class Options(BaseModel):
    """What is asked of a picture."""

    model_config = ConfigDict(extra="forbid")

    cropped: bool = Field(False, description="The picture is one face, cropped already: look for none")
    largest: bool = Field(False, description="Answer for the face with the largest box alone")


def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


TheService = Annotated[Service, Depends(_service)]


def _require_key(service: TheService, key: Annotated[str | None, Security(key_header)]) -> None:
    wanted = service.settings.api_key
    if wanted and not secrets.compare_digest((key or "").encode(), wanted.encode()):
        detail = "the header X-API-Key is missing or wrong"
        raise ProblemError(401, "unauthorized", "A key is needed", detail, {"WWW-Authenticate": "ApiKey"})


open_routes = APIRouter()


def _refuse_foreign_page(service: TheService, request: Request) -> None:
    """Forms need no leave of CORS: without this any page that somebody visits could have pictures judged here.

    Browsers say where a request comes from, on https and on localhost (Fetch Metadata); programs say nothing.
    """
    allowed = service.settings.cors_origins
    foreign = request.headers.get("sec-fetch-site") in ("cross-site", "same-site")
    if foreign and "*" not in allowed and request.headers.get("origin") not in allowed:
        detail = "its origin is not one that the server was told to answer"
        raise ProblemError(403, "foreign_page", "Pages from elsewhere may not ask", detail)


async def _while_there(request: Request, answer: Coroutine[Any, Any, Answer]) -> Answer:
    """The answer to a request whose body was read; given up where the client goes away before."""

    async def left() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass

    asked, gone = asyncio.ensure_future(answer), asyncio.ensure_future(left())
    try:
        await asyncio.wait((asked, gone), return_when=asyncio.FIRST_COMPLETED)
        if not asked.done():
            raise cut_off()
        return asked.result()
    finally:
        asked.cancel()
        gone.cancel()


routes = APIRouter(dependencies=[Depends(_require_key)], responses=documented(401, 503))


@open_routes.get("/health", responses={503: {"model": Health, "description": "Not ready"}})
async def health(service: TheService, response: Response) -> Health:
    """Whether the server is alive and ready, and which bundle answers; status 503 while it is not ready."""
    response.status_code = 200 if service.ready else 503
    return Health(
        alive=True,
        ready=service.ready,
        bundle=f"{service.card.recipe.name} on {service.card.dataset}" if service.ready else None,
        digest=service.digest,
        version=version("faceline"),
    )


@routes.get("/model")
async def model(service: TheService) -> Card:
    """The card of the bundle: its targets, labels, crop, limits, training data and their licence."""
    return service.card


@routes.get(
    "/metrics", response_class=Response, responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}}
)
async def metrics(service: TheService) -> Response:
    """Requests, seconds and batches, for Prometheus."""
    return Response(generate_latest(service.metrics.registry), media_type=CONTENT_TYPE_LATEST)


@routes.post(
    "/predict",
    dependencies=[Depends(_refuse_foreign_page)],
    responses=documented(400, 403, 408, 413, 415, 422),
    openapi_extra=body("picture", several=False),
)
async def predict(request: Request, options: Annotated[Options, Query()], service: TheService) -> PictureAnswer:
    """The faces of one picture (JPEG, PNG, BMP, GIF, WebP or TIFF), uploaded as the file `picture`."""
    async with service.admitted() as hold:
        (data,) = await read_pictures(request, "picture", 1, service.settings, hold)
        with service.turn():
            return await _while_there(request, service.answer(data, **options.model_dump()))


@routes.post(
    "/predict/batch",
    dependencies=[Depends(_refuse_foreign_page)],
    responses=documented(400, 403, 408, 413, 415, 422),
    openapi_extra=body("pictures", several=True),
)
async def predict_batch(request: Request, options: Annotated[Options, Query()], service: TheService) -> BatchAnswer:
    """The faces of several pictures, uploaded as the files `pictures`; a problem in place of one that is of no use."""
    async with service.admitted() as hold:
        pictures = await read_pictures(request, "pictures", service.settings.max_pictures, service.settings, hold)
        with service.turn():
            return await _while_there(request, _answers(service, pictures, options))


async def _answers(service: Service, pictures: Sequence[bytes], options: Options) -> BatchAnswer:
    answers = await asyncio.gather(*(_answer_or_problem(service, data, options) for data in pictures))
    return BatchAnswer(pictures=list(answers))


async def _answer_or_problem(service: Service, data: bytes, options: Options) -> PictureAnswer | Problem:
    try:
        return await service.answer(data, **options.model_dump())
    except ProblemError as error:
        return error.problem


class DevicePage(StaticFiles):
    """The files of `serving.device`, which may load nothing from elsewhere and ask nobody else."""

    def lookup_path(self, path: str) -> tuple[str, os.stat_result | None]:
        """Where a file is; nowhere where it is one of Python's, which lie beside those of the page."""
        return ("", None) if Path(path).suffix in (".py", ".pyc") else super().lookup_path(path)

    def file_response(self, *args: Any, **kwargs: Any) -> Response:
        """A file, with what the browser is to hold the page to; workers need it on the script itself."""
        response = super().file_response(*args, **kwargs)
        response.headers["Content-Security-Policy"] = DEVICE_POLICY
        response.headers["Cache-Control"] = "no-cache"  # asked for again: files of two bundles do not fit together
        return response


def create_app(service: Service) -> FastAPI:
    """The API over `service`, which somebody else starts; it is stopped when the app ends."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        await service.stop()

    app = FastAPIOffline(title="faceline", version=version("faceline"), description=ABOUT, lifespan=lifespan)
    app.state.service = service
    problems.install(app)
    app.include_router(open_routes)
    app.include_router(routes)
    device = all((DEVICE / made).is_dir() for made in BUILT)
    if device:
        app.mount("/device", DevicePage(directory=DEVICE, html=True))
    if service.settings.page:
        _add_page(app, service.settings, device)
    if service.settings.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=service.settings.cors_origins,
            allow_methods=["GET", "POST"],
            allow_headers=["X-API-Key"],
        )
    app.add_middleware(Measured, metrics=service.metrics)
    return app


def _add_page(app: FastAPI, settings: ServeSettings, device: bool) -> None:
    """The web page at /page/, to which the root leads."""

    def make() -> FastAPI:
        from serving.page.blocks import gradio_app

        return gradio_app(settings, device)

    @app.get("/", include_in_schema=False)
    async def root() -> Response:
        return RedirectResponse("page/")

    app.mount("/page", Gate(make))
