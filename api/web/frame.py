"""What every page has: who looks at it, where else they may go, the theme, and errors told in a sentence."""

import inspect
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import wraps
from typing import Any, Final
from urllib.parse import quote

from fastapi import Request
from fastapi.responses import RedirectResponse
from nicegui import app as pages
from nicegui import ui
from starlette.responses import Response

from api.web.parts import element, icon_button, notify, say_empty
from api.web.viewer import THEME_COOKIE, Viewer, find_viewer
from core.errors import AppError
from core.logging import get_logger
from db.session import Role
from domain.identity import Unauthenticated

RECHECK_S: Final = 20.0
"""How often an open page asks whether its viewer is still signed in and may still see what it shows."""

BUILD_S: Final = 15.0
"""How long a page may take until it is served: a busy machine is slow, and what is cut off is no page."""

PLURALS: Final = {"coach": "coaches", "compliance": "compliance"}

Build = Callable[..., Awaitable[None]]

_log = get_logger("api.web")


@dataclass(frozen=True, slots=True)
class Place:
    """One entry of the navigation, for these roles."""

    path: str
    name: str
    roles: frozenset[Role]
    leads_to: tuple[str, ...] = ()
    """Where pages begin that are reached from here and stand elsewhere."""

    def holds(self, path: str) -> bool:
        """Tell whether the page at this path belongs here."""
        return path.startswith((self.path, *self.leads_to))


PLACES: Final = (
    Place("/chat", "Chat", frozenset({"coach", "client"})),
    Place("/clients", "Clients", frozenset({"coach"}), ("/packs",)),
    Place("/me", "My progress", frozenset({"client"})),
    Place("/sources", "Sources", frozenset({"coach", "admin"}), ("/transcripts", "/documents")),
    Place("/evaluations", "Evaluations", frozenset({"evaluator", "admin"})),
    Place("/operations", "Operations", frozenset({"admin"})),
    Place("/overview", "Overview", frozenset({"executive", "admin"})),
    Place("/privacy", "Privacy", frozenset({"compliance"})),
)
"""In the order shown; the first of a role is where it begins. Every role that signs in has one."""


def list_places(role: Role) -> list[Place]:
    """Return where this role may go."""
    return [place for place in PLACES if role in place.roles]


def page(path: str, *, title: str, roles: frozenset[Role] | None = None) -> Callable[[Build], Build]:
    """Serve what `build(viewer, …)` builds at this path to people signed in, of these roles where given.

    `build` gets the viewer first and then what its own parameters ask of path and query. Without a sign-in the viewer
    goes to the door and comes back; another role is told whose page it is.
    """

    def decorate(build: Build) -> Build:
        own = list(inspect.signature(build).parameters.values())[1:]

        @wraps(build)
        async def show(request: Request, **values: Any) -> Response | None:  # noqa: ANN401  # what the path holds
            viewer = await find_viewer(pages.state.service, request)
            if viewer is None:
                return RedirectResponse(_door(request, ended=bool(request.cookies)), 303)
            ui.page_title(f"{title} · ReGenesis")
            _draw_frame(viewer, request, path)
            with ui.element("div").classes("content").props("id=content tabindex=-1"):
                if roles is not None and viewer.role not in roles:
                    words = f"It is for {_list_names(roles)}. You act as {viewer.role}."
                    say_empty("This page is not for your role", words)
                    return None
                try:
                    await build(viewer, **values)
                except AppError as error:
                    say_empty("This can't be shown", error.message)
            return None

        first = inspect.Parameter("request", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=Request)
        show.__signature__ = inspect.Signature([first, *own])  # type: ignore[attr-defined]
        ui.page(path, title=title, response_timeout=BUILD_S)(show)
        return build

    return decorate


def _list_names(roles: frozenset[Role]) -> str:
    return " and ".join(PLURALS.get(role, f"{role}s") for role in sorted(roles))


def _door(request: Request, *, ended: bool) -> str:
    query = f"?{request.url.query}" if request.url.query else ""
    return f"/sign-in?next={quote(request.url.path + query, safe='')}{'&ended=true' if ended else ''}"


def _draw_frame(viewer: Viewer, request: Request, path: str) -> None:
    theme = request.cookies.get(THEME_COOKIE)
    dark = ui.dark_mode({"dark": True, "light": False}.get(theme or ""))
    ui.add_head_html('<link rel="stylesheet" href="/web/style.css">')
    here = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    ui.on_exception(lambda error: tell(error, here))
    ui.html('<a class="skip" href="#content">To the content</a>', sanitize=False)
    with ui.element("header").classes("top"):
        ui.html('<a class="brand" href="/">Re<span>Genesis</span></a>', sanitize=False)
        with ui.element("nav").classes("places").props('aria-label="Pages"'):
            for place in list_places(viewer.role):
                link = ui.element("a").props(f'href="{place.path}"')
                if place.holds(path):
                    link.props('aria-current="page"')
                with link:
                    ui.html(place.name, sanitize=False, tag="span")
        with ui.element("div").classes("who"):
            with ui.element("div").classes("name"):
                element("b", viewer.name)
                element("span", f"{viewer.role} · {viewer.organisation}")
            toggle = icon_button("contrast", "Light or dark")
            toggle.on("click", lambda: _change_theme(dark))
            with ui.element("form").props('method="post" action="/sign-out"'):
                icon_button("logout", "Sign out").props('type="submit"')

    async def recheck() -> None:
        await viewer.check()

    ui.timer(RECHECK_S, recheck, immediate=False)


def _change_theme(dark: ui.dark_mode) -> None:
    """Turn the other way, also where the system chose until now."""

    async def turn() -> None:
        was = dark.value
        if was is None:
            was = await ui.run_javascript("document.body.classList.contains('body--dark')")
        dark.value = not was
        name = "dark" if dark.value else "light"
        ui.run_javascript(f"document.cookie = '{THEME_COOKIE}={name}; path=/; max-age=31536000; samesite=lax'")

    ui.timer(0, turn, once=True)


def tell(error: Exception, here: str) -> None:
    """Tell what went wrong while the page was used: where the sign-in ended, at the door; else in one sentence."""
    if isinstance(error, Unauthenticated):
        ui.navigate.to(f"/sign-in?next={quote(here, safe='')}&ended=true")
    elif isinstance(error, AppError):
        notify(error.message, bad=True)
    else:
        _log.exception("page_failed", exc_info=error)
        notify("Something went wrong on our side; it is recorded. Try again, or reload the page.", bad=True)
