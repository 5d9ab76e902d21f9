"""Programs, and the modules and lessons they are made of."""

from typing import Annotated, Final
from uuid import UUID

from fastapi import APIRouter, Query, status

from api.deps import IdempotencyKey, PrincipalDep, SessionDep, needs, needs_role
from api.errors import list_problem_responses
from api.pagination import CursorQuery, LimitQuery, Page, fetch_page
from api.schemas.learning import (
    Difficulty,
    LessonIn,
    LessonOut,
    LessonPatch,
    LessonsOut,
    ModuleIn,
    ModuleOut,
    ModulePatch,
    OrderIn,
    OutlineModuleOut,
    OutlineOut,
    ProgramIn,
    ProgramOut,
    ProgramPatch,
    ProgramStatus,
    Tier,
)
from db.models import Program
from domain import curriculum, programs

router = APIRouter(prefix="/v1", tags=["learning"])

READ: Final = [needs("read"), needs_role("client", "coach", "admin")]
WRITE: Final = [needs("write"), needs_role("coach", "admin")]
ADMIN: Final = [needs("admin"), needs_role("admin")]
CREATED: Final = status.HTTP_201_CREATED
GONE: Final = status.HTTP_204_NO_CONTENT


@router.get("/programs", operation_id="listPrograms", dependencies=READ, responses=list_problem_responses())
async def list_programs(  # noqa: PLR0917  # FastAPI passes them by name
    session: SessionDep,
    limit: LimitQuery = 20,
    cursor: CursorQuery = None,
    q: Annotated[str | None, Query(min_length=1, max_length=200, description="words to find")] = None,
    category: Annotated[str | None, Query(min_length=1, max_length=100)] = None,
    difficulty: Difficulty | None = None,
    tag: Annotated[str | None, Query(min_length=1, max_length=100)] = None,
    tier: Annotated[Tier | None, Query(description="only what this membership opens")] = None,
    instructor: Annotated[UUID | None, Query(description="only this person's")] = None,
    state: Annotated[
        ProgramStatus, Query(alias="status", description="drafts are listed for those who teach them")
    ] = "published",
) -> Page[ProgramOut]:
    """Read the catalogue, the newest programs first."""
    query = programs.search_programs(
        words=q and q.replace("\x00", " "), category=category, difficulty=difficulty, tag=tag, status=state, tier=tier,
        instructor_id=instructor,
    )  # fmt: skip
    order = (Program.created_at, Program.id)
    rows, following = await fetch_page(session, query, order=order, limit=limit, cursor=cursor)
    return Page(items=[ProgramOut.model_validate(row.Program) for row in rows], next_cursor=following)


@router.post(
    "/programs", operation_id="createProgram", dependencies=WRITE, status_code=CREATED,
    responses=list_problem_responses(409),
)  # fmt: skip
async def create_program(
    body: ProgramIn, principal: PrincipalDep, session: SessionDep, key: IdempotencyKey = None
) -> ProgramOut:
    """Begin a program as a draft."""
    row = await programs.create_program(session, principal=principal, fields=body.changes(), key=key)
    return ProgramOut.model_validate(row)


@router.get(
    "/programs/{program_id}", operation_id="getProgram", dependencies=READ, responses=list_problem_responses(404)
)
async def get_program(program_id: UUID, session: SessionDep) -> ProgramOut:
    """Read one program."""
    return ProgramOut.model_validate(await programs.get_program(session, program_id))


@router.patch(
    "/programs/{program_id}", operation_id="updateProgram", dependencies=WRITE,
    responses=list_problem_responses(404, 409),
)  # fmt: skip
async def update_program(
    program_id: UUID, body: ProgramPatch, principal: PrincipalDep, session: SessionDep
) -> ProgramOut:
    """Change what is said of a program you teach."""
    row = await programs.update_program(session, program_id=program_id, principal=principal, fields=body.changes())
    return ProgramOut.model_validate(row)


@router.post(
    "/programs/{program_id}/publish", operation_id="publishProgram", dependencies=ADMIN,
    responses=list_problem_responses(404, 409),
)  # fmt: skip
async def publish_program(program_id: UUID, session: SessionDep) -> ProgramOut:
    """Show a program to everyone and open it for enrolment."""
    return ProgramOut.model_validate(await programs.publish_program(session, program_id))


@router.post(
    "/programs/{program_id}/archive", operation_id="archiveProgram", dependencies=WRITE,
    responses=list_problem_responses(404),
)  # fmt: skip
async def archive_program(program_id: UUID, principal: PrincipalDep, session: SessionDep) -> ProgramOut:
    """Take no more enrolments; who takes it already goes on reading."""
    await programs.require_teacher(session, program_id=program_id, principal=principal)
    return ProgramOut.model_validate(await programs.archive_program(session, program_id))


@router.post(
    "/programs/{program_id}/withdraw", operation_id="withdrawProgram", dependencies=WRITE,
    responses=list_problem_responses(404, 409),
)  # fmt: skip
async def withdraw_program(program_id: UUID, principal: PrincipalDep, session: SessionDep) -> ProgramOut:
    """Make a program a draft again, where nobody has enrolled yet."""
    await programs.require_teacher(session, program_id=program_id, principal=principal)
    return ProgramOut.model_validate(await programs.withdraw_program(session, program_id))


@router.delete(
    "/programs/{program_id}", operation_id="deleteProgram", dependencies=ADMIN, status_code=GONE,
    responses=list_problem_responses(404, 409),
)  # fmt: skip
async def delete_program(program_id: UUID, session: SessionDep) -> None:
    """Hide a program from everybody; it is erased when its days of grace are over."""
    await programs.delete_program(session, program_id)


@router.get(
    "/programs/{program_id}/outline", operation_id="getProgramOutline", dependencies=READ,
    responses=list_problem_responses(404),
)  # fmt: skip
async def get_program_outline(program_id: UUID, principal: PrincipalDep, session: SessionDep) -> OutlineOut:
    """Read what a program is made of, with your progress; also before you enrol."""
    modules = await curriculum.get_program_outline(session, program_id=program_id, reader_id=principal.user_id)
    return OutlineOut(modules=[OutlineModuleOut.model_validate(module) for module in modules])


@router.post(
    "/programs/{program_id}/modules", operation_id="createModule", dependencies=WRITE, status_code=CREATED,
    responses=list_problem_responses(404, 409),
)  # fmt: skip
async def create_module(
    program_id: UUID, body: ModuleIn, principal: PrincipalDep, session: SessionDep, key: IdempotencyKey = None
) -> ModuleOut:
    """Add a module to a program you teach."""
    row = await curriculum.add_module(
        session, program_id=program_id, principal=principal, fields=body.changes(), key=key
    )
    return ModuleOut.model_validate(row)


@router.put(
    "/programs/{program_id}/modules/order", operation_id="reorderModules", dependencies=WRITE, status_code=GONE,
    responses=list_problem_responses(404),
)  # fmt: skip
async def reorder_modules(program_id: UUID, body: OrderIn, principal: PrincipalDep, session: SessionDep) -> None:
    """Put a program's modules into a new order."""
    await curriculum.reorder_modules(session, program_id=program_id, principal=principal, module_ids=body.ids)


@router.patch(
    "/modules/{module_id}", operation_id="updateModule", dependencies=WRITE, responses=list_problem_responses(404, 409)
)
async def update_module(module_id: UUID, body: ModulePatch, principal: PrincipalDep, session: SessionDep) -> ModuleOut:
    """Change a module."""
    row = await curriculum.update_module(session, module_id=module_id, principal=principal, fields=body.changes())
    return ModuleOut.model_validate(row)


@router.delete(
    "/modules/{module_id}", operation_id="deleteModule", dependencies=WRITE, status_code=GONE,
    responses=list_problem_responses(404),
)  # fmt: skip
async def delete_module(module_id: UUID, principal: PrincipalDep, session: SessionDep) -> None:
    """Delete a module with its lessons and everyone's progress in them."""
    await curriculum.delete_module(session, module_id=module_id, principal=principal)


@router.get(
    "/modules/{module_id}/lessons", operation_id="listLessons", dependencies=READ, responses=list_problem_responses(404)
)
async def list_lessons(module_id: UUID, principal: PrincipalDep, session: SessionDep) -> LessonsOut:
    """Read the lessons of a module you take, with your progress; others see its previews."""
    views = await curriculum.list_module_lessons(session, module_id=module_id, reader_id=principal.user_id)
    if not views:
        await curriculum.get_module(session, module_id)
    return LessonsOut(items=[LessonOut.model_validate(view) for view in views])


@router.post(
    "/modules/{module_id}/lessons", operation_id="createLesson", dependencies=WRITE, status_code=CREATED,
    responses=list_problem_responses(404, 409),
)  # fmt: skip
async def create_lesson(
    module_id: UUID, body: LessonIn, principal: PrincipalDep, session: SessionDep, key: IdempotencyKey = None
) -> LessonOut:
    """Add a lesson to a module of a program you teach."""
    row = await curriculum.add_lesson(session, module_id=module_id, principal=principal, fields=body.changes(), key=key)
    view = await curriculum.get_lesson(session, lesson_id=row.id, reader_id=principal.user_id)
    return LessonOut.model_validate(view)


@router.put(
    "/modules/{module_id}/lessons/order", operation_id="reorderLessons", dependencies=WRITE, status_code=GONE,
    responses=list_problem_responses(404),
)  # fmt: skip
async def reorder_lessons(module_id: UUID, body: OrderIn, principal: PrincipalDep, session: SessionDep) -> None:
    """Put a module's lessons into a new order."""
    await curriculum.reorder_lessons(session, module_id=module_id, principal=principal, lesson_ids=body.ids)


@router.get("/lessons/{lesson_id}", operation_id="getLesson", dependencies=READ, responses=list_problem_responses(404))
async def get_lesson(lesson_id: UUID, principal: PrincipalDep, session: SessionDep) -> LessonOut:
    """Read a lesson of a program you take, or a preview."""
    view = await curriculum.get_lesson(session, lesson_id=lesson_id, reader_id=principal.user_id)
    return LessonOut.model_validate(view)


@router.patch(
    "/lessons/{lesson_id}", operation_id="updateLesson", dependencies=WRITE, responses=list_problem_responses(404, 409)
)
async def update_lesson(lesson_id: UUID, body: LessonPatch, principal: PrincipalDep, session: SessionDep) -> LessonOut:
    """Change a lesson, or move it to another module of its program."""
    await curriculum.update_lesson(session, lesson_id=lesson_id, principal=principal, fields=body.changes())
    view = await curriculum.get_lesson(session, lesson_id=lesson_id, reader_id=principal.user_id)
    return LessonOut.model_validate(view)


@router.delete(
    "/lessons/{lesson_id}", operation_id="deleteLesson", dependencies=WRITE, status_code=GONE,
    responses=list_problem_responses(404),
)  # fmt: skip
async def delete_lesson(lesson_id: UUID, principal: PrincipalDep, session: SessionDep) -> None:
    """Delete a lesson with everyone's progress in it."""
    await curriculum.delete_lesson(session, lesson_id=lesson_id, principal=principal)
