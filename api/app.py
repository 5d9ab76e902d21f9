"""The HTTP service: one app, made by `create_app`, so that nothing happens at import."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache
from importlib.metadata import version
from typing import Any, Final

from fastapi import APIRouter, Depends, FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi_offline import FastAPIOffline
from starlette.routing import BaseRoute

from api.client_address import read_networks
from api.dispatch import deliver_outbox, link_readings
from api.errors import Problem, install_error_handlers
from api.limits import BodyLimit
from api.middleware import RequestTrace
from api.parameters import refuse_unknown_parameters
from api.rate_limits import AddressLimit, RateLimits
from api.routes import (
    analytics,
    articles,
    assessments,
    auth,
    calendars,
    chat,
    coaching,
    commerce,
    comms,
    community,
    completions,
    consents,
    content,
    corrections,
    enrollments,
    evaluations,
    events,
    evidence,
    feedback,
    governance,
    health,
    ingestion,
    insights,
    learning,
    messages,
    partners,
    practice,
    privacy,
    privacy_exports,
    projects,
    proposals,
    readers,
    retention,
    reviews,
    search,
    session_records,
    shares,
    sources,
    speakers,
    usage,
    users,
)  # fmt: skip
from api.schemas.chat import CitationsEvent, DeltaEvent, DoneEvent, SourcesEvent
from api.schemas.completions import Chunk
from core.cache import open_cache
from core.logging import configure_logging
from core.settings import Settings, get_settings
from db.session import close_store
from domain.tokens import TokenVerifier
from pipelines.ingest import load_embedder
from rag.answer import Assistant, settle

_SPOKEN: Final = (Problem, SourcesEvent, DeltaEvent, CitationsEvent, DoneEvent, Chunk)
"""Models that go over the wire without being any route's response model."""


def create_app(settings: Settings | None = None, assistant: Assistant | None = None) -> FastAPI:
    """Return the app; the embedder loads when it starts, unless an assistant is given."""
    settings = settings or get_settings()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        configure_logging(settings.log)
        if assistant is None:
            app.state.assistant = await load_assistant(settings)
        async with deliver_outbox(settings, app.state.assistant.embedder), link_readings(settings):
            yield
        await settle()
        await app.state.cache.close()
        await app.state.rate_limits.close()
        await close_store()

    app = FastAPIOffline(
        title="ReGenesis", version=version("regenesis"), lifespan=lifespan, docs_url="/docs", redoc_url=None,
        summary="Cited answers from a coaching organisation's own words.",
    )  # fmt: skip
    app.state.settings, app.state.assistant = settings, assistant
    app.state.cache, app.state.token_verifier = open_cache(settings.cache.url), TokenVerifier(settings.auth)
    app.state.rate_limits = RateLimits(settings)
    app.router.routes.extend(_list_routes())
    install_error_handlers(app)
    if settings.api.web:
        from api.web import mount  # the toolkit takes half a second, which a service without pages is spared

        mount(app)
    app.add_middleware(BodyLimit, uploads=settings.api.max_upload_bytes)
    app.add_middleware(AddressLimit, limits=app.state.rate_limits)
    app.add_middleware(RequestTrace, trusted=read_networks(settings.api.trusted_proxies))  # added last, so outermost
    app.openapi = lambda: _describe(app)  # type: ignore[method-assign]  # FastAPI's own way to extend it
    return app


@cache
def _list_routes() -> list[BaseRoute]:
    """Return every route; FastAPI builds each at the first request, which takes a second for all, once a process."""
    router = APIRouter(dependencies=[Depends(refuse_unknown_parameters)])
    for routes in (
        completions, chat, shares, search, coaching, sources, evidence, insights, feedback, proposals, evaluations,
        ingestion, readers, speakers, auth, users, practice,
        session_records, calendars, reviews, learning, enrollments, assessments, community, messages,
        projects, content, articles, commerce, events, partners, comms, consents, corrections, governance,
        privacy, privacy_exports, retention,
        analytics, usage, health,
    ):  # fmt: skip
        router.include_router(routes.router)
    return router.routes


async def load_assistant(settings: Settings) -> Assistant:
    """Return the assistant of these settings; loading the embedder takes up to 2 s."""
    return Assistant(await load_embedder(settings), settings.llm)


def _describe(app: FastAPI) -> dict[str, Any]:
    """Return the OpenAPI description, with the models that only streams and errors use."""
    if app.openapi_schema is None:
        described = get_openapi(
            title=app.title, version=app.version, summary=app.summary, description=app.description, routes=app.routes
        )
        known = described.setdefault("components", {}).setdefault("schemas", {})
        for model in _SPOKEN:
            schema = model.model_json_schema(ref_template="#/components/schemas/{model}")
            for name, part in schema.pop("$defs", {}).items():
                known.setdefault(name, part)
            known.setdefault(model.__name__, schema)
        # validation errors leave as problems, so FastAPI's own description of them would be wrong
        for paths in described["paths"].values():
            for operation in paths.values():
                unusable = operation["responses"].get("422", {}).get("content", {})
                if "application/json" in unusable:
                    operation["responses"].pop("422")
        known.pop("HTTPValidationError", None)
        known.pop("ValidationError", None)
        app.openapi_schema = described
    return app.openapi_schema
