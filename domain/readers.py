"""Who may read a source, decided by a person after it was taken in; the decision outlives every later ingestion."""

from dataclasses import dataclass
from typing import Any, Final, Literal
from uuid import UUID

from sqlalchemy import Row, exists, func, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from core.errors import Conflict, Forbidden, Invalid, NotFound
from db.models import DataSource, IngestedObject, Transcript, User
from db.session import BOUND_TO, Principal, acting_as_system
from domain.decisions import DECIDED
from domain.ingestion import hash_said

CONTENT_URI: Final = "content://platform"
"""Where what people write in the product comes from: its own page says who reads it."""

Visibility = Literal["client_visible", "coach_only", "admin_aggregate"]


class SourceNotFound(NotFound):
    """There is no such source that you may see; list the sources to see those there are."""


class ReadersNotYours(Forbidden):
    """This is for the whole organisation, so an administrator decides who reads it; ask one of them."""


class ReadersFixed(Conflict):
    """What is written in the product is shown where it was written; change there who may read it."""


class ClientFixed(Conflict):
    """This session is one client's already; let coaches alone read it, and upload it anew for whose it is."""


class ReadersUnusable(Invalid):
    """Nobody could read this; choose another visibility, or name another client."""


class PersonUnknown(Invalid):
    """Nobody you work with has this e-mail address; check it."""


@dataclass(frozen=True, slots=True)
class Standing:
    """How much stands on a source and is not stale: rows by level."""

    claims: int = 0
    patterns: int = 0
    insights: int = 0
    packs: int = 0


@dataclass(frozen=True, slots=True)
class Readers:
    """Who reads a source: its visibility, and whom it is about."""

    visibility: str
    client_id: UUID | None
    coach_id: UUID | None
    may_change: bool
    standing: Standing
    """What stands on it: all of it becomes stale when any of the three changes, and is derived anew."""


_STANDING: Final = text(
    """
    WITH RECURSIVE mine AS (
        SELECT q.id FROM evidence.quotes q
        LEFT JOIN rag.transcripts t ON t.tenant_id = q.tenant_id AND t.id = q.transcript_id
        LEFT JOIN rag.documents d ON d.tenant_id = q.tenant_id AND d.id = q.document_id
        WHERE coalesce(t.object_id, d.object_id) = :object_id AND q.stale_at IS NULL
    ), above (kind, id) AS (
        SELECT 'quote', id FROM mine
        UNION
        SELECT c.kind, c.id FROM above a
        JOIN evidence.derivations e ON (a.kind = 'quote' AND e.parent_quote_id = a.id)
            OR (a.kind = 'claim' AND e.parent_claim_id = a.id) OR (a.kind = 'pattern' AND e.parent_pattern_id = a.id)
        CROSS JOIN LATERAL (VALUES ('claim', e.child_claim_id), ('pattern', e.child_pattern_id),
                                   ('insight', e.child_insight_id), ('pack', e.child_pack_id)) AS c (kind, id)
        WHERE c.id IS NOT NULL
    )
    SELECT (SELECT count(*) FROM evidence.claims c JOIN above a ON a.kind = 'claim' AND a.id = c.id
            WHERE c.stale_at IS NULL),
           (SELECT count(*) FROM evidence.patterns c JOIN above a ON a.kind = 'pattern' AND a.id = c.id
            WHERE c.stale_at IS NULL),
           (SELECT count(*) FROM evidence.insights c JOIN above a ON a.kind = 'insight' AND a.id = c.id
            WHERE c.stale_at IS NULL),
           (SELECT count(*) FROM evidence.evidence_packs c JOIN above a ON a.kind = 'pack' AND a.id = c.id
            WHERE c.stale_at IS NULL)
    """
)


async def find_person(
    session: AsyncSession, email: str | None, role: str, *, user_id: UUID | None = None
) -> tuple[UUID, str] | None:
    """Return id and address of a person of this role whom the reader may see; raises `PersonUnknown`."""
    if email is None and user_id is None:
        return None
    query = select(User.id, User.email).where(User.role == role)
    query = query.where(User.id == user_id) if email is None else query.where(User.email == email.strip().lower())
    row = (await session.execute(query)).one_or_none()
    if row is None:
        raise PersonUnknown(f"No {role} you work with has the e-mail address {email!r}; check it.")
    return row[0], row[1]


async def get_readers(session: AsyncSession, object_id: UUID) -> Readers:
    """Return who reads a source that the session's reader may see; raises `SourceNotFound`.

    What stands on it is counted whole, also what the reader may not see: it goes stale all the same.
    """
    row = await _get(session, object_id)
    reader: Principal = session.info[BOUND_TO]
    async with acting_as_system(session):
        standing = Standing(*(await session.execute(_STANDING, {"object_id": object_id})).one())
    may_change = row.uri != CONTENT_URI and may_decide(reader, row.client_id, row.coach_id)
    return Readers(row.visibility, row.client_id, row.coach_id, may_change, standing)


async def change_readers(
    session: AsyncSession, object_id: UUID, *, visibility: Visibility, client: str | None, coach: str | None = None
) -> Readers:
    """Let others read a source from now on, in the session of whoever decides; return what stood on it until now.

    `client` and `coach` are e-mail addresses. A coach decides about their clients' sources and their own, and stays
    the coach of what is about nobody; an administrator about the organisation's. What stands on the source becomes
    stale in the same transaction, and later ingestions keep to the decision. Raises `SourceNotFound`,
    `ReadersNotYours`, `ReadersFixed`, `ClientFixed`, `ReadersUnusable`, `PersonUnknown`.
    """
    reader: Principal = session.info[BOUND_TO]
    row = await _get(session, object_id)
    if row.uri == CONTENT_URI:
        raise ReadersFixed
    if not may_decide(reader, row.client_id, row.coach_id):
        raise ReadersNotYours
    about = await find_person(session, client, "client")
    by = await find_person(session, coach, "coach")
    if reader.role == "coach":
        by = await _keep_coach(session, reader, row, about, by)
    client_id, coach_id = (one[0] if one else None for one in (about, by))
    _ensure_readable(reader, row, visibility, client_id)
    if (visibility, client_id, coach_id) == (row.visibility, row.client_id, row.coach_id):
        standing = Standing()
    else:
        standing = (await get_readers(session, object_id)).standing
    said = {name: value for name, value in row.sidecar.items() if name not in ("client", "coach")}
    said |= {"visibility": visibility, DECIDED: True}
    said |= {name: person[1] for name, person in (("client", about), ("coach", by)) if person}
    values: dict[str, Any] = {"sidecar": said}
    if row.sidecar_hash == hash_said(row.sidecar) and client_id == row.client_id:
        values["sidecar_hash"] = hash_said(said)  # it is indexed with just that
    async with acting_as_system(session):
        await session.execute(
            update(IngestedObject)
            .where(IngestedObject.id == object_id)
            .values(visibility=visibility, client_id=client_id, coach_id=coach_id, updated_at=func.now(), **values)
            .execution_options(synchronize_session=False)
        )
    return Readers(visibility, client_id, coach_id, True, standing)


async def _get(session: AsyncSession, object_id: UUID) -> Row[Any]:
    o = IngestedObject
    row = (
        await session.execute(
            select(
                o.visibility, o.client_id, o.coach_id, o.sidecar, o.sidecar_hash, DataSource.uri,
                exists().where(Transcript.object_id == o.id).label("is_transcript"),
            )
            .join(DataSource, DataSource.id == o.data_source_id)
            .where(o.id == object_id)
        )
    ).one_or_none()  # fmt: skip
    if row is None:
        raise SourceNotFound
    return row


def may_decide(reader: Principal, client_id: UUID | None, coach_id: UUID | None) -> bool:
    """Tell whether this reader, who may read a source about these, decides about it."""
    if reader.role == "coach":
        return client_id is not None or coach_id == reader.user_id
    return reader.role == "admin"


async def _keep_coach(
    session: AsyncSession, reader: Principal, row: Row[Any], about: tuple[UUID, str] | None,
    by: tuple[UUID, str] | None,
) -> tuple[UUID, str] | None:  # fmt: skip
    """Return the coach of what a coach decides about: who it was, or themself, never nobody where it is no client's."""
    if by is not None and by[0] not in (reader.user_id, row.coach_id):
        raise ReadersNotYours("A coach decides in their own name; leave coach out.")
    if by is not None:
        return by
    if about is None and row.coach_id not in (None, reader.user_id):
        raise ReadersNotYours("This is a colleague's, so only they keep it for themselves alone; name its client.")
    kept = row.coach_id if about is not None and row.coach_id is not None else reader.user_id
    async with acting_as_system(session):  # a colleague with the same client need not be shown to them
        return await find_person(session, None, "coach", user_id=kept)


def _ensure_readable(reader: Principal, row: Row[Any], visibility: str, client_id: UUID | None) -> None:
    if visibility == "admin_aggregate":
        if reader.role != "admin":
            raise ReadersNotYours("Only administrators keep aggregates; choose coach_only or client_visible.")
        if client_id is not None:
            raise ReadersUnusable("An aggregate is about nobody; name no client, or choose another visibility.")
    if row.is_transcript and row.client_id is not None and client_id != row.client_id:
        raise ClientFixed
