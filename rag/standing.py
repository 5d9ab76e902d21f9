"""Asks, while an answer is being told, whether its reader may still have it: it ends at once where that ended."""

import time
from collections.abc import Collection, Sequence
from typing import Any, Final
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from core.errors import Forbidden
from db.session import tenant_session
from domain.consents import say_allowed
from domain.identity import Unauthenticated
from rag.answer_run import Run
from rag.passages import Passage

RECHECK_SECONDS: Final = 0.25
"""For so long words may still leave after what they stand on was withdrawn; a check is one short transaction."""


class SourcesWithdrawn(Forbidden):
    """Something this answer stands on was withdrawn from you while it was being told; ask again."""


class SignInEnded(Unauthenticated):
    """Your sign-in or key ended while this was being answered; sign in again."""


# Under the reader's policies, bound a moment ago: what is gone, changed, stale or no longer theirs is not found.
_LOST: Final = f"""
    SELECT s.source_id FROM unnest(CAST(:sources AS uuid[]), CAST(:hashes AS text[])) AS s (source_id, content_hash)
    WHERE NOT EXISTS (
        SELECT FROM rag.transcripts t WHERE t.id = s.source_id AND t.content_hash = s.content_hash
          AND {say_allowed("t.client_id", "assistant")})
      AND NOT EXISTS (
        SELECT FROM rag.documents d WHERE d.id = s.source_id AND d.content_hash = s.content_hash
          AND {say_allowed("d.client_id", "assistant")})
    UNION ALL
    SELECT e.id FROM unnest(CAST(:evidence AS uuid[])) AS e (id)
    WHERE NOT EXISTS (SELECT FROM evidence.claims c WHERE c.id = e.id AND c.stale_at IS NULL
        AND {say_allowed("c.client_id", "assistant")})
      AND NOT EXISTS (SELECT FROM evidence.patterns p WHERE p.id = e.id AND p.stale_at IS NULL
        AND {say_allowed("p.client_id", "assistant")})
"""
_SIGNED_IN: Final = {"key": "identity.find_api_key", "session": "identity.find_session"}
_STATEMENTS: Final = {
    kind: text(
        f"SELECT ARRAY({_LOST}) AS lost, "
        + (f"EXISTS (SELECT FROM {_SIGNED_IN[kind]}(:token_hash))" if kind else "true")
        + " AS signed_in"
    )
    for kind in (None, *_SIGNED_IN)
}


def note_checked(run: Run) -> None:
    """Remember that the run's reader could see all it stands on at this moment."""
    run.checked_at = time.monotonic()


async def ensure_standing(run: Run) -> None:
    """Ask the store, unless it was asked a moment ago.

    Raises `SourcesWithdrawn`, `SignInEnded`, and `ReaderUnknown` for someone who was suspended or lost their role.
    """
    if time.monotonic() - run.checked_at < RECHECK_SECONDS:
        return
    async with tenant_session(run.reader) as session:
        await check_standing(session, run)
    note_checked(run)


async def check_standing(session: AsyncSession, run: Run) -> None:
    """Ask the store in this transaction of the reader's; raises `SourcesWithdrawn`, `SignInEnded`."""
    passages: Sequence[Passage] = run.material.passages if run.material else run.passages
    told: Collection[UUID] = {one for sentence in run.sentences for one in sentence.evidence}
    sources = {(passage.source_id, passage.content_hash) for passage in passages}
    values: dict[str, Any] = {
        "sources": [source for source, _ in sources], "hashes": [content_hash for _, content_hash in sources],
        "evidence": list(told),
    }  # fmt: skip
    kind = run.credential.kind if run.credential else None
    if run.credential is not None:
        values["token_hash"] = run.credential.token_hash
    row = (await session.execute(_STATEMENTS[kind], values)).one()
    if not row.signed_in:
        raise SignInEnded
    if row.lost:
        raise SourcesWithdrawn
