"""How long what is kept, for those who answer for it."""

from typing import Annotated

from fastapi import APIRouter, Query, status

from api.deps import SessionDep, needs, needs_role
from api.errors import list_problem_responses
from api.pagination import CursorQuery, LimitQuery, Page, fetch_page
from api.schemas.retention import ArchiveOut, PolicyIn, PolicyOut, RetentionJobOut, RetentionOut
from db.models import Archive, DataRetentionJob
from domain import retention
from domain.retention import Action, DataType

router = APIRouter(prefix="/v1/privacy", tags=["privacy"], dependencies=[needs_role("compliance")])

READ, WRITE = [needs("read")], [needs("write")]
KindQuery = Annotated[DataType | None, Query(description="of this kind of data only")]
TableQuery = Annotated[
    str | None, Query(max_length=127, pattern=r"^[a-z_]+\.[a-z_]+$", description="such as comms.notifications")
]


@router.get("/retention", operation_id="readRetention", dependencies=READ, responses=list_problem_responses())
async def read_retention(session: SessionDep) -> RetentionOut:
    """Read after how many days what happens to which kind of data."""
    policies = [PolicyOut.model_validate(row) for row in await retention.list_policies(session)]
    return RetentionOut(retention_days=await retention.find_retention_days(session), policies=policies)


@router.put(
    "/retention/{data_type}/{action}", operation_id="setRetention", dependencies=WRITE,
    responses=list_problem_responses(422),
)  # fmt: skip
async def set_retention(data_type: DataType, action: Action, body: PolicyIn, session: SessionDep) -> PolicyOut:
    """Set after how many days this kind of data is archived or deleted, from the next run on."""
    return PolicyOut.model_validate(await retention.set_policy(session, data_type, action, body.days))


@router.delete(
    "/retention/{data_type}/{action}", operation_id="removeRetention", dependencies=WRITE,
    status_code=status.HTTP_204_NO_CONTENT, responses=list_problem_responses(404),
)  # fmt: skip
async def remove_retention(data_type: DataType, action: Action, session: SessionDep) -> None:
    """Keep this kind of data for ever from now on; what went stays gone."""
    await retention.remove_policy(session, data_type, action)


@router.get("/retention/jobs", operation_id="listRetentionJobs", dependencies=READ, responses=list_problem_responses())
async def list_jobs(
    *,
    session: SessionDep,
    data_type: KindQuery = None,
    dry_run: Annotated[bool | None, Query(description="only rehearsals, or only runs")] = None,
    limit: LimitQuery = 50,
    cursor: CursorQuery = None,
) -> Page[RetentionJobOut]:
    """List what runs of the policies did, the newest first."""
    job = DataRetentionJob
    rows, more = await fetch_page(
        session, retention.select_jobs(data_type=data_type, dry_run=dry_run), order=(job.scheduled_at, job.id),
        limit=limit, cursor=cursor,
    )  # fmt: skip
    return Page(items=[RetentionJobOut.model_validate(row[0]) for row in rows], next_cursor=more)


@router.get("/archives", operation_id="listArchives", dependencies=READ, responses=list_problem_responses())
async def list_archives(
    *, session: SessionDep, table: TableQuery = None, limit: LimitQuery = 50, cursor: CursorQuery = None
) -> Page[ArchiveOut]:
    """List the months that were archived, the newest month first; what is in them is read by exports alone."""
    rows, more = await fetch_page(
        session, retention.select_archives(table=table), order=(Archive.month, Archive.id), limit=limit, cursor=cursor
    )
    return Page(items=[ArchiveOut.model_validate(row[0]) for row in rows], next_cursor=more)
