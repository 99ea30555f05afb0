"""The page as Gradio has it: one component of our own, without a handler, so that Gradio itself is asked nothing.

The component's script takes the picture and asks the API. Gradio's own would upload it, and keep it on disk.
"""

import gradio
from fastapi import FastAPI
from gradio.routes import BUILD_PATH_LIB
from starlette.middleware.gzip import GZipMiddleware
from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from serving.page import FILES, PAGE, SAMPLES
from serving.settings import ServeSettings

DEVICE = PAGE.parent / "device"
SHARED = ("faces.js", "icon.svg", "incoming.js")  # of that page, which this one uses too
START = "import(new URL('files/page.js', document.baseURI)).then(({ start }) => start(element));"


class Files(StaticFiles):
    """The files of the page's own, and those that it shares with `serving.device`."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        """A file; HTTPException where there is none."""
        if path in SHARED:
            return self.file_response(DEVICE / path, (DEVICE / path).stat(), scope)
        return await super().get_response(path, scope)


def gradio_app(settings: ServeSettings, device: bool) -> FastAPI:
    """Gradio's application with the page at its root; with `device` it links the page that predicts in the browser."""
    app = FastAPI(openapi_url=None)
    app.mount("/files", Files(directory=FILES))
    app.mount("/assets", StaticFiles(directory=BUILD_PATH_LIB))  # Gradio's own route fails where there is no such file
    app.add_middleware(GZipMiddleware)
    theme = gradio.themes.Base(font=["system-ui", "sans-serif"], font_mono=["monospace"])
    gradio.mount_gradio_app(
        app,
        _blocks(settings, device),
        "/",
        theme=theme,
        footer_links=[],
        run_history=False,
        ssr_mode=False,
        mcp_server=False,
        pwa=False,
    )
    return app


def _blocks(settings: ServeSettings, device: bool) -> gradio.Blocks:
    with gradio.Blocks(title="faceline", analytics_enabled=False) as blocks:
        gradio.HTML(
            html_template=(PAGE / "page.html").read_text(encoding="utf-8"),
            js_on_load=START,
            apply_default_css=False,
            max_bytes=settings.max_bytes,
            needs_key=settings.api_key is not None,
            samples=list(SAMPLES),
            device=device,
        )
    return blocks
