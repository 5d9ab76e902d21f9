"""Whom an erasure or an export is about, and which rows all others hang on: a scope of ids, never of words.

The scope of a person: what they are the client of is about them and is theirs whole. Where they spoke in other
people's sessions (`spoken`), only their turns are. See docs/decisions/0017.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from typing import Any, Final, Literal
from uuid import UUID

from sqlalchemy import ARRAY, BindParameter, Text, TextClause, Uuid, bindparam, text
from sqlalchemy.ext.asyncio import AsyncSession

from core.errors import NotFound
from domain.identity import bound_tenant

SubjectKind = Literal["person", "session", "document", "tenant"]

_NAMED_IN: Final = "EXISTS (SELECT FROM unnest(:persons) AS p WHERE position(p::text IN {0}) > 0) OR {0} ~* :pattern"
_ANSWER_TELLS: Final = """
    EXISTS (SELECT FROM jsonb_to_recordset(m."references" -> 'citations') AS c (source_id uuid)
            WHERE c.source_id = ANY (:transcripts || :documents || :spoken))
    OR EXISTS (SELECT FROM jsonb_array_elements(m."references" -> 'sentences') AS s,
                           jsonb_array_elements_text(s -> 'evidence') AS e
               WHERE e::uuid = ANY (:claims || :patterns))"""
_COPIES: Final = """EXISTS (SELECT FROM erased x, jsonb_array_elements_text({0}) AS w
                            WHERE length(w) >= 20 AND position(w IN x.words) > 0)"""
_ERASED_WORDS: Final = """WITH erased AS MATERIALIZED (
    SELECT d.text AS words FROM rag.documents d WHERE d.id = ANY (:documents)
    UNION ALL SELECT string_agg(g.text, E'\\n' ORDER BY g.segment_index) FROM rag.transcript_segments g
    WHERE g.transcript_id = ANY (:transcripts || :spoken) GROUP BY g.transcript_id)"""

ROOTS: Final[Mapping[str, str]] = {
    "persons": "SELECT CAST(:subject AS uuid) WHERE :kind = 'person'",
    "sessions": "SELECT s.id FROM coaching.coaching_sessions s "
    "WHERE s.client_id = ANY (:persons) OR (:kind = 'session' AND s.id = :subject)",
    "notes": "SELECT n.id FROM coaching.session_notes n "
    "WHERE n.session_id = ANY (:sessions) OR n.client_id = ANY (:persons) OR n.author_id = ANY (:persons)",
    "posts": "SELECT p.id FROM community.posts p WHERE p.author_id = ANY (:persons) OR p.client_id = ANY (:persons)",
    "projects": "SELECT p.id FROM community.projects p "
    "WHERE p.submitted_by = ANY (:persons) OR p.client_id = ANY (:persons)",
    "articles": "SELECT b.id FROM content.blog_posts b WHERE b.client_id = ANY (:persons)",
    "questions": "SELECT f.id FROM content.faqs f WHERE f.client_id = ANY (:persons)",
    # What is written inside the product is an object too, whose id follows from its key (pipelines/content_sources).
    "objects": """SELECT o.id FROM ingestion.ingested_objects o
        WHERE o.client_id = ANY (:persons) OR (o.client_id IS NULL AND o.coach_id = ANY (:persons))
           OR o.coaching_session_id = ANY (:sessions)
           OR o.id IN (SELECT md5(k.kind || '/' || i)::uuid FROM (VALUES
                  ('session', CAST(:sessions AS uuid[])), ('session_note', :notes), ('post', :posts),
                  ('blog_post', :articles), ('faq', :questions)) AS k (kind, ids), unnest(k.ids) AS i)
           OR (:kind = 'document' AND o.id = :subject)
           OR (:kind = 'document' AND o.id IN (SELECT d.object_id FROM rag.documents d WHERE d.id = :subject))
           OR (:kind IN ('document', 'session')
               AND o.id IN (SELECT t.object_id FROM rag.transcripts t
                            WHERE t.id = :subject OR t.coaching_session_id = ANY (:sessions)))""",
    "transcripts": "SELECT t.id FROM rag.transcripts t WHERE t.object_id = ANY (:objects)",
    "documents": "SELECT d.id FROM rag.documents d WHERE d.object_id = ANY (:objects)",
    "spoken": "SELECT DISTINCT g.transcript_id FROM rag.transcript_segments g "
    "WHERE g.speaker_id = ANY (:persons) AND NOT g.transcript_id = ANY (:transcripts)",
    "rebuilt": "SELECT t.object_id FROM rag.transcripts t WHERE t.id = ANY (:spoken)",
    "chats": "SELECT s.id FROM chat.chat_sessions s WHERE s.user_id = ANY (:persons) OR s.client_id = ANY (:persons)",
    "runs": "SELECT r.id FROM chat.agent_runs r WHERE r.session_id = ANY (:chats) OR r.user_id = ANY (:persons)",
    "media": "SELECT a.id FROM content.media_assets a WHERE a.uploaded_by = ANY (:persons)",
    "claims": """SELECT c.id FROM evidence.claims c
        WHERE c.transcript_id = ANY (:transcripts || :spoken) OR c.document_id = ANY (:documents)
           OR c.client_id = ANY (:persons) OR c.holder_id = ANY (:persons)""",
    "clients": """SELECT t.client_id FROM rag.transcripts t
        WHERE t.id = ANY (:transcripts || :spoken) AND t.client_id IS NOT NULL AND NOT t.client_id = ANY (:persons)
          AND cardinality(CAST(:claims AS uuid[])) > 0""",
    "patterns": """SELECT p.id FROM evidence.patterns p WHERE p.client_id = ANY (:persons)
        UNION SELECT pc.pattern_id FROM evidence.pattern_claims pc WHERE pc.claim_id = ANY (:claims)""",
    "insights": """SELECT i.id FROM evidence.insights i WHERE i.client_id = ANY (:persons)
        UNION SELECT d.child_insight_id FROM evidence.derivations d WHERE d.child_insight_id IS NOT NULL
            AND (d.parent_claim_id = ANY (:claims) OR d.parent_pattern_id = ANY (:patterns))""",
    "packs": """SELECT k.id FROM evidence.evidence_packs k
        WHERE k.user_id = ANY (:persons) OR k.client_id = ANY (:persons) OR k.client_ids && :persons
           OR k.question ~* :pattern
           OR EXISTS (SELECT FROM jsonb_array_elements(k.content -> 'passages') AS s
                      WHERE (s ->> 'source_id')::uuid = ANY (:transcripts || :documents || :spoken))
        UNION SELECT d.child_pack_id FROM evidence.derivations d WHERE d.child_pack_id IS NOT NULL
            AND (d.parent_claim_id = ANY (:claims) OR d.parent_pattern_id = ANY (:patterns))""",
    "answers": f"""SELECT m.id FROM chat.chat_messages m WHERE NOT m.session_id = ANY (:chats)
        AND ({_ANSWER_TELLS} OR m.content ~* :pattern OR m."references" ->> 'understood' ~* :pattern)""",
    "titled": "SELECT s.id FROM chat.chat_sessions s WHERE NOT s.id = ANY (:chats) "
    "AND concat_ws(' ', s.title, s.summary, s.system_prompt) ~* :pattern",
    "told_runs": "SELECT r.id FROM chat.agent_runs r "
    "WHERE NOT r.id = ANY (:runs) AND r.metadata ->> 'understood' ~* :pattern",
    "cases": f"""{_ERASED_WORDS} SELECT c.id FROM evaluation.dataset_cases c
        WHERE c.client_id = ANY (:persons)
           OR concat_ws(' ', c.user_input, c.reference, c.reference_contexts) ~* :pattern
           OR EXISTS (SELECT FROM evaluation.case_proposals p WHERE p.tenant_id = c.tenant_id AND p.id = c.proposal_id
                      AND (p.user_id = ANY (:persons) OR p.message_id = ANY (:answers)))
           OR {_COPIES.format("c.reference_contexts")}""",
    "evaluations": f"""{_ERASED_WORDS} SELECT e.id FROM evaluation.rag_evaluations e
        WHERE e.user_id = ANY (:persons) OR e.session_id = ANY (:chats) OR e.case_id = ANY (:cases)
           OR e.message_id = ANY (:answers) OR concat_ws(' ', e.query, e.answer, e.retrieved_contexts) ~* :pattern
           OR EXISTS (SELECT FROM jsonb_array_elements(CASE jsonb_typeof(e.details #> '{{response,citations}}')
                          WHEN 'array' THEN e.details #> '{{response,citations}}' ELSE '[]' END) AS c
                      WHERE c ->> 'source_id' = ANY (CAST(:transcripts || :documents || :spoken AS text[])))
           OR {_COPIES.format("e.retrieved_contexts")}""",
    "feedback": """SELECT f.id FROM evidence.feedback f
        WHERE f.user_id = ANY (:persons) OR f.comment ~* :pattern
           OR f.target_id = ANY (:claims || :patterns || :insights || :packs || :answers)
           OR f.target_id IN (SELECT m.id FROM chat.chat_messages m WHERE m.session_id = ANY (:chats))""",
    "notifications": f"""SELECT n.id FROM comms.notifications n
        WHERE n.user_id = ANY (:persons) OR n.actor_id = ANY (:persons)
           OR n.reference_id = ANY (:persons || :sessions || :posts || :projects || :insights || :chats || :notes)
           OR {_NAMED_IN.format("concat_ws(' ', n.title, n.message, n.action_url)")}""",
    "outbox": f"SELECT b.id FROM comms.outbox b WHERE {_NAMED_IN.format('b.payload::text')}",
    "deliveries": f"SELECT w.id FROM comms.webhook_deliveries w WHERE {_NAMED_IN.format('w.payload::text')}",
    "tags": """SELECT t.id FROM content.tags t WHERE t.name IN (
        SELECT jsonb_array_elements_text(p.tags) FROM community.posts p WHERE p.id = ANY (:posts))""",
    "sources": """SELECT d.id FROM ingestion.data_sources d WHERE d.id IN (
            SELECT o.data_source_id FROM ingestion.ingested_objects o WHERE o.id = ANY (:objects))
        AND NOT EXISTS (SELECT FROM ingestion.ingested_objects o
                        WHERE o.data_source_id = d.id AND NOT o.id = ANY (:objects))""",
    "exports": "SELECT e.id FROM governance.data_exports e WHERE e.user_id = ANY (:persons)",
    # An upload is a source of its own, whose address ends with its id.
    "uploads": r"""SELECT substring(d.uri FROM '/uploads/([0-9a-f-]{36})$')::uuid FROM ingestion.data_sources d
        WHERE d.uri ~ '/tenants/[0-9a-f-]{36}/uploads/[0-9a-f-]{36}$' AND d.id IN (
            SELECT o.data_source_id FROM ingestion.ingested_objects o WHERE o.id = ANY (:objects || :rebuilt))""",
    "sidecars": "SELECT o.id FROM ingestion.ingested_objects o "
    "WHERE NOT o.id = ANY (:objects) AND o.sidecar::text ~* :pattern",
}
"""By name, in the order they are collected: each statement may use the roots before it."""

_SUBJECT: Final = {
    "person": "SELECT FROM identity.users WHERE id = :id",
    "session": "SELECT FROM coaching.coaching_sessions WHERE id = :id "
    "UNION ALL SELECT FROM rag.transcripts WHERE id = :id",
    "document": "SELECT FROM rag.documents WHERE id = :id UNION ALL SELECT FROM rag.transcripts WHERE id = :id "
    "UNION ALL SELECT FROM ingestion.ingested_objects WHERE id = :id",
}
_WORDS: Final = text("SELECT full_name, email, username FROM identity.users WHERE id = ANY (:persons)").bindparams(
    bindparam("persons", type_=ARRAY(Uuid))
)
SHORTEST_NAME: Final = 3
"""A shorter name is no name to look for in other people's words: it would find half of them."""


class SubjectMissing(NotFound):
    """There is no such person, session or document in this organisation; check the id."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """What is about a subject: ids by root; empty for a whole tenant, of which everything is."""

    tenant_id: UUID
    kind: SubjectKind
    subject_id: UUID
    collected_at: datetime
    roots: Mapping[str, tuple[UUID, ...]] = field(default_factory=dict)

    def values(self) -> dict[str, Any]:
        """Return what the conditions of `stores.STORES` are bound with."""
        return {name: list(self.roots.get(name, ())) for name in ROOTS} | {"until": self.collected_at}

    def __getitem__(self, root: str) -> tuple[UUID, ...]:
        return self.roots.get(root, ())


def bind(statement: str) -> TextClause:
    """Return the SQL with the types of the scope's values, of those it names."""
    clause = text(statement)
    named = set(clause.compile().params) if ":" in statement else set()
    typed: list[BindParameter[Any]] = [bindparam(name, type_=ARRAY(Uuid)) for name in ROOTS if name in named]
    if "pattern" in named:
        typed.append(bindparam("pattern", type_=Text()))
    if "subject" in named:
        typed.append(bindparam("subject", type_=Uuid()))
    return clause.bindparams(*typed)


@cache
def _root(name: str) -> TextClause:
    return bind(ROOTS[name])


async def collect_scope(
    session: AsyncSession, kind: SubjectKind, subject_id: UUID, *, must_exist: bool = True
) -> Scope:
    """Return the scope as it is now, in a system session of its tenant; raises `SubjectMissing` where it must exist."""
    tenant_id = await bound_tenant(session)
    moment = await session.scalar(text("SELECT clock_timestamp()"))
    roots: dict[str, tuple[UUID, ...]] = {}
    if kind != "tenant":
        if must_exist and (await session.execute(text(_SUBJECT[kind]), {"id": subject_id})).first() is None:
            raise SubjectMissing
        values: dict[str, Any] = {"kind": kind, "subject": subject_id, "pattern": None}
        for name in ROOTS:
            clause = _root(name)
            found = await session.scalars(clause, {key: values[key] for key in clause.compile().params})
            roots[name] = tuple(sorted({UUID(str(one)) for one in found}))
            values[name] = list(roots[name])
            if name == "persons":
                values["pattern"] = write_pattern(await list_words(session, roots[name]))
    return Scope(
        tenant_id=tenant_id, kind=kind, subject_id=subject_id, collected_at=moment,
        roots={name: ids for name, ids in roots.items() if ids},
    )  # fmt: skip


async def list_words(session: AsyncSession, persons: tuple[UUID, ...]) -> tuple[str, ...]:
    """Return what these persons are called and reached by, to be looked for in other people's words."""
    if not persons:
        return ()
    rows = (await session.execute(_WORDS, {"persons": list(persons)})).all()
    words = {word.strip() for row in rows for word in row if word}
    return tuple(sorted(word for word in words if len(word) >= SHORTEST_NAME and not word.startswith("erased-")))


def write_pattern(words: tuple[str, ...]) -> str | None:
    """Return the regular expression that finds the words whole, in PostgreSQL and in Python; None finds nothing."""
    if not words:
        return None
    escaped = "|".join(re.sub(r"([^\w])", r"\\\1", word) for word in words)
    return rf"(?<!\w)(?:{escaped})(?!\w)"
