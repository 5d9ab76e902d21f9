"""Programs from draft to archive: who writes them, and what must be there before people see them."""

import re
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID, uuid4, uuid5

from sqlalchemy import ColumnElement, Select, cast, func, or_, select, update
from sqlalchemy.dialects.postgresql import JSONB, insert
from sqlalchemy.ext.asyncio import AsyncSession

from core.errors import AppError, Conflict, Forbidden, NotFound
from db.models import Enrollment, Lesson, Program
from db.session import Principal
from db.violations import refusing
from domain.comms import publish
from domain.identity import bound_tenant
from domain.learning import ProgramNotFound


class NotTeaching(Forbidden):
    """You do not teach this program; ask its instructor or an administrator."""


class ProgramSlugTaken(Conflict):
    """Another program has this slug; choose a different one."""


class ProgramNotReady(Conflict):
    """This program can't be published yet; give it at least one published lesson and, if it is sold, a price."""


class InstructorNotFound(NotFound):
    """There is no such person in your organisation to teach this; check the id."""


class ProgramStepRefused(Conflict):
    """This program can't change that way as it stands; read it again and choose another step."""


class CapacityTooSmall(Conflict):
    """More people have a seat than that; choose a larger capacity or let some of them go first."""


_RULES: dict[str, type[AppError]] = {
    "uq_programs_tenant_id_slug": ProgramSlugTaken,
    "ck_programs_capacity": CapacityTooSmall,
}
_RULES |= {
    "ck_programs_published_has_price": ProgramNotReady,
    "fk_programs_tenant_id_instructor_id": InstructorNotFound,
}


def make_slug(title: str) -> str:
    """Return the title in the letters of an address."""
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")[:200] or "program"


def name_id(principal: Principal, kind: str, key: str | None) -> UUID:
    """Return the id of a new row, the same again for the same person and idempotency key."""
    if key is None or principal.user_id is None:
        return uuid4()
    return uuid5(principal.user_id, f"{principal.tenant_id}|{kind}|{key}")


async def create_program(
    session: AsyncSession, *, principal: Principal, fields: Mapping[str, Any], key: str | None = None
) -> Program:
    """Add a draft: a coach's own, or for the instructor an administrator names.

    The same idempotency key returns the program made first.
    Raises `ProgramSlugTaken`, `NotTeaching`, `InstructorNotFound`.
    """
    values = {"instructor_id": principal.user_id, "slug": make_slug(str(fields["title"])), **fields}
    if principal.role == "coach" and values["instructor_id"] != principal.user_id:
        raise NotTeaching("A coach's program is taught by that coach; ask an administrator to name someone else.")
    values |= {"tenant_id": await bound_tenant(session), "id": name_id(principal, "program", key)}
    with refusing(_RULES):
        await session.execute(insert(Program).values(values).on_conflict_do_nothing(index_elements=("tenant_id", "id")))
    return await get_program(session, values["id"])


async def get_program(session: AsyncSession, program_id: UUID) -> Program:
    """Return the program; raises `ProgramNotFound`, for deleted ones too."""
    row = await session.scalar(
        select(Program)
        .where(Program.id == program_id, Program.deleted_at.is_(None))
        .execution_options(populate_existing=True)
    )
    if row is None:
        raise ProgramNotFound
    return row


def teaches(principal: Principal, program: Program) -> bool:
    """Tell whether this person may write the program and grade its takers."""
    if principal.role in ("admin", "system"):
        return True
    people = {str(program.instructor_id), *map(str, program.co_instructors or [])}
    return principal.role == "coach" and str(principal.user_id) in people


async def require_teacher(session: AsyncSession, *, program_id: UUID, principal: Principal) -> Program:
    """Return the program if this person teaches or administers it; raises `ProgramNotFound`, `NotTeaching`."""
    program = await get_program(session, program_id)
    if not teaches(principal, program):
        raise NotTeaching
    return program


async def update_program(
    session: AsyncSession, *, program_id: UUID, principal: Principal, fields: Mapping[str, Any]
) -> Program:
    """Change what is said of a program; raises `ProgramSlugTaken`, `CapacityTooSmall`, `NotTeaching`."""
    await require_teacher(session, program_id=program_id, principal=principal)
    if fields:
        with refusing(_RULES):
            await session.execute(
                update(Program).where(Program.id == program_id).values(**fields, updated_at=func.now())
            )
    return await get_program(session, program_id)


async def publish_program(session: AsyncSession, program_id: UUID) -> Program:
    """Show the program to everyone and open it for enrolment; being published already changes nothing.

    The session is an administrator's or, after an approval, the system's: the database refuses a coach's.
    Raises `ProgramNotReady`.
    """
    program = await _lock(session, program_id)
    if program.status == "published":
        return program
    counted = select(func.count()).where(Lesson.program_id == program_id, Lesson.is_published)
    if not await session.scalar(counted):
        raise ProgramNotReady("This program has no published lesson; add one before you publish it.")
    if program.pricing_type == "one_time" and program.price_amount is None:
        raise ProgramNotReady("This program is sold but has no price; set one before you publish it.")
    await _set_status(session, program_id, "published")
    return await get_program(session, program_id)


async def archive_program(session: AsyncSession, program_id: UUID) -> Program:
    """Take no more enrolments; who takes it already goes on reading."""
    program = await _lock(session, program_id)
    if program.status != "archived":
        await _set_status(session, program_id, "archived")
    return await get_program(session, program_id)


async def withdraw_program(session: AsyncSession, program_id: UUID) -> Program:
    """Make it a draft again; raises `ProgramStepRefused` where anybody enrolled."""
    program = await _lock(session, program_id)
    if program.enrollment_count:
        raise ProgramStepRefused("People have enrolled in this program; archive it instead.")
    if program.status != "draft":
        await _set_status(session, program_id, "draft")
    return await get_program(session, program_id)


async def delete_program(session: AsyncSession, program_id: UUID) -> None:
    """Hide the program from everybody; rows go when its days of grace end. Raises `ProgramStepRefused`."""
    await _lock(session, program_id)
    taking = select(func.count()).where(Enrollment.program_id == program_id, Enrollment.status == "active")
    if await session.scalar(taking):
        raise ProgramStepRefused("People are taking this program; archive it, and delete it when they are through.")
    await session.execute(
        update(Program).where(Program.id == program_id).values(deleted_at=func.now(), updated_at=func.now())
    )


async def _lock(session: AsyncSession, program_id: UUID) -> Program:
    """Hold the program's structure and lessons, in the order all writers take them (migration 0013)."""
    await session.execute(select(func.learning.lock_structure(program_id, True)))
    await session.execute(
        select(Lesson.id).where(Lesson.program_id == program_id).order_by(Lesson.id).with_for_update(key_share=True)
    )
    return await get_program(session, program_id)


async def _set_status(session: AsyncSession, program_id: UUID, status: str) -> None:
    moments = {"published": {"published_at": func.now()}, "archived": {"archived_at": func.now()}}.get(status, {})
    await session.execute(
        update(Program).where(Program.id == program_id).values(status=status, updated_at=func.now(), **moments)
    )
    await publish(session, f"program_{status}", {"program_id": program_id}, key=f"program {program_id}")


def search_programs(
    *,
    words: str | None = None,
    category: str | None = None,
    difficulty: str | None = None,
    tag: str | None = None,
    status: str | None = None,
    tier: str | None = None,
    instructor_id: UUID | None = None,
) -> Select[tuple[Program]]:
    """Return the query for the programs the reader may see; `words` as people type them into a search box."""
    query = select(Program).where(Program.deleted_at.is_(None))
    conditions: Sequence[tuple[object, ColumnElement[bool]]] = (
        (words, _document().op("@@")(func.websearch_to_tsquery("english", words))),
        (category, Program.category == category),
        (difficulty, Program.difficulty_level == difficulty),
        (tag, Program.tags.contains(cast([tag], JSONB))),
        (status, Program.status == status),
        (tier, or_(Program.tier_access.is_(None), Program.tier_access.contains(cast([tier], JSONB)))),
        (instructor_id, Program.instructor_id == instructor_id),
    )
    return query.where(*(condition for value, condition in conditions if value is not None))


def _document() -> ColumnElement[Any]:
    """Return the words searched, in the form the index on them has."""
    return func.to_tsvector(
        "english", func.coalesce(Program.title, "").op("||")(" ").op("||")(func.coalesce(Program.description, ""))
    )
