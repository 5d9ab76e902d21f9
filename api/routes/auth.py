"""Signing in and out, the second factor, and the keys people make for programs."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from fastapi import APIRouter, Depends, Request
from sqlalchemy import func, select

from api.client_address import group_address
from api.deps import (
    CacheDep,
    CallerDep,
    SessionDep,
    SettingsDep,
    SignedInDep,
    SystemSessionDep,
    needs,
    signed_in_caller,
)  # fmt: skip
from api.errors import list_problem_responses
from api.pagination import CursorQuery, LimitQuery, Page, fetch_page
from api.rate_limits import count_within
from api.schemas.auth import (
    ApiKeyIn,
    ApiKeyOut,
    AuthSessionOut,
    CodeIn,
    EndedOut,
    FullProofIn,
    NewApiKeyOut,
    PasswordIn,
    ProofIn,
    RecoveryCodesOut,
    SecondFactorIn,
    SignInIn,
    SignInOut,
    TotpOut,
)  # fmt: skip
from core.errors import Forbidden, Invalid
from db.models import ApiKey, AuthSession
from domain import auth, sessions
from domain.identity import issue_api_key, revoke_api_key

router = APIRouter(prefix="/v1", tags=["auth"])


class ScopeExceeded(Forbidden):
    """A key can't do more than its maker; leave out the scopes you don't have."""


class KeyAlreadyExpired(Invalid):
    """This key would have expired before it is made; choose a later moment, or none."""


async def count_try(request: Request, account: str) -> None:
    """Count a try at a password or code; raises `TooManyRequests`."""
    address = group_address(request.state.address)
    await count_within(request, request.app.state.rate_limits.count_sign_in(address, account))


async def _count_own_try(request: Request, caller: SignedInDep) -> None:
    await count_try(request, str(caller.principal.user_id))


_SIGNED_IN: list[Any] = [needs("write"), Depends(signed_in_caller)]
_PROVING: list[Any] = [*_SIGNED_IN, Depends(_count_own_try)]


@router.post("/auth/sign-in", operation_id="signIn", responses=list_problem_responses(429))
async def sign_in(body: SignInIn, request: Request, settings: SettingsDep) -> SignInOut:
    """Sign in with a password; where a second factor is on, a second step follows."""
    await count_try(request, f"{body.organisation}|{body.email.strip().lower()}")
    opened, is_challenge = await auth.sign_in(
        organisation=body.organisation, email=body.email, password=body.password.get_secret_value(),
        settings=settings.auth, role=body.role,
    )  # fmt: skip
    return SignInOut(
        second_factor_required=is_challenge, challenge=opened.token if is_challenge else None,
        token=None if is_challenge else opened.token, session_id=opened.id, expires_at=opened.expires_at,
    )  # fmt: skip


@router.post("/auth/second-factor", operation_id="giveSecondFactor", responses=list_problem_responses(429))
async def give_second_factor(body: SecondFactorIn, request: Request, settings: SettingsDep) -> SignInOut:
    """Complete a sign-in with a code of the app, or a recovery code."""
    await count_try(request, body.challenge)
    opened = await auth.give_second_factor(challenge=body.challenge, code=body.code, settings=settings.auth)
    return SignInOut(
        second_factor_required=False, token=opened.token, session_id=opened.id, expires_at=opened.expires_at
    )


@router.post("/auth/sign-out", operation_id="signOut", status_code=204, responses=list_problem_responses())
async def sign_out(caller: SignedInDep, cache: CacheDep) -> None:
    """End the session that asks."""
    assert caller.session_id is not None  # noqa: S101  # SignedInDep sees to it
    await sessions.sign_out(caller.principal, session_id=caller.session_id, cache=cache)


@router.get(
    "/auth/sessions", operation_id="listSessions", dependencies=[needs("read")], responses=list_problem_responses()
)
async def list_sessions(
    caller: CallerDep, session: SessionDep, limit: LimitQuery = 50, cursor: CursorQuery = None
) -> Page[AuthSessionOut]:
    """List your sign-ins that still count, the newest first."""
    query = select(AuthSession).where(
        AuthSession.user_id == caller.principal.user_id, AuthSession.revoked_at.is_(None),
        AuthSession.expires_at > func.now(), AuthSession.awaits_second_factor.is_(False),
    )  # fmt: skip
    rows, following = await fetch_page(
        session, query, order=(AuthSession.created_at, AuthSession.id), limit=limit, cursor=cursor
    )
    items = []
    for row, *_ in rows:
        shown = AuthSessionOut.model_validate(row)
        items.append(shown.model_copy(update={"is_this": row.id == caller.session_id}))
    return Page(items=items, next_cursor=following)


@router.delete(
    "/auth/sessions", operation_id="endOtherSessions", dependencies=[needs("write")], responses=list_problem_responses()
)
async def end_other_sessions(caller: CallerDep, cache: CacheDep) -> EndedOut:
    """End all your sign-ins but the one that asks."""
    return EndedOut(ended=await sessions.sign_out_everywhere(caller.principal, but=caller.session_id, cache=cache))


@router.delete(
    "/auth/sessions/{session_id}", operation_id="endSession", status_code=204, dependencies=[needs("write")],
    responses=list_problem_responses(404),
)  # fmt: skip
async def end_session(session_id: UUID, caller: CallerDep, cache: CacheDep) -> None:
    """End one of your sign-ins, at once."""
    await sessions.sign_out(caller.principal, session_id=session_id, cache=cache)


@router.post(
    "/auth/password", operation_id="changePassword", status_code=204, dependencies=_PROVING,
    responses=list_problem_responses(429),
)  # fmt: skip
async def change_password(body: PasswordIn, caller: SignedInDep, cache: CacheDep) -> None:
    """Change your password; your other sign-ins end."""
    await auth.change_password(
        caller.principal, session_id=caller.session_id, old=body.old.get_secret_value(),
        new=body.new.get_secret_value(), cache=cache,
    )  # fmt: skip


@router.post(
    "/auth/totp", operation_id="startSecondFactor", dependencies=_PROVING, responses=list_problem_responses(409, 429)
)
async def start_second_factor(body: ProofIn, caller: SignedInDep) -> TotpOut:
    """Set up an authenticator app; it counts once a code confirms it."""
    secret, uri = await auth.start_second_factor(caller.principal, password=body.password.get_secret_value())
    return TotpOut(secret=secret, uri=uri)


@router.post(
    "/auth/totp/confirm", operation_id="confirmSecondFactor", dependencies=_PROVING,
    responses=list_problem_responses(409, 429),
)  # fmt: skip
async def confirm_second_factor(body: CodeIn, caller: SignedInDep, cache: CacheDep) -> RecoveryCodesOut:
    """Turn the second factor on with a code of the app; your other sign-ins end."""
    assert caller.session_id is not None  # noqa: S101  # SignedInDep sees to it
    codes = await auth.confirm_second_factor(
        caller.principal, session_id=caller.session_id, code=body.code, cache=cache
    )
    return RecoveryCodesOut(codes=codes)


@router.delete(
    "/auth/totp", operation_id="stopSecondFactor", status_code=204, dependencies=_PROVING,
    responses=list_problem_responses(429),
)  # fmt: skip
async def stop_second_factor(body: FullProofIn, caller: SignedInDep) -> None:
    """Turn the second factor off, with password and code."""
    await auth.stop_second_factor(caller.principal, password=body.password.get_secret_value(), code=body.code)


@router.post(
    "/auth/recovery-codes", operation_id="renewRecoveryCodes", dependencies=_PROVING,
    responses=list_problem_responses(429),
)  # fmt: skip
async def renew_recovery_codes(body: CodeIn, caller: SignedInDep) -> RecoveryCodesOut:
    """Get new recovery codes for a code; those before count no more."""
    return RecoveryCodesOut(codes=await auth.renew_recovery_codes(caller.principal, code=body.code))


@router.get("/api-keys", operation_id="listApiKeys", dependencies=[needs("read")], responses=list_problem_responses())
async def list_api_keys(
    caller: CallerDep, session: SessionDep, limit: LimitQuery = 50, cursor: CursorQuery = None
) -> Page[ApiKeyOut]:
    """List your API keys, without the keys themselves, the newest first."""
    query = select(ApiKey).where(ApiKey.user_id == caller.principal.user_id)
    rows, following = await fetch_page(session, query, order=(ApiKey.created_at, ApiKey.id), limit=limit, cursor=cursor)
    return Page(items=[ApiKeyOut.model_validate(_show_key(row)) for (row, *_) in rows], next_cursor=following)


@router.post(
    "/api-keys", operation_id="createApiKey", status_code=201, dependencies=[needs("write")],
    responses=list_problem_responses(),
)  # fmt: skip
async def create_api_key(body: ApiKeyIn, caller: CallerDep, session: SystemSessionDep) -> NewApiKeyOut:
    """Make an API key for yourself; it is shown this once."""
    if not caller.principal.scopes.issuperset(body.scopes):
        raise ScopeExceeded
    if body.expires_at is not None and body.expires_at <= datetime.now(UTC):
        raise KeyAlreadyExpired
    assert caller.principal.user_id is not None  # noqa: S101  # a caller is a person
    row, key = await issue_api_key(
        session, user_id=caller.principal.user_id, name=body.name, scopes=tuple(dict.fromkeys(body.scopes)),
        expires_at=body.expires_at,
    )  # fmt: skip
    return NewApiKeyOut(key=key, **_show_key(row))


@router.delete(
    "/api-keys/{key_id}", operation_id="revokeApiKey", status_code=204, dependencies=[needs("write")],
    responses=list_problem_responses(404),
)  # fmt: skip
async def delete_api_key(key_id: UUID, caller: CallerDep, session: SystemSessionDep) -> None:
    """Revoke one of your API keys, at once."""
    await revoke_api_key(session, key_id, user_id=caller.principal.user_id)


def _show_key(row: ApiKey) -> dict[str, Any]:
    return {
        "id": row.id, "name": row.name, "scopes": row.scope.split(), "created_at": row.created_at,
        "expires_at": row.expires_at, "revoked_at": row.revoked_at,
    }  # fmt: skip
