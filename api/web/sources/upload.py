"""Adding files: a form whose files the browser sends one by one to a path of its own, which the cookie opens."""

from typing import Final

from fastapi import APIRouter, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from nicegui import ui
from pydantic import ValidationError
from starlette.datastructures import UploadFile

from api.deps import SettingsDep
from api.routes.ingestion import create_ingestion
from api.schemas.ingestion import UploadForm
from api.web.parts import element
from api.web.signing_in import ensure_own
from api.web.sources.words import add_choice, say_size
from api.web.viewer import Viewer, find_viewer
from core.errors import Forbidden
from domain.identity import Unauthenticated

router = APIRouter(include_in_schema=False)

PATH: Final = "/sources/upload"
"""Named in api/limits.py, which lets bodies as long as an upload pass there."""
KINDS: Final = (("", "Find out"), ("transcript", "A session's transcript"), ("document", "A document"))


class UploadNotForm(Forbidden):
    """Files are added by the form on the page of sources alone; open it and choose the file there."""


@router.post(PATH)
async def take_upload(request: Request, settings: SettingsDep) -> JSONResponse:
    """Take one file in, as `POST /v1/ingestions` does; who asks is known before anything of it is read.

    The cookie is no bearer: it counts only where the browser says that our own page asks, and the header can't be
    added by another site's form.
    """
    ensure_own(request)
    if request.headers.get("x-regenesis-page") != "sources":
        raise UploadNotForm
    viewer = await find_viewer(request.app, request)
    if viewer is None:
        raise Unauthenticated
    principal = await viewer.check()
    async with request.form(max_files=1, max_fields=10) as sent:
        given = {name: value for name, value in sent.items() if isinstance(value, UploadFile) or value.strip()}
        try:
            form = UploadForm.model_validate(given)
        except ValidationError as error:
            raise RequestValidationError(error.errors()) from error
        key = request.headers.get("idempotency-key", "")[:255] or None
        taken = await create_ingestion(form, principal, settings, key)
    return JSONResponse(taken.model_dump(mode="json"), 202)


def draw_upload(viewer: Viewer, clients: list[tuple[str, str]]) -> ui.element:
    """Add the form; `clients` are addresses and names. The returned element tells `uploaded` after each file.

    Everything of it but this event happens in the browser (static/sources.js).
    """
    most = viewer.settings.api.max_upload_bytes
    panel = ui.element("section").classes("card upload").props('id="upload" aria-labelledby="upload-title"')
    panel.props["data-most"], panel.props["data-path"], panel.props["data-role"] = most, PATH, viewer.role
    with panel:
        element("h2", "Add files").props["id"] = "upload-title"
        with ui.element("div").classes("upload-about"):
            readers: tuple[tuple[str, str], ...]
            if viewer.role == "coach":
                nobody, readers = (
                    "Nobody: for me alone",
                    (("coach_only", "Coaches alone"), ("client_visible", "The client too")),
                )
            else:
                nobody = "The whole organisation"
                readers = (
                    ("client_visible", "Clients and coaches"), ("coach_only", "Coaches alone"),
                    ("admin_aggregate", "Administrators and executives"),
                )  # fmt: skip
            add_choice("About", "upload-client", [("", nobody), *clients]).props["data-field"] = "client"
            add_choice("Who may read it", "upload-visibility", readers).props["data-field"] = "visibility"
            add_choice("What it is", "upload-kind", KINDS).props["data-field"] = "kind"
            with ui.element("div").classes("field"):
                element("label", "Day of the session, if it is one").props["for"] = "upload-day"
                day = ui.element("input")
                day.props["id"], day.props["type"], day.props["data-field"] = "upload-day", "date", "held_at"
        with ui.element("div").classes("drop"):
            with ui.element("div").classes("field"):
                element("label", "Files").props["for"] = "upload-files"
                files = ui.element("input").props('type="file" multiple aria-describedby="upload-limit"')
                files.props["id"] = "upload-files"
            asked = " You are asked who speaks in a transcript that does not say." if viewer.role == "coach" else ""
            limit = element(
                "p", f"Choose several, or drop them here; {say_size(most)} each at most.{asked}", "soft small"
            )
            limit.props["id"] = "upload-limit"
        ui.element("ol").classes("plain uploads").props(
            'id="uploads" aria-live="polite" aria-label="Files being added"'
        )
    return panel
