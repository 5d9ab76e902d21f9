"""Asks the real assistant one question, as the person a case names, and keeps what a score needs of the answer."""

import time
from datetime import datetime

from db.session import Principal
from domain.citations import CitationView
from domain.reading import reading_through
from evaluation.records import Cited, Response, SourceRead
from rag.answer import Assistant, Delta, Done, SourcesFound, answer
from rag.passages import Passage
from rag.synthesize import describe_source


async def ask(assistant: Assistant, reader: Principal, question: str, *, now: datetime | None = None) -> Response:
    """Return the assistant's answer with its passages, and how long each stage of it and its first signs took.

    Raises whatever answering raises.
    """
    started = time.perf_counter()
    timings: dict[str, float] = {}
    found: SourcesFound | None = None
    done: Done | None = None
    with reading_through("evaluation"):
        async for event in answer(assistant, reader, question, now=now, feature="evaluation"):
            elapsed = round(1_000 * (time.perf_counter() - started), 2)
            if isinstance(event, SourcesFound):
                found = event
                timings["first_event_ms"] = elapsed
            elif isinstance(event, Delta):
                timings.setdefault("first_words_ms", elapsed)
            elif isinstance(event, Done):
                done = event
                timings["total_ms"] = elapsed
                timings |= {f"{stage}_ms": spent for stage, spent in event.timings_ms.items()}
    assert found is not None  # noqa: S101  # every answer begins with its sources
    assert done is not None  # noqa: S101  # and ends so
    return Response(
        text=done.text, refused=done.refused, provider=done.provider,
        contexts=tuple(f"{describe_source(passage)}\n{passage.text}" for passage in found.passages),
        citations=tuple(
            Cited(quote=one.quote, speaker=one.speaker, title=one.title, source_id=str(one.source_id))
            for one in done.citations
        ),
        sources=tuple(sorted({*map(_note_source, found.passages), *map(_note_source, done.citations)})),
        sessions_in_scope=done.coverage.sessions_in_scope, sessions_examined=done.coverage.sessions_examined,
        timings=timings, input_tokens=done.input_tokens, output_tokens=done.output_tokens, cost_usd=done.cost_usd,
    )  # fmt: skip


def _note_source(read: Passage | CitationView) -> SourceRead:
    client = None if read.client_id is None else str(read.client_id)
    return SourceRead(read.source_kind, str(read.source_id), read.content_hash, client)
