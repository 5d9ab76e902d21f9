"""Projects people bring to their community, and who works on them."""

from typing import Annotated, Any, Final
from uuid import UUID

from fastapi import APIRouter, Query, status

from api.deps import IdempotencyKey, PrincipalDep, SessionDep, needs, needs_role
from api.errors import list_problem_responses
from api.pagination import CursorQuery, LimitQuery, Page, fetch_page
from api.routes.community import WordsQuery, show_author
from api.schemas.community import (
    CollaborationAnswer,
    CollaborationIn,
    CollaboratorOut,
    ProjectIn,
    ProjectOut,
    ProjectPatch,
    ProjectStage,
    ProjectStatus,
    ReviewIn,
    Support,
)
from db.models import Project, ProjectCollaborator
from domain import posts, projects

router = APIRouter(prefix="/v1", tags=["projects"])

READ: Final = [needs("read"), needs_role("client", "coach", "admin")]
WRITE: Final = [needs("write"), needs_role("client", "coach", "admin")]
ADMIN: Final = [needs("admin"), needs_role("admin")]


def _show(row: Any) -> ProjectOut:  # noqa: ANN401  # a row of select_projects
    project: Project = row.Project
    return ProjectOut(
        id=project.id, slug=project.slug, author=show_author(project.submitted_by, row), title=project.title,
        problem_statement=project.problem_statement, solution_description=project.solution_description,
        target_market=project.target_market, stage=project.stage, support_needed=project.support_needed,
        pitch_deck_url=project.pitch_deck_url, demo_url=project.demo_url, repo_url=project.repo_url,
        media=project.media_urls, visibility=project.visibility, status=project.status,
        review_notes=project.review_notes, view_count=project.view_count,
        endorsement_count=project.endorsement_count,
        collaboration_request_count=project.collaboration_request_count, my_reactions=row.my_reactions,
        created_at=project.created_at, published_at=project.published_at,
    )  # fmt: skip


@router.get("/projects", operation_id="listProjects", dependencies=READ, responses=list_problem_responses())
async def list_projects(  # noqa: PLR0917  # FastAPI passes them by name
    session: SessionDep,
    limit: LimitQuery = 20,
    cursor: CursorQuery = None,
    stage: ProjectStage | None = None,
    support: Annotated[Support | None, Query(description="only those that look for this")] = None,
    author: Annotated[UUID | None, Query(description="only this person's")] = None,
    skill: Annotated[UUID | None, Query(description="only those that ask for this skill")] = None,
    q: WordsQuery = None,
    state: Annotated[
        ProjectStatus, Query(alias="status", description="others than approved: yours, or to review")
    ] = "approved",
) -> Page[ProjectOut]:
    """List projects, the newest first."""
    query = projects.select_projects(
        status=state, stage=stage, support=support, submitted_by=author, skill_id=skill, words=q
    )
    order = (Project.published_at if state == "approved" else Project.created_at, Project.id)
    rows, following = await fetch_page(session, query, order=order, limit=limit, cursor=cursor)
    return Page(items=[_show(row) for row in rows], next_cursor=following)


@router.post(
    "/projects", operation_id="submitProject", dependencies=WRITE, status_code=status.HTTP_201_CREATED,
    responses=list_problem_responses(409),
)  # fmt: skip
async def submit_project(
    body: ProjectIn, principal: PrincipalDep, session: SessionDep, key: IdempotencyKey = None
) -> ProjectOut:
    """Bring a project; it shows once an administrator approved it."""
    fields = body.model_dump(exclude={"title", "media"}) | {"media_urls": [item.stored() for item in body.media]}
    project_id = await projects.submit_project(session, author=principal, title=body.title, fields=fields, key=key)
    return _show(await projects.get_project(session, project_id))


@router.get(
    "/projects/{project_id}", operation_id="getProject", dependencies=READ, responses=list_problem_responses(404)
)
async def get_project(project_id: UUID, session: SessionDep) -> ProjectOut:
    """Read a project, which counts as a view."""
    row = await projects.get_project(session, project_id)
    await posts.add_view(session, "project", project_id)
    return _show(row)


@router.patch(
    "/projects/{project_id}", operation_id="editProject", dependencies=WRITE, responses=list_problem_responses(404)
)
async def edit_project(project_id: UUID, body: ProjectPatch, session: SessionDep) -> ProjectOut:
    """Change a project of yours; changed words are reviewed again."""
    optional = {"target_market", "pitch_deck_url", "demo_url", "repo_url"}
    given = body.model_dump(exclude_unset=True, exclude={"media"})
    changes = {name: value for name, value in given.items() if value is not None or name in optional}
    if body.media is not None:
        changes["media_urls"] = [item.stored() for item in body.media]
    await projects.edit_project(session, project_id=project_id, changes=changes)
    return _show(await projects.get_project(session, project_id))


@router.delete(
    "/projects/{project_id}", operation_id="deleteProject", dependencies=WRITE,
    status_code=status.HTTP_204_NO_CONTENT, responses=list_problem_responses(404),
)  # fmt: skip
async def delete_project(project_id: UUID, session: SessionDep) -> None:
    """Delete a project of yours."""
    await projects.delete_project(session, project_id)


@router.post(
    "/projects/{project_id}/review", operation_id="reviewProject", dependencies=ADMIN,
    responses=list_problem_responses(404),
)  # fmt: skip
async def review_project(project_id: UUID, body: ReviewIn, principal: PrincipalDep, session: SessionDep) -> ProjectOut:
    """Approve, reject or put away a project that is not your own."""
    await projects.review_project(
        session, reviewer=principal, project_id=project_id, status=body.status, notes=body.notes
    )
    return _show(await projects.get_project(session, project_id))


@router.get(
    "/projects/{project_id}/collaborators", operation_id="listCollaborators", dependencies=READ,
    responses=list_problem_responses(404),
)  # fmt: skip
async def list_collaborators(
    project_id: UUID, session: SessionDep, limit: LimitQuery = 50, cursor: CursorQuery = None
) -> Page[CollaboratorOut]:
    """List who works on a project; its leader sees requests too."""
    await projects.get_project(session, project_id)
    order = (ProjectCollaborator.created_at, ProjectCollaborator.id)
    rows, following = await fetch_page(
        session, projects.select_collaborators(project_id), order=order, limit=limit, cursor=cursor, descending=False
    )
    shown = []
    for row in rows:
        person: ProjectCollaborator = row.ProjectCollaborator
        shown.append(
            CollaboratorOut(
                id=person.id, user_id=person.user_id, display_name=row.display_name, role=person.role,
                status=person.status, message=person.message, created_at=person.created_at,
                joined_at=person.joined_at,
            )
        )  # fmt: skip
    return Page(items=shown, next_cursor=following)


@router.post(
    "/projects/{project_id}/collaborators", operation_id="askToJoinProject", dependencies=WRITE,
    status_code=status.HTTP_204_NO_CONTENT, responses=list_problem_responses(404, 409),
)  # fmt: skip
async def ask_to_join(project_id: UUID, body: CollaborationIn, principal: PrincipalDep, session: SessionDep) -> None:
    """Ask to work on a project; asking again changes nothing."""
    await projects.ask_to_join(
        session, reader=principal, project_id=project_id, role=body.role, message=body.message
    )  # fmt: skip


@router.post(
    "/projects/{project_id}/collaborators/{collaborator_id}/answer", operation_id="answerCollaborator",
    dependencies=WRITE, status_code=status.HTTP_204_NO_CONTENT, responses=list_problem_responses(404),
)  # fmt: skip
async def answer_collaborator(
    project_id: UUID, collaborator_id: UUID, body: CollaborationAnswer, principal: PrincipalDep, session: SessionDep
) -> None:
    """Let a person join your project, or not."""
    await projects.answer_collaborator(
        session, leader=principal, project_id=project_id, collaborator_id=collaborator_id, accept=body.accept
    )


@router.delete(
    "/projects/{project_id}/collaborators/{collaborator_id}", operation_id="removeCollaborator", dependencies=WRITE,
    status_code=status.HTTP_204_NO_CONTENT, responses=list_problem_responses(404),
)  # fmt: skip
async def remove_collaborator(project_id: UUID, collaborator_id: UUID, session: SessionDep) -> None:
    """Leave a project, take a request back, or as its leader remove a person."""
    await projects.remove_collaborator(session, project_id=project_id, collaborator_id=collaborator_id)
