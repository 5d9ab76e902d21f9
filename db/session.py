"""The only way to the store: one transaction, one tenant, one reader."""

import asyncio
import json
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from typing import Literal, TypeVar
from uuid import UUID

import psycopg
from sqlalchemy import text
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker

from core.errors import AppError, Conflict, Forbidden, Unavailable
from core.logging import get_logger
from core.settings import Settings, get_settings
from db.closing import StoreClosed
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


class WritesMet(Unavailable):
    """Two writes met in the database; try again."""


@dataclass(frozen=True, slots=True)
class Principal:
    """Who reads and writes: one user in one tenant, or the pipelines (`system`, no user)."""

    tenant_id: UUID
    role: Role
    user_id: UUID | None = None
    scopes: frozenset[str] = field(default_factory=frozenset)
    acts_for: UUID | None = field(default=None, compare=False)
    """Who asked the pipelines for this; only the audit log looks at it."""

    def as_system(self) -> "Principal":
        """Return the pipelines' principal of the same tenant, acting for this user; check the user's right first."""
        return replace(self, role="system", user_id=None, scopes=frozenset(), acts_for=self.user_id or self.acts_for)


HAS_PARTITION = "has_partition"
"""In `session.info`: whether the tenant has a search partition of its own, learnt while binding."""

BOUND_TO = "bound_to"
"""In `session.info`: the principal of the transaction."""

request_context: ContextVar[Mapping[str, str] | None] = ContextVar("request_context", default=None)
"""What the audit log notes of the request behind a change: `request_id` (a UUID), `ip_address`, `user_agent`; and of a
reading its `surface` (domain/reading.py)."""

T = TypeVar("T")

_BIND = text(
    "SELECT platform.bind_reader(:tenant, :user, :role), set_config('app.context', :context, true), "
    "to_regclass('rag.' || rag.name_partition(CAST(:tenant AS uuid))) IS NOT NULL AS has_partition"
)

_log = get_logger("store")

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


@asynccontextmanager
async def sessions_in(url: URL, settings: Settings) -> AsyncIterator[None]:
    """Let this event loop's sessions go to the database of an operator's URL meanwhile, closed as it may be.

    They act as the app's role. What restores a store proves it so, before anybody else gets in.
    """
    loop = asyncio.get_running_loop()
    before = _engines.pop(loop, None)
    engine = _engines[loop] = build_engine(url.render_as_string(hide_password=False), settings.db, even_closed=True)
    try:
        yield
    finally:
        await engine.dispose()
        _engines.pop(loop, None)
        if before is not None:
            _engines[loop] = before


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
            return WritesMet()
    return _translate_failure(error) if isinstance(error, OperationalError) else None


def _translate_failure(error: OperationalError) -> AppError:
    # a restore lets nobody in while there are rows and no policies yet
    return StoreClosed() if "permission denied for database" in str(error.orig) else StoreUnavailable()


@asynccontextmanager
async def _transaction(isolation: str | None = None) -> AsyncIterator[AsyncSession]:
    engine = app_engine()
    if isolation is not None:
        engine = engine.execution_options(isolation_level=isolation)
    make = async_sessionmaker(engine, expire_on_commit=False)
    try:
        async with make.begin() as session:
            yield session
    except (DBAPIError, PoolTimeout) as error:
        known = translate(error)
        if known is None:
            raise
        raise known from error


@asynccontextmanager
async def tenant_session(
    principal: Principal, *, isolation: str | None = None, asked_by: Principal | None = None
) -> AsyncIterator[AsyncSession]:
    """Open one transaction that sees what this principal may see, and commit it at the end.

    The database derives the readable visibilities and the coach's clients itself, at this moment, so an
    engagement that ended a second ago already counts. A session of the pipelines that a person asked for is opened
    only while that person still is what they were when they signed in. Raises `ReaderUnknown`, `StoreUnavailable`.
    """
    async with _transaction(isolation) as session:
        if asked_by is not None:
            await _bind_again(session, asked_by)
        context = dict(request_context.get() or {})
        if principal.acts_for is not None:
            context["actor_id"] = str(principal.acts_for)
        values = {"tenant": principal.tenant_id, "user": principal.user_id, "role": principal.role}
        bound = await session.execute(_BIND, {**values, "context": json.dumps(context)})
        session.info[HAS_PARTITION] = bound.one().has_partition
        session.info[BOUND_TO] = principal
        yield session


def acting_as_system(session: AsyncSession) -> AbstractAsyncContextManager[None]:
    """Bind the session's transaction to the pipelines for a moment, then to its reader again.

    For the step of a person's transaction that the person has no right to alone; check the right to the whole first.
    """
    return acting_as(session, session.info[BOUND_TO].as_system())


@asynccontextmanager
async def acting_as(session: AsyncSession, other: Principal) -> AsyncIterator[None]:
    """Bind the session's transaction to somebody else of its tenant for a moment, then to its reader again.

    It sees what they may see at this moment, and nothing else; check first that its reader may look as them. Raises
    `ReaderUnknown` where they are not active.
    """
    principal: Principal = session.info[BOUND_TO]
    await _bind_again(session, other)
    try:
        yield
    except BaseException:
        # Where the transaction is lost, nothing more can be done in it as anybody.
        with suppress(DBAPIError):
            await _bind_again(session, principal)
        raise
    await _bind_again(session, principal)


async def _bind_again(session: AsyncSession, principal: Principal) -> None:
    await session.execute(
        text("SELECT platform.bind_reader(:tenant, :user, :role)"),
        {"tenant": principal.tenant_id, "user": principal.user_id, "role": principal.role},
    )


SERIALIZABLE_ATTEMPTS = 30
"""Times a serializable transaction is tried; under contention one of those that meet always gets through."""


async def run_serializable(principal: Principal, work: Callable[[AsyncSession], Awaitable[T]]) -> T:
    """Return what `work` returns, run in a SERIALIZABLE transaction that is tried again when others got in between.

    `work` may run several times, so it must do nothing outside its session (seed 001 §8.3). Raises `WritesMet`
    after `SERIALIZABLE_ATTEMPTS`.
    """
    for attempt in range(SERIALIZABLE_ATTEMPTS):
        try:
            async with tenant_session(principal, isolation="SERIALIZABLE") as session:
                done = await work(session)
        except WritesMet:
            if attempt + 1 == SERIALIZABLE_ATTEMPTS:
                raise
            # full jitter, so that those who met do not meet again
            await asyncio.sleep(random.uniform(0, min(0.25, 0.005 * 2**attempt)))  # noqa: S311  # no secret
        else:
            await _link_waiting(principal)
            return done
    raise AssertionError("unreachable")


async def _link_waiting(principal: Principal) -> None:
    """Give the audit rows of a serializable transaction their places in the chain, which its snapshot could not see."""
    try:
        async with tenant_session(principal.as_system()) as session:
            await session.execute(text("SELECT governance.link_waiting()"))
    except AppError as error:
        # What was to be done is done; the tenant's next commit links these rows as well.
        _log.warning("audit_rows_wait", code=error.code)


@asynccontextmanager
async def unbound_session() -> AsyncIterator[AsyncSession]:
    """Open one transaction of nobody: every tenant table raises; only the narrow look-up functions answer."""
    async with _transaction() as session:
        yield session
