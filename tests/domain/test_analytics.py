"""Figures count what is there, show no small group, and leave nobody's tenant."""

import json
from datetime import UTC, datetime, timedelta
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
                "SELECT current_setting('app.tenant_id')::uuid, 'assistant', s, :who, :held, :held + interval '20 ms' "
                "FROM unnest(ARRAY['succeeded', 'refused', 'failed']) s"
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
