"""What routes ask for: who calls, a transaction bound to them, the assistant, the settings."""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import Depends, Header, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from sqlalchemy.ext.asyncio import AsyncSession

from api.rate_limits import RateLimits, count_within
from core.cache import Cache
from core.errors import Forbidden
from core.settings import Settings
from db.session import Principal, Role, tenant_session
from domain.identity import KEY_PREFIX, Credential, Unauthenticated, authenticate_key, hash_key
from domain.sessions import TOKEN_PREFIX, authenticate_session, hash_token
from domain.tokens import TokenVerifier
from rag.answer import Assistant

_bearer = HTTPBearer(
    auto_error=False, scheme_name="Bearer",
    description="An API key `rg_…`, the token of a sign-in `rgs_…`, or a token of the configured identity provider",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls and with what; only a sign-in has a session."""

    principal: Principal
    kind: Literal["key", "session", "token"]
    session_id: UUID | None = None
    credential: Credential | None = None
    """What ends with the key or sign-in; a provider's token ends by its own time alone."""


class ScopeMissing(Forbidden):
    """This key may not do this; make one with the scope it needs."""


class SignInNeeded(Forbidden):
    """Only a person who signed in may do this; sign in with your password instead of calling with a key or token."""


async def authenticate(request: Request, credential: str) -> Caller:
    """Return who calls with this credential, wherever the request carried it; raises `Unauthenticated`.

    Counts the call for its key and its user: raises `TooManyRequests`.
    """
    app = request.app.state
    if credential.startswith(KEY_PREFIX):
        caller = Caller(await authenticate_key(credential), "key", credential=Credential("key", hash_key(credential)))
    elif credential.startswith(TOKEN_PREFIX):
        signed_in = await authenticate_session(credential, cache=app.cache, settings=app.settings.auth)
        opened_by = Credential("session", hash_token(credential))
        caller = Caller(signed_in.principal, "session", signed_in.session_id, opened_by)
    else:
        verifier: TokenVerifier = app.token_verifier
        caller = Caller(await verifier.authenticate(credential), "token")
    limits: RateLimits = app.rate_limits
    user = f"{caller.principal.tenant_id}:{caller.principal.user_id}"
    await count_within(request, limits.count_caller(credential, user))
    return caller


async def request_caller(
    request: Request, credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]
) -> Caller:
    """Return who calls and with what; raises `Unauthenticated`."""
    if credentials is None:
        raise Unauthenticated
    caller = await authenticate(request, credentials.credentials)
    request.state.principal = caller.principal
    return caller


CallerDep = Annotated[Caller, Depends(request_caller)]


async def request_principal(caller: CallerDep) -> Principal:
    """Return who calls; raises `Unauthenticated`."""
    return caller.principal


async def signed_in_caller(caller: CallerDep) -> Caller:
    """Return the caller who signed in with a password; raises `SignInNeeded`."""
    if caller.kind != "session":
        raise SignInNeeded
    return caller


SignedInDep = Annotated[Caller, Depends(signed_in_caller)]
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


class RoleMissing(Forbidden):
    """Your role may not do this; ask your organisation's administrator."""


def needs_role(*roles: Role) -> Any:  # noqa: ANN401  # what Depends returns
    """Return the route dependency on the caller acting in one of these roles."""

    async def check(principal: PrincipalDep) -> None:
        if principal.role not in roles:
            raise RoleMissing(f"Only {' or '.join(roles)} may do this; ask your organisation's administrator.")

    return Depends(check)


async def request_session(principal: PrincipalDep) -> AsyncIterator[AsyncSession]:
    """Yield the request's one transaction, committed before the reply is sent."""
    async with tenant_session(principal) as session:
        yield session


# scope="function": a commit that fails must still be able to change the reply
SessionDep = Annotated[AsyncSession, Depends(request_session, scope="function")]


async def system_session(principal: PrincipalDep) -> AsyncIterator[AsyncSession]:
    """Yield one transaction of the caller's tenant, bound as the pipelines; the route checks the caller's right."""
    async with tenant_session(principal.as_system(), asked_by=principal) as session:
        yield session


SystemSessionDep = Annotated[AsyncSession, Depends(system_session, scope="function")]


def request_settings(request: Request) -> Settings:
    """Return the settings the app was made with."""
    settings: Settings = request.app.state.settings
    return settings


def request_assistant(request: Request) -> Assistant:
    """Return the app's assistant, which it makes when it starts."""
    assistant: Assistant = request.app.state.assistant
    return assistant


def request_cache(request: Request) -> Cache:
    """Return the cache the app was made with."""
    cache: Cache = request.app.state.cache
    return cache


CacheDep = Annotated[Cache, Depends(request_cache)]
SettingsDep = Annotated[Settings, Depends(request_settings)]
AssistantDep = Annotated[Assistant, Depends(request_assistant)]
IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key", min_length=1, max_length=255,
        description="any text; the same key on a repeated request returns what the first one made",
    ),
]  # fmt: skip
