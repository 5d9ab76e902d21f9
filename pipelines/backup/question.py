"""One question to a restored store, as a real client would ask it, about words of a real transcript of theirs."""

import asyncio
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from uuid import UUID

from sqlalchemy.engine import URL

from core.errors import AppError
from core.settings import Settings
from db.session import Principal
from pipelines.backup.snapshot import connect
from pipelines.ingest import load_embedder
from rag.answer import Assistant, Done, answer

if TYPE_CHECKING:
    from rag.embedding.protocol import Embedder

TRIES: Final = 5
WORDS: Final = 8

_CANDIDATES: Final = """
    SELECT s.tenant_id, s.client_id, s.text
    FROM rag.transcript_segments s
    JOIN rag.transcripts t ON t.tenant_id = s.tenant_id AND t.id = s.transcript_id
    JOIN identity.users u ON u.tenant_id = s.tenant_id AND u.id = s.client_id AND u.status = 'active'
    JOIN platform.tenants o ON o.id = s.tenant_id AND o.status = 'active'
    WHERE s.visibility = 'client_visible' AND length(s.text) BETWEEN 20 AND 400
    ORDER BY t.created_at DESC, length(s.text) DESC LIMIT %s
"""


@dataclass(frozen=True, slots=True)
class Answered:
    """Who asked (an id) in which organisation, and how many citations the answer had; `why` where it had none."""

    tenant_id: UUID
    client_id: UUID
    citations: int
    why: str = ""


async def ask_someone(settings: Settings, url: URL, embedder: "Embedder | None" = None) -> Answered | None:
    """Ask as clients about what was said to or by them until an answer is cited; None where nobody has transcripts.

    No language model is asked: a drill costs nothing and tells nobody. So this is for a store that is thrown away.
    """
    found = await asyncio.to_thread(_prepare, url)
    if not found:
        return None
    embedder = embedder or await load_embedder(settings)
    answered = None
    for tenant_id, client_id, words in found:
        answered = await _ask(Principal(tenant_id, "client", client_id), words, embedder)
        if answered.citations:
            break
    return answered


def _prepare(url: URL) -> list[tuple[UUID, UUID, str]]:
    with connect(url) as connection:
        connection.execute("SET session_replication_role = replica")
        connection.execute("UPDATE platform.tenant_llm_config SET enabled = false")
        return connection.execute(_CANDIDATES, [TRIES]).fetchall()


async def _ask(client: Principal, words: str, embedder: "Embedder") -> Answered:
    spoken = list(dict.fromkeys(re.findall(r"[^\W\d_]{4,}", words)))
    telling = set(sorted(spoken, key=len, reverse=True)[:WORDS])
    asked = f"What was said about {' '.join(word for word in spoken if word in telling)}?"
    done, why = None, "no answer"
    try:
        async for event in answer(Assistant(embedder), client, asked):
            if isinstance(event, Done):
                done = event
    except AppError as error:
        why = error.message
    assert client.user_id is not None  # noqa: S101  # a client is somebody
    citations = len(done.citations) if done is not None and not done.refused else 0
    return Answered(
        client.tenant_id, client.user_id, citations, "" if citations else why if done is None else "refused"
    )
