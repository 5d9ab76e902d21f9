"""What a model proposed earlier goes through the gate again where no model is asked: it was paid for once."""

from typing import Any, Final

import orjson
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from pipelines.evidence.records import Candidate, Method, ProposedClaim, QuoteRole, SessionText

_METHOD: Final = ("name", "model_name", "prompt_hash", "run_id")
_MODELLED: Final = text("""
SELECT c.claim_type, c.statement, c.modality, c.holder, c.subject, c.polarity, c.valid_from, c.valid_to,
       c.support_score, c.scorer, c.method AS name, c.model_name, c.prompt_hash, c.run_id,
       json_agg(json_build_array(q.exact, q.speaker, q.segment_first, e.role) ORDER BY e.ordinal, q.id)::text AS quotes
FROM evidence.claims c
JOIN evidence.claim_quotes e ON e.tenant_id = c.tenant_id AND e.claim_id = c.id
JOIN evidence.quotes q ON q.tenant_id = e.tenant_id AND q.id = e.quote_id
WHERE c.transcript_id = :transcript_id AND c.model_name IS NOT NULL
GROUP BY c.tenant_id, c.id ORDER BY c.id
""")


async def list_modelled(session: AsyncSession, said: SessionText) -> list[ProposedClaim]:
    """Return the session's stored claims of models, stale ones too, all of whose quotes still stand in its words.

    One that lost any is left out whole: nobody can say which of its words came from there.
    """
    rows = (await session.execute(_MODELLED, {"transcript_id": said.transcript_id})).mappings()
    claims = [_propose(dict(row)) for row in rows]
    return [one for one in claims if all(candidate.exact in said.text for candidate, _ in one.quotes)]


def _propose(row: dict[str, Any]) -> ProposedClaim:
    method = Method(**{name: row.pop(name) for name in _METHOD})
    quotes: list[tuple[Candidate, QuoteRole]] = [
        (Candidate(exact=exact, speaker=speaker, turn_index=turn), role)
        for exact, speaker, turn, role in orjson.loads(row.pop("quotes"))
    ]
    return ProposedClaim(**row, quotes=quotes, method=method)
