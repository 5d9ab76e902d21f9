"""What happens with a booked session: its steps from confirmed to completed, its meeting, notes, tasks, attendance."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final, Literal
from uuid import UUID, uuid4

from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from core.errors import Conflict, Forbidden, Invalid, NotFound
from db.models import CoachingSession, SessionAttendance, SessionNote
from db.session import Principal
from db.violations import refusing
from domain.booking import CALENDAR_RULES, CoachingSessionNotFound, NotYourStep, StepRefused, get_own_session, tell
from domain.governance import name_action
from domain.identity import bound_tenant
from domain.keys import field_cipher
from domain.roles import PersonNotFound

Step = Literal["confirmed", "in_progress", "completed", "no_show"]
TaskStatus = Literal["open", "done", "dropped"]
NoteKind = Literal["coach_notes", "pre_session"]

MOST_TASKS: Final = 50
EARLY_START: Final = timedelta(hours=1)
"""How long before its time a session may be started."""

_STEPS: Final[dict[str, tuple[str, str, str]]] = {
    "confirmed": ("session_confirmed", "Session confirmed", "The session of {when} is confirmed."),
    "in_progress": ("session_started", "Session started", "The session of {when} has started."),
    "completed": ("session_completed", "Session completed", "The session of {when} is completed; say how it was."),
    "no_show": ("session_missed", "Session missed", "You were not at the session of {when}."),
}


class SessionNotBegun(Conflict):
    """This session's time has not come; wait until it begins, or move it."""


class TaskNotFound(NotFound):
    """There is no such action item in this session; read the session to see its items."""


class TooManyTasks(Invalid):
    """A session keeps at most 50 action items; close some first."""


class AttendanceUnusable(Invalid):
    """Who attends joins before leaving and stays a day at most; correct the two moments."""


class NoteNotFound(NotFound):
    """There is no such note of yours on this session; write it first."""


class NoteKindRefused(Forbidden):
    """Coach notes are written by coaches; write a pre-session note instead."""


async def take_step(session: AsyncSession, session_id: UUID, *, by: Principal, to: Step) -> CoachingSession:
    """Let the session's coach or an administrator confirm, start, complete it, or note that the client did not come.

    Taking the step it is at already changes nothing. Raises `CoachingSessionNotFound`, `NotYourStep`,
    `SessionNotBegun`, `StepRefused`.
    """
    found = await get_own_session(session, session_id, by, lock=True)
    if by.role == "client":
        raise NotYourStep
    if found.status == to:
        return found
    early = found.scheduled_at - datetime.now(UTC)
    if to in ("completed", "no_show") and early > timedelta() and found.status != "in_progress":
        raise SessionNotBegun
    if to == "in_progress" and early > EARLY_START:
        raise SessionNotBegun
    action, title, message = _STEPS[to]
    await name_action(session, action)
    found.status = to
    with refusing(CALENDAR_RULES):
        await session.flush()
    await session.refresh(found)
    await tell(session, found, action, by, title=title, message=message)
    return found


async def complete_session(
    session: AsyncSession, session_id: UUID, *, by: Principal, coach_notes: str | None = None,
    tasks: Sequence[dict[str, Any]] = (),
) -> CoachingSession:  # fmt: skip
    """Complete the session with the coach's notes, which only coaches read, and the action items agreed on.

    Raises what `take_step` and `add_tasks` raise, and `NoteKindRefused` for notes of someone who is not its coach.
    """
    found = await take_step(session, session_id, by=by, to="completed")
    if coach_notes is not None:
        if by.role != "coach" or by.user_id is None:
            raise NoteKindRefused
        await _store_note(
            session, found.id, by.user_id, kind="coach_notes", content=coach_notes, visibility="coach_only"
        )
    if tasks:
        found = await add_tasks(session, session_id, by=by, tasks=tasks)
    return found


async def add_tasks(
    session: AsyncSession, session_id: UUID, *, by: Principal, tasks: Sequence[dict[str, Any]]
) -> CoachingSession:
    """Add action items ({item, due_date}) to the session, by its coach; raises `TooManyTasks`, `NotYourStep`."""
    found = await get_own_session(session, session_id, by, lock=True)
    if by.role == "client":
        raise NotYourStep
    if found.status in ("cancelled", "no_show"):
        raise StepRefused
    kept = list(found.action_items or ())
    if len(kept) + len(tasks) > MOST_TASKS:
        raise TooManyTasks
    found.action_items = kept + [
        {"id": str(uuid4()), "item": task["item"], "due_date": _write_day(task.get("due_date")), "status": "open"}
        for task in tasks
    ]
    await name_action(session, "action_items_changed")
    await session.flush()
    await session.refresh(found)
    return found


def _write_day(day: date | None) -> str | None:
    return day.isoformat() if day is not None else None


async def mark_task(
    session: AsyncSession, session_id: UUID, task_id: UUID, *, by: Principal, status: TaskStatus
) -> CoachingSession:
    """Let the client or the coach say how far an action item is; raises `CoachingSessionNotFound`, `TaskNotFound`."""
    found = await get_own_session(session, session_id, by, lock=True)
    items = [dict(item) for item in found.action_items or ()]
    wanted = next((item for item in items if item.get("id") == str(task_id)), None)
    if wanted is None:
        raise TaskNotFound
    wanted["status"] = status
    found.action_items = items
    await name_action(session, "action_items_changed")
    await session.flush()
    await session.refresh(found)
    return found


async def set_meeting(
    session: AsyncSession, session_id: UUID, *, by: Principal, platform: str | None, link: str | None,
    meeting_id: str | None, password: str | None,
) -> CoachingSession:  # fmt: skip
    """Set where the session is held; the password is stored as ciphertext.

    Raises `CoachingSessionNotFound`, `NotYourStep`.
    """
    found = await get_own_session(session, session_id, by, lock=True)
    if by.role == "client":
        raise NotYourStep
    found.meeting_platform, found.meeting_link, found.meeting_id = platform, link, meeting_id
    found.meeting_password = None
    if password is not None:
        cipher = await field_cipher(session)
        found.meeting_password = cipher.encrypt(
            password, table="coaching.coaching_sessions", column="meeting_password", row_id=found.id
        )
    await session.flush()
    await session.refresh(found)
    return found


async def find_meeting_password(session: AsyncSession, found: CoachingSession, by: Principal) -> str | None:
    """Return the meeting's password for the session's own client and coach, None for everyone else."""
    if found.meeting_password is None or by.user_id not in (found.client_id, found.coach_id):
        return None
    cipher = await field_cipher(session)
    return cipher.decrypt(
        found.meeting_password, table="coaching.coaching_sessions", column="meeting_password", row_id=found.id
    )


async def write_note(
    session: AsyncSession, session_id: UUID, *, by: Principal, kind: NoteKind, content: str,
    visibility: Literal["client_visible", "coach_only"] | None = None,
) -> SessionNote:  # fmt: skip
    """Write the person's one note of this kind on the session, or write it anew; runs as the person themself.

    A client's note can be read by the client's coaches; a coach's only by coaches unless it is made visible. Raises
    `CoachingSessionNotFound`, `NoteKindRefused`.
    """
    if by.user_id is None or by.role not in ("client", "coach") or (kind == "coach_notes" and by.role != "coach"):
        raise NoteKindRefused
    visibility = "client_visible" if by.role == "client" else (visibility or "coach_only")
    if await session.scalar(select(CoachingSession.id).where(CoachingSession.id == session_id)) is None:
        raise CoachingSessionNotFound
    return await _store_note(session, session_id, by.user_id, kind=kind, content=content, visibility=visibility)


async def _store_note(
    session: AsyncSession, session_id: UUID, author_id: UUID, *, kind: str, content: str, visibility: str
) -> SessionNote:
    values = {"content": content, "visibility": visibility}
    # client_id and coach_id are the session's: the store fills them in.
    statement = insert(SessionNote).values(
        tenant_id=await bound_tenant(session), session_id=session_id, author_id=author_id, kind=kind, **values
    )
    note = await session.scalar(
        statement.on_conflict_do_update(
            index_elements=("tenant_id", "session_id", "author_id", "kind"),
            set_=values | {"updated_at": func.now()},
        ).returning(SessionNote),
        execution_options={"populate_existing": True},
    )  # fmt: skip
    if note is None:
        raise NoteNotFound
    return note


_ATTENDANCE_RULES: Final = {
    "fk_session_attendance_tenant_id_user_id": PersonNotFound,
    "ck_session_attendance_leaves_after_joining": AttendanceUnusable,
    "ck_session_attendance_minutes": AttendanceUnusable,
}


async def record_attendance(
    session: AsyncSession, session_id: UUID, *, by: Principal, user_id: UUID, joined_at: datetime,
    left_at: datetime | None = None, minutes: int | None = None,
) -> SessionAttendance:  # fmt: skip
    """Note that a person was there; the same person and beginning again corrects the earlier note.

    `minutes` are counted from the two moments where they are not given. The coach and administrators may note it.
    Raises `CoachingSessionNotFound`, `NotYourStep`, `PersonNotFound`, `AttendanceUnusable`.
    """
    found = await get_own_session(session, session_id, by)
    if by.role == "client":
        raise NotYourStep
    if minutes is None and left_at is not None:
        minutes = max(0, round((left_at - joined_at).total_seconds() / 60))
    role = {found.coach_id: "coach", found.client_id: "client"}.get(user_id, "observer")
    values = {"left_at": left_at, "minutes": minutes, "role": role}
    statement = insert(SessionAttendance).values(
        tenant_id=found.tenant_id, session_id=session_id, user_id=user_id, joined_at=joined_at, **values
    )
    statement = statement.on_conflict_do_update(
        index_elements=("tenant_id", "session_id", "user_id", "joined_at"), set_=values
    )
    with refusing(_ATTENDANCE_RULES):
        made: SessionAttendance | None = await session.scalar(
            statement.returning(SessionAttendance), execution_options={"populate_existing": True}
        )
    if made is None:
        raise CoachingSessionNotFound
    return made
