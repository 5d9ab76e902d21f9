"""The only way to the store: one transaction, one tenant, one reader."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Literal
from uuid import UUID

import psycopg
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker

from core.errors import AppError, Conflict, Forbidden, Unavailable
from core.settings import Settings, get_settings
from db.engine import build_engine

Role = Literal["client", "coach", "admin", "executive", "compliance", "evaluator", "system"]


class ReaderUnknown(Forbidden):
    """This user is not active in this organisation; ask its administrator."""


class StoreUnavailable(Unavailable):
    """The database does not answer; try again shortly, or run `regenesis doctor`."""


class StatementTimedOut(Unavailable):
    """The database took too long over this; narrow the question or try again shortly."""


class AlreadyStored(Conflict):
    """Something with this name or key is stored already; change it or use the stored one."""


@dataclass(frozen=True, slots=True)
class Principal:
    """Who reads and writes: one user in one tenant, or the pipelines (`system`, no user)."""

    tenant_id: UUID
    role: Role
    user_id: UUID | None = None
    scopes: frozenset[str] = field(default_factory=frozenset)

    def as_system(self) -> "Principal":
        """Return the pipelines' principal of the same tenant; check the user's right first."""
        return replace(self, role="system", user_id=None, scopes=frozenset())


HAS_PARTITION = "has_partition"
"""In `session.info`: whether the tenant has a search partition of its own, learnt while binding."""

_BIND = text(
    "SELECT platform.bind_reader(:tenant, :user, :role), "
    "to_regclass('rag.' || rag.name_partition(CAST(:tenant AS uuid))) IS NOT NULL AS has_partition"
)

_engines: dict[asyncio.AbstractEventLoop, AsyncEngine] = {}


def app_engine(settings: Settings | None = None) -> AsyncEngine:
    """Return this event loop's engine of the app role, made on first use.

    Connections belong to the loop that opened them, hence one engine a loop; call `close_store` before it ends.
    """
    loop = asyncio.get_running_loop()
    engine = _engines.get(loop)
    if engine is None:
        from db.locate import app_url  # imported late: it starts the embedded server

        settings = settings or get_settings()
        engine = _engines[loop] = build_engine(app_url(settings), settings.db)
    return engine


async def close_store() -> None:
    """Close this event loop's connections."""
    engine = _engines.pop(asyncio.get_running_loop(), None)
    if engine is not None:
        await engine.dispose()


def translate(error: DBAPIError | PoolTimeout) -> AppError | None:
    """Return the product's error for a driver's, or None where it is a defect of ours."""
    if isinstance(error, PoolTimeout | InterfaceError) or getattr(error, "connection_invalidated", False):
        return StoreUnavailable()
    match error.orig if isinstance(error, DBAPIError) else None:
        case psycopg.errors.QueryCanceled() | psycopg.errors.LockNotAvailable():
            return StatementTimedOut()
        case psycopg.errors.UniqueViolation():
            return AlreadyStored()
        case psycopg.errors.InvalidAuthorizationSpecification():
            return ReaderUnknown()
        case psycopg.errors.SerializationFailure() | psycopg.errors.DeadlockDetected():
            return StoreUnavailable("Two writes met in the database; try again.")
    return StoreUnavailable() if isinstance(error, OperationalError) else None


@asynccontextmanager
async def _transaction() -> AsyncIterator[AsyncSession]:
    make = async_sessionmaker(app_engine(), expire_on_commit=False)
    try:
        async with make.begin() as session:
            yield session
    except (DBAPIError, PoolTimeout) as error:
        known = translate(error)
        if known is None:
            raise
        raise known from error


@asynccontextmanager
async def tenant_session(principal: Principal) -> AsyncIterator[AsyncSession]:
    """Open one transaction that sees what this principal may see, and commit it at the end.

    The database derives the readable visibilities and the coach's clients itself, at this moment, so an
    engagement that ended a second ago already counts. Raises `ReaderUnknown`, `StoreUnavailable`.
    """
    async with _transaction() as session:
        bound = await session.execute(
            _BIND, {"tenant": principal.tenant_id, "user": principal.user_id, "role": principal.role}
        )
        session.info[HAS_PARTITION] = bound.one().has_partition
        yield session


@asynccontextmanager
async def unbound_session() -> AsyncIterator[AsyncSession]:
    """Open one transaction of nobody: every tenant table raises; only the narrow look-up functions answer."""
    async with _transaction() as session:
        yield session
