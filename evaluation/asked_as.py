"""The words of a run's answers for an evaluator, who reads them as whoever they were asked as.

Only what that person may still read, and only where every client whom it is about agrees to be studied
([ADR 26](../docs/decisions/0026-an-evaluator-reads-as-whoever-was-asked-as.md)).
"""

from collections.abc import Mapping, Sequence
from typing import Final
from uuid import UUID

from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession

from db.models import RagEvaluation
from db.session import BOUND_TO, Principal, Role, acting_as, acting_as_system

# As the pipelines: answers of which it is known what they were made from, and all of whose clients agree.
_AGREED: Final = text(
    """
    SELECT e.id, u.id AS user_id, u.role
    FROM evaluation.rag_evaluations e JOIN identity.users u ON u.id = e.user_id AND u.status = 'active'
    WHERE e.id = ANY (CAST(:ids AS uuid[])) AND e.experiment_id IS NOT NULL
      AND jsonb_exists(e.details -> 'response', 'sources')
      AND NOT EXISTS (
        SELECT FROM jsonb_to_recordset(e.details -> 'response' -> 'sources') AS s (client_id uuid)
        WHERE s.client_id IS NOT NULL AND NOT EXISTS (
            SELECT FROM identity.consents c
            WHERE c.user_id = s.client_id AND c.purpose = 'evaluation' AND c.withdrawn_at IS NULL))
    """
)

# As whoever asked: of these, those whose every source is there for them, unchanged, at this moment.
_READABLE: Final = text(
    """
    SELECT e.id FROM evaluation.rag_evaluations e
    WHERE e.id = ANY (CAST(:ids AS uuid[])) AND NOT EXISTS (
        SELECT FROM jsonb_to_recordset(e.details -> 'response' -> 'sources') AS s (id uuid, content_hash text)
        WHERE NOT EXISTS (SELECT FROM rag.transcripts t WHERE t.id = s.id AND t.content_hash = s.content_hash)
          AND NOT EXISTS (SELECT FROM rag.documents d WHERE d.id = s.id AND d.content_hash = s.content_hash))
    """
)


async def read_as_askers(session: AsyncSession, answer_ids: Sequence[UUID]) -> Mapping[UUID, RagEvaluation]:
    """Return those of these answers, by id, whose words the session's evaluator may read; none for another role.

    What is returned is read: note it (`record_results_read`).
    """
    reader: Principal = session.info[BOUND_TO]
    if reader.role != "evaluator" or not answer_ids:
        return {}
    agreed: dict[tuple[UUID, Role], list[UUID]] = {}
    async with acting_as_system(session):
        for row in await session.execute(_AGREED, {"ids": list(answer_ids)}):
            agreed.setdefault((row.user_id, row.role), []).append(row.id)
    found: dict[UUID, RagEvaluation] = {}
    for (user_id, role), ids in agreed.items():
        async with acting_as(session, Principal(reader.tenant_id, role, user_id)):
            readable = (await session.scalars(_READABLE, {"ids": ids})).all()
            answers = await session.scalars(select(RagEvaluation).where(RagEvaluation.id.in_(readable)))
            found |= {answer.id: answer for answer in answers}
    return found
