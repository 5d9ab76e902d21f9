"""Whether the service lives, whether it can serve, and what it counts."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import cache
from pathlib import Path
from typing import Final

import httpx
from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import BaseModel, Field
from sqlalchemy import text

import db
from api.deps import SettingsDep
from api.metrics import REGISTRY
from core.errors import AppError, Unavailable
from core.settings import Settings
from core.storage import open_store
from db.session import unbound_session

router = APIRouter(tags=["operation"])

CHECK_TIMEOUT_S: Final = 3.0


class CheckOut(BaseModel):
    """Whether one thing this service needs is there."""

    name: str
    ok: bool
    required: bool = Field(description="without it no request can be served")
    detail: str


class ReadyOut(BaseModel):
    """Whether requests can be served."""

    ready: bool
    checks: list[CheckOut]


@router.get("/healthz", operation_id="getHealth")
async def get_health() -> dict[str, str]:
    """Say that the process answers."""
    return {"status": "ok"}


@router.get(
    "/readyz", operation_id="getReadiness", responses={503: {"model": ReadyOut, "description": "Something is missing"}}
)  # fmt: skip
async def get_readiness(response: Response, settings: SettingsDep) -> ReadyOut:
    """Say whether requests can be served, and what is missing."""
    checks = await asyncio.gather(
        _check("database", _check_database, required=True),
        _check("object store", lambda: _check_storage(settings), required=True),
        _check("flow server", lambda: check_flow_server(settings), required=False),
    )
    ready = all(check.ok or not check.required for check in checks)
    if not ready:
        response.status_code = 503
    return ReadyOut(ready=ready, checks=list(checks))


@router.get("/metrics", operation_id="getMetrics", response_class=Response)
async def get_metrics() -> Response:
    """Give the counts in Prometheus' text format."""
    return Response(generate_latest(REGISTRY), media_type=CONTENT_TYPE_LATEST)


async def _check(name: str, ask: Callable[[], Awaitable[str]], *, required: bool) -> CheckOut:
    try:
        async with asyncio.timeout(CHECK_TIMEOUT_S):
            return CheckOut(name=name, ok=True, required=required, detail=await ask())
    except TimeoutError:
        detail = f"no answer within {CHECK_TIMEOUT_S:g} s"
    except AppError as error:
        detail = error.message
    return CheckOut(name=name, ok=False, required=required, detail=detail)


@cache
def find_newest_revision() -> str | None:
    """Return the revision this program was made for; the first call reads every migration, for a second or more."""
    from alembic.script import ScriptDirectory  # only the check needs it

    return ScriptDirectory(str(Path(db.__file__).parent / "migrations")).get_current_head()


class WrongRevision(Unavailable):
    """The database is at another revision than this program; run `regenesis db migrate`."""


async def _check_database() -> str:
    async with unbound_session() as session:
        revision = await session.scalar(text("SELECT version_num FROM public.alembic_version"))
    newest = await asyncio.to_thread(find_newest_revision)  # the first time it reads every migration
    if revision != newest:
        raise WrongRevision(
            f"The database is at revision {revision}, this program at {newest}; run `regenesis db migrate`."
        )
    return f"at revision {revision}"


async def _check_storage(settings: Settings) -> str:
    await open_store(settings.storage_url, settings.storage).find("readiness")
    return "answers"


class FlowServerMissing(Unavailable):
    """No flow server is configured; set PREFECT_API_URL or run `regenesis up`."""


async def check_flow_server(settings: Settings) -> str:
    """Return how the flow server answered; raises an `AppError` where it does not."""
    if settings.prefect_api_url is None:
        raise FlowServerMissing
    try:
        async with httpx.AsyncClient(timeout=CHECK_TIMEOUT_S) as client:
            reply = await client.get(f"{settings.prefect_api_url.rstrip('/')}/health")
            reply.raise_for_status()
    except httpx.HTTPError as error:
        raise FlowServerMissing("The flow server does not answer; run `regenesis doctor`.") from error
    return "answers"
