"""Requests to correct data about a client: a turn's words or speaker, and claims that their holder disputes."""

import hashlib
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Row, Select, or_, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from core.errors import Conflict, Forbidden, Invalid, NotFound
from db.models import Claim, Correction, User
from db.session import BOUND_TO, Principal, acting_as_system
from db.violations import refusing

MOST_TURN: Final = 20_000
"""Characters of a turn as it should read."""


class TurnNotFound(NotFound):
    """There is no such turn of a client's session that you may see; read the transcript to see its turns."""


class ClaimNotYours(NotFound):
    """There is no such claim of yours that stands; list the claims about you to see which say what you hold."""


class CorrectionNotFound(NotFound):
    """There is no such request that you may see; list the requests to see their ids."""


class CorrectionUnusable(Invalid):
    """A turn is corrected by other words or by another speaker of your organisation; give one of the two."""


class CorrectionDecided(Conflict):
    """This request was decided already; read it to see how, or make another."""


class CorrectionOutdated(Conflict):
    """This turn reads otherwise than when its correction was asked for; refuse the request, and ask anew if need be."""


class NotTheDecider(Forbidden):
    """A correction is decided by the client's coach who did not ask for it, or by compliance; ask one of these."""


_RULES: Final = {
    "correction_state": CorrectionDecided, "correction_decider": NotTheDecider,
    "fk_corrections_tenant_id_speaker_id": CorrectionUnusable,
}  # fmt: skip
_TURN: Final = text(
    """
    SELECT t.object_id, t.client_id, s.text, s.speaker_id FROM rag.transcripts t
    JOIN rag.transcript_segments s ON s.tenant_id = t.tenant_id AND s.transcript_id = t.id
    WHERE t.id = :transcript_id AND s.segment_index = :segment_index AND t.client_id IS NOT NULL
    """
)


def hash_turn(words: str) -> str:
    """Return the SHA-256 by which a turn's words are known; the words themselves are not kept."""
    return hashlib.sha256(words.encode("utf-8", "surrogatepass")).hexdigest()


async def request_turn(
    session: AsyncSession, *, transcript_id: UUID, segment_index: int, proposed_text: str | None = None,
    speaker_id: UUID | None = None, reason: str | None = None,
) -> Correction:  # fmt: skip
    """Ask that a turn the reader may see gets other words, or another speaker; raises `TurnNotFound`.

    Someone else decides: see `decide_correction`. Raises `CorrectionUnusable`.
    """
    proposed = (proposed_text or "").strip()
    if bool(proposed) == (speaker_id is not None) or len(proposed) > MOST_TURN:
        raise CorrectionUnusable
    values = {"transcript_id": transcript_id, "segment_index": segment_index}
    turn = (await session.execute(_TURN, values)).one_or_none()
    if turn is None:
        raise TurnNotFound
    if proposed == turn.text or (speaker_id is not None and speaker_id == turn.speaker_id):
        raise CorrectionUnusable
    kind = "turn_words" if proposed else "turn_speaker"
    return await _add(
        session, kind=kind, client_id=turn.client_id, object_id=turn.object_id, segment_index=segment_index,
        turn_hash=hash_turn(turn.text), proposed_text=proposed or None, speaker_id=speaker_id, reason=reason,
    )  # fmt: skip


async def dispute_claim(session: AsyncSession, *, claim_id: UUID, reason: str) -> Correction:
    """Take back a claim that says what the reader holds: at once, and what stands on it is stale.

    Derived again from the same words it stays taken back. Raises `ClaimNotYours`.
    """
    reader: Principal = session.info[BOUND_TO]
    claim = (
        await session.execute(
            select(Claim.client_id).where(
                Claim.id == claim_id, Claim.holder_id == reader.user_id, Claim.client_id.is_not(None)
            )
        )
    ).one_or_none()  # fmt: skip
    if claim is None:
        raise ClaimNotYours
    row = await _add(session, kind="claim", client_id=claim.client_id, claim_id=claim_id, reason=reason)
    async with acting_as_system(session):
        await settle_correction(session, row.id, "applied", decided_by=reader.user_id)
    await session.refresh(row)
    return row


async def _add(session: AsyncSession, **values: Any) -> Correction:  # noqa: ANN401  # columns
    reader: Principal = session.info[BOUND_TO]
    row = Correction(tenant_id=reader.tenant_id, requested_by=reader.user_id, **values)
    session.add(row)
    async with acting_as_system(session):  # what was asked was checked under the reader's own rights
        with refusing(_RULES):
            await session.flush()
    await session.refresh(row)
    return row


def select_corrections(status: str | None = None) -> Select[Any]:
    """Return the requests that the reader made or may decide; order it by `(requested_at, id)`."""
    query = select(Correction)
    return query if status is None else query.where(Correction.status == status)


async def get_correction(session: AsyncSession, correction_id: UUID) -> Correction:
    """Return a request that the reader made or may decide; raises `CorrectionNotFound`."""
    row = await session.scalar(
        select(Correction).where(Correction.id == correction_id).execution_options(populate_existing=True)
    )
    if row is None:
        raise CorrectionNotFound
    return row


async def refuse_correction(session: AsyncSession, correction_id: UUID, *, decision: str) -> Correction:
    """Refuse a request; what it proposed is forgotten. Raises `CorrectionNotFound`, `NotTheDecider`."""
    reader: Principal = session.info[BOUND_TO]
    await get_correction(session, correction_id)
    async with acting_as_system(session):
        await settle_correction(session, correction_id, "refused", decided_by=reader.user_id, decision=decision)
    return await get_correction(session, correction_id)


async def withdraw_correction(session: AsyncSession, correction_id: UUID) -> None:
    """Take one's own request back; raises `CorrectionNotFound`, `CorrectionDecided`."""
    reader: Principal = session.info[BOUND_TO]
    row = await get_correction(session, correction_id)
    if row.requested_by != reader.user_id:
        raise CorrectionNotFound
    async with acting_as_system(session):
        await settle_correction(session, correction_id, "withdrawn")


async def settle_correction(
    session: AsyncSession, correction_id: UUID, status: str, *, decided_by: UUID | None = None,
    decision: str | None = None,
) -> None:  # fmt: skip
    """Write how a request ended, in a session of the pipelines; the database holds who may and from which state.

    Raises `CorrectionDecided`, `NotTheDecider`, `CorrectionNotFound`.
    """
    values = {"status": status, "decided_by": decided_by, "decision": decision}
    with refusing(_RULES):
        found = await session.scalar(
            update(Correction).where(Correction.id == correction_id).values(values).returning(Correction.id)
        )
    if found is None:
        raise CorrectionNotFound


@dataclass(frozen=True, slots=True)
class TurnCorrection:
    """What one turn of a source says instead, or who says it; `turn_hash` is of the words it had."""

    segment_index: int
    turn_hash: str
    text: str | None
    speaker_id: UUID | None
    speaker: str | None


async def list_applied(session: AsyncSession, object_id: UUID, *, also: UUID | None = None) -> list[TurnCorrection]:
    """Return the corrections of a source that were applied, and `also` this one, in the order they were asked for."""
    chosen = Correction.status == "applied"
    query = (
        select(
            Correction.segment_index, Correction.turn_hash, Correction.proposed_text, Correction.speaker_id,
            User.full_name,
        )
        .outerjoin(User, User.id == Correction.speaker_id)
        .where(Correction.object_id == object_id, chosen if also is None else or_(chosen, Correction.id == also))
        .order_by(Correction.requested_at, Correction.id)
    )  # fmt: skip
    rows: list[Row[Any]] = list((await session.execute(query)).all())
    return [TurnCorrection(*row) for row in rows]
