"""The pages people use, served by the API's own process at `/`, under the same sign-ins and the same policies."""

from pathlib import Path
from typing import Final

from fastapi import FastAPI, Request
from fastapi.responses import RedirectResponse
from nicegui import app as pages
from nicegui import ui
from starlette.datastructures import MutableHeaders
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.web import (  # noqa: F401  # they serve pages
    chat,
    clients,
    evaluations,
    operations,
    overview,
    privacy,
    shared,
    signing_in,
    sources,
)
from api.web.frame import list_places
from api.web.sources import upload
from api.web.viewer import find_viewer

_STATIC: Final = Path(__file__).parent / "static"
_API: Final = ("/v1/", "/healthz", "/readyz", "/metrics")
_HEADERS: Final = {
    # Vue compiles the pages' templates in the browser, which is why scripts may be evaluated; all come from here.
    "Content-Security-Policy": (
        "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
        "img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self' ws: wss:; object-src 'none'; "
        "base-uri 'self'; form-action 'self'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
}


class PageHeaders:
    """Says to browsers that a page loads nothing from elsewhere and is shown in no other site's frame."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http" or scope["path"].startswith((*_API, "/docs", "/openapi.json")):
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
                if headers.get("content-type", "").startswith("text/html"):
                    headers["Cache-Control"] = "no-store"
            await send(message)

        await self._app(scope, receive, send_with_headers)


def mount(app: FastAPI) -> None:
    """Serve the pages from this app, behind all routes of the API; a process has one set of pages."""
    pages.state.service = app
    app.include_router(signing_in.router)
    app.include_router(upload.router)
    app.mount("/web", StaticFiles(directory=_STATIC), name="web")
    ui.run_with(
        app, title="ReGenesis", favicon=_STATIC / "icon.svg", dark=None, language="en-US", tailwind=False,
        reconnect_timeout=10, show_welcome_message=False, binding_refresh_interval=None,
    )  # fmt: skip
    # Mounted at "/", the pages would answer for the API's paths too, and hide that only a method is wrong.
    app.router.routes.pop()
    not_found = app.router.default

    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        await (not_found if scope["path"].startswith(_API) else pages)(scope, receive, send)

    app.router.default = serve
    app.add_middleware(PageHeaders)


@ui.page("/")
async def begin(request: Request) -> RedirectResponse:
    """Send people to the first page of their role."""
    viewer = await find_viewer(pages.state.service, request)
    if viewer is None:
        return RedirectResponse("/sign-in", 303)
    return RedirectResponse(list_places(viewer.role)[0].path, 303)
