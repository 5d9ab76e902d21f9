"""Learning, attacked as the app's own role: what the policies and triggers refuse, and what a reader sees."""

from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import DBAPIError

from db.models import Assessment, Certificate, Enrollment, Lesson, LessonProgress, Module, Program, ProgressEvent
from db.session import Principal, tenant_session
from domain import curriculum, learning, programs
from domain.progress import record_progress
from tests.factories.courses import Course, enroll_free, say, write_course
from tests.factories.people import Organisation, found_organisation
from tests.factories.sessions import require_id


async def count(reader: Principal, model: Any) -> int:
    async with tenant_session(reader) as session:
        return len(list(await session.scalars(select(model.tenant_id))))


async def attempt(reader: Principal, statement: str, **values: Any) -> int:
    """Return how many rows the statement changed."""
    async with tenant_session(reader) as session:
        changed = await session.execute(text(statement + " RETURNING 1"), values)
        return len(changed.all())


@pytest.fixture
async def course(organisation: Organisation) -> Course:
    """A published course of coach_a with five lessons; client_a takes it and has begun."""
    made = await write_course(organisation)
    await enroll_free(organisation, made, organisation.client_a)
    async with tenant_session(organisation.client_a) as session:
        await record_progress(
            session, user_id=require_id(organisation.client_a), messages=[say(made.all_lessons[0], 100)]
        )
    return made


async def test_lessons_are_read_by_those_who_take_or_teach_them(organisation: Organisation, course: Course) -> None:
    expected = {"coach_a": 5, "admin": 5, "client_a": 5}
    for name, reader in organisation.people.items():
        assert await count(reader, Lesson) == expected.get(name, 0), name
        catalogue = name.partition("_")[0] in ("client", "coach", "admin")
        assert await count(reader, Program) == int(catalogue), name
        assert await count(reader, Module) == 2 * catalogue, name
    async with tenant_session(organisation.coach_a) as session:
        await curriculum.update_lesson(
            session, lesson_id=course.all_lessons[1], principal=organisation.coach_a, fields={"is_preview": True}
        )
    assert await count(organisation.client_b, Lesson) == 1
    async with tenant_session(organisation.system) as session:
        row = await learning.find_enrollment(
            session, program_id=course.program_id, user_id=require_id(organisation.client_a)
        )
        assert row is not None
        await learning.suspend_enrollment(session, row.id)
    assert await count(organisation.client_a, Lesson) == 1


async def test_what_is_withdrawn_is_gone_at_the_next_read(organisation: Organisation, course: Course) -> None:
    author = organisation.coach_a

    async def change(**fields: Any) -> int:
        async with tenant_session(author) as session:
            await curriculum.update_module(session, module_id=course.modules[0], principal=author, fields=fields)
        return await count(organisation.client_a, Lesson)

    assert await change(is_published=False) == 2
    assert await count(author, Lesson) == 5
    assert await change(is_published=True) == 5
    async with tenant_session(author) as session:
        await curriculum.update_lesson(
            session, lesson_id=course.all_lessons[4], principal=author, fields={"is_published": False}
        )
    assert await count(organisation.client_a, Lesson) == 4
    async with tenant_session(organisation.admin) as session:
        await programs.archive_program(session, course.program_id)
    assert await count(organisation.client_a, Lesson) == 4
    async with tenant_session(organisation.system) as session:
        await session.execute(text("UPDATE learning.programs SET deleted_at = now()"))
    for name in ("client_a", "client_b", "coach_b"):
        assert await count(organisation.people[name], Lesson) == 0, name
        assert await count(organisation.people[name], Program) == 0, name


async def test_drafts_are_their_authors(organisation: Organisation) -> None:
    await write_course(
        organisation, (2,), publish=False, co_instructors=[str(organisation.coach_b.user_id)]
    )  # fmt: skip
    for name, reader in organisation.people.items():
        sees = name in ("coach_a", "coach_b", "admin")
        for model, rows in ((Program, 1), (Module, 1), (Lesson, 2)):
            assert await count(reader, model) == rows * sees, (name, model)


async def test_records_are_read_by_whom_they_concern(organisation: Organisation, course: Course) -> None:
    readers = {Enrollment: {"client_a", "coach_a", "admin"}, LessonProgress: {"client_a", "coach_a"}}
    for model, allowed in readers.items():
        seen = {name for name, reader in organisation.people.items() if await count(reader, model)}
        assert seen == allowed, model
    seen = {name for name, reader in organisation.people.items() if await count(reader, ProgressEvent)}
    assert seen == {"client_a"}


async def test_a_client_of_mine_is_mine_to_follow(organisation: Organisation) -> None:
    course = await write_course(organisation, (1,), instructor=organisation.coach_b)
    await enroll_free(organisation, course, organisation.client_a)
    # coach_a teaches nothing here but works with client_a.
    assert await count(organisation.coach_a, Enrollment) == 1
    assert await count(organisation.coach_a, Lesson) == 0


async def test_other_tenants_see_and_change_nothing(organisation: Organisation, course: Course) -> None:
    stranger = await found_organisation()
    for reader in (*stranger.people.values(), stranger.system):
        for model in (Program, Module, Lesson, Enrollment, LessonProgress, ProgressEvent, Assessment, Certificate):
            assert await count(reader, model) == 0
    assert await attempt(stranger.system, "UPDATE learning.programs SET title = 'Mine'") == 0
    assert await attempt(stranger.system, "DELETE FROM learning.lessons") == 0
    with pytest.raises(DBAPIError, match=r"fk_enrollments|row-level security"):
        await attempt(
            stranger.system,
            "INSERT INTO learning.enrollments (tenant_id, user_id, program_id) VALUES (:tenant, :user, :program)",
            tenant=stranger.tenant_id, user=require_id(stranger.client_a), program=course.program_id,
        )  # fmt: skip


@pytest.mark.parametrize("person", ["client_a", "client_b", "coach_b", "executive", "compliance", "evaluator"])
async def test_others_write_nothing(organisation: Organisation, course: Course, person: str) -> None:
    reader = organisation.people[person]
    for statement in (
        "UPDATE learning.programs SET title = 'Mine'",
        "DELETE FROM learning.programs",
        "UPDATE learning.modules SET is_published = false",
        "UPDATE learning.lessons SET text_content = 'Mine'",
        "DELETE FROM learning.lessons",
        "UPDATE learning.enrollments SET status = 'completed', completion_date = now()",
        "UPDATE learning.enrollments SET completed_lessons = 5",
        "DELETE FROM learning.enrollments",
        "DELETE FROM learning.lesson_progress",
        "DELETE FROM learning.progress_events",
        "UPDATE learning.certificates SET is_revoked = true, revoked_at = now()",
    ):
        assert await attempt(reader, statement) == 0, statement
    for table, columns, values in (
        ("programs", "title, slug, instructor_id, pricing_type, status", "'x', 'x', :user, 'free', 'published'"),
        ("modules", "program_id, title, sequence_order", ":program, 'x', 99"),
        ("enrollments", "user_id, program_id", ":user, :program"),
        (
            "certificates",
            "enrollment_id, user_id, program_id, certificate_number, title, verification_code, completion_date",
            ":program, :user, :program, 'x', 'x', 'x', now()",
        ),
    ):
        statement = f"INSERT INTO learning.{table} (tenant_id, {columns}) VALUES (:tenant, {values})"
        with pytest.raises(DBAPIError, match="row-level security"):
            await attempt(
                reader, statement, tenant=organisation.tenant_id, user=reader.user_id, program=course.program_id
            )


async def test_progress_is_written_for_oneself_in_what_one_takes(organisation: Organisation, course: Course) -> None:
    insert = (
        "INSERT INTO learning.lesson_progress (tenant_id, user_id, program_id, lesson_id, enrollment_id) "
        "SELECT e.tenant_id, :user, :program, :lesson, e.id FROM learning.enrollments e"
    )
    mine = {"user": require_id(organisation.client_a), "program": course.program_id}
    with pytest.raises(DBAPIError, match="row-level security"):
        await attempt(
            organisation.client_a, insert, **{**mine, "user": require_id(organisation.client_b)},
            lesson=course.all_lessons[1],
        )  # fmt: skip
    other = await write_course(organisation, (1,))
    with pytest.raises(DBAPIError, match="fk_lesson_progress"):
        await attempt(organisation.client_a, insert, **mine, lesson=other.all_lessons[0])
    with pytest.raises(DBAPIError, match="fk_lesson_progress"):
        await attempt(
            organisation.client_a, insert, **{**mine, "program": other.program_id}, lesson=other.all_lessons[0]
        )


async def test_counts_are_written_by_nobody(organisation: Organisation, course: Course) -> None:
    for column in ("module_count", "lesson_count", "enrollment_count", "seats_taken", "completion_count", "rating_sum"):
        for reader in (organisation.coach_a, organisation.admin):
            with pytest.raises(DBAPIError, match="kept by triggers"):
                await attempt(reader, f"UPDATE learning.programs SET {column} = {column} + 1")
    with pytest.raises(DBAPIError, match="kept by triggers"):
        await attempt(organisation.coach_a, "UPDATE learning.modules SET lesson_count = 7")
    with pytest.raises(DBAPIError, match="kept by triggers"):
        await attempt(
            organisation.coach_a,
            "INSERT INTO learning.programs (tenant_id, title, slug, instructor_id, pricing_type, enrollment_count) "
            "VALUES (:tenant, 'x', 'x', :user, 'free', 1000)",
            tenant=organisation.tenant_id, user=require_id(organisation.coach_a),
        )  # fmt: skip


async def test_a_coach_publishes_nothing_and_names_nobody_else(organisation: Organisation) -> None:
    await write_course(organisation, (1,), publish=False)
    coach = organisation.coach_a
    with pytest.raises(DBAPIError, match="published by an administrator"):
        await attempt(coach, "UPDATE learning.programs SET status = 'published'")
    with pytest.raises(DBAPIError, match="row-level security"):
        await attempt(
            coach, "UPDATE learning.programs SET instructor_id = :other", other=require_id(organisation.coach_b)
        )


async def test_the_tree_stays_in_its_program(organisation: Organisation, course: Course) -> None:
    other = await write_course(organisation, (1,))
    system = organisation.system
    with pytest.raises(DBAPIError, match="stays in its program"):
        await attempt(system, "UPDATE learning.modules SET program_id = :p WHERE id = :m", p=other.program_id,
                      m=course.modules[0])  # fmt: skip
    with pytest.raises(DBAPIError, match="stays in its program"):
        await attempt(system, "UPDATE learning.lessons SET module_id = :m WHERE id = :l", m=other.modules[0],
                      l=course.all_lessons[0])  # fmt: skip
    with pytest.raises(DBAPIError, match="stays in its program"):
        await attempt(
            system,
            "INSERT INTO learning.lessons (tenant_id, module_id, title, sequence_order, content_type) "
            "VALUES (:tenant, :module, 'x', 1, 'text')",
            tenant=organisation.tenant_id, module=uuid4(),
        )  # fmt: skip
    # Whatever is claimed, the trigger says what may be seen.
    await attempt(system, "UPDATE learning.lessons SET is_visible = true, is_published = false")
    assert await count(organisation.client_a, Lesson) == 0
