"""What a program is made of: its modules and lessons, and what of them a reader gets to see."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ARRAY, RowMapping, Uuid, cast, delete, func, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from core.errors import Conflict, Invalid, NotFound
from db.models import Lesson, Module, Program
from db.session import Principal
from db.violations import refusing
from domain.identity import bound_tenant
from domain.learning import ProgramNotFound
from domain.programs import name_id, require_teacher


class ModuleNotFound(NotFound):
    """There is no such module that you may see; read the program's outline to find its id."""


class LessonNotFound(NotFound):
    """There is no such lesson that you may read; enrol in its program first, or check the id."""


class PlaceTaken(Conflict):
    """Something else stands at this place; leave `sequence_order` out to come last, or reorder all."""


class OrderIncomplete(Invalid):
    """The new order must name everything there is exactly once; read the list again and send all ids."""


class ModuleElsewhere(Invalid):
    """The module named is not one of this program; take one from its outline."""


_RULES = {
    "uq_modules_tenant_id_program_id_sequence_order": PlaceTaken,
    "uq_lessons_tenant_id_module_id_sequence_order": PlaceTaken,
    "fk_modules_tenant_id_program_id_unlock_after_module_id": ModuleElsewhere,
}


@dataclass(frozen=True)
class LessonView:
    """One lesson with the reader's own progress; texts and links are empty while its module is locked for them."""

    id: UUID
    program_id: UUID
    module_id: UUID
    title: str
    description: str | None
    sequence_order: int
    content_type: str
    video_url: str | None
    video_duration_seconds: int | None
    text_content: str | None
    resource_urls: list[Any] | None
    is_preview: bool
    estimated_minutes: int | None
    is_published: bool
    progress_percent: int
    time_spent_seconds: int
    last_position_seconds: int | None
    completed_at: datetime | None
    is_locked: bool


@dataclass(frozen=True)
class OutlineLesson:
    """One line of a program's outline, with the reader's own progress."""

    id: UUID
    title: str
    sequence_order: int
    content_type: str
    is_preview: bool
    estimated_minutes: int | None
    video_duration_seconds: int | None
    progress_percent: int
    completed_at: datetime | None


@dataclass(frozen=True)
class OutlineModule:
    """One chapter of a program's outline."""

    id: UUID
    title: str
    description: str | None
    sequence_order: int
    unlock_date: datetime | None
    unlock_after_module_id: UUID | None
    lessons: tuple[OutlineLesson, ...]


# Access pattern P2 of seed 001 §4.1. Row-level security stands for the seed's join of enrolments: it shows lessons to
# those who take or teach the program, and previews to all. Whether the module is open is asked once a statement.
_LESSONS = """
WITH place AS MATERIALIZED (
    SELECT m.tenant_id, m.id, NOT (
        (SELECT current_setting('app.role')) IN ('admin', 'system') OR p.instructor_id = :reader
        OR coalesce(p.co_instructors ? CAST(:reader AS text), false)
        OR (m.unlock_date IS NULL AND m.unlock_after_module_id IS NULL) OR learning.is_open(m.id, :reader)) AS is_locked
    FROM learning.modules m JOIN learning.programs p ON p.tenant_id = m.tenant_id AND p.id = m.program_id
    WHERE m.id = {module})
SELECT l.id, l.program_id, l.module_id, l.title, l.description, l.sequence_order, l.content_type, l.video_url,
       l.video_duration_seconds, l.text_content, l.resource_urls, l.is_preview, l.estimated_minutes, l.is_published,
       coalesce(lp.progress_percent, 0) AS progress_percent, coalesce(lp.time_spent_seconds, 0) AS time_spent_seconds,
       lp.last_position_seconds, lp.completed_at, place.is_locked AND NOT l.is_preview AS is_locked
FROM place
JOIN learning.lessons l ON l.tenant_id = place.tenant_id AND l.module_id = place.id
LEFT JOIN learning.lesson_progress lp ON lp.tenant_id = l.tenant_id AND lp.lesson_id = l.id AND lp.user_id = :reader
{only} ORDER BY l.sequence_order
"""
_LESSONS_OF_MODULE = text(_LESSONS.format(module=":module_id", only=""))
_ONE_LESSON = text(
    _LESSONS.format(
        module="(SELECT o.module_id FROM learning.lessons o WHERE o.id = :lesson_id)", only="WHERE l.id = :lesson_id"
    )
)
_OUTLINE = text("""
SELECT o.*, coalesce(lp.progress_percent, 0) AS progress_percent, lp.completed_at
FROM learning.outline(:program_id) o
LEFT JOIN learning.lesson_progress lp ON lp.lesson_id = o.lesson_id AND lp.user_id = :reader
ORDER BY o.module_order, o.module_id, o.lesson_order
""")


def _show(row: RowMapping) -> LessonView:
    view = LessonView(**row)
    return replace(view, video_url=None, text_content=None, resource_urls=None) if view.is_locked else view


async def list_module_lessons(session: AsyncSession, *, module_id: UUID, reader_id: UUID | None) -> list[LessonView]:
    """Return the module's lessons that the session may see, in order, with the reader's progress (seed 001 P2)."""
    rows = await session.execute(_LESSONS_OF_MODULE, {"module_id": module_id, "reader": reader_id})
    return [_show(row) for row in rows.mappings()]


async def get_lesson(session: AsyncSession, *, lesson_id: UUID, reader_id: UUID | None) -> LessonView:
    """Return one lesson with the reader's progress; raises `LessonNotFound`."""
    row = (await session.execute(_ONE_LESSON, {"lesson_id": lesson_id, "reader": reader_id})).mappings().one_or_none()
    if row is None:
        raise LessonNotFound
    return _show(row)


async def get_program_outline(
    session: AsyncSession, *, program_id: UUID, reader_id: UUID | None
) -> tuple[OutlineModule, ...]:
    """Return what the program is made of, without texts, also to those who have not enrolled.

    Raises `ProgramNotFound`.
    """
    rows = (await session.execute(_OUTLINE, {"program_id": program_id, "reader": reader_id})).all()
    if not rows and await session.scalar(select(Program.id).where(Program.id == program_id)) is None:
        raise ProgramNotFound
    lessons: dict[UUID, list[OutlineLesson]] = {}
    for row in rows:
        listed = lessons.setdefault(row.module_id, [])
        if row.lesson_id is not None:
            listed.append(
                OutlineLesson(
                    row.lesson_id, row.lesson_title, row.lesson_order, row.content_type, row.is_preview,
                    row.estimated_minutes, row.video_duration_seconds, row.progress_percent, row.completed_at,
                )
            )  # fmt: skip
    return tuple(
        OutlineModule(
            row.module_id, row.module_title, row.module_description, row.module_order, row.unlock_date,
            row.unlock_after_module_id, tuple(lessons[row.module_id]),
        )
        for row in {row.module_id: row for row in rows}.values()
    )  # fmt: skip


async def add_module(
    session: AsyncSession, *, program_id: UUID, principal: Principal, fields: Mapping[str, Any], key: str | None = None
) -> Module:
    """Add a module, at the end unless a place is given; the same idempotency key returns the one made first.

    Raises `PlaceTaken`, `ModuleElsewhere`, `NotTeaching`.
    """
    await require_teacher(session, program_id=program_id, principal=principal)
    await session.execute(select(func.learning.lock_structure(program_id, True)))
    last = select(func.coalesce(func.max(Module.sequence_order), 0) + 1).where(Module.program_id == program_id)
    values = {"sequence_order": last.scalar_subquery(), **fields}
    values |= {"tenant_id": await bound_tenant(session), "program_id": program_id}
    values["id"] = name_id(principal, "module", key)
    with refusing(_RULES):
        await session.execute(insert(Module).values(values).on_conflict_do_nothing(index_elements=("tenant_id", "id")))
    return await get_module(session, values["id"])


async def get_module(session: AsyncSession, module_id: UUID) -> Module:
    """Return the module; raises `ModuleNotFound`."""
    row = await session.scalar(select(Module).where(Module.id == module_id).execution_options(populate_existing=True))
    if row is None:
        raise ModuleNotFound
    return row


async def update_module(
    session: AsyncSession, *, module_id: UUID, principal: Principal, fields: Mapping[str, Any]
) -> Module:
    """Change the module; unpublishing takes its lessons out of everyone's count. Raises as `add_module`."""
    await _hold_module(session, module_id, principal)
    if fields:
        with refusing(_RULES):
            await session.execute(update(Module).where(Module.id == module_id).values(**fields, updated_at=func.now()))
    return await get_module(session, module_id)


async def delete_module(session: AsyncSession, *, module_id: UUID, principal: Principal) -> None:
    """Delete the module with its lessons and everyone's progress in them."""
    await _hold_module(session, module_id, principal)
    await session.execute(delete(Module).where(Module.id == module_id))


async def reorder_modules(
    session: AsyncSession, *, program_id: UUID, principal: Principal, module_ids: Sequence[UUID]
) -> None:
    """Put the program's modules into this order, in one statement; raises `OrderIncomplete`."""
    await require_teacher(session, program_id=program_id, principal=principal)
    await session.execute(select(func.learning.lock_structure(program_id, True)))
    await _reorder(session, Module, set(await session.scalars(
        select(Module.id).where(Module.program_id == program_id))), module_ids)  # fmt: skip


async def add_lesson(
    session: AsyncSession, *, module_id: UUID, principal: Principal, fields: Mapping[str, Any], key: str | None = None
) -> Lesson:
    """Add a lesson, at the end unless a place is given; the same idempotency key returns the one made first.

    Raises `PlaceTaken`, `NotTeaching`.
    """
    module = await _hold_module(session, module_id, principal)
    last = select(func.coalesce(func.max(Lesson.sequence_order), 0) + 1).where(Lesson.module_id == module_id)
    values = {"sequence_order": last.scalar_subquery(), **fields}
    values |= {"tenant_id": module.tenant_id, "program_id": module.program_id, "module_id": module_id}
    values["id"] = name_id(principal, "lesson", key)
    with refusing(_RULES):
        await session.execute(insert(Lesson).values(values).on_conflict_do_nothing(index_elements=("tenant_id", "id")))
    return await _read_lesson(session, values["id"])


async def update_lesson(
    session: AsyncSession, *, lesson_id: UUID, principal: Principal, fields: Mapping[str, Any]
) -> Lesson:
    """Change the lesson or move it to another module of its program; raises `PlaceTaken`, `ModuleElsewhere`."""
    lesson = await _hold_lesson(session, lesson_id, principal)
    target = fields.get("module_id", lesson.module_id)
    if target != lesson.module_id and (await get_module(session, target)).program_id != lesson.program_id:
        raise ModuleElsewhere
    if fields:
        with refusing(_RULES):
            await session.execute(update(Lesson).where(Lesson.id == lesson_id).values(**fields, updated_at=func.now()))
    return await _read_lesson(session, lesson_id)


async def delete_lesson(session: AsyncSession, *, lesson_id: UUID, principal: Principal) -> None:
    """Delete the lesson with everyone's progress in it."""
    await _hold_lesson(session, lesson_id, principal)
    await session.execute(delete(Lesson).where(Lesson.id == lesson_id))


async def reorder_lessons(
    session: AsyncSession, *, module_id: UUID, principal: Principal, lesson_ids: Sequence[UUID]
) -> None:
    """Put the module's lessons into this order, in one statement; raises `OrderIncomplete`."""
    await _hold_module(session, module_id, principal)
    await _reorder(session, Lesson, set(await session.scalars(
        select(Lesson.id).where(Lesson.module_id == module_id))), lesson_ids)  # fmt: skip


async def _reorder(session: AsyncSession, kind: type[Module | Lesson], there: set[UUID], order: Sequence[UUID]) -> None:
    if len(order) != len(there) or set(order) != there:
        raise OrderIncomplete
    # The unique place is checked when the statement ends, so neighbours may change places.
    places = func.array_position(cast(list(order), ARRAY(Uuid)), kind.id)
    await session.execute(
        update(kind).where(kind.id.in_(order), kind.sequence_order != places).values(sequence_order=places),
        execution_options={"synchronize_session": False},
    )


async def _hold_module(session: AsyncSession, module_id: UUID, principal: Principal) -> Module:
    module = await get_module(session, module_id)
    await require_teacher(session, program_id=module.program_id, principal=principal)
    await session.execute(select(func.learning.lock_structure(module.program_id, True)))
    return module


async def _hold_lesson(session: AsyncSession, lesson_id: UUID, principal: Principal) -> Lesson:
    lesson = await _read_lesson(session, lesson_id)
    await require_teacher(session, program_id=lesson.program_id, principal=principal)
    await session.execute(select(func.learning.lock_structure(lesson.program_id, True)))
    return lesson


async def _read_lesson(session: AsyncSession, lesson_id: UUID) -> Lesson:
    row = await session.scalar(select(Lesson).where(Lesson.id == lesson_id).execution_options(populate_existing=True))
    if row is None:
        raise LessonNotFound
    return row
