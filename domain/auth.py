"""Signing in: password, then the second factor, with every failure counted before it is known to be one."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal
from uuid import UUID

from sqlalchemy import Uuid, func, literal, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from core.cache import Cache
from core.errors import Forbidden, Unavailable
from core.settings import AuthSettings
from db.models import User
from db.session import Principal, Role, tenant_session
from domain import totp
from domain.governance import record_event
from domain.identity import Unauthenticated
from domain.passwords import SignInsBusy, ensure_acceptable, hash_password, needs_rehash, verify_password
from domain.platform import TenantNotFound, get_tenant_by_slug
from domain.sessions import (
    CHALLENGE_PREFIX,
    FoundSession,
    OpenSession,
    complete_session,
    end_sessions,
    find_session,
    forget_sessions,
    open_session,
)  # fmt: skip

FAILURES_ALLOWED: Final = 5
FIRST_LOCK_S, LONGEST_LOCK_S = 15 * 60, 24 * 3600
"""How long the fifth failure locks an account; each one after that doubles it, up to the longest."""
REFUSAL_SECONDS: Final = 0.5
"""No refusal leaves sooner, so that its time does not tell whether the account exists."""


class SignInRefused(Unauthenticated):
    """Organisation, address or password is wrong, or the account is locked for a while; check them, or try later."""


class SecondFactorRefused(Unauthenticated):
    """This code is wrong or used already, or this sign-in is over; take a fresh code, or sign in again."""


class RoleNotHeld(Forbidden):
    """You don't hold this role here; leave it out, or ask your organisation's administrator."""


class CredentialsWrong(Forbidden):
    """This password or code is wrong, or the account is locked for a while; check it, or try later."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try to prove who someone is, counted as a failure until it turns out well."""

    tenant_id: UUID
    user_id: UUID
    email: str
    full_name: str
    role: Role
    password_hash: str | None
    two_factor_enabled: bool
    failures: int
    locked_until: datetime | None


async def sign_in(
    *, organisation: str, email: str, password: str, settings: AuthSettings, role: Role | None = None
) -> tuple[OpenSession, bool]:
    """Return a session, or a challenge (then True) where the second factor is still to be given.

    The session acts in the person's own role, or in another of theirs that is asked for. Raises `SignInRefused`, the
    same and after the same time for every reason, `RoleNotHeld`, `SignInsBusy`.
    """
    started = time.monotonic()
    attempt = None
    with suppress(TenantNotFound):
        tenant = await get_tenant_by_slug(organisation)
        attempt = await _begin(Principal(tenant.id, "system"), email=email.strip().lower(), role=role)
    async with _forgiven_if_ours(attempt):
        is_right = await verify_password(attempt.password_hash if attempt else None, password)
    if attempt is None or not is_right:
        if attempt is not None:
            await _fail(attempt, "password")
        await asyncio.sleep(max(0.0, REFUSAL_SECONDS - (time.monotonic() - started)))
        raise SignInRefused
    if role is not None and attempt.role != role:
        async with tenant_session(Principal(attempt.tenant_id, "system")) as session:
            await _succeed(session, attempt, is_whole=False)
        raise RoleNotHeld
    renewed = None
    if attempt.password_hash and needs_rehash(attempt.password_hash):
        with suppress(SignInsBusy):  # the next sign-in will do it
            renewed = await hash_password(password)
    async with tenant_session(Principal(attempt.tenant_id, "system")) as session:
        if renewed:
            await session.execute(update(User).where(User.id == attempt.user_id).values(password_hash=renewed))
        await _succeed(session, attempt, is_whole=not attempt.two_factor_enabled)
        opened = await open_session(
            session, user_id=attempt.user_id, role=attempt.role, settings=settings,
            awaits_second_factor=attempt.two_factor_enabled,
        )  # fmt: skip
        if not attempt.two_factor_enabled:
            await _note_sign_in(session, attempt.user_id, attempt.role, factors=1)
    return opened, attempt.two_factor_enabled


async def give_second_factor(*, challenge: str, code: str, settings: AuthSettings) -> OpenSession:
    """Return the session whose challenge this is, for a code of the app or a recovery code.

    Wrong codes count as failed sign-ins do. Raises `SecondFactorRefused`, the same for every reason.
    """
    found = await find_session(challenge) if challenge.startswith(CHALLENGE_PREFIX) else None
    if found is None or not found.awaits_second_factor:
        raise SecondFactorRefused
    system = Principal(found.tenant_id, "system")
    attempt = await _begin(system, user_id=found.user_id)
    if attempt is None:
        raise SecondFactorRefused
    async with _forgiven_if_ours(attempt), tenant_session(system) as session:
        opened = await _complete(session, attempt, found, code, settings)
    if opened is None:
        await _fail(attempt, "code")
        raise SecondFactorRefused
    return opened


async def _complete(
    session: AsyncSession, attempt: Attempt, found: FoundSession, code: str, settings: AuthSettings
) -> OpenSession | None:
    if not attempt.two_factor_enabled or not await totp.use_second_factor(session, user_id=attempt.user_id, code=code):
        return None
    opened = await complete_session(session, session_id=found.id, settings=settings)
    if opened is not None:
        await _succeed(session, attempt, is_whole=True)
        await _note_sign_in(session, attempt.user_id, found.role, factors=2)
    return opened


async def prove(principal: Principal, *, password: str | None = None, code: str | None = None) -> Attempt:
    """Return the caller's account once password and code, whichever is given, are right; the code is used up.

    Counts as sign-ins do, so a stolen session can't be used to guess. Raises `CredentialsWrong`, `SignInsBusy`.
    """
    system = principal.as_system()
    attempt = await _begin(system, user_id=principal.user_id)
    if attempt is None:
        raise CredentialsWrong
    async with _forgiven_if_ours(attempt):
        is_right = password is None or await verify_password(attempt.password_hash, password)
        if is_right:
            async with tenant_session(system) as session:
                if code is not None:
                    is_right = attempt.two_factor_enabled and await totp.use_second_factor(
                        session, user_id=attempt.user_id, code=code
                    )
                if is_right:
                    await _succeed(session, attempt, is_whole=False)
    if not is_right:
        await _fail(attempt, "password" if code is None else "code")
        raise CredentialsWrong
    return attempt


async def start_second_factor(principal: Principal, *, password: str) -> tuple[str, str]:
    """Return a secret and its URI for an app, for the caller who gives their password; see `totp.enrol`."""
    attempt = await prove(principal, password=password)
    async with tenant_session(principal.as_system()) as session:
        return await totp.enrol(session, user_id=attempt.user_id)


async def confirm_second_factor(principal: Principal, *, session_id: UUID, code: str, cache: Cache) -> list[str]:
    """Turn the caller's second factor on, end their other sessions, and return the recovery codes."""
    assert principal.user_id is not None  # noqa: S101  # only people have second factors
    async with tenant_session(principal.as_system()) as session:
        codes = await totp.confirm(session, user_id=principal.user_id, code=code)
        ended = await end_sessions(session, user_id=principal.user_id, but=session_id)
    await forget_sessions(ended, cache=cache)
    return codes


async def stop_second_factor(principal: Principal, *, password: str, code: str) -> None:
    """Turn the caller's second factor off, for password and code; raises `CredentialsWrong`."""
    attempt = await prove(principal, password=password, code=code)
    async with tenant_session(principal.as_system()) as session:
        await totp.disable(session, user_id=attempt.user_id)


async def renew_recovery_codes(principal: Principal, *, code: str) -> list[str]:
    """Return new recovery codes for a code; raises `CredentialsWrong`."""
    attempt = await prove(principal, code=code)
    async with tenant_session(principal.as_system()) as session:
        return await totp.renew_recovery_codes(session, user_id=attempt.user_id)


async def change_password(principal: Principal, *, session_id: UUID | None, old: str, new: str, cache: Cache) -> None:
    """Replace the caller's password and end their other sessions.

    Raises `CredentialsWrong`, and what `ensure_acceptable` raises.
    """
    attempt = await prove(principal, password=old)
    async with tenant_session(principal.as_system()) as session:
        ended = await set_password(session, user_id=attempt.user_id, password=new, but=session_id)
    await forget_sessions(ended, cache=cache)


async def set_password(session: AsyncSession, *, user_id: UUID, password: str, but: UUID | None = None) -> list[str]:
    """Give the user this password, unlock the account, end their sessions (`but` one) and return those for the cache.

    The caller has checked the right to do so. Raises what `ensure_acceptable` raises, `SignInsBusy`.
    """
    person = (await session.execute(select(User.email, User.full_name).where(User.id == user_id))).one()
    ensure_acceptable(password, (person.email, person.email.partition("@")[0], person.full_name))
    hashed = await hash_password(password)
    await session.execute(
        update(User)
        .where(User.id == user_id)
        .values(password_hash=hashed, failed_login_attempts=0, locked_until=None)
    )  # fmt: skip
    await record_event(session, action="password_changed", entity_type="user", entity_id=user_id)
    return await end_sessions(session, user_id=user_id, but=but)


async def _begin(
    system: Principal, *, email: str | None = None, user_id: UUID | None = None, role: Role | None = None
) -> Attempt | None:
    """Count a failure in advance, and return the attempt; None where the account is locked or not there.

    Counting first, in one statement, lets of any number of tries at once only five be looked at.
    """
    given = {"email": email, "user_id": user_id, "role": role}
    lock = {"allowed": FAILURES_ALLOWED, "first": FIRST_LOCK_S, "longest": LONGEST_LOCK_S}
    async with tenant_session(system) as session:
        row = (await session.execute(_BEGIN, given | lock)).mappings().one_or_none()
    return None if row is None else Attempt(system.tenant_id, **row)


_BEGIN: Final = text("""
    UPDATE identity.users
    SET failed_login_attempts = failed_login_attempts + 1,
        locked_until = CASE WHEN failed_login_attempts + 1 >= :allowed THEN now() + interval '1 second'
            * least(:first * 2 ^ least(failed_login_attempts + 1 - :allowed, 10), :longest) END
    WHERE (email = CAST(:email AS text) OR id = CAST(:user_id AS uuid)) AND status = 'active'
      AND (locked_until IS NULL OR locked_until <= now())
      AND identity.pick_role(tenant_id, id, role) IS NOT NULL
    RETURNING id AS user_id, email, full_name, identity.pick_role(tenant_id, id, coalesce(:role, role)) AS role,
              password_hash, two_factor_enabled, failed_login_attempts AS failures, locked_until
""")


async def _succeed(session: AsyncSession, attempt: Attempt, *, is_whole: bool) -> None:
    """Take back what `_begin` counted; a whole sign-in forgives all failures before it too.

    A right password alone forgives none, or it would let anyone who has it try second factors without end.
    """
    failures = literal(0) if is_whole else func.greatest(User.failed_login_attempts - 1, 0)
    values: dict[str, Any] = {"failed_login_attempts": failures, "locked_until": None, "updated_at": User.updated_at}
    if is_whole:
        values["last_login_at"] = func.now()
    await session.execute(update(User).where(User.id == attempt.user_id).values(values))


@asynccontextmanager
async def _forgiven_if_ours(attempt: Attempt | None) -> AsyncIterator[None]:
    """Take back what `_begin` counted where the block could not find out: our load or outage locks nobody out."""
    try:
        yield
    except Unavailable:
        if attempt is not None:
            with suppress(Unavailable):
                async with tenant_session(Principal(attempt.tenant_id, "system")) as session:
                    await _succeed(session, attempt, is_whole=False)
        raise


async def _fail(attempt: Attempt, factor: Literal["password", "code"]) -> None:
    """Note the failure, and that it locked the account."""
    about: dict[str, Any] = {"entity_type": "user", "entity_id": attempt.user_id, "severity": "warning"}
    async with tenant_session(Principal(attempt.tenant_id, "system")) as session:
        failed = {"factor": factor, "failures": attempt.failures}
        await record_event(session, action="user_login_failed", metadata=failed, **about)
        if attempt.locked_until is not None:
            await record_event(session, action="user_locked", metadata={"until": attempt.locked_until}, **about)


async def _note_sign_in(session: AsyncSession, user_id: UUID, role: Role, *, factors: int) -> None:
    """Note the sign-in as the person's own deed: from here on the transaction is bound to them."""
    await session.execute(
        select(func.platform.bind_reader(func.current_setting("app.tenant_id").cast(Uuid), user_id, role))
    )
    await record_event(
        session, action="user_login", entity_type="user", entity_id=user_id, metadata={"factors": factors}
    )
