"""Running the API: a server that drains on SIGTERM and opens its bundle anew on SIGHUP."""

import asyncio
import logging
import signal
import sys
import warnings
from typing import Any

import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.h11_impl import H11Protocol

from faceline.console import load_tensorflow
from serving.settings import ServeSettings

HEADER_TIMEOUT = 10.0  # seconds that a connection has from its first moment to the end of a request's headers


class TimedProtocol(H11Protocol):
    """Uvicorn's protocol, which closes connections whose request does not arrive; the original waits for ever."""

    _impatience: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait."""
        super().connection_made(transport)
        self._wait()

    def data_received(self, data: bytes) -> None:
        """Stop waiting once a request is there; begin anew where the next has only begun."""
        super().data_received(data)
        under_way = self.cycle is not None and not self.cycle.response_complete
        if under_way and self._impatience:
            self._impatience.cancel()
            self._impatience = None
        elif not under_way and self._impatience is None:
            self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing to wait for."""
        if self._impatience:
            self._impatience.cancel()
        super().connection_lost(exc)

    def _wait(self) -> None:
        self._impatience = self.loop.call_later(HEADER_TIMEOUT, self.transport.close)


def run(settings: ServeSettings, host: str, port: int, *, access_log: bool) -> None:
    """Serve until SIGTERM or Ctrl-C; what is under way then is answered first."""
    # Uvicorn drains, then raises the signal again, whose default would skip what removes temporary files at the end.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # its default would end a server that has nothing to reload yet
    load_tensorflow()
    _keep_uploads_out_of_the_log()
    asyncio.run(_serve(settings, host, port, access_log=access_log))


def _keep_uploads_out_of_the_log() -> None:
    """Silence libraries that tell of bytes and tags in damaged uploads; what is wrong, the client is told."""
    warnings.filterwarnings("ignore", module="PIL")
    for name in ("PIL", "python_multipart"):
        logging.getLogger(name).setLevel(logging.CRITICAL)


def configured(app: FastAPI, settings: ServeSettings, **options: Any) -> uvicorn.Config:
    """How uvicorn serves `app`; `options` are further ones of its own."""
    drain = settings.drain_timeout
    return uvicorn.Config(
        app, http=TimedProtocol, ws="none", server_header=False, timeout_graceful_shutdown=drain, **options
    )


async def _serve(settings: ServeSettings, host: str, port: int, **options: Any) -> None:
    from serving.app import create_app
    from serving.service import Service

    service = Service(settings)
    server = uvicorn.Server(configured(create_app(service), settings, host=host, port=port, **options))
    reloads: set[asyncio.Task[bool]] = set()  # the loop itself keeps no reference to its tasks

    def reload() -> None:
        task = asyncio.ensure_future(service.reload())
        reloads.add(task)
        task.add_done_callback(reloads.discard)

    def end_if_failed(task: asyncio.Task[None]) -> None:
        server.should_exit = server.should_exit or (not task.cancelled() and task.exception() is not None)

    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, reload)
    starting = asyncio.ensure_future(service.start())  # beside the server, which says meanwhile that it is alive
    starting.add_done_callback(end_if_failed)
    await server.serve()
    if starting.done():
        starting.result()
