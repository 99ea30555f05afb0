"""Reports behind links that open: a small web server on this machine for the reports of a project and of its clones."""

import os
import socket
import threading
from pathlib import Path
from urllib.parse import quote

import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.staticfiles import StaticFiles

from pipelines.place import CLONES
from pipelines.server import HOST, ServerError

REPORT = Path("data/report")
PAGE = "index.html"
ADDRESS = "FACELINE_REPORTS"  # where people find the server (a proxy's address, say); without it links lead to the file
WORKSPACE = "workspace"  # the name of the project's own folder among its clones


def link(folder: Path) -> str | None:
    """Where the report of the project or clone in `folder` can be opened; None if it has none."""
    page = folder.resolve() / REPORT / PAGE
    if not page.exists():
        return None
    address = os.environ.get(ADDRESS)
    name = folder.resolve().name if folder.resolve().parent.match(str(CLONES)) else WORKSPACE
    return f"{address}/{quote(name)}/{PAGE}" if address else page.as_uri()


def application(folder: Path) -> Starlette:
    """The pages /workspace/… and /<clone>/…, from the folders of the reports and nothing beside them."""

    async def page(request: Request) -> Response:
        name, path = request.path_params["name"], request.path_params["path"]
        clones = {clone.name: clone for clone in (folder / CLONES).glob("*")}
        root = ({WORKSPACE: folder} | clones).get(name)
        if root is None or not (root / REPORT).is_dir():
            raise HTTPException(404, f"{name} has no report")
        files = StaticFiles(directory=root / REPORT)
        return await files.get_response(path or PAGE, request.scope)

    return Starlette(routes=[Route("/{name}/{path:path}", page)])


def serve(folder: Path, port: int) -> None:
    """Serve the reports on localhost in a thread of this process, and tell its runs where, if they are not told yet.

    Raises:
        ServerError: another program has the port; links would lead to its pages.
    """
    try:
        listening = socket.create_server((HOST, port))
    except OSError as error:
        why = os.strerror(error.errno or 0)
        told = f"reports cannot be served on port {port}: {why}; choose another with --reports-port"
        raise ServerError(told) from None
    server = uvicorn.Server(uvicorn.Config(application(folder), log_level="warning"))
    threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True).start()
    os.environ.setdefault(ADDRESS, f"http://{HOST}:{port}")
