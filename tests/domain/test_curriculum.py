"""What readers see of a program: outlines for all, texts for those who take it, nothing before its time."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import event, select, text

from db.models import AuditLog, Lesson
from db.session import Principal, app_engine, tenant_session
from domain import curriculum, learning, programs
from domain.progress import record_progress
from tests.factories.courses import Course, enroll_free, say, write_course
from tests.factories.people import Organisation
from tests.factories.sessions import require_id


async def read_lessons(reader: Principal, course: Course, chapter: int) -> list[curriculum.LessonView]:
    async with tenant_session(reader) as session:
        return await curriculum.list_module_lessons(
            session, module_id=course.modules[chapter], reader_id=require_id(reader)
        )


async def lock(organisation: Organisation, course: Course, **fields: Any) -> None:
    async with tenant_session(organisation.coach_a) as session:
        await curriculum.update_module(
            session, module_id=course.modules[1], principal=organisation.coach_a, fields=fields
        )


async def test_lessons_come_in_order_with_ones_own_progress(organisation: Organisation) -> None:
    course = await write_course(organisation)
    for person, percent in ((organisation.client_a, 40), (organisation.client_b, 70)):
        await enroll_free(organisation, course, person)
        async with tenant_session(person) as session:
            await record_progress(
                session, user_id=require_id(person), messages=[say(course.lessons[0][1], percent, 30)]
            )
    views = await read_lessons(organisation.client_a, course, 0)
    assert [view.id for view in views] == list(course.lessons[0])
    assert [view.progress_percent for view in views] == [0, 40, 0]
    assert [view.time_spent_seconds for view in views] == [0, 30, 0]
    assert all(view.text_content and not view.is_locked for view in views)
    assert await read_lessons(organisation.client_c, course, 0) == []
    assert len(await read_lessons(organisation.coach_a, course, 0)) == 3


async def test_reading_a_module_takes_one_statement(organisation: Organisation) -> None:
    course = await write_course(organisation)
    await enroll_free(organisation, course, organisation.client_a)
    statements: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        statements.append(statement)

    async with tenant_session(organisation.client_a) as session:
        event.listen(app_engine().sync_engine, "before_cursor_execute", note)
        try:
            await curriculum.list_module_lessons(
                session, module_id=course.modules[0], reader_id=require_id(organisation.client_a)
            )
        finally:
            event.remove(app_engine().sync_engine, "before_cursor_execute", note)
    assert len(statements) == 1


async def test_a_locked_module_hides_its_texts_until_it_opens(organisation: Organisation) -> None:
    course = await write_course(organisation, (1, 2))
    client = organisation.client_a
    await enroll_free(organisation, course, client)

    async def read_texts(reader: Principal) -> list[bool]:
        return [view.text_content is not None for view in await read_lessons(reader, course, 1)]

    await lock(organisation, course, unlock_date=datetime.now(UTC) + timedelta(days=1))
    assert await read_texts(client) == [False, False]
    assert await read_texts(organisation.coach_a) == [True, True]
    assert await read_texts(organisation.admin) == [True, True]
    await lock(organisation, course, unlock_date=datetime.now(UTC), unlock_after_module_id=course.modules[0])
    assert await read_texts(client) == [False, False]
    async with tenant_session(client) as session:
        view = await curriculum.get_lesson(session, lesson_id=course.lessons[1][0], reader_id=require_id(client))
        assert (view.is_locked, view.text_content) == (True, None)
    async with tenant_session(organisation.coach_a) as session:
        await curriculum.update_lesson(
            session, lesson_id=course.lessons[1][1], principal=organisation.coach_a, fields={"is_preview": True}
        )
    assert await read_texts(client) == [False, True]
    async with tenant_session(client) as session:
        await record_progress(session, user_id=require_id(client), messages=[say(course.lessons[0][0], 100)])
    assert await read_texts(client) == [True, True]


async def test_an_outline_is_for_everybody_and_a_drafts_for_its_teachers(organisation: Organisation) -> None:
    course = await write_course(organisation)
    draft = await write_course(organisation, (2,), publish=False)

    async def read_titles(reader: Principal, of: Course) -> list[str]:
        async with tenant_session(reader) as session:
            modules = await curriculum.get_program_outline(session, program_id=of.program_id, reader_id=reader.user_id)
            return [lesson.title for module in modules for lesson in module.lessons]

    everything = ["Lesson 1.1", "Lesson 1.2", "Lesson 1.3", "Lesson 2.1", "Lesson 2.2"]
    for name in ("client_c", "coach_b", "coach_a", "admin"):
        assert await read_titles(organisation.people[name], course) == everything
    await lock(organisation, course, is_published=False)
    assert await read_titles(organisation.client_c, course) == everything[:3]
    assert await read_titles(organisation.coach_a, course) == everything
    for name in ("coach_a", "admin"):
        assert len(await read_titles(organisation.people[name], draft)) == 2
    for name in ("client_a", "coach_b", "executive", "compliance", "evaluator"):
        with pytest.raises(learning.ProgramNotFound):
            await read_titles(organisation.people[name], draft)


async def test_new_order_is_whole_or_refused(organisation: Organisation) -> None:
    course = await write_course(organisation, (4,))
    author, lessons = organisation.coach_a, list(course.lessons[0])
    async with tenant_session(author) as session:
        await curriculum.reorder_lessons(
            session, module_id=course.modules[0], principal=author, lesson_ids=lessons[::-1]
        )
        for order in (lessons[:3], lessons + lessons[:1], []):
            with pytest.raises(curriculum.OrderIncomplete):
                await curriculum.reorder_lessons(
                    session, module_id=course.modules[0], principal=author, lesson_ids=order
                )
        stored = await session.execute(select(Lesson.id, Lesson.sequence_order).order_by(Lesson.sequence_order))
        assert [tuple(row) for row in stored] == list(zip(lessons[::-1], (1, 2, 3, 4), strict=True))


async def test_a_repeated_key_writes_once(organisation: Organisation) -> None:
    author = organisation.coach_a
    ids = set()
    for _ in range(2):
        async with tenant_session(author) as session:
            program = await programs.create_program(
                session, principal=author, fields={"title": "Once", "pricing_type": "free"}, key="a"
            )
            module = await curriculum.add_module(
                session, program_id=program.id, principal=author, fields={"title": "One"}, key="a"
            )
            lesson = await curriculum.add_lesson(
                session, module_id=module.id, principal=author, fields={"title": "One", "content_type": "text"}, key="a"
            )
            ids.add((program.id, module.id, lesson.id))
    assert len(ids) == 1
    async with tenant_session(author) as session:
        assert (await programs.get_program(session, program.id)).lesson_count == 1


async def test_the_log_names_what_people_did_and_not_what_triggers_counted(organisation: Organisation) -> None:
    course = await write_course(organisation, (1,))
    await enroll_free(organisation, course, organisation.client_a)
    async with tenant_session(organisation.client_a) as session:
        await record_progress(
            session, user_id=require_id(organisation.client_a), messages=[say(course.all_lessons[0], 50)]
        )
    async with tenant_session(organisation.compliance) as session:
        rows = (await session.execute(select(AuditLog).where(AuditLog.entity_schema == "learning"))).scalars().all()
    told = sorted((row.action, row.actor_id) for row in rows)
    coach, admin, client = (require_id(p) for p in (organisation.coach_a, organisation.admin, organisation.client_a))
    assert told == [
        ("enrollment_created", None), ("lesson_created", coach), ("lesson_progress_created", client),
        ("module_created", coach), ("program_created", coach), ("program_updated", admin),
    ]  # fmt: skip
    assert "Breathe" not in "".join(str(row.changes) for row in rows)
    async with tenant_session(organisation.admin) as session:
        assert await session.scalar(text("SELECT count(*) FROM learning.audit_log")) == 0
