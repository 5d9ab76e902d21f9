"""Programs with modules and lessons, published and ready to be taken."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

from db.session import Principal, tenant_session
from domain import curriculum, learning, programs
from domain.progress import ProgressMessage
from tests.factories.people import Organisation
from tests.factories.sessions import require_id


@dataclass(frozen=True)
class Course:
    """One program: its modules in order, and the lessons of each in order."""

    program_id: UUID
    modules: tuple[UUID, ...]
    lessons: tuple[tuple[UUID, ...], ...]

    @property
    def all_lessons(self) -> list[UUID]:
        return [lesson for module in self.lessons for lesson in module]


async def write_course(
    organisation: Organisation,
    shape: tuple[int, ...] = (3, 2),
    *,
    publish: bool = True,
    instructor: Principal | None = None,
    **fields: Any,
) -> Course:
    """Write a program of `instructor` (coach_a); `shape` says how many lessons each module has."""
    instructor = instructor or organisation.coach_a
    values = {"title": "Speaking with ease", "slug": f"speaking-{uuid4().hex[:8]}", "pricing_type": "free"} | fields
    async with tenant_session(instructor) as session:
        program = await programs.create_program(session, principal=instructor, fields=values)
        modules, lessons = [], []
        for chapter, count in enumerate(shape, 1):
            module = await curriculum.add_module(
                session, program_id=program.id, principal=instructor, fields={"title": f"Chapter {chapter}"}
            )
            modules.append(module.id)
            made = [
                await curriculum.add_lesson(
                    session, module_id=module.id, principal=instructor,
                    fields={"title": f"Lesson {chapter}.{n}", "content_type": "text",
                            "text_content": f"Breathe before you answer, {chapter}.{n}."},
                )
                for n in range(1, count + 1)
            ]  # fmt: skip
            lessons.append(tuple(lesson.id for lesson in made))
    if publish:
        async with tenant_session(organisation.admin) as session:
            await programs.publish_program(session, program.id)
    return Course(program.id, tuple(modules), tuple(lessons))


async def enroll_free(organisation: Organisation, course: Course, person: Principal) -> UUID:
    """Enrol the person in a free program and return the enrolment's id."""
    async with tenant_session(organisation.system) as session:
        enrollment = await learning.enroll(
            session, program_id=course.program_id, user_id=require_id(person), payment_type="free"
        )
        return enrollment.id


def say(lesson_id: UUID, percent: int, seconds: int = 0, **fields: Any) -> ProgressMessage:
    """Return a new progress message."""
    return ProgressMessage(uuid4(), lesson_id, percent, seconds, **fields)
