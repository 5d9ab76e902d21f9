"""Orders to keep what a subject has: while one is open, nothing of it is erased."""

from typing import Final
from uuid import UUID

from sqlalchemy import ARRAY, Uuid, bindparam, text
from sqlalchemy.ext.asyncio import AsyncSession

from core.errors import Conflict
from db.models import DeletionRequest

_FIND: Final = text("""
SELECT found.reason FROM (
SELECT c.reason, c.placed_at FROM governance.find_holds(:kind, :subject) c
UNION ALL
-- what linked a hold to the subject may be erased already, so what was collected counts too
SELECT h.reason, h.placed_at FROM governance.legal_holds h
WHERE h.released_at IS NULL AND (h.subject_kind = 'tenant' OR :kind = 'tenant' OR h.subject_id = ANY (:ids)
    OR h.subject_id IN (
        SELECT s.client_id FROM coaching.coaching_sessions s WHERE s.id = ANY (:ids)
        UNION SELECT t.client_id FROM rag.transcripts t WHERE t.id = ANY (:ids) OR t.object_id = ANY (:ids)
        UNION SELECT d.client_id FROM rag.documents d WHERE d.id = ANY (:ids) OR d.object_id = ANY (:ids)))
) found ORDER BY found.placed_at LIMIT 1
""").bindparams(bindparam("ids", type_=ARRAY(Uuid)), bindparam("subject", type_=Uuid()))


class ErasureHeld(Conflict):
    """A legal hold covers what is to be erased; release the hold first."""


async def find_hold(
    session: AsyncSession, request: DeletionRequest, roots: tuple[tuple[UUID, ...], ...]
) -> ErasureHeld | None:
    """Return what says that a hold covers the request's subject, or anything about it; None where none does.

    A hold on a person covers their sessions and documents, and one on a session or document the person's erasure.
    """
    ids = [request.subject_id, *(one for root in roots for one in root)]
    reason = await session.scalar(_FIND, {"kind": request.subject_kind, "subject": request.subject_id, "ids": ids})
    if reason is None:
        return None
    return ErasureHeld(f"A legal hold covers what is to be erased ({reason}); release the hold first.")
