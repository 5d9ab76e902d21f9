"""Projects: bringing one, having it approved, and working on it together."""

from typing import Any, Final, Literal
from uuid import UUID

from sqlalchemy import Select, case, delete, func, literal, literal_column, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.sql.elements import ColumnElement

from core.errors import Conflict, Forbidden, NotFound
from db.models import Project, ProjectCollaborator, ProjectSkill
from db.session import Principal
from domain.comms import notify
from domain.governance import name_action
from domain.people import show_person
from domain.posts import READER, TENANT, my_reactions, name_id, name_slug


class ProjectNotFound(NotFound):
    """There is no such project that you may see; list the projects to find the ids of those there are."""


class ProjectNotYours(Forbidden):
    """Only who brought the project may do this; ask them."""


class OwnProjectReviewed(Forbidden):
    """Nobody approves a project of their own; ask another administrator."""


class OwnProjectJoined(Conflict):
    """You lead this project, so you can't ask to join it; add your collaborators instead."""


class CollaborationNotFound(NotFound):
    """There is no such request to work on this project; list its collaborators to see who asked."""


_APPROVED: Final[ColumnElement[str]] = literal_column("'approved'")


async def submit_project(
    session: AsyncSession, *, author: Principal, title: str, fields: dict[str, Any], key: str | None = None
) -> UUID:
    """Store the project, which waits for an administrator's review, and return its id; one id for one idempotency key.

    `fields` are the other columns an author writes.
    """
    project_id = name_id(author, "project", key)
    await session.execute(
        insert(Project)
        .values(
            tenant_id=TENANT, id=project_id, submitted_by=author.user_id, title=title,
            slug=name_slug(title, project_id), **fields,
        )
        .on_conflict_do_nothing(index_elements=(Project.tenant_id, Project.id))
    )  # fmt: skip
    return project_id


def _with_people() -> Select[Any]:
    return select(Project, *show_person(Project.tenant_id, Project.submitted_by), my_reactions("project", Project.id))


def select_projects(
    *,
    status: str = "approved",
    stage: str | None = None,
    support: str | None = None,
    submitted_by: UUID | None = None,
    skill_id: UUID | None = None,
    words: str | None = None,
) -> Select[Any]:
    """Return projects with who brought them and the reader's own reactions.

    Order it by `(published_at, id)` where approved, else by `(created_at, id)`.
    """
    query = _with_people().where(Project.status == (_APPROVED if status == "approved" else status))
    if stage is not None:
        query = query.where(Project.stage == stage)
    if support is not None:
        query = query.where(Project.support_needed.contains([support]))
    if submitted_by is not None:
        query = query.where(Project.submitted_by == submitted_by)
    if skill_id is not None:
        query = query.where(Project.id.in_(select(ProjectSkill.project_id).where(ProjectSkill.skill_id == skill_id)))
    if words is not None:
        text = Project.title + " " + Project.problem_statement + " " + Project.solution_description
        found = func.to_tsvector("english", text).op("@@")(func.websearch_to_tsquery("english", words))
        query = query.where(found)
    return query


async def get_project(session: AsyncSession, project_id: UUID) -> Any:  # noqa: ANN401  # a row of select_projects
    """Return the project as lists show it, whatever its status; raises `ProjectNotFound`."""
    query = _with_people().where(Project.id == project_id).execution_options(populate_existing=True)
    row = (await session.execute(query)).one_or_none()
    if row is None:
        raise ProjectNotFound
    return row


async def edit_project(session: AsyncSession, *, project_id: UUID, changes: dict[str, Any]) -> None:
    """Change the reader's own project; what was reviewed before is reviewed again, and `archived` puts it away.

    Raises `ProjectNotFound`, `ProjectNotYours`.
    """
    values = {name: value for name, value in changes.items() if name != "archived"}
    if "archived" in changes:
        # What comes back is reviewed again: its status at the time of archiving is not kept.
        back = case((Project.status == "archived", "pending"), else_=Project.status)
        values["status"] = "archived" if changes["archived"] else back
    changed = await session.scalar(
        update(Project)
        .where(Project.id == project_id, Project.submitted_by == READER)
        .values(**values, updated_at=func.now())
        .returning(Project.id)
        .execution_options(synchronize_session=False)
    )
    if changed is None:
        await get_project(session, project_id)
        raise ProjectNotYours


async def delete_project(session: AsyncSession, project_id: UUID) -> None:
    """Delete the reader's own project with all that hangs on it; raises `ProjectNotFound`, `ProjectNotYours`."""
    gone = await session.scalar(
        delete(Project)
        .where(Project.id == project_id, Project.submitted_by == READER)
        .returning(Project.id)
        .execution_options(synchronize_session=False)
    )
    if gone is None:
        await get_project(session, project_id)
        raise ProjectNotYours


async def review_project(
    session: AsyncSession,
    *,
    reviewer: Principal,
    project_id: UUID,
    status: Literal["approved", "rejected", "archived"],
    notes: str | None = None,
) -> None:
    """Approve, reject or put away a project, in the administrator's own session, and tell who brought it.

    Raises `ProjectNotFound`, `OwnProjectReviewed`.
    """
    await name_action(session, f"project_{status}")
    row = (
        await session.execute(
            update(Project)
            .where(Project.id == project_id, Project.submitted_by.is_distinct_from(reviewer.user_id))
            .values(status=status, reviewed_by=reviewer.user_id, review_notes=notes, updated_at=func.now())
            .returning(Project.id, Project.submitted_by)
            .execution_options(synchronize_session=False)
        )
    ).one_or_none()
    if row is None:
        await get_project(session, project_id)
        raise OwnProjectReviewed
    if row.submitted_by is not None:
        await notify(
            session, user_id=row.submitted_by, kind="project", title="About your project",
            message=f"Your project was {status}.", reference=("project", project_id), actor_id=reviewer.user_id,
        )  # fmt: skip


async def ask_to_join(
    session: AsyncSession, *, reader: Principal, project_id: UUID, role: str | None, message: str | None
) -> UUID:
    """Ask to work on a project the reader sees and return the request's id; asking again changes nothing.

    Raises `ProjectNotFound`, `OwnProjectJoined`.
    """
    project = (await get_project(session, project_id)).Project
    if project.submitted_by == reader.user_id:
        raise OwnProjectJoined
    made = await session.scalar(
        insert(ProjectCollaborator)
        .values(tenant_id=TENANT, project_id=project_id, user_id=reader.user_id, role=role, message=message)
        .on_conflict_do_nothing()
        .returning(ProjectCollaborator.id)
    )
    if made is None:
        found = await session.scalar(
            select(ProjectCollaborator.id).where(
                ProjectCollaborator.project_id == project_id, ProjectCollaborator.user_id == READER
            )
        )
        return UUID(str(found))
    if project.submitted_by is not None:
        await notify(
            session, user_id=project.submitted_by, kind="collaboration", title="Someone wants to join your project",
            message="Open your project to answer.", reference=("project", project_id), actor_id=reader.user_id,
        )  # fmt: skip
    return UUID(str(made))


async def answer_collaborator(
    session: AsyncSession, *, leader: Principal, project_id: UUID, collaborator_id: UUID, accept: bool
) -> None:
    """Let the person join, or not, and tell them; only who brought the project may. Raises `CollaborationNotFound`."""
    await name_action(session, "project_collaborator_accepted" if accept else "project_collaborator_declined")
    person = await session.scalar(
        update(ProjectCollaborator)
        .where(
            ProjectCollaborator.id == collaborator_id, ProjectCollaborator.project_id == project_id,
            select(literal(1)).where(Project.id == project_id, Project.submitted_by == READER).exists(),
        )
        .values(
            status="accepted" if accept else "declined",
            answered_at=func.now(),
            joined_at=func.coalesce(ProjectCollaborator.joined_at, func.now()) if accept else None,
        )
        .returning(ProjectCollaborator.user_id)
        .execution_options(synchronize_session=False)
    )  # fmt: skip
    if person is None:
        raise CollaborationNotFound
    await notify(
        session, user_id=person, kind="collaboration", title="About your request to join a project",
        message="You are on the project now." if accept else "The project goes on without you.",
        reference=("project", project_id), actor_id=leader.user_id,
    )  # fmt: skip


async def remove_collaborator(session: AsyncSession, *, project_id: UUID, collaborator_id: UUID) -> None:
    """Leave the project, withdraw the request, or as its leader remove the person; raises `CollaborationNotFound`."""
    gone = await session.scalar(
        delete(ProjectCollaborator)
        .where(ProjectCollaborator.id == collaborator_id, ProjectCollaborator.project_id == project_id)
        .returning(ProjectCollaborator.id)
        .execution_options(synchronize_session=False)
    )
    if gone is None:
        raise CollaborationNotFound


def select_collaborators(project_id: UUID) -> Select[Any]:
    """Return who works on the project, with their names; its leader and who asked see requests too."""
    return select(
        ProjectCollaborator, show_person(ProjectCollaborator.tenant_id, ProjectCollaborator.user_id)[0]
    ).where(ProjectCollaborator.project_id == project_id)
