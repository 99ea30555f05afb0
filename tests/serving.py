"""Servers for tests: the API over a toy bundle, in this process, and predictors that can be held or made to fail."""

import asyncio
import io
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import uvicorn
from fastapi.testclient import TestClient
from PIL import Image

from faceline.faces.decoding import Pixels
from faceline.learning.bundle import Framed, Predictor
from serving.app import create_app
from serving.server import configured
from serving.service import Service
from serving.settings import ServeSettings
from tests.toy_bundle import Finds

POISON = 13  # a picture whose first pixel is of this red makes the predictor fail


class Held(Predictor):
    """A predictor with the toy detector that waits before each batch until it is let go, and fails on poison."""

    def __init__(self, path: Path):
        super().__init__(path, Finds())
        self.go = threading.Event()
        self.go.set()
        self.entered = threading.Event()
        self.batches: list[int] = []

    def find(self, pictures: Sequence[Pixels]) -> list[Framed]:
        """As ever, once let go."""
        self.batches.append(len(pictures))
        self.entered.set()
        self.go.wait(60)
        if any(picture[0, 0, 0] == POISON for picture in pictures):
            raise RuntimeError("poison")
        return super().find(pictures)


@contextmanager
def served(bundle: Path, **settings: Any) -> Iterator[tuple[TestClient, Service]]:
    """A client of a started server, and its service; the predictor is a `Held`."""
    service = Service(ServeSettings(bundle=bundle, **settings), Held)
    with TestClient(create_app(service), raise_server_exceptions=False) as client:
        assert client.portal is not None
        client.portal.call(service.start)
        yield client, service


@contextmanager
def listening(bundle: Path, **settings: Any) -> Iterator[int]:
    """The port of a server, with a `Held`, that listens on a socket."""
    options = ServeSettings(bundle=bundle, **settings)
    service = Service(options, Held)
    running = uvicorn.Server(configured(create_app(service), options, log_level="warning"))

    async def serve(opened: socket.socket) -> None:
        await service.start()
        await running.serve([opened])

    with socket.create_server(("127.0.0.1", 0)) as opened:
        thread = threading.Thread(target=lambda: asyncio.run(serve(opened)))
        thread.start()
        try:
            yield opened.getsockname()[1]
        finally:
            running.should_exit = True
            thread.join()


def held(service: Service) -> Held:
    """The predictor of a started service."""
    assert service._engine is not None
    predictor = service._engine.predictor
    assert isinstance(predictor, Held)
    return predictor


def encoded(seed: int = 1, size: tuple[int, int] = (60, 40), kind: str = "PNG", red: int | None = None) -> bytes:
    """A picture of noise; `red` is that of its first pixel."""
    width, height = size
    pixels = np.random.default_rng(seed).integers(20, 256, (height, width, 3)).astype(np.uint8)
    if red is not None:
        pixels[0, 0, 0] = red
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind)
    return buffer.getvalue()


def black(width: int = 60, height: int = 40) -> bytes:
    """A picture in which the toy detector finds nothing."""
    buffer = io.BytesIO()
    Image.new("RGB", (width, height)).save(buffer, "PNG")
    return buffer.getvalue()
