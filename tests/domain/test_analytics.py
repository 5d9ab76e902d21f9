"""Figures count what is there, show no small group, and leave nobody's tenant."""

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import UUID

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from db.session import Principal, tenant_session
from domain import analytics
from domain.identity import create_user
from tests.factories.people import Organisation, found_organisation
from tests.factories.sessions import require_id

INSERT_PROGRAM = text(
    "INSERT INTO learning.programs (tenant_id, title, slug, instructor_id, pricing_type, status, published_at) VALUES "
    "(current_setting('app.tenant_id')::uuid, 'Rest', 'rest', :coach, 'free', 'published', now()) RETURNING id"
)
INSERT_ENROLLMENTS = text(
    "INSERT INTO learning.enrollments (tenant_id, user_id, program_id, rating) "
    "SELECT current_setting('app.tenant_id')::uuid, u.id, :program, 4 FROM identity.users u WHERE u.role = 'client'"
)
INSERT_PAYMENT = text(
    "INSERT INTO commerce.transactions "
    "(tenant_id, user_id, amount, currency, transaction_type, payment_method, status) VALUES "
    "(current_setting('app.tenant_id')::uuid, :who, :amount, :currency, 'course', 'bank_transfer', 'pending')"
)


async def enroll_everyone(organisation: Organisation, *, more: int) -> UUID:
    """Enrol the three clients and `more` new ones in one program, each with a rating of four."""
    async with tenant_session(organisation.system) as session:
        for number in range(more):
            await create_user(
                session, email=f"more{number}@{organisation.slug}.example", full_name="More", role="client"
            )
        program = await session.scalar(INSERT_PROGRAM, {"coach": organisation.coach_a.user_id})
        await session.execute(INSERT_ENROLLMENTS, {"program": program})
    assert isinstance(program, UUID)
    return program


async def hold_sessions(
    organisation: Organisation, *, rated_by: set[UUID] | None = None, missed_by: frozenset[UUID] = frozenset()
) -> None:
    """Let each client hold a session of fifty minutes yesterday, rated 3 by these, by all where it is None."""
    async with tenant_session(organisation.system) as session:
        await session.execute(
            text(
                "INSERT INTO coaching.coaching_sessions (tenant_id, coach_id, client_id, scheduled_at, "
                "duration_minutes, status) SELECT tenant_id, :coach, id, :at, 50, "
                "CASE WHEN id = ANY(:missed) THEN 'no_show' ELSE 'completed' END "
                "FROM identity.users WHERE role = 'client'"
            ),
            {
                "coach": organisation.coach_a.user_id, "at": datetime.now(UTC) - timedelta(days=1),
                "missed": list(missed_by),
            },
        )  # fmt: skip
        await session.execute(
            text(
                "INSERT INTO coaching.session_feedback (tenant_id, session_id, submitted_by, client_id, coach_id, "
                "rating) SELECT tenant_id, id, client_id, client_id, coach_id, 3 FROM coaching.coaching_sessions "
                "WHERE status = 'completed' AND (:all OR client_id = ANY(:rated))"
            ),
            {"all": rated_by is None, "rated": list(rated_by or ())},
        )


async def refresh() -> None:
    for view in analytics.VIEWS:
        await analytics.refresh_view(view)


async def test_dashboard_counts_people_and_money_by_currency(organisation: Organisation) -> None:
    other = await found_organisation()
    async with tenant_session(organisation.system) as session:
        for amount, currency in ((10, "USD"), (15, "USD"), (700, "KES")):
            values = {"who": organisation.client_a.user_id, "amount": amount, "currency": currency}
            await session.execute(INSERT_PAYMENT, values)
        await session.execute(text("UPDATE identity.users SET last_login_at = now() WHERE role = 'coach'"))
    with pytest.raises(analytics.FiguresNotReady):
        async with tenant_session(organisation.admin) as session:
            await analytics.get_dashboard_figures(session)

    await refresh()
    async with tenant_session(organisation.admin) as session:
        found = await analytics.get_dashboard_figures(session)
    assert (found.users, found.new_users_30d, found.active_users_7d) == (9, 9, 2)
    assert found.revenue_monthly == {}, "a pending payment is no revenue"
    async with tenant_session(other.executive) as session:
        assert (await analytics.get_dashboard_figures(session)).users == 9


async def test_a_rating_is_hidden_by_those_who_rated(organisation: Organisation) -> None:
    """Five are enrolled, so their progress is shown; one of them rated, and would be known by it."""
    await enroll_everyone(organisation, more=2)
    only = require_id(organisation.client_a)
    async with tenant_session(organisation.system) as session:
        await session.execute(
            text("UPDATE learning.enrollments SET rating = NULL WHERE user_id <> :only"), {"only": only}
        )
    await hold_sessions(organisation, rated_by={only})
    await refresh()
    today = datetime.now(UTC).date()
    async with tenant_session(organisation.executive) as session:
        (found,) = await analytics.list_program_figures(session, limit=10)
        (month,) = await analytics.list_coaching_months(session, since=today - timedelta(days=60), until=today)
    assert (found.enrollment_count, found.completion_rate, found.avg_rating) == (5, Decimal(0), None)
    assert (month.clients, month.average_minutes, month.avg_rating) == (5, Decimal(50), None)


@pytest.mark.parametrize(("misses", "shown"), [(True, None), (False, Decimal(50))])
async def test_minutes_are_hidden_by_those_who_were_met(
    organisation: Organisation, misses: bool, shown: Decimal | None
) -> None:
    await enroll_everyone(organisation, more=2)
    await hold_sessions(
        organisation, missed_by=frozenset({require_id(organisation.client_a)} if misses else ())
    )  # fmt: skip
    await refresh()
    today = datetime.now(UTC).date()
    async with tenant_session(organisation.executive) as session:
        (month,) = await analytics.list_coaching_months(session, since=today - timedelta(days=60), until=today)
    assert (month.clients, month.sessions_completed, month.sessions_missed) == (5, 5 - misses, int(misses))
    assert (month.average_minutes, month.avg_rating) == (shown, shown and Decimal(3))


async def test_categories_are_those_of_the_tenants_programs(organisation: Organisation) -> None:
    other = await found_organisation()
    for one, category in ((organisation, "Work"), (organisation, "Rest"), (organisation, None), (other, "Theirs")):
        async with tenant_session(one.system) as session:
            await session.execute(
                text(
                    "INSERT INTO learning.programs (tenant_id, title, slug, instructor_id, pricing_type, category) "
                    "VALUES (current_setting('app.tenant_id')::uuid, 'P', :slug, :coach, 'free', :category)"
                ),
                {"slug": f"p-{category}".lower(), "coach": one.coach_a.user_id, "category": category},
            )
    await refresh()
    async with tenant_session(organisation.executive) as session:
        assert await analytics.list_program_categories(session) == ["Rest", "Work"]
    async with tenant_session(organisation.coach_a) as session:
        assert await analytics.list_program_categories(session) == []


@pytest.mark.parametrize(("more", "shown"), [(1, False), (2, True)])
async def test_a_group_below_five_shows_no_average(organisation: Organisation, more: int, shown: bool) -> None:
    program = await enroll_everyone(organisation, more=more)
    await refresh()
    async with tenant_session(organisation.executive) as session:
        (found,) = await analytics.list_program_figures(session, limit=10)
    assert found.program_id == program
    assert found.enrollment_count == 3 + more
    assert (found.avg_rating is not None, found.completion_rate is not None) == (shown, shown)
    if shown:
        assert (float(found.avg_rating or 0), float(found.completion_rate or 0)) == (4.0, 0.0)


async def test_only_admins_and_executives_read_figures(organisation: Organisation) -> None:
    await enroll_everyone(organisation, more=2)
    await refresh()
    for name, person in organisation.people.items():
        async with tenant_session(person) as session:
            found = await analytics.list_program_figures(session, limit=10)
            users = (await session.execute(text("SELECT * FROM analytics.analytics_users"))).all()
        allowed = person.role in ("admin", "executive")
        assert (bool(found), bool(users)) == (allowed, allowed), name


async def test_views_themselves_are_closed(organisation: Organisation) -> None:
    for view in analytics.VIEWS:
        with pytest.raises(DBAPIError, match="permission denied"):
            async with tenant_session(organisation.admin) as session:
                await session.execute(text(f"SELECT * FROM analytics.{view}"))
    with pytest.raises(DBAPIError, match="no materialised view"):
        await analytics.refresh_view("users; DROP TABLE identity.users")


async def test_anonymous_users_bear_no_name_and_no_common_hash(organisation: Organisation) -> None:
    async with tenant_session(organisation.executive) as session:
        rows = (await session.execute(text("SELECT * FROM analytics.analytics_users"))).all()
    assert len(rows) == 9
    spoken = json.dumps([[str(value) for value in row] for row in rows])
    assert "coach_a" not in spoken
    assert organisation.slug not in spoken
    assert str(organisation.client_a.user_id) not in spoken


async def test_months_and_days_are_counted(organisation: Organisation) -> None:
    held = datetime.now(UTC) - timedelta(days=2)
    async with tenant_session(organisation.system) as session:
        await session.execute(
            text(
                "INSERT INTO coaching.coaching_sessions "
                "(tenant_id, coach_id, client_id, scheduled_at, completed_at, status) SELECT "
                "current_setting('app.tenant_id')::uuid, e.coach_id, e.client_id, :held, :held, 'completed' "
                "FROM coaching.engagements e"
            ),
            {"held": held},
        )
        await session.execute(
            text(
                "INSERT INTO chat.agent_runs (tenant_id, agent_type, status, user_id, started_at, completed_at) "
                "SELECT current_setting('app.tenant_id')::uuid, kind, s, :who, :held, :held + interval '20 ms' "
                "FROM unnest(ARRAY['succeeded', 'refused', 'failed']) s, unnest(ARRAY['assistant', 'evidence']) kind"
            ),
            {"who": organisation.coach_a.user_id, "held": held},
        )
    await refresh()
    today = datetime.now(UTC).date()
    async with tenant_session(organisation.admin) as session:
        (month,) = await analytics.list_coaching_months(session, since=today - timedelta(days=60), until=today)
        (day,) = await analytics.list_answer_days(session, since=today - timedelta(days=5), until=today)
    assert (month.sessions_completed, month.clients, month.coaches) == (4, 3, 2)
    assert month.average_minutes is None, "three clients are too few for an average"
    assert (day.runs, day.users, day.answered, day.refused, day.failed, day.p50_ms) == (3, 1, 1, 1, 1, 20)


async def test_events_are_stored_for_oneself_and_read_by_nobody(organisation: Organisation) -> None:
    person = organisation.client_a
    async with tenant_session(person) as session:
        await analytics.track_events(session, [("lesson.opened", None, {"n": 1}), ("feed.seen", None, {})])
    for reader, seen in ((person, 0), (organisation.admin, 0), (organisation.system, 2)):
        async with tenant_session(reader) as session:
            assert await session.scalar(text("SELECT count(*) FROM analytics.events")) == seen
    with pytest.raises(DBAPIError, match="row-level security"):
        async with tenant_session(Principal(person.tenant_id, "client", require_id(person))) as session:
            await session.execute(
                text(
                    "INSERT INTO analytics.events (tenant_id, user_id, event_type) "
                    "VALUES (:tenant, :other, 'lesson.opened')"
                ),
                {"tenant": person.tenant_id, "other": organisation.client_b.user_id},
            )
