"""Sessions slide, end, and end everywhere at once where the cache is shared; without a cache the store answers."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import func, select, text, update
from sqlalchemy.exc import DBAPIError

from core.cache import Cache, MemoryCache, open_cache
from core.errors import AppError
from core.settings import AuthSettings
from db.models import AuthSession, Tenant, User, UserRole
from db.session import Principal, tenant_session, unbound_session
from domain import sessions
from domain.identity import Unauthenticated
from domain.sessions import (
    OpenSession,
    SessionNotFound,
    authenticate_session,
    end_sessions,
    hash_token,
    open_session,
    sign_out,
    sign_out_everywhere,
)  # fmt: skip
from tests.factories.people import Organisation
from tests.factories.redis_server import RedisServer
from tests.factories.sessions import require_id

SETTINGS = AuthSettings()


@pytest.fixture(params=["memory", "redis"])
async def cache(request: pytest.FixtureRequest) -> AsyncIterator[Cache]:
    url = "memory://" if request.param == "memory" else request.getfixturevalue("redis_server").url
    cache = open_cache(url)
    yield cache
    await cache.close()


async def begin(person: Principal) -> OpenSession:
    async with tenant_session(person.as_system()) as session:
        return await open_session(session, user_id=require_id(person), role=person.role, settings=SETTINGS)


async def change(opened: OpenSession, person: Principal, **values: Any) -> None:
    async with tenant_session(person.as_system()) as session:
        await session.execute(update(AuthSession).where(AuthSession.id == opened.id).values(values))


async def read(opened: OpenSession, person: Principal) -> AuthSession:
    async with tenant_session(person.as_system()) as session:
        return (await session.scalars(select(AuthSession).where(AuthSession.id == opened.id))).one()


async def is_in(opened: OpenSession, cache: Cache) -> bool:
    try:
        found = await authenticate_session(opened.token, cache=cache, settings=SETTINGS)
    except Unauthenticated:
        return False
    return found.session_id == opened.id


async def test_only_the_hash_is_stored(organisation: Organisation) -> None:
    opened = await begin(organisation.coach_a)
    row = await read(opened, organisation.coach_a)
    assert row.token_hash == hash_token(opened.token)
    assert len(opened.token) == len("rgs_") + 43
    assert not await is_in(OpenSession(opened.id, row.token_hash, opened.expires_at), MemoryCache())


async def test_a_session_ends_at_once_though_it_was_cached(organisation: Organisation, cache: Cache) -> None:
    opened, other = await begin(organisation.coach_a), await begin(organisation.coach_a)
    assert await is_in(opened, cache)
    await sign_out(organisation.coach_a, session_id=opened.id, cache=cache)
    assert not await is_in(opened, cache)
    assert await is_in(other, cache)
    await sign_out(organisation.coach_a, session_id=opened.id, cache=cache)  # twice is no error
    with pytest.raises(SessionNotFound):
        await sign_out(organisation.coach_b, session_id=other.id, cache=cache)
    assert await is_in(other, cache)


async def test_all_but_one_end(organisation: Organisation, cache: Cache) -> None:
    opened = [await begin(organisation.coach_a) for _ in range(3)]
    stranger = await begin(organisation.coach_b)
    assert all([await is_in(one, cache) for one in (*opened, stranger)])
    assert await sign_out_everywhere(organisation.coach_a, but=opened[0].id, cache=cache) == 2
    assert [await is_in(one, cache) for one in (*opened, stranger)] == [True, False, False, True]


async def test_what_was_read_before_the_end_is_not_cached_after_it(organisation: Organisation, cache: Cache) -> None:
    """The reader asked the store, then the session ended, then the reader caches what it read."""
    opened = await begin(organisation.coach_a)
    add, at_add, may_go = cache.add, asyncio.Event(), asyncio.Event()

    async def slow_add(key: str, value: bytes, *, ttl_s: int) -> None:
        at_add.set()
        await may_go.wait()
        await add(key, value, ttl_s=ttl_s)

    cache.add = slow_add  # type: ignore[method-assign]  # the moment between reading and caching, made longer
    reader = asyncio.create_task(is_in(opened, cache))
    await at_add.wait()
    await sign_out(organisation.coach_a, session_id=opened.id, cache=cache)
    may_go.set()
    assert await reader
    assert not await is_in(opened, cache)


async def test_another_process_knows_through_redis(organisation: Organisation, redis_server: RedisServer) -> None:
    here, there = open_cache(redis_server.url), open_cache(redis_server.url)
    opened = await begin(organisation.coach_a)
    assert await is_in(opened, there)
    await sign_out(organisation.coach_a, session_id=opened.id, cache=here)
    assert not await is_in(opened, there)
    await here.close()
    await there.close()


async def test_without_redis_the_store_answers(organisation: Organisation, redis_server: RedisServer) -> None:
    cache = open_cache(redis_server.url)
    opened = await begin(organisation.coach_a)
    assert await is_in(opened, cache)
    redis_server.stop()
    assert await is_in(opened, cache)
    await sign_out(organisation.coach_a, session_id=opened.id, cache=cache)
    assert not await is_in(opened, cache)
    await cache.close()


async def test_asking_keeps_a_session_alive_up_to_its_longest(organisation: Organisation) -> None:
    opened = await begin(organisation.coach_a)
    now = datetime.now(UTC)
    before = (await read(opened, organisation.coach_a)).last_activity
    assert await is_in(opened, MemoryCache())
    assert (await read(opened, organisation.coach_a)).last_activity == before  # not written within the minute
    idle = now - timedelta(hours=20)
    await change(opened, organisation.coach_a, last_activity=idle, expires_at=now + timedelta(hours=4))
    assert await is_in(opened, MemoryCache())
    row = await read(opened, organisation.coach_a)
    assert row.last_activity > now - timedelta(seconds=1)
    assert timedelta(hours=23) < row.expires_at - now < timedelta(hours=25)
    begun = now - timedelta(days=29, hours=20)
    await change(opened, organisation.coach_a, created_at=begun, last_activity=idle)
    assert await is_in(opened, MemoryCache())
    assert (await read(opened, organisation.coach_a)).expires_at == begun + timedelta(days=30)


@pytest.mark.parametrize("end", ["expired", "revoked", "awaiting", "suspended", "role gone", "tenant gone"])
async def test_what_ends_a_session(organisation: Organisation, end: str) -> None:
    coach = organisation.coach_a
    opened = await begin(coach)
    assert await is_in(opened, MemoryCache())
    past = datetime.now(UTC) - timedelta(seconds=1)
    if end == "expired":
        await change(opened, coach, created_at=past - timedelta(days=1), expires_at=past)
    elif end == "revoked":
        await change(opened, coach, revoked_at=func.now())
    elif end == "awaiting":
        await change(opened, coach, awaits_second_factor=True)
    else:
        async with tenant_session(organisation.system) as session:
            if end == "suspended":
                await session.execute(update(User).where(User.id == coach.user_id).values(status="suspended"))
            elif end == "role gone":
                await session.execute(
                    update(UserRole).where(UserRole.user_id == coach.user_id).values(revoked_at=func.now())
                )
            else:
                await session.execute(update(Tenant).values(status="suspended"))
    assert not await is_in(opened, MemoryCache())


async def test_memory_takes_a_session_for_five_seconds_only(organisation: Organisation) -> None:
    kept: list[int] = []

    class Watched(MemoryCache):
        async def add(self, key: str, value: bytes, *, ttl_s: int) -> None:
            kept.append(ttl_s)
            await super().add(key, value, ttl_s=ttl_s)

    class Shared(Watched):
        is_shared = True

    opened = await begin(organisation.coach_a)
    assert await is_in(opened, Watched())
    assert await is_in(opened, Shared())
    soon = datetime.now(UTC) + timedelta(seconds=sessions.SHARED_SECONDS / 2)
    await change(opened, organisation.coach_a, expires_at=soon)
    assert await is_in(opened, Shared())
    assert kept[:2] == [sessions.OWN_SECONDS, sessions.SHARED_SECONDS]
    assert 0 < kept[2] <= sessions.SHARED_SECONDS / 2  # its end comes first


async def test_a_person_sees_their_own_sessions_and_writes_none(organisation: Organisation) -> None:
    opened = await begin(organisation.coach_a)
    for reader, count in ((organisation.coach_a, 1), (organisation.coach_b, 0), (organisation.admin, 0)):
        async with tenant_session(reader) as session:
            assert len((await session.scalars(select(AuthSession))).all()) == count
            assert await end_sessions(session, user_id=require_id(organisation.coach_a)) == []
            with pytest.raises((DBAPIError, AppError)):
                await open_session(session, user_id=require_id(reader), role=reader.role, settings=SETTINGS)
            await session.rollback()
    assert await is_in(opened, MemoryCache())
    async with unbound_session() as session:
        row = (
            await session.execute(
                text("SELECT * FROM identity.find_session(:hash)"), {"hash": hash_token(opened.token)}
            )
        ).mappings().one()  # fmt: skip
    assert set(row) == {
        "tenant_id", "id", "user_id", "role", "awaits_second_factor", "expires_at", "last_activity"
    }  # fmt: skip
