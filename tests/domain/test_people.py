"""People show what they choose, follow each other exactly once, and leave with thirty days of grace."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import event, func, select, text, update
from sqlalchemy.exc import DBAPIError

from db.counters import COUNTERS
from db.models import ApiKey, AuditLog, Consent, User, UserConnection, UserProfile
from db.session import Principal, ReaderUnknown, app_engine, tenant_session
from domain import consents, identity, people, roles
from tests.factories.people import Organisation, found_organisation
from tests.factories.sessions import require_id


async def show(reader: Principal, person: Principal) -> UserProfile | None:
    async with tenant_session(reader) as session:
        found: UserProfile | None = await session.scalar(
            select(UserProfile).where(UserProfile.user_id == person.user_id)
        )
        return found


async def change(person: Principal, **changes: Any) -> UserProfile:
    async with tenant_session(person) as session:
        return await people.update_profile(session, user_id=require_id(person), changes=changes)


async def prefer(person: Principal, **changes: Any) -> None:
    async with tenant_session(person) as session:
        await people.update_settings(session, user_id=require_id(person), changes=changes)


async def act(organisation: Organisation, what: Callable[..., Awaitable[Any]], person: Principal) -> Any:
    async with tenant_session(organisation.admin.as_system()) as session:
        return await what(session, user_id=require_id(person))


async def test_the_dashboard_is_one_statement(organisation: Organisation) -> None:
    statements: list[str] = []
    engine = app_engine().sync_engine
    async with tenant_session(organisation.coach_a) as session:
        note = lambda *given: statements.append(given[2])  # noqa: E731  # the listener is removed by its name
        event.listen(engine, "before_cursor_execute", note)
        found = await people.get_dashboard(session, user_id=require_id(organisation.coach_a))
        event.remove(engine, "before_cursor_execute", note)
    assert len(statements) == 1
    assert (found.user.id, found.profile.display_name, found.settings.timezone) == (
        organisation.coach_a.user_id, "coach_a", "Africa/Nairobi",
    )  # fmt: skip
    assert (list(found.roles), found.subscription) == (["coach"], None)
    with pytest.raises(roles.PersonNotFound):
        async with tenant_session(organisation.client_c) as session:
            await people.get_dashboard(session, user_id=require_id(organisation.coach_a))


async def test_a_profile_says_how_complete_it_is(organisation: Organisation) -> None:
    profile = await change(organisation.coach_a, hourly_rate=Decimal("80.10"), skills=["listening"], bio="I listen.")
    assert (profile.hourly_rate, profile.profile_completion_percent) == (Decimal("80.10"), 300 // 13)
    assert (await change(organisation.coach_a, bio=None)).profile_completion_percent == 200 // 13
    assert (await change(organisation.client_a, years_experience=0)).profile_completion_percent == 100 // 9
    with pytest.raises(people.UnknownTimezone):
        await change(organisation.coach_a, location={"timezone": "../../etc/passwd"})
    with pytest.raises(people.UnknownTimezone):
        await prefer(organisation.coach_a, timezone="Mars/Olympus")


async def test_everyone_sees_what_people_show(organisation: Organisation) -> None:
    other = await found_organisation()
    coach, stranger = organisation.coach_a, organisation.client_c
    shown = await show(stranger, coach)
    assert shown is not None
    assert (shown.display_name, shown.shown_email) == ("coach_a", None)
    await change(coach, show_email=True)
    shown = await show(stranger, coach)
    assert shown is not None
    assert shown.shown_email == f"coach_a@{organisation.slug}.example"
    await prefer(coach, profile_visibility="private")
    # A private one is seen by oneself, the administrator, and one's own coach.
    for reader, sees in (
        (stranger, False), (organisation.coach_b, False), (coach, True), (organisation.admin, True),
        (organisation.executive, False), (organisation.compliance, False), (other.admin, False),
    ):  # fmt: skip
        assert (await show(reader, coach) is not None) == sees, reader.role
    await prefer(organisation.client_a, profile_visibility="private")
    assert await show(coach, organisation.client_a) is not None
    assert await show(organisation.coach_b, organisation.client_a) is None
    # The name follows the person's, and who is suspended shows nothing.
    async with tenant_session(organisation.system) as session:
        await people.update_person(session, user_id=require_id(coach), full_name="Wanjiru Maina")
    await prefer(coach, profile_visibility="public")
    shown = await show(stranger, coach)
    assert shown is not None
    assert shown.display_name == "Wanjiru Maina"
    await act(organisation, people.suspend_person, coach)
    assert await show(stranger, coach) is None
    await act(organisation, people.reinstate_person, coach)
    assert await show(stranger, coach) is not None


async def test_the_phone_number_is_stored_encrypted_and_shown_by_choice(organisation: Organisation) -> None:
    person = require_id(organisation.coach_a)
    async with tenant_session(organisation.system) as session:
        await people.update_person(session, user_id=person, phone_number="+254700000001")
        stored = await session.scalar(select(User.phone_number).where(User.id == person))
        assert stored is not None
        assert b"254700000001" not in stored
        assert await people.find_shown_phone(session, user_id=person) is None
    await change(organisation.coach_a, show_phone=True)
    async with tenant_session(organisation.system) as session:
        assert await people.find_shown_phone(session, user_id=person) == "+254700000001"
        await people.update_person(session, user_id=person, phone_number="")
        assert await people.find_shown_phone(session, user_id=person) is None


async def test_nobody_writes_what_is_counted_or_somebody_elses(organisation: Organisation) -> None:
    for column in ("follower_count", "post_count", "average_rating", "is_coach", "display_name", "profile_visibility"):
        for who in (organisation.client_a, organisation.system):
            with pytest.raises(DBAPIError, match="permission denied"):
                async with tenant_session(who) as session:
                    await session.execute(text(f"UPDATE identity.user_profiles SET {column} = DEFAULT"))
    async with tenant_session(organisation.client_a) as session:
        changed = await session.scalars(update(UserProfile).values(bio="mine").returning(UserProfile.user_id))
        assert changed.all() == [organisation.client_a.user_id]
    with pytest.raises(DBAPIError, match="row-level security"):
        async with tenant_session(organisation.client_a) as session:
            await people.follow(
                session,
                follower_id=require_id(organisation.client_b), following_id=require_id(organisation.coach_a),
            )  # fmt: skip


async def count_truly(organisation: Organisation) -> None:
    """Compare every kept count of this schema with what is there."""
    async with tenant_session(organisation.system) as session:
        for counter in COUNTERS:
            table, _, column = counter.column.rpartition(".")
            if table.startswith("identity.") and "user_connections" in counter.truth:
                wrong = await session.execute(text(f"SELECT t.id FROM {table} t WHERE t.{column} <> ({counter.truth})"))
                assert wrong.all() == [], counter.column


async def test_following_counts_once_under_fire(organisation: Organisation) -> None:
    everyone = list(organisation.people.values())

    async def follow(one: Principal, other: Principal) -> None:
        async with tenant_session(one) as session:
            await people.follow(session, follower_id=require_id(one), following_id=require_id(other))

    async def unfollow(one: Principal, other: Principal) -> None:
        async with tenant_session(one) as session:
            await people.unfollow(session, follower_id=require_id(one), following_id=require_id(other))

    readers = [person for person in everyone if person.role in ("client", "coach", "admin")]
    pairs = [(one, other) for one in readers for other in readers if one != other]
    await asyncio.gather(*(follow(one, other) for one, other in pairs), *(follow(one, other) for one, other in pairs))
    await count_truly(organisation)
    async with tenant_session(organisation.system) as session:
        assert await session.scalar(select(func.count()).select_from(UserConnection)) == len(pairs)
        assert set(await session.scalars(select(UserProfile.follower_count).where(UserProfile.follower_count > 0))) == {
            len(readers) - 1
        }
    await asyncio.gather(*(unfollow(*pair) for pair in pairs[::2]), *(follow(*pair) for pair in pairs[1::2]))
    await count_truly(organisation)
    with pytest.raises(people.SelfFollowed):
        await follow(organisation.client_a, organisation.client_a)
    await prefer(organisation.coach_a, profile_visibility="private")
    await unfollow(organisation.client_c, organisation.coach_a)
    with pytest.raises(people.ProfileNotFound):
        await follow(organisation.client_c, organisation.coach_a)


async def test_deleting_leaves_thirty_days(organisation: Organisation) -> None:
    person = organisation.coach_a
    await change(person, bio="All about me", skills=["listening"], profile_photo_url="https://example.org/me.png")
    async with tenant_session(organisation.system) as session:
        _, key = await identity.issue_api_key(session, user_id=require_id(person), name="key")
    async with tenant_session(organisation.client_a) as session:
        await people.follow(session, follower_id=require_id(organisation.client_a), following_id=require_id(person))
    await act(organisation, people.delete_person, person)
    await act(organisation, people.delete_person, person)
    with pytest.raises(ReaderUnknown):
        await show(person, person)
    with pytest.raises(identity.Unauthenticated):
        await identity.authenticate_key(key)
    profile = await show(organisation.admin, person)
    assert profile is not None
    assert (profile.bio, profile.skills, profile.profile_photo_url, profile.follower_count) == (None, None, None, 0)
    for late in (people.suspend_person, people.reinstate_person):
        with pytest.raises(people.PersonDeleted):
            await act(organisation, late, person)

    await act(organisation, people.restore_person, person)
    assert await show(organisation.client_c, person) is not None
    with pytest.raises(people.PersonNotDeleted):
        await act(organisation, people.restore_person, person)
    async with tenant_session(organisation.system) as session:
        assert await session.scalar(select(func.count()).where(ApiKey.revoked_at.is_(None)).select_from(ApiKey)) == 0

    await act(organisation, people.delete_person, person)
    async with tenant_session(organisation.system) as session:
        long_ago = datetime.now(UTC) - timedelta(days=30, seconds=1)
        await session.execute(update(User).where(User.id == person.user_id).values(deleted_at=long_ago))
    with pytest.raises(people.GraceOver):
        await act(organisation, people.restore_person, person)
    async with tenant_session(organisation.compliance) as session:
        actions = await session.scalars(
            select(AuditLog.action).where(AuditLog.entity_type == "user", AuditLog.entity_id == person.user_id)
        )
        assert {"user_deleted", "user_restored"} <= set(actions)


async def test_consent_runs_from_giving_to_withdrawing(organisation: Organisation) -> None:
    person = require_id(organisation.client_a)

    async def give(version: str) -> Consent:
        async with tenant_session(organisation.client_a) as session:
            return await consents.record_consent(session, user_id=person, purpose="assistant", version=version)

    given = await asyncio.gather(*(give("2026-01") for _ in range(20)))
    assert len({row.id for row in given}) == 1
    await give("2026-02")
    async with tenant_session(organisation.client_a) as session:
        assert await consents.withdraw_consent(session, user_id=person, purpose="assistant") == 2
        with pytest.raises(consents.ConsentNotFound):
            await consents.withdraw_consent(session, user_id=person, purpose="assistant")
    again = await give("2026-01")
    assert again.id != given[0].id
    for reader, sees in ((organisation.client_a, 3), (organisation.compliance, 3), (organisation.admin, 0)):
        async with tenant_session(reader) as session:
            assert await session.scalar(select(func.count()).select_from(Consent)) == sees
    for change_it in ("UPDATE identity.consents SET version = 'x'", "DELETE FROM identity.consents"):
        with pytest.raises(DBAPIError, match="permission denied"):
            async with tenant_session(organisation.client_a) as session:
                await session.execute(text(change_it))
    with pytest.raises(DBAPIError, match="row-level security"):
        async with tenant_session(organisation.client_b) as session:
            await consents.record_consent(session, user_id=person, purpose="marketing", version="1")


async def test_counting_leaves_no_mark_in_the_log(organisation: Organisation) -> None:
    async with tenant_session(organisation.client_a) as session:
        await people.follow(
            session,
            follower_id=require_id(organisation.client_a), following_id=require_id(organisation.coach_a),
        )  # fmt: skip
    await change(organisation.client_a, bio="Private words")
    async with tenant_session(organisation.compliance) as session:
        rows = (await session.scalars(select(AuditLog).where(AuditLog.entity_type == "user_profile"))).all()
    assert [row.actor_id for row in rows] == [organisation.client_a.user_id]
    assert "Private words" not in str(rows[0].changes)
