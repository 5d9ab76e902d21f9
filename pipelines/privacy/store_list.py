"""The stores of words: what was said and written, the index of it, and what was derived, asked and measured."""

from typing import Final

from pipelines.privacy.store import CODES, Store, hangs_on, names, nobodys

_SOURCE: Final = "t.transcript_id = ANY (:transcripts)"
_ANY_SOURCE: Final = f"{_SOURCE} OR t.document_id = ANY (:documents)"
_BEFORE: Final = "t.transcript_id = ANY (:spoken) AND t.created_at <= :until"
"""What stood on a transcript before its turns were taken out; what is derived from the rest comes later."""
_CHUNKS: Final = """(c.object_id = ANY (:objects) OR c.transcript_id = ANY (:spoken) AND EXISTS (
    SELECT FROM rag.transcript_segments g WHERE g.transcript_id = c.transcript_id AND g.speaker_id = ANY (:persons)
      AND g.char_start < c.char_end AND g.char_end > c.char_start))"""
_IN_CHUNKS: Final = f"t.chunk_id IN (SELECT c.id FROM rag.document_chunks c WHERE {_CHUNKS})"
_CLAIMS: Final = """c.transcript_id = ANY (:transcripts) OR c.document_id = ANY (:documents)
    OR c.client_id = ANY (:persons) OR c.holder_id = ANY (:persons)
    OR c.transcript_id = ANY (:spoken) AND c.created_at <= :until"""
_DERIVED: Final = " OR (t.id = ANY (:{0}) AND t.created_at <= :until)"

_IN_CLAIMS: Final = f"(SELECT c.id FROM evidence.claims c WHERE {_CLAIMS})"
_IN_QUOTES: Final = f"(SELECT c.id FROM evidence.quotes c WHERE {_CLAIMS.replace('holder_id', 'speaker_id')})"
_EMPTY_SOURCE: Final = """t.id = ANY (:sources) AND NOT EXISTS (
    SELECT FROM ingestion.ingested_objects o WHERE o.data_source_id = t.id AND NOT o.id = ANY (:objects))"""

WORDS: Final[tuple[Store, ...]] = (
    # What was found, before what it was found in: each table by its own statement, the last referenced last.
    Store(
        table="evidence.evidence_packs",
        about="t.id = ANY (:packs) OR t.client_ids && :persons OR " + names("user_id", "client_id"),
    ),
    Store(
        table="evidence.insight_reviews",
        by="cascade",
        about=hangs_on(
            "insight_id",
            "evidence.insights",
            "o.id = ANY (:insights) AND o.created_at <= :until OR o.client_id = ANY (:persons)",
        ),
    ),
    Store(
        table="evidence.insight_reviews",
        part="reviewer",
        treatment="keep",
        about=f"({names('reviewer_id')}) AND NOT t.insight_id = ANY (:insights)",
        kept=dict.fromkeys(
            ("verdict", "reason", "title_before", "title_after", "body_before", "body_after"),
            "a decision of the organisation about another person's insight",
        ),
        reason="what an organisation decided about its client stays with the client; who decided is a pseudonym",
    ),
    Store(table="evidence.insights", about=names("client_id") + _DERIVED.format("insights")),
    Store(
        table="evidence.pattern_claims",
        by="cascade",
        about="t.pattern_id IN (SELECT p.id FROM evidence.patterns p WHERE p.client_id = ANY (:persons)) "
        f"OR t.claim_id IN {_IN_CLAIMS}",
    ),
    Store(table="evidence.patterns", about=names("client_id") + _DERIVED.format("patterns")),
    Store(
        table="evidence.claim_quotes",
        by="cascade",
        about=f"t.claim_id IN {_IN_CLAIMS} OR t.quote_id IN {_IN_QUOTES}",
    ),
    Store(
        table="evidence.derivations",
        by="cascade",
        about=f"t.child_claim_id IN {_IN_CLAIMS} "
        f"OR t.parent_claim_id IN {_IN_CLAIMS} "
        f"OR t.parent_quote_id IN {_IN_QUOTES}",
    ),
    Store(table="evidence.claims", about=f"{_ANY_SOURCE} OR {names('client_id', 'holder_id')} OR {_BEFORE}"),
    Store(table="evidence.quotes", about=f"{_ANY_SOURCE} OR {names('client_id', 'speaker_id')} OR {_BEFORE}"),
    Store(table="evidence.extractions", about=f"{_SOURCE} OR t.transcript_id = ANY (:spoken) AND t.built_at <= :until"),
    Store(table="evidence.feedback", about="t.id = ANY (:feedback) OR " + names("user_id")),
    Store(
        table="evaluation.rag_metrics",
        about=hangs_on(
            "evaluation_id",
            "evaluation.rag_evaluations",
            "o.id = ANY (:evaluations) OR o.user_id = ANY (:persons) OR o.session_id = ANY (:chats)",
        ),
    ),
    Store(
        table="evaluation.rag_reports",
        about=hangs_on(
            "evaluation_id",
            "evaluation.rag_evaluations",
            "o.id = ANY (:evaluations) OR o.user_id = ANY (:persons) OR o.session_id = ANY (:chats)",
        ),
    ),
    Store(
        table="evaluation.rag_evaluations",
        about="t.id = ANY (:evaluations) OR t.session_id = ANY (:chats) OR " + names("user_id"),
    ),
    Store(table="evaluation.dataset_cases", about="t.id = ANY (:cases) OR " + names("client_id")),
    Store(
        table="evaluation.case_proposals",
        about="t.message_id = ANY (:answers) OR "
        + names("user_id")
        + " OR "
        + hangs_on("message_id", "chat.chat_messages", "o.session_id = ANY (:chats)"),
    ),
    Store(
        table="evaluation.experiments",
        treatment="keep",
        about=names("user_id"),
        kept={
            "suite": CODES,
            "status": CODES,
            "config": "settings of the assistant that was measured",
            "config_hash": CODES,
        },
        reason="a measurement of the assistant; in whose name it asked is a pseudonym",
    ),
    nobodys("evaluation.datasets", "names and settings of suites; their cases have rows of their own"),
    Store(
        table="chat.shared_links",
        about=names("user_id", "reader_id")
        + " OR "
        + names("pack_id", root="packs")
        + " OR "
        + names("message_id", root="answers")
        + " OR "
        + hangs_on("message_id", "chat.chat_messages", "o.session_id = ANY (:chats)"),
    ),
    Store(
        table="governance.corrections",
        about=names("requested_by", "client_id", "speaker_id")
        + " OR "
        + names("object_id", root="objects")
        + " OR "
        + names("object_id", root="rebuilt")
        + " OR "
        + names("claim_id", root="claims"),
    ),
    Store(
        table="chat.message_citations",
        by="cascade",
        about=f"{_ANY_SOURCE} OR {_BEFORE.replace('t.created_at', 't.message_created_at')} OR "
        + names("user_id")
        + " OR "
        + hangs_on("message_id", "chat.chat_messages", "o.session_id = ANY (:chats)"),
    ),
    Store(
        table="chat.agent_failures",
        by="cascade",
        about=hangs_on("agent_run_id", "chat.agent_runs", "o.session_id = ANY (:chats) OR o.user_id = ANY (:persons)"),
    ),
    Store(table="chat.agent_runs", about=names("session_id", root="chats") + " OR " + names("user_id")),
    Store(
        table="chat.agent_runs",
        part="named",
        treatment="blank",
        about="t.id = ANY (:told_runs)",
        blank={"metadata": "t.metadata - 'understood'"},
        kept={"agent_type": CODES, "status": CODES},
    ),
    Store(
        table="chat.chat_messages", by="cascade", about=names("session_id", root="chats") + " OR " + names("user_id")
    ),
    Store(
        table="chat.chat_messages",
        part="told",
        treatment="blank",
        by="function",
        about="t.id = ANY (:answers)",
        blank={"content": "what stands on other sources", "references": "what stands on other sources"},
        left="""EXISTS (SELECT FROM jsonb_to_recordset(t."references" -> 'citations') AS c (source_id uuid)
                          WHERE c.source_id = ANY (:transcripts || :documents || :spoken))
              OR EXISTS (SELECT FROM jsonb_array_elements(t."references" -> 'sentences') AS s,
                                     jsonb_array_elements_text(s -> 'evidence') AS e
                         WHERE e::uuid = ANY (:claims || :patterns))""",
        kept={"role": CODES},
    ),
    Store(table="chat.chat_sessions", about=names("id", root="chats") + " OR " + names("user_id", "client_id")),
    Store(
        table="chat.chat_sessions",
        part="named",
        treatment="blank",
        about="t.id = ANY (:titled)",
        blank={"title": "NULL", "summary": "NULL", "system_prompt": "NULL"},
    ),
    # The index, and what was ingested.
    Store(table="rag.search_metadata", about=_IN_CHUNKS),
    Store(table="rag.chunk_embeddings", about=_IN_CHUNKS),
    Store(table="rag.document_chunks", about=_CHUNKS.replace("(c.", "(t.").replace(" c.", " t.")),
    Store(
        table="rag.transcript_segments",
        about=_SOURCE + " OR t.transcript_id = ANY (:spoken) AND " + names("speaker_id"),
    ),
    Store(table="rag.transcripts", about="t.object_id = ANY (:objects)"),
    Store(table="rag.documents", about="t.object_id = ANY (:objects)"),
    nobodys(
        "rag.term_frequencies", "counts of hashed stems over all chunks; kept by trigger, checked against a recount"
    ),
    nobodys("rag.embeddings_registry", "which models chunks are embedded with"),
    Store(table="ingestion.ingestion_attempts", about="t.object_id = ANY (:objects)"),
    Store(table="ingestion.ingested_objects", about="t.id = ANY (:objects) OR " + names("client_id")),
    Store(
        table="ingestion.ingested_objects",
        part="rebuilt",
        treatment="blank",
        about="t.id = ANY (:rebuilt)",
        blank={"storage_key": "NULL", "cloudfront_url": "NULL", "sidecar": "'{}'"},
        kept=dict.fromkeys(
            ("key", "version", "checksum", "sidecar_hash", "pipeline_version", "title", "error"),
            "which object of the other person's source this is, so that it is not ingested again",
        )
        | dict.fromkeys(("content_type", "kind", "ingestion_status", "visibility"), CODES),
    ),
    Store(
        table="ingestion.ingested_objects",
        part="named",
        treatment="blank",
        about="t.id = ANY (:sidecars)",
        blank={"sidecar": "'{}'"},
        kept=dict.fromkeys(
            (
                "key",
                "version",
                "checksum",
                "sidecar_hash",
                "pipeline_version",
                "title",
                "error",
                "storage_key",
                "cloudfront_url",
            ),
            "another person's object, in whose manifest the subject was named",
        )
        | dict.fromkeys(("content_type", "kind", "ingestion_status", "visibility"), CODES),
    ),
    Store(
        table="ingestion.data_sources",
        about=_EMPTY_SOURCE,
    ),
)
"""In the order of deletion: what refers to others goes before them."""
