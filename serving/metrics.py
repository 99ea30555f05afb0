"""What Prometheus is told at `GET /metrics`: requests, how long they took, pictures and how they were batched."""

import time
from http import HTTPMethod

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from starlette.types import ASGIApp, Message, Receive, Scope, Send

BATCHES = (1, 2, 4, 8, 16, 32, 64)
METHODS = frozenset(HTTPMethod)
SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class Metrics:
    """The metrics of one server, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        labels = ("method", "path", "status")
        self.requests = Counter("faceline_requests", "Requests answered", labels, registry=self.registry)
        self.seconds = Histogram(
            "faceline_request_seconds",
            "From a request to its answer",
            ("path",),
            buckets=SECONDS,
            registry=self.registry,
        )
        self.active = Gauge("faceline_requests_under_way", "Requests not answered yet", registry=self.registry)
        self.uploads = Gauge("faceline_upload_bytes", "Bytes of uploads in memory", registry=self.registry)
        self.batches = Histogram(
            "faceline_batch_pictures", "Pictures answered together", buckets=BATCHES, registry=self.registry
        )


class Measured:
    """ASGI middleware that counts and times the requests of `app`.

    The path is the route's template, and a method of no standard is `other`, so that what clients make up does not
    become a metric each.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics):
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status = 500

        async def watch(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        start = time.perf_counter()
        with self._metrics.active.track_inprogress():
            try:
                await self._app(scope, receive, watch)
            finally:
                path = getattr(scope.get("route"), "path", "other")
                method = scope["method"] if scope["method"] in METHODS else "other"
                self._metrics.requests.labels(method, path, status).inc()
                self._metrics.seconds.labels(path).observe(time.perf_counter() - start)
