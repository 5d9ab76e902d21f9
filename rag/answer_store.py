"""Stores an answer with what it stands on and how its run ended, and tells a stored one again."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from core.errors import AppError
from core.logging import get_logger
from db.session import ReaderUnknown, tenant_session
from domain import chat
from domain.citations import CitationView, CitedSpan, find_readable_evidence, list_citation_views
from domain.packs import PackCoverage, PackUnstored, make_pack
from rag.answer_events import CitationsReady, Delta, Done, Event, SourcesFound
from rag.answer_quota import settle_answer
from rag.answer_run import Run
from rag.costs import add_costs
from rag.prompts import prompt_hash
from rag.standing import SignInEnded, SourcesWithdrawn, check_standing
from rag.synthesize import AnswerSentence, Coverage

_log = get_logger("answer")
_saving: Final[set[asyncio.Task[None]]] = set()


async def save_answer(run: Run, status: chat.RunStatus) -> tuple[tuple[CitationView, ...], UUID | None]:
    """Store the answer and how the run ended; return its citations as they render now.

    Where its reader's rights ended, what they may still see is stored, and then `SourcesWithdrawn` or `SignInEnded`
    is raised.
    """
    run.clock.enter("store")
    spans = [CitedSpan(**asdict(citation)) for citation in run.citations]
    _count_supporting(run)
    message_id, ended = None, None
    async with tenant_session(run.reader) as session:
        try:
            await check_standing(session, run)
        except (SourcesWithdrawn, SignInEnded) as error:
            ended, status = error, "cancelled"
        views = await list_citation_views(session, spans)
        standing = [span for span, view in zip(spans, views, strict=True) if view]
        if ended is not None:
            await _drop_withdrawn(session, run, frozenset(span.ordinal for span in standing))
        run.pack_id = None if ended else await _pack(session, run, standing)
        if run.session_id is not None and run.reader.user_id is not None and run.sentences:
            message_id = await chat.append_answer(
                session, session_id=run.session_id, user_id=run.reader.user_id, run_id=run.run_id,
                answer=chat.StoredAnswer(
                    sentences=tuple(chat.StoredSentence(s.text, s.citations, s.evidence) for s in run.sentences),
                    citations=tuple(standing), facts=_facts(run),
                ),
            )  # fmt: skip
        await chat.finish_run(
            session, run.run_id, status, metadata=_facts(run) | _costs(run),
            failures=[chat.Failure(f.error, f"{f.provider}: {f.message}", f.retryable) for f in run.failures],
        )  # fmt: skip
        await settle_answer(session, run)
    run.calls, run.costs, run.embedded, run.limited = [], [], [], False  # told again, it must not count twice
    run.is_saved = True
    if ended is not None:
        raise ended
    return tuple(view for view in views if view is not None), message_id


async def _drop_withdrawn(session: AsyncSession, run: Run, ordinals: frozenset[int]) -> None:
    """Leave only the sentences all of whose citations and evidence the reader may still see."""
    told = {one for sentence in run.sentences for one in sentence.evidence}
    readable = await find_readable_evidence(session, told)
    run.sentences = [s for s in run.sentences if ordinals.issuperset(s.citations) and readable.issuperset(s.evidence)]


async def _pack(session: AsyncSession, run: Run, spans: Sequence[CitedSpan]) -> UUID | None:
    """Store the evidence that the answer stands on and return the pack's id; a refusal, or no person, has none."""
    if not spans or run.reader.user_id is None or run.material is None:
        return None
    told = {id_ for sentence in run.sentences for id_ in sentence.evidence}
    coverage = PackCoverage(
        sessions_in_scope=run.coverage.sessions_in_scope, sessions_examined=run.coverage.sessions_examined,
        sessions_supporting=run.coverage.sessions_supporting,
    )  # fmt: skip
    try:
        pack = await make_pack(
            session, question=run.asked, quote_spans=spans, coverage=coverage,
            claim_ids=[id_ for id_ in run.material.evidence.claims if id_ in told],
        )  # fmt: skip
    except PackUnstored as error:  # the answer stands by its citations all the same
        _log.warning("pack_not_stored", run_id=str(run.run_id), error=error.code)
        return None
    return pack.id


def save_later(run: Run, status: chat.RunStatus) -> None:
    """Store what was answered so far in a task of its own, unless it is stored; `settle` waits for it."""
    if run.is_saved:
        return

    async def save() -> None:
        try:
            await save_answer(run, status)
        except (SourcesWithdrawn, SignInEnded):
            return  # what may be stored is
        except ReaderUnknown:
            # Nothing is stored for someone who is not there any more; how the run ended is.
            async with tenant_session(run.reader.as_system()) as session:
                await chat.finish_run(session, run.run_id, "cancelled", metadata=_costs(run))
        except AppError as error:
            _log.warning("answer_not_stored", run_id=str(run.run_id), error=error.code)

    task = asyncio.get_running_loop().create_task(save())
    _saving.add(task)
    task.add_done_callback(_saving.discard)


async def settle() -> None:
    """Wait until every answer of this event loop whose caller left is stored; call it before the loop ends."""
    here = asyncio.get_running_loop()
    while mine := [task for task in _saving if task.get_loop() is here]:
        await asyncio.gather(*mine, return_exceptions=True)


def _count_supporting(run: Run) -> None:
    by_source = {p.source_id: p for p in (run.material.passages if run.material else run.passages)}
    cited = {c.source_id for c in run.citations}
    sessions = {by_source[s].coaching_session_id or s for s in cited if by_source[s].source_kind == "transcript"}
    documents = {s for s in cited if by_source[s].source_kind == "document"}
    # what became of a promise may be told in a session beyond those asked about; then that one was searched too
    run.coverage = replace(
        run.coverage, sessions_supporting=len(sessions), documents_supporting=len(documents),
        sessions_in_scope=max(run.coverage.sessions_in_scope, len(sessions)),
        sessions_examined=max(run.coverage.sessions_examined, len(sessions)),
    )  # fmt: skip


def _facts(run: Run) -> dict[str, Any]:
    """Return what is stored and shown beside an answer."""
    return {
        "coverage": asdict(run.coverage),
        "understood": run.understanding.words if run.understanding else "",
        "provider": run.provider,
        "refused": run.refused,
        "support": round(run.support, 4),
        "pack_id": str(run.pack_id) if run.pack_id else None,
    }


def _costs(run: Run) -> dict[str, Any]:
    cost = add_costs(run.prices)
    return {
        "input_tokens": sum(usage.input_tokens or 0 for usage in run.usage),
        "output_tokens": sum(usage.output_tokens or 0 for usage in run.usage),
        "models": sorted({usage.model for usage in run.usage}),
        "cost_usd": None if cost is None else str(cost),
        "sentences_dropped": run.dropped,
        "prompt_hash": prompt_hash(),
        "seconds": round(time.monotonic() - run.clock.started, 3),
        "timings_ms": run.clock.read(),  # "store" without the commit that is still to come
    }


def finish(run: Run, citations: tuple[CitationView, ...], message_id: UUID | None) -> Done:
    """Return the event that ends an answer, after it was stored."""
    costs = _costs(run)
    return Done(
        run_id=run.run_id, message_id=message_id, text=" ".join(s.text for s in run.sentences),
        sentences=tuple(run.sentences), citations=citations, coverage=run.coverage,
        understood=run.understanding.words if run.understanding else "", provider=run.provider, refused=run.refused,
        support=run.support, input_tokens=costs["input_tokens"], output_tokens=costs["output_tokens"],
        cost_usd=None if costs["cost_usd"] is None else Decimal(costs["cost_usd"]),
        failures=tuple(run.failures), pack_id=run.pack_id, timings_ms=run.clock.read(),
    )  # fmt: skip


def replay(run: Run, stored: chat.MessageView) -> list[Event]:
    """Return the events of an answer given before, as its reader may see it now."""
    coverage = Coverage(**stored.facts["coverage"])
    sentences = tuple(AnswerSentence(s.text, s.citations) for s in stored.sentences)
    understood, pack_id = stored.facts["understood"], stored.facts.get("pack_id")
    return [
        SourcesFound(run_id=run.run_id, question=run.asked, understood=understood, passages=(), coverage=coverage),
        Delta(stored.text),
        CitationsReady(stored.citations),
        Done(
            run_id=run.run_id, message_id=stored.id, text=stored.text, sentences=sentences, citations=stored.citations,
            coverage=coverage, understood=understood, provider=stored.facts["provider"],
            refused=stored.facts["refused"], support=stored.facts["support"], input_tokens=0, output_tokens=0,
            cost_usd=Decimal(0), failures=(), pack_id=UUID(pack_id) if pack_id else None,
        ),
    ]  # fmt: skip
