"""What is kept of a session: notes, action items, attendance and the client's feedback."""

from uuid import UUID

from fastapi import APIRouter, status
from sqlalchemy import select

from api.deps import PrincipalDep, SessionDep, SystemSessionDep, needs, needs_role
from api.errors import list_problem_responses
from api.pagination import CursorQuery, LimitQuery, Page, fetch_page
from api.schemas.practice import (
    AttendanceIn,
    AttendanceOut,
    FeedbackIn,
    FeedbackMark,
    FeedbackOut,
    NoteIn,
    NoteOut,
    SessionOut,
    TaskMark,
    TasksIn,
)
from db.models import SessionAttendance, SessionFeedback, SessionNote
from domain.practice import NoteKind, NoteNotFound, add_tasks, mark_task, record_attendance, write_note
from domain.reading import Read, record_reading
from domain.reviews import FeedbackNotFound, give_feedback, set_public

router = APIRouter(prefix="/v1/sessions/{session_id}", tags=["practice"])

READ = [needs("read")]
TAKES_PART = [needs("write"), needs_role("client", "coach", "admin")]


@router.get("/notes", operation_id="listSessionNotes", dependencies=READ, responses=list_problem_responses(404))
async def list_notes(
    session_id: UUID, session: SessionDep, limit: LimitQuery = 50, cursor: CursorQuery = None
) -> Page[NoteOut]:
    """List the notes on a session that you may read, the newest first."""
    n = SessionNote
    query = select(n).where(n.session_id == session_id)
    rows, following = await fetch_page(session, query, order=(n.created_at, n.id), limit=limit, cursor=cursor)
    read: Read = {
        "session_note": [row[0].id for row in rows], "client": [row[0].client_id for row in rows],
        "coaching_session": [row[0].session_id for row in rows],
    }  # fmt: skip
    await record_reading(session, "note_read", read, entity=("coaching_session", session_id))
    return Page(items=[NoteOut.model_validate(row[0]) for row in rows], next_cursor=following)


@router.put(
    "/notes/{kind}", operation_id="writeSessionNote", dependencies=[needs("write"), needs_role("client", "coach")],
    responses=list_problem_responses(404),
)  # fmt: skip
async def put_note(
    session_id: UUID, kind: NoteKind, body: NoteIn, principal: PrincipalDep, session: SessionDep
) -> NoteOut:
    """Write your note of this kind on a session, or write it anew; a coach's is read by coaches unless it is shared."""
    note = await write_note(
        session, session_id, by=principal, kind=kind, content=body.content, visibility=body.visibility
    )
    return NoteOut.model_validate(note)


@router.delete(
    "/notes/{kind}", operation_id="deleteSessionNote", status_code=status.HTTP_204_NO_CONTENT,
    dependencies=[needs("write"), needs_role("client", "coach")], responses=list_problem_responses(404),
)  # fmt: skip
async def delete_note(session_id: UUID, kind: NoteKind, principal: PrincipalDep, session: SessionDep) -> None:
    """Delete your note of this kind."""
    n = SessionNote
    note = await session.scalar(
        select(n).where(n.session_id == session_id, n.author_id == principal.user_id, n.kind == kind)
    )
    if note is None:
        raise NoteNotFound
    await session.delete(note)


@router.post(
    "/action-items", operation_id="addActionItems", dependencies=TAKES_PART, responses=list_problem_responses(404, 409)
)
async def post_tasks(session_id: UUID, body: TasksIn, principal: PrincipalDep, session: SystemSessionDep) -> SessionOut:
    """Add action items to a session, as its coach."""
    changed = await add_tasks(session, session_id, by=principal, tasks=[task.model_dump() for task in body.items])
    return SessionOut.model_validate(changed)


@router.patch(
    "/action-items/{item_id}", operation_id="markActionItem", dependencies=TAKES_PART,
    responses=list_problem_responses(404),
)  # fmt: skip
async def patch_task(
    session_id: UUID, item_id: UUID, body: TaskMark, principal: PrincipalDep, session: SystemSessionDep
) -> SessionOut:
    """Say how far an action item is, as the session's client or coach."""
    return SessionOut.model_validate(await mark_task(session, session_id, item_id, by=principal, status=body.status))


@router.get("/attendance", operation_id="listAttendance", dependencies=READ, responses=list_problem_responses(404))
async def list_attendance(
    session_id: UUID, session: SessionDep, limit: LimitQuery = 50, cursor: CursorQuery = None
) -> Page[AttendanceOut]:
    """List who was in a session and how long, the latest first."""
    a = SessionAttendance
    query = select(a).where(a.session_id == session_id)
    rows, following = await fetch_page(session, query, order=(a.joined_at, a.id), limit=limit, cursor=cursor)
    return Page(items=[AttendanceOut.model_validate(row[0]) for row in rows], next_cursor=following)


@router.post(
    "/attendance", operation_id="recordAttendance", dependencies=TAKES_PART, responses=list_problem_responses(404)
)
async def post_attendance(
    session_id: UUID, body: AttendanceIn, principal: PrincipalDep, session: SystemSessionDep
) -> AttendanceOut:
    """Note, as the session's coach, that somebody was there; the same person and beginning corrects the note."""
    noted = await record_attendance(
        session, session_id, by=principal, user_id=body.user_id, joined_at=body.joined_at, left_at=body.left_at,
        minutes=body.minutes,
    )  # fmt: skip
    return AttendanceOut.model_validate(noted)


@router.get("/feedback", operation_id="getSessionFeedback", dependencies=READ, responses=list_problem_responses(404))
async def get_feedback(session_id: UUID, session: SessionDep) -> FeedbackOut:
    """Read what the client said of a session."""
    found = await session.scalar(select(SessionFeedback).where(SessionFeedback.session_id == session_id))
    if found is None:
        raise FeedbackNotFound("There is no feedback on this session that you may see; its client can give it.")
    read: Read = {"session_feedback": [found.id], "coaching_session": [session_id], "client": [found.client_id]}
    await record_reading(session, "feedback_read", read, entity=("session_feedback", found.id))
    return FeedbackOut.model_validate(found)


@router.post(
    "/feedback", operation_id="giveSessionFeedback", status_code=status.HTTP_201_CREATED,
    dependencies=[needs("write"), needs_role("client")], responses=list_problem_responses(404, 409),
)  # fmt: skip
async def post_feedback(
    session_id: UUID, body: FeedbackIn, principal: PrincipalDep, session: SessionDep
) -> FeedbackOut:
    """Say, as its client, how a completed session was; once."""
    given = await give_feedback(session, session_id, by=principal, **body.model_dump())
    return FeedbackOut.model_validate(given)


@router.patch(
    "/feedback", operation_id="setFeedbackPublic", dependencies=[needs("write"), needs_role("client")],
    responses=list_problem_responses(404),
)  # fmt: skip
async def patch_feedback(
    session_id: UUID, body: FeedbackMark, principal: PrincipalDep, session: SessionDep
) -> FeedbackOut:
    """Let others read your feedback without your name, or take that back."""
    return FeedbackOut.model_validate(await set_public(session, session_id, by=principal, is_public=body.is_public))
