"""Sign-in sessions: random tokens, of which only a hash is stored, that end by time, by sign-out or at once."""

import hashlib
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, cast
from uuid import UUID

from sqlalchemy import func, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from core.cache import Cache, CacheUnavailable
from core.errors import NotFound
from core.logging import get_logger
from core.settings import AuthSettings
from db.models import AuthSession
from db.session import Principal, Role, request_context, tenant_session, unbound_session
from domain.identity import SCOPES, Unauthenticated, bound_tenant

TOKEN_PREFIX: Final = "rgs_"  # noqa: S105  # what every token begins with
CHALLENGE_PREFIX: Final = "rgc_"
CHALLENGE_SECONDS: Final = 300
SHARED_SECONDS, OWN_SECONDS = 60, 5
"""How long a session is taken from the cache. Ending it is told to a shared cache at once; a cache in memory is this
process's own, so another process may take an ended session for these few seconds more."""
TOUCH_SECONDS: Final = 60
"""How often a session's last activity is written at most."""

_ENDED: Final = b"ended"
_log = get_logger("auth")


class SessionNotFound(NotFound):
    """There is no such session of yours; list them to see their ids."""


@dataclass(frozen=True, slots=True)
class SignedIn:
    """Who calls with a session's token, and which session it is."""

    principal: Principal
    session_id: UUID


@dataclass(frozen=True, slots=True)
class OpenSession:
    """A session just begun: its token is shown this once."""

    id: UUID
    token: str
    expires_at: datetime


def hash_token(token: str) -> str:
    """Return what is stored of a token: its SHA-256, enough for 256 random bits."""
    return hashlib.sha256(token.encode()).hexdigest()


def list_scopes(role: Role) -> frozenset[str]:
    """Return what a person may do who signed in themself."""
    return frozenset(SCOPES) if role == "admin" else frozenset(SCOPES) - {"admin"}


async def open_session(
    session: AsyncSession, *, user_id: UUID, role: Role, settings: AuthSettings, awaits_second_factor: bool = False
) -> OpenSession:
    """Begin a session; one that awaits the second factor has a challenge for a token and a few minutes."""
    token = (CHALLENGE_PREFIX if awaits_second_factor else TOKEN_PREFIX) + secrets.token_urlsafe(32)
    lasts = timedelta(seconds=CHALLENGE_SECONDS) if awaits_second_factor else timedelta(hours=settings.session_hours)
    context: Mapping[str, str] = request_context.get() or {}
    row = AuthSession(
        tenant_id=await bound_tenant(session), user_id=user_id, role=role, token_hash=hash_token(token),
        ip_address=context.get("ip_address"), user_agent=context.get("user_agent"),
        expires_at=datetime.now(UTC) + lasts, awaits_second_factor=awaits_second_factor,
    )  # fmt: skip
    session.add(row)
    await session.flush()
    return OpenSession(row.id, token, row.expires_at)


async def complete_session(session: AsyncSession, *, session_id: UUID, settings: AuthSettings) -> OpenSession | None:
    """Exchange a challenge for a token after the second factor was given; None where that happened already."""
    token = TOKEN_PREFIX + secrets.token_urlsafe(32)
    expires_at = datetime.now(UTC) + timedelta(hours=settings.session_hours)
    found = await session.scalar(
        update(AuthSession)
        .where(
            AuthSession.id == session_id,
            AuthSession.awaits_second_factor,
            AuthSession.revoked_at.is_(None),
            AuthSession.expires_at > func.now(),
        )
        .values(
            token_hash=hash_token(token),
            awaits_second_factor=False,
            second_factor_at=func.now(),
            last_activity=func.now(),
            expires_at=expires_at,
        )
        .returning(AuthSession.id)
    )
    return OpenSession(session_id, token, expires_at) if found else None


@dataclass(frozen=True, slots=True)
class FoundSession:
    """What a token's hash leads to."""

    tenant_id: UUID
    id: UUID
    user_id: UUID
    role: Role
    awaits_second_factor: bool
    expires_at: datetime
    last_activity: datetime


async def find_session(token: str) -> FoundSession | None:
    """Return the running session or challenge of this token, of an active user who may still act in its role."""
    async with unbound_session() as session:
        row = (
            (await session.execute(text("SELECT * FROM identity.find_session(:hash)"), {"hash": hash_token(token)}))
            .mappings()
            .one_or_none()
        )
    return None if row is None else FoundSession(**row)


async def authenticate_session(token: str, *, cache: Cache, settings: AuthSettings) -> SignedIn:
    """Return who calls with this token; raises `Unauthenticated`, the same for every reason.

    Being asked keeps the session alive, up to its longest. Without the cache the store answers.
    """
    key = _cache_key(hash_token(token))
    try:
        kept = await cache.get(key)
    except CacheUnavailable:
        kept = None
        _log.warning("cache_unavailable", used_for="sessions")
    if kept == _ENDED:
        raise Unauthenticated
    if kept is not None:
        return _read(kept)
    found = await find_session(token)
    if found is None or found.awaits_second_factor:
        raise Unauthenticated
    if datetime.now(UTC) - found.last_activity > timedelta(seconds=TOUCH_SECONDS):
        await _touch(found, settings)
    signed_in = SignedIn(_to_principal(found.tenant_id, found.user_id, found.role), found.id)
    left = int((found.expires_at - datetime.now(UTC)).total_seconds())
    seconds = min(SHARED_SECONDS if cache.is_shared else OWN_SECONDS, left)
    if seconds > 0:
        try:
            # never over the mark that it ended, which may have been set since the store was asked
            await cache.add(key, _write(signed_in), ttl_s=seconds)
        except CacheUnavailable:
            _log.warning("cache_unavailable", used_for="sessions")
    return signed_in


async def _touch(found: FoundSession, settings: AuthSettings) -> None:
    """Move the end of the session on, `session_days` after its start at most."""
    slid = func.least(
        func.now() + timedelta(hours=settings.session_hours),
        AuthSession.created_at + timedelta(days=settings.session_days),
    )
    async with tenant_session(Principal(found.tenant_id, "system")) as session:
        await session.execute(
            update(AuthSession)
            .where(AuthSession.id == found.id, AuthSession.revoked_at.is_(None))
            .values(last_activity=func.now(), expires_at=slid)
        )


async def end_sessions(
    session: AsyncSession, *, user_id: UUID, only: UUID | None = None, but: UUID | None = None, role: str | None = None
) -> list[str]:
    """Revoke the user's sessions and return their hashes, for `forget_sessions`.

    All of them, `only` one, all `but` one, or those in one role. What is cached must be forgotten after the commit:
    before it, a reader could cache the session again.
    """
    query = update(AuthSession).where(AuthSession.user_id == user_id, AuthSession.revoked_at.is_(None))
    if only is not None:
        query = query.where(AuthSession.id == only)
    if but is not None:
        query = query.where(AuthSession.id != but)
    if role is not None:
        query = query.where(AuthSession.role == role)
    ended = await session.scalars(query.values(revoked_at=func.now()).returning(AuthSession.token_hash))
    return list(ended)


async def forget_sessions(hashes: list[str], *, cache: Cache) -> None:
    """Mark these sessions as ended in the cache; call it after the commit that ended them."""
    for ended in hashes:
        try:
            await cache.set(_cache_key(ended), _ENDED, ttl_s=SHARED_SECONDS)
        except CacheUnavailable:
            # every process asks the store while the cache is down; what it kept from before lives 60 s at most
            _log.warning("cache_unavailable", used_for="ending sessions")
            return


async def sign_out(principal: Principal, *, session_id: UUID, cache: Cache) -> None:
    """End one session of the caller's; raises `SessionNotFound`. Ending it twice is no error."""
    assert principal.user_id is not None  # noqa: S101  # only people have sessions
    async with tenant_session(principal.as_system()) as session:
        ended = await end_sessions(session, user_id=principal.user_id, only=session_id)
        if not ended and not await session.scalar(
            select(AuthSession.id).where(AuthSession.id == session_id, AuthSession.user_id == principal.user_id)
        ):
            raise SessionNotFound
    await forget_sessions(ended, cache=cache)


async def sign_out_everywhere(principal: Principal, *, but: UUID | None, cache: Cache) -> int:
    """End all sessions of the caller's, but one if told so, and return how many."""
    assert principal.user_id is not None  # noqa: S101  # only people have sessions
    async with tenant_session(principal.as_system()) as session:
        ended = await end_sessions(session, user_id=principal.user_id, but=but)
    await forget_sessions(ended, cache=cache)
    return len(ended)


def _cache_key(token_hash: str) -> str:
    return f"session:{token_hash}"


def _to_principal(tenant_id: UUID, user_id: UUID, role: Role) -> Principal:
    return Principal(tenant_id, role, user_id, list_scopes(role))


def _write(signed_in: SignedIn) -> bytes:
    one = signed_in.principal
    return json.dumps([str(one.tenant_id), str(one.user_id), one.role, str(signed_in.session_id)]).encode()


def _read(kept: bytes) -> SignedIn:
    tenant_id, user_id, role, session_id = json.loads(kept)
    return SignedIn(_to_principal(UUID(tenant_id), UUID(user_id), cast(Role, role)), UUID(session_id))
