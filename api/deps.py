"""What routes ask for: who calls, a transaction bound to them, the assistant, the settings."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Annotated, Any

from fastapi import Depends, Header, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from sqlalchemy.ext.asyncio import AsyncSession

from core.errors import Forbidden
from core.settings import Settings
from db.session import Principal, tenant_session
from domain.identity import Unauthenticated, authenticate_key
from rag.answer import Assistant

_bearer = HTTPBearer(auto_error=False, description="An API key, `rg_…`", scheme_name="ApiKey")


class ScopeMissing(Forbidden):
    """This key may not do this; make one with the scope it needs."""


async def request_principal(
    request: Request, credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]
) -> Principal:
    """Return who calls; raises `Unauthenticated`."""
    if credentials is None:
        raise Unauthenticated
    principal = await authenticate_key(credentials.credentials)
    request.state.principal = principal
    return principal


PrincipalDep = Annotated[Principal, Depends(request_principal)]


def require_scope(scope: str) -> Callable[[Principal], Awaitable[None]]:
    """Return a dependency that lets only keys with this scope pass."""

    async def check(principal: PrincipalDep) -> None:
        if scope not in principal.scopes:
            raise ScopeMissing(f"This key lacks the scope {scope!r}; make one that has it.")

    return check


def needs(scope: str) -> Any:  # noqa: ANN401  # what Depends returns
    """Return the route dependency on a scope of the key."""
    return Depends(require_scope(scope))


async def request_session(principal: PrincipalDep) -> AsyncIterator[AsyncSession]:
    """Yield the request's one transaction, committed before the reply is sent."""
    async with tenant_session(principal) as session:
        yield session


# scope="function": a commit that fails must still be able to change the reply
SessionDep = Annotated[AsyncSession, Depends(request_session, scope="function")]


def request_settings(request: Request) -> Settings:
    """Return the settings the app was made with."""
    settings: Settings = request.app.state.settings
    return settings


def request_assistant(request: Request) -> Assistant:
    """Return the app's assistant, which it makes when it starts."""
    assistant: Assistant = request.app.state.assistant
    return assistant


SettingsDep = Annotated[Settings, Depends(request_settings)]
AssistantDep = Annotated[Assistant, Depends(request_assistant)]
IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key", min_length=1, max_length=255,
        description="any text; the same key on a repeated request returns what the first one made",
    ),
]  # fmt: skip
