"""The door of the pages: plain forms that set and end the cookie; they work without any script."""

from pathlib import Path
from typing import Annotated, Final
from urllib.parse import urlsplit

from fastapi import APIRouter, Form, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from jinja2 import Environment, FileSystemLoader, select_autoescape

from api.deps import SettingsDep
from api.errors import find_status
from api.routes.auth import count_try
from api.web.viewer import COOKIE, authenticate
from core.errors import AppError, Forbidden
from domain import auth, sessions
from domain.identity import Unauthenticated
from domain.sessions import OpenSession

router = APIRouter(include_in_schema=False)

ORGANISATION_COOKIE: Final = "regenesis_organisation"
_pages = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "templates"), autoescape=select_autoescape(default=True)
)
_Text = Annotated[str, Form(max_length=1024)]


class FromElsewhere(Forbidden):
    """This form was sent by another site's page; open the sign-in page itself and try again."""


def keep_local(path: str | None) -> str:
    """Return where to go on, a path of ours; anything else becomes the first page."""
    parts = urlsplit(path or "/")
    is_ours = not parts.scheme and not parts.netloc and parts.path.startswith("/") and "\\" not in (path or "")
    return path if path and is_ours and not path.startswith("//") else "/"


def ensure_own(request: Request) -> None:
    """Refuse a form another site's page sent; every browser of today says where a request comes from."""
    if request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        raise FromElsewhere


def _show(name: str, status: int = 200, **values: object) -> HTMLResponse:
    return HTMLResponse(_pages.get_template(name).render(**values), status, headers={"Cache-Control": "no-store"})


def _let_in(request: Request, opened: OpenSession, following: str) -> Response:
    reply = RedirectResponse(keep_local(following), 303)
    reply.set_cookie(
        COOKIE, opened.token, expires=opened.expires_at, httponly=True, samesite="lax",
        secure=request.url.scheme == "https",
    )  # fmt: skip
    return reply


@router.get("/sign-in")
async def show_sign_in(request: Request, next: str = "/", organisation: str = "", ended: bool = False) -> Response:  # noqa: A002  # names of the address
    """Show the form; `ended` says why they are here again."""
    known = organisation or request.cookies.get(ORGANISATION_COOKIE, "")
    said = "Your sign-in is over; sign in again to go on where you were." if ended else ""
    return _show("sign_in.html.j2", next=keep_local(next), organisation=known[:63], email="", said=said)


@router.post("/sign-in")
async def sign_in(  # noqa: PLR0917  # a form's fields
    request: Request, settings: SettingsDep, organisation: _Text = "", email: _Text = "", password: _Text = "",
    next: _Text = "/",  # noqa: A002  # the form's name
) -> Response:  # fmt: skip
    """Sign in, or ask for the second factor."""
    try:
        ensure_own(request)
        await count_try(request, f"{organisation}|{email.strip().lower()}")
        opened, is_challenge = await auth.sign_in(
            organisation=organisation.strip(), email=email, password=password, settings=settings.auth
        )
    except AppError as error:
        return _show(
            "sign_in.html.j2", find_status(error), next=keep_local(next), organisation=organisation, email=email,
            said=error.message, is_wrong=True,
        )  # fmt: skip
    if is_challenge:
        reply: Response = _show("code.html.j2", next=keep_local(next), challenge=opened.token)
    else:
        reply = _let_in(request, opened, next)
    reply.set_cookie(ORGANISATION_COOKIE, organisation.strip(), max_age=31_536_000, samesite="lax")
    return reply


@router.post("/sign-in/code")
async def give_code(
    request: Request, settings: SettingsDep, challenge: _Text = "", code: _Text = "", next: _Text = "/"  # noqa: A002
) -> Response:  # fmt: skip
    """Complete a sign-in with the second factor."""
    try:
        ensure_own(request)
        await count_try(request, challenge)
        opened = await auth.give_second_factor(challenge=challenge, code=code, settings=settings.auth)
    except AppError as error:
        return _show("code.html.j2", find_status(error), next=keep_local(next), challenge=challenge, said=error.message)
    return _let_in(request, opened, next)


@router.post("/sign-out")
async def sign_out(request: Request) -> Response:
    """End the session of the cookie, wherever it is used."""
    ensure_own(request)
    token = request.cookies.get(COOKIE)
    if token:
        try:
            signed_in = await authenticate(request.app, token)
            await sessions.sign_out(signed_in.principal, session_id=signed_in.session_id, cache=request.app.state.cache)
        except Unauthenticated:
            pass  # it was over already
    reply = RedirectResponse("/sign-in", 303)
    reply.delete_cookie(COOKIE)
    return reply
