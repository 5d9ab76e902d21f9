"""Who looks at a page: a person with a cookie, asked for again at every step, and bound like any caller of the API."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final
from uuid import uuid4
from zoneinfo import ZoneInfo, available_timezones

from fastapi import FastAPI
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.requests import Request

from api.rate_limits import RateLimits
from core.settings import Settings
from db.models import Tenant, User, UserSettings
from db.session import Principal, Role, request_context, tenant_session
from domain.identity import Credential, Unauthenticated
from domain.sessions import SignedIn, authenticate_session, hash_token
from rag.answer import Assistant

COOKIE: Final = "regenesis_session"
ZONE_COOKIE: Final = "regenesis_zone"
THEME_COOKIE: Final = "regenesis_theme"


@dataclass(frozen=True, slots=True)
class Viewer:
    """A signed-in person at one open page; their rights are asked for again by `session` and `check`."""

    service: FastAPI
    token: str = field(repr=False)
    principal: Principal
    name: str
    organisation: str
    zone: ZoneInfo
    address: dict[str, str]
    """What the audit log says of where they are: address and browser."""

    @property
    def role(self) -> Role:
        """The role they act in."""
        return self.principal.role

    @property
    def assistant(self) -> Assistant:
        """The service's assistant."""
        assistant: Assistant = self.service.state.assistant
        return assistant

    @property
    def settings(self) -> Settings:
        """The service's settings."""
        settings: Settings = self.service.state.settings
        return settings

    @property
    def credential(self) -> Credential:
        """What ends with their sign-in."""
        return Credential("session", hash_token(self.token))

    async def check(self) -> Principal:
        """Return who they are now; raises `Unauthenticated` once the sign-in is over, `TooManyRequests`.

        What follows in this task is noted in the audit log as done here.
        """
        signed_in = await authenticate(self.service, self.token)
        limits: RateLimits = self.service.state.rate_limits
        await limits.count_caller(self.token, f"{signed_in.principal.tenant_id}:{signed_in.principal.user_id}")
        request_context.set({"request_id": str(uuid4()), "surface": "web", **self.address})
        return signed_in.principal

    @asynccontextmanager
    async def session(self) -> AsyncIterator[AsyncSession]:
        """Yield one transaction bound to them, committed at its end; raises what `check` does."""
        async with tenant_session(await self.check()) as session:
            yield session

    @asynccontextmanager
    async def system_session(self) -> AsyncIterator[AsyncSession]:
        """Yield one transaction of their organisation's pipelines, asked for by them; check their right first."""
        principal = await self.check()
        async with tenant_session(principal.as_system(), asked_by=principal) as session:
            yield session


async def authenticate(service: FastAPI, token: str) -> SignedIn:
    """Return who holds this cookie; raises `Unauthenticated`."""
    settings: Settings = service.state.settings
    return await authenticate_session(token, cache=service.state.cache, settings=settings.auth)


async def find_viewer(service: FastAPI, request: Request) -> Viewer | None:
    """Return who sent this request, None without a sign-in that counts."""
    token = request.cookies.get(COOKIE)
    if not token:
        return None
    try:
        principal = (await authenticate(service, token)).principal
    except Unauthenticated:
        return None
    async with tenant_session(principal) as session:
        row = (
            await session.execute(
                select(User.full_name, User.email, UserSettings.timezone, Tenant.name)
                .join(Tenant, Tenant.id == User.tenant_id)
                .outerjoin(UserSettings, (UserSettings.tenant_id == User.tenant_id) & (UserSettings.user_id == User.id))
                .where(User.id == principal.user_id)
            )
        ).one_or_none()
    if row is None:
        return None
    context = request_context.get() or {}
    return Viewer(
        service, token, principal, row.full_name or row.email, row.name,
        find_zone(request.cookies.get(ZONE_COOKIE), row.timezone),
        {name: context[name] for name in ("ip_address", "user_agent") if name in context},
    )  # fmt: skip


def find_zone(*names: str | None) -> ZoneInfo:
    """Return the first of these time zones that there is."""
    known = available_timezones()
    return ZoneInfo(next((name for name in names if name in known), "UTC"))
