"""What is let through to Gradio's application: what the page loads, and nothing that takes, keeps or fetches anything.

Gradio has some sixty routes: uploads that go to disk, files, proxies, a queue, its API. The page needs none of them.
"""

import asyncio
import atexit
import os
import re
import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterable
from functools import cache
from importlib import import_module

from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

OPEN = re.compile(r"/|/files/.+|/assets/.+|/theme\.css|/static/js/iframeResizer\.contentWindow\.min\.js")
HASHED = "/assets/"  # these have a digest in their name
ASKED = (b"host", b"accept", b"accept-encoding", b"if-none-match", b"if-modified-since", b"range")  # Gradio may know
# Gradio compiles its templates in the browser, and styles elements one by one.
POLICY = (
    "default-src 'none'; script-src 'self' 'unsafe-eval' 'nonce-{nonce}'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' blob: data:; font-src 'self'; connect-src 'self'; media-src 'self' blob:; manifest-src 'self'; "
    "base-uri 'self'; form-action 'none'; frame-ancestors 'none'"
)
FOLDER = "GRADIO_TEMP_DIR"  # in the environment
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=()",
}
HEAD = """<meta charset="utf-8" />
		<title>faceline: how old does a face look?</title>
		<meta name="description" content="Faces in a picture, with the age, gender and race that they look like" />
		<meta name="theme-color" content="#0a6e5c" />
		<link rel="icon" href="files/icon.svg" type="image/svg+xml" />
		<link rel="apple-touch-icon" href="files/icon-192.png" />
		<link rel="manifest" href="files/manifest.webmanifest" crossorigin="use-credentials" />
		<link rel="stylesheet" href="files/style.css" />"""
NO_SCRIPT = "<noscript>This page needs JavaScript.</noscript>"


def rewritten(html: str, nonce: str) -> str:
    """Gradio's page with a head of our own, without links to elsewhere, and its scripts known by the nonce."""
    html = re.sub(r'<meta\s+(?:property="og|name="twitter):[^>]*>\s*', "", html)
    html = re.sub(r'<link rel="manifest"[^>]*>\s*', "", html)
    html = html.replace("<script", f'<script nonce="{nonce}"')
    html = html.replace("<gradio-app", f"{NO_SCRIPT}<gradio-app", 1)
    return html.replace('<meta charset="utf-8" />', HEAD, 1)


@cache
def import_gradio() -> None:
    """Import it, with a folder of its own for the uploads that do not come.

    It makes one at once; if not told otherwise in /tmp/gradio, which may be another user's.
    """
    if FOLDER not in os.environ:
        os.environ[FOLDER] = tempfile.mkdtemp(prefix="gradio-")
        atexit.register(shutil.rmtree, os.environ[FOLDER], ignore_errors=True)
    import_module("gradio")


class Gate:
    """ASGI application before Gradio's, which is made when first asked for: to import it takes seconds.

    Args:
        make: gives Gradio's application.
    """

    def __init__(self, make: Callable[[], ASGIApp]):
        self._make = make
        self._app: ASGIApp | None = None
        self._making = asyncio.Lock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; HTTPException where it is for nothing that the page needs, or Gradio refuses it."""
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        if scope["type"] != "http" or scope["method"] not in ("GET", "HEAD") or not OPEN.fullmatch(path):
            raise HTTPException(404)
        headers = [(name, value) for name, value in scope["headers"] if name in _wanted(path)]
        answer = _Answer(path, send)
        # Some of Gradio's routes know no HEAD; the server itself leaves the body out.
        asked = {**scope, "method": "GET", "query_string": b"", "headers": headers}
        await (await self._made())(asked, receive, answer.take)
        await answer.end()

    async def _made(self) -> ASGIApp:
        async with self._making:
            if self._app is None:
                await asyncio.to_thread(import_gradio)  # meanwhile others are answered
                self._app = self._make()
            return self._app


def _wanted(path: str) -> Iterable[bytes]:
    """The headers of a request that Gradio learns. Its page must come uncompressed, since it is rewritten."""
    return [name for name in ASKED if path != "/" or name != b"accept-encoding"]


class _Answer:
    """One answer of Gradio's on its way: with our headers, the page rewritten, an error as an HTTPException."""

    def __init__(self, path: str, send: Send):
        self._path = path
        self._send = send
        self._nonce = secrets.token_urlsafe(16)
        self._status = 0  # of Gradio's, once it is known
        self._start: Message | None = None
        self._body = b""

    async def take(self, message: Message) -> None:
        """Pass a message on, or keep it until the end."""
        if message["type"] == "http.response.start":
            self._status = message["status"]
        if self._status >= 400:
            return  # told at the end: raised here, it would be taken for a fault of Gradio's
        if message["type"] == "http.response.start":
            headers = MutableHeaders(raw=message["headers"])
            headers.update({**HEADERS, "Content-Security-Policy": POLICY.format(nonce=self._nonce)})
            headers["Cache-Control"] = self._caching()
            self._start = message
            if self._path != "/":
                await self._send(message)
        elif self._path != "/":
            await self._send(message)
        else:
            self._body += message.get("body", b"")

    async def end(self) -> None:
        """Send the page, which was kept; HTTPException where Gradio refused."""
        if self._status >= 400:
            raise HTTPException(self._status)
        if self._path != "/" or self._start is None:
            return
        body = rewritten(self._body.decode(), self._nonce).encode()
        MutableHeaders(raw=self._start["headers"])["Content-Length"] = str(len(body))
        await self._send(self._start)
        await self._send({"type": "http.response.body", "body": body})

    def _caching(self) -> str:
        if self._path == "/":
            return "no-store"  # the nonce is for one answer
        return "public, max-age=31536000, immutable" if self._path.startswith(HASHED) else "no-cache"
