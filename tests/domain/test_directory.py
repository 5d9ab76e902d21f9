"""The directory of coaches: right, in order, page by page, and cheap where coaches are few among many."""

import json
import random
from collections.abc import Iterator
from decimal import Decimal
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncSession

from core.settings import Settings
from db.locate import owner_url
from db.models import UserProfile
from db.provision import to_libpq_url
from db.session import tenant_session
from domain.directory import CoachFilter, Place, list_coaches, select_coaches
from tests.factories.people import Organisation

PEOPLE, COACHES = 100_000, 2_000

FILL = """
SET session_replication_role = replica;
INSERT INTO identity.users (tenant_id, id, email, full_name, role)
SELECT %(tenant)s, gen_random_uuid(), 'many' || n || '@crowd.example', 'Person ' || n,
       CASE WHEN n <= %(coaches)s THEN 'coach' ELSE 'client' END FROM generate_series(1, %(people)s) n;
INSERT INTO identity.user_profiles (tenant_id, user_id, display_name, is_coach, skills, location, hourly_rate,
    availability_status, average_rating, rating_count, completed_session_count)
SELECT tenant_id, id, full_name, role = 'coach',
       CASE WHEN n %% 3 = 0 THEN '["Leadership", "Writing"]' WHEN n %% 3 = 1 THEN '["Leadership"]' END::jsonb,
       jsonb_build_object('country', (ARRAY['Kenya', 'Germany', 'Ghana'])[1 + n %% 3]), 20 + n %% 200,
       (ARRAY['available', 'busy'])[1 + n %% 2], CASE WHEN n %% 5 > 0 THEN 1 + (n %% 401)::numeric / 100 END,
       n %% 5, n %% 7
FROM (SELECT *, substring(full_name FROM 8)::int AS n FROM identity.users
      WHERE tenant_id = %(tenant)s AND email LIKE 'many%%') u;
SET session_replication_role = DEFAULT;
"""


@pytest.fixture(scope="module")
def superuser(store: Settings) -> Iterator[psycopg.Connection]:
    with psycopg.connect(to_libpq_url(owner_url(store)), autocommit=True) as connection:
        yield connection


async def crowd(superuser: psycopg.Connection, organisation: Organisation, people: int, coaches: int) -> None:
    """Fill the tenant past all triggers: the counts need not be true here."""
    values = {"tenant": organisation.tenant_id, "people": people, "coaches": coaches}
    for statement in FILL.strip().rstrip(";").split(";\n"):
        superuser.execute(statement, values if "%(" in statement else None)
    superuser.execute("ANALYZE identity.users, identity.user_profiles")


def place_of(profile: UserProfile) -> Place:
    return profile.average_rating or Decimal(0), profile.completed_session_count, profile.user_id


async def list_all(session: AsyncSession, wanted: CoachFilter, size: int) -> list[UserProfile]:
    found: list[UserProfile] = []
    while page := await list_coaches(session, wanted=wanted, limit=size, after=place_of(found[-1]) if found else None):
        found += page
    return found


FILTERS = [
    CoachFilter(),
    CoachFilter(skills=("Leadership",)),
    CoachFilter(skills=("Leadership", "Writing"), country="Kenya"),
    CoachFilter(minimum_rating=Decimal("4.5"), available=True),
    CoachFilter(price_from=Decimal(50), price_until=Decimal(60), currency="USD"),
    CoachFilter(skills=("Juggling",)),
    CoachFilter(price_until=Decimal(0)),
]


async def test_pages_hold_every_coach_once_in_order(superuser: psycopg.Connection, organisation: Organisation) -> None:
    await crowd(superuser, organisation, 300, 150)
    async with tenant_session(organisation.client_a) as session:
        everyone = await list_all(session, CoachFilter(), 150)
        for wanted in FILTERS:
            found = await list_all(session, wanted, random.Random(7).choice((7, 20)))
            expected = [
                p for p in everyone
                if set(wanted.skills) <= set(p.skills or ())
                and (wanted.country is None or (p.location or {}).get("country") == wanted.country)
                and (wanted.minimum_rating is None or (p.average_rating or 0) >= wanted.minimum_rating)
                and (not wanted.available or p.availability_status == "available")
                and (wanted.price_from is None or (p.hourly_rate is not None and p.hourly_rate >= wanted.price_from))
                and (wanted.price_until is None or (p.hourly_rate is not None and p.hourly_rate <= wanted.price_until))
            ]  # fmt: skip
            assert [p.user_id for p in found] == [p.user_id for p in expected]
    assert len(everyone) == 152  # with the organisation's own two
    assert [place_of(p) for p in everyone] == sorted(map(place_of, everyone), reverse=True)
    async with tenant_session(organisation.executive) as session:
        assert await list_all(session, CoachFilter(), 150) == []


async def test_private_and_former_coaches_are_not_listed(
    superuser: psycopg.Connection, organisation: Organisation
) -> None:
    hidden = {organisation.coach_a.user_id: "profile_visibility = 'private'",
              organisation.coach_b.user_id: "coach_until = now() - interval '1 day'"}  # fmt: skip
    for user_id, change in hidden.items():
        async with tenant_session(organisation.client_b) as session:
            listed = {p.user_id for p in await list_coaches(session, wanted=CoachFilter(), limit=10)}
            assert user_id in listed
        superuser.execute(f"UPDATE identity.user_profiles SET {change} WHERE user_id = %s", [user_id])
        async with tenant_session(organisation.client_b) as session:
            listed = {p.user_id for p in await list_coaches(session, wanted=CoachFilter(), limit=10)}
            assert user_id not in listed


def walk(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for child in plan.get("Plans", ()):
        yield from walk(child)


async def test_directory_reads_coaches_only(superuser: psycopg.Connection, organisation: Organisation) -> None:
    await crowd(superuser, organisation, PEOPLE, COACHES)
    plans: list[dict[str, Any]] = []
    async with tenant_session(organisation.client_a) as session:
        connection = await session.connection()

        @event.listens_for(connection.sync_connection, "before_cursor_execute", retval=True)
        def explain(_c: Any, _u: Any, statement: str, parameters: Any, _x: Any, _m: bool) -> tuple[str, Any]:
            return f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}", parameters

        for wanted in FILTERS:
            for after in (None, (Decimal("3.00"), 3, uuid4())):
                query = select_coaches(wanted, limit=20, after=after).with_only_columns(UserProfile.user_id)
                explained: Any = (await connection.execute(query)).scalar_one()
                plans.append(explained[0]["Plan"])
    for plan in plans:
        nodes = list(walk(plan))
        assert all(node["Node Type"] != "Seq Scan" for node in nodes), json.dumps(plan)
        assert any(node.get("Index Name") == "ix_user_profiles_directory" for node in nodes), json.dumps(plan)
        assert max(node["Actual Rows"] + node.get("Rows Removed by Filter", 0) for node in nodes) <= COACHES + 10
