"""People, and the keys that stand for them."""

import hashlib
import secrets
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, cast
from uuid import UUID

from sqlalchemy import func, select, text, true, update
from sqlalchemy.ext.asyncio import AsyncSession

from core.errors import AppError, NotFound
from db.models import ApiKey, User
from db.session import Principal, Role, unbound_session

KEY_PREFIX = "rg_"
SCOPES = ("chat", "search", "ingest", "read", "write", "admin")
"""What a key may be used for; `read` and `write` are everyday records, `admin` the administration."""

DEFAULT_SCOPES = ("chat", "search", "ingest", "read", "write")


class Unauthenticated(AppError):
    """This key is wrong, expired or revoked; send a valid one as `Authorization: Bearer rg_…`."""


@dataclass(frozen=True, slots=True)
class Credential:
    """With what someone called, by its hash: what it opened ends with it."""

    kind: Literal["key", "session"]
    token_hash: str


class UserNotFound(NotFound):
    """There is no active user with this e-mail address here; check the address and the organisation."""


class ApiKeyNotFound(NotFound):
    """There is no such API key; list yours to see their ids."""


def hash_key(key: str) -> str:
    """Return what is stored of a key: its SHA-256, enough for 256 random bits."""
    return hashlib.sha256(key.encode()).hexdigest()


async def create_user(session: AsyncSession, *, email: str, full_name: str, role: str) -> User:
    """Add a person to the bound tenant; raises `AlreadyStored` where the address is taken."""
    user = User(tenant_id=await bound_tenant(session), email=email.lower(), full_name=full_name, role=role)
    session.add(user)
    await session.flush()
    return user


async def bound_tenant(session: AsyncSession) -> UUID:
    """Return the tenant the session is bound to."""
    return UUID(await session.scalar(select(func.current_setting("app.tenant_id"))))


async def find_user_id(session: AsyncSession, email: str) -> UUID | None:
    """Return the id of the tenant's user with this address, or None."""
    return cast(UUID | None, await session.scalar(select(User.id).where(User.email == email.lower())))


async def issue_api_key(
    session: AsyncSession,
    *,
    user_id: UUID,
    name: str,
    scopes: tuple[str, ...] = DEFAULT_SCOPES,
    expires_at: datetime | None = None,
) -> tuple[ApiKey, str]:
    """Make a key for the user and return its row and the key itself, which is shown this once only."""
    key = KEY_PREFIX + secrets.token_urlsafe(32)
    row = ApiKey(
        tenant_id=await bound_tenant(session),
        user_id=user_id,
        name=name,
        hashed_key=hash_key(key),
        scope=" ".join(scopes),
        expires_at=expires_at,
    )
    session.add(row)
    await session.flush()
    return row, key


async def revoke_api_key(session: AsyncSession, key_id: UUID, *, user_id: UUID | None = None) -> None:
    """Revoke the key, of this user if one is named, from now on; raises `ApiKeyNotFound`. Twice changes nothing."""
    found = await session.scalar(
        update(ApiKey)
        .where(ApiKey.id == key_id, true() if user_id is None else ApiKey.user_id == user_id)
        .values(revoked_at=func.coalesce(ApiKey.revoked_at, func.now()))
        .returning(ApiKey.id)
    )
    if found is None:
        raise ApiKeyNotFound


async def authenticate_key(key: str) -> Principal:
    """Return who calls with this key; raises `Unauthenticated`, the same for every reason."""
    async with unbound_session() as session:
        row = (
            await session.execute(text("SELECT * FROM identity.find_api_key(:hash)"), {"hash": hash_key(key)})
        ).one_or_none()
    if row is None:
        raise Unauthenticated
    return Principal(row.tenant_id, cast(Role, row.role), row.user_id, frozenset(row.scope.split()))


async def get_principal(tenant_slug: str, email: str) -> Principal:
    """Return the principal an operator names on the command line; raises `UserNotFound`."""
    async with unbound_session() as session:
        row = (
            await session.execute(
                text("SELECT * FROM identity.find_user(:slug, :email)"), {"slug": tenant_slug, "email": email}
            )
        ).one_or_none()
    if row is None:
        raise UserNotFound(f"There is no active user {email!r} in the organisation {tenant_slug!r}; check both names.")
    return Principal(row.tenant_id, cast(Role, row.role), row.user_id, frozenset(SCOPES))
