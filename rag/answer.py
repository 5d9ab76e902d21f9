"""Answers a question: understand, search, answer on cited words, store; told as events while it happens."""

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final, Protocol
from uuid import UUID, uuid4, uuid5

from sqlalchemy.ext.asyncio import AsyncSession

from core.errors import AppError
from core.logging import get_logger
from core.settings import ModelSettings
from db.session import Principal, tenant_session
from domain import chat
from domain.citations import CitationView, CitedSpan, list_citation_views
from domain.packs import PackCoverage, PackUnstored, make_pack
from rag.answer_events import CitationsReady, Delta, Done, Event, SourcesFound
from rag.answer_models import ModelChoice, list_models
from rag.costs import add_costs, price
from rag.embedding.protocol import Embedder
from rag.evidence import gather_evidence
from rag.evidence_notes import Note, choose_evidence, list_notes
from rag.passages import Passage, Retrieval, Scope
from rag.prompts import Prompt, build_answer_prompt, prompt_hash
from rag.providers.chain import AnswerInterrupted, NoProviderAnswered, ProviderFailure, open_answer
from rag.providers.protocol import Message, Usage
from rag.retrieve import UnusableQuestion
from rag.retrieve import retrieve as retrieve_passages
from rag.rewrite import MAX_HISTORY, add_topic, rewrite, rewrite_by_rule
from rag.synthesize import (
    NOTHING_SEARCHED,
    AnswerSentence,
    Citation,
    Coverage,
    Material,
    Synthesis,
    count_coverage,
    describe_source,
    load_material,
)
from rag.synthesize_evidence import add_evidence
from rag.synthesize_extractive import answer_by_quotes, refuse
from rag.synthesize_model import GroundedAnswer
from rag.understand import Person, Understanding, give_up_time, list_named_people, understand
from rag.understand_evidence import find_asked_evidence
from rag.understand_topic import list_topic_words

__all__ = [
    "MAX_QUESTION",
    "Assistant",
    "CitationsReady",
    "Delta",
    "Done",
    "Event",
    "SourcesFound",
    "UnusableQuestion",
    "answer",
    "settle",
]

MAX_QUESTION: Final = 4_000
TOP_K: Final = 8
EXTRACTIVE: Final = "extractive"
_SESSION_FACTOR: Final = 3
_REWRITE_TOKENS: Final = 200

_log = get_logger("answer")
_saving: Final[set[asyncio.Task[None]]] = set()


class Retriever(Protocol):
    """How passages are found; the product's is `rag.retrieve.retrieve`."""

    async def __call__(
        self, session: AsyncSession, embedder: Embedder | None, question: str, *, top_k: int, scope: Scope
    ) -> Retrieval:
        """Return the passages that the session's reader may see, best first."""


@dataclass(frozen=True, slots=True)
class Assistant:
    """What answering needs besides a question: the embedder, the operator's model, how passages are found."""

    embedder: Embedder | None
    model: ModelSettings = field(default_factory=ModelSettings)
    retriever: Retriever = retrieve_passages
    top_k: int = TOP_K


@dataclass(slots=True)
class _Run:
    """One question on its way to an answer."""

    assistant: Assistant
    reader: Principal
    asked: str
    run_id: UUID
    session_id: UUID | None
    now: datetime
    history: Sequence[tuple[str, str]] = ()
    client_id: UUID | None = None
    people: Sequence[Person] = ()
    models: Sequence[ModelChoice] = ()
    understanding: Understanding | None = None
    coverage: Coverage = NOTHING_SEARCHED
    passages: tuple[Passage, ...] = ()
    material: Material | None = None
    pack_id: UUID | None = None
    provider: str = EXTRACTIVE
    usage: list[Usage] = field(default_factory=list)
    failures: list[ProviderFailure] = field(default_factory=list)
    sentences: list[AnswerSentence] = field(default_factory=list)
    citations: list[Citation] = field(default_factory=list)
    refused: bool = False
    support: float = 0.0
    dropped: int = 0
    started: float = field(default_factory=time.monotonic)


async def answer(
    assistant: Assistant,
    reader: Principal,
    question: str,
    *,
    history: Sequence[tuple[str, str]] = (),
    session_id: UUID | None = None,
    key: str | None = None,
    now: datetime | None = None,
) -> AsyncGenerator[Event, None]:
    """Yield `SourcesFound`, then `Delta`s, `CitationsReady` and `Done`.

    Inside a conversation (`session_id`) its own questions are the history, and question and answer are stored; the same
    idempotency `key` answers from what is stored. No transaction is open while a model writes or the caller reads. An
    answer whose caller leaves is stored as far as it came. Raises `UnusableQuestion`, `ChatSessionNotFound`,
    `AnswerUnderWay` and whatever the store raises; a model that fails only changes who answers.
    """
    if not question.strip() or len(question) > MAX_QUESTION:
        raise UnusableQuestion(f"A question needs 1 to {MAX_QUESTION:,} characters; shorten it or ask in parts.")
    run_id = uuid5(session_id, f"message:{key}") if session_id and key else uuid4()
    run = _Run(
        assistant, reader, question.strip().replace("\x00", ""), run_id, session_id, now or datetime.now(UTC), history
    )
    stored = None
    async with tenant_session(reader) as session:
        if not await _open(session, run):
            await chat.check_question(session, run_id, run.asked)
            stored = await chat.find_answer(session, run_id)
            if stored is None:
                raise chat.AnswerUnderWay
        elif not (run.history and run.models):
            await _search(session, run, rewrite_by_rule(run.asked, run.history, run.people))
    if stored is not None:
        for event in _replay(run, stored):
            yield event
        return
    try:
        if run.understanding is None:
            standalone = await rewrite(run.asked, run.history, run.people, _ask(run))
            async with tenant_session(reader) as session:
                await _search(session, run, standalone)
        assert run.understanding is not None  # noqa: S101  # _search sets it
        yield SourcesFound(
            run_id=run_id, question=run.understanding.question, understood=run.understanding.words,
            passages=run.passages, coverage=run.coverage,
        )  # fmt: skip
        before = ""
        async for sentence in _write(run):
            yield Delta(before + sentence.text)
            before = " "
        citations, message_id = await _save(run, "refused" if run.refused else "succeeded")
    except (GeneratorExit, asyncio.CancelledError):
        _save_later(run, "cancelled")  # this task is being torn down; what was said is stored all the same
        raise
    except Exception:
        _save_later(run, "failed")
        raise
    yield CitationsReady(citations)
    yield _finish(run, citations, message_id)


async def settle() -> None:
    """Wait until every answer of this event loop whose caller left is stored; call it before the loop ends."""
    here = asyncio.get_running_loop()
    while mine := [task for task in _saving if task.get_loop() is here]:
        await asyncio.gather(*mine, return_exceptions=True)


async def _open(session: AsyncSession, run: _Run) -> bool:
    """Note the run and the question and read what comes before it; False where the run is there already."""
    if run.session_id is not None:
        conversation = await chat.get_session(session, run.session_id)
        if not await chat.start_run(
            session, run_id=run.run_id, user_id=run.reader.user_id, session_id=conversation.id, agent_type="assistant"
        ):
            return False
        asked = await chat.list_questions(session, conversation.id, limit=MAX_HISTORY)
        run.history = [("user", text) for text in asked]
        run.client_id = conversation.client_id
        await chat.append_question(session, conversation, run_id=run.run_id, text=run.asked)
    else:
        await chat.start_run(
            session, run_id=run.run_id, user_id=run.reader.user_id, session_id=None, agent_type="assistant"
        )
    run.history = run.history[-MAX_HISTORY:]
    earlier = (said for role, said in run.history if role == "user")
    run.people = await list_named_people(session, run.asked, *earlier)
    run.models = await list_models(session, run.assistant.model)
    return True


async def _search(session: AsyncSession, run: _Run, standalone: str) -> None:
    understanding = await understand(
        session, standalone, reader=run.reader, people=run.people, now=run.now, client_id=run.client_id
    )
    run.understanding = understanding
    if understanding.missing:
        return
    # whose words count is decided sentence by sentence: a passage holds both sides of a conversation
    retrieval = await _retrieve(session, run, understanding)
    if understanding.soft_time and not retrieval.sources_in_scope:
        run.understanding = understanding = give_up_time(understanding)
        retrieval = await _retrieve(session, run, understanding)
    run.passages = retrieval.passages
    run.coverage = await count_coverage(session, understanding.scope, retrieval)


async def _retrieve(session: AsyncSession, run: _Run, understanding: Understanding) -> Retrieval:
    scope = understanding.scope
    # of one session everything may be the answer ("What did she commit to?"), so it is read nearly whole
    wider = _SESSION_FACTOR if scope.coaching_session_ids or scope.source_ids else 1
    query = add_topic(understanding.question, run.history)
    return await run.assistant.retriever(
        session, run.assistant.embedder, query, top_k=run.assistant.top_k * wider, scope=scope
    )


def _ask(run: _Run) -> Callable[[Prompt], Awaitable[str]]:
    """Return a call of the run's models that collects a short answer."""

    async def ask(prompt: Prompt) -> str:
        said = ""
        for choice in run.models:
            try:
                async with open_answer([choice.provider], _messages(prompt), max_tokens=_REWRITE_TOKENS) as opened:
                    async for piece in opened.pieces:
                        said += piece.text
                        if piece.usage:
                            run.usage.append(piece.usage)
            except (NoProviderAnswered, AnswerInterrupted) as error:
                _note_failure(run, error)
                said = ""
            else:
                return said
        raise NoProviderAnswered(run.failures)

    return ask


def _messages(prompt: Prompt) -> list[Message]:
    return [Message("system", prompt.system), Message("user", prompt.user)]


def _note_failure(run: _Run, error: NoProviderAnswered | AnswerInterrupted) -> None:
    found = error.failures if isinstance(error, NoProviderAnswered) else (error.failure,)
    run.failures += found
    for failure in found:
        _log.warning("provider_failed", provider=failure.provider, error=failure.error)


async def _write(run: _Run) -> AsyncGenerator[AnswerSentence, None]:
    """Yield the answer's sentences as they are settled: a model's that hold, else quotes, else the refusal."""
    assert run.understanding is not None  # noqa: S101  # the caller has searched
    if not run.passages:
        for sentence in _take(run, refuse(run.understanding, run.coverage)):
            yield sentence
        return
    asked = find_asked_evidence(run.understanding.question)
    async with tenant_session(run.reader) as session:
        loaded = await load_material(session, run.understanding.question, run.passages)
        evidence = await gather_evidence(
            session, asked, list_topic_words(run.understanding), run.understanding.scope, run.passages
        )
    run.material = material = add_evidence(loaded, evidence)
    if run.models:
        told = add_evidence(loaded, choose_evidence(evidence, asked, loaded.idf))
        notes = list_notes(told)
    for choice in run.models:
        grounded = GroundedAnswer(told, run.assistant.embedder, notes)
        async for sentence in _write_with(run, choice, grounded, told, notes):
            run.sentences.append(sentence)
            run.citations = grounded.citations
            yield sentence
        run.dropped += grounded.dropped
        if grounded.sentences or grounded.declined:
            run.provider, run.support = choice.provider.name, grounded.best_support
            if not grounded.sentences:
                for sentence in _take(run, refuse(run.understanding, run.coverage)):
                    yield sentence
            return
        if grounded.dropped:
            said = "No sentence of its answer held to its sources."
            run.failures.append(ProviderFailure(choice.provider.name, "Ungrounded", said, retryable=False))
    run.provider = EXTRACTIVE
    quotes = await answer_by_quotes(material, run.understanding, run.coverage, run.assistant.embedder)
    for sentence in _take(run, quotes):
        yield sentence


def _take(run: _Run, synthesis: Synthesis) -> tuple[AnswerSentence, ...]:
    run.sentences = list(synthesis.sentences)
    run.citations = list(synthesis.citations)
    run.refused, run.support = synthesis.refused, synthesis.support
    return synthesis.sentences


async def _write_with(
    run: _Run, choice: ModelChoice, grounded: GroundedAnswer, material: Material, notes: Sequence[Note]
) -> AsyncGenerator[AnswerSentence, None]:
    assert run.understanding is not None  # noqa: S101  # the caller has searched
    prompt = build_answer_prompt(
        run.understanding.question,
        [_describe(passage, material, n) for n, passage in enumerate(material.passages)],
        [(note.text, [n + 1 for n in note.passages]) for note in notes],
    )
    try:
        async with open_answer(
            [choice.provider], _messages(prompt), max_tokens=choice.max_tokens, temperature=choice.temperature
        ) as opened:
            async for piece in opened.pieces:
                if piece.usage:
                    run.usage.append(piece.usage)
                for sentence in await grounded.take(piece.text):
                    yield sentence
    except (NoProviderAnswered, AnswerInterrupted) as error:
        _note_failure(run, error)
        return  # what it had begun to say may be half a sentence
    for sentence in await grounded.finish():
        yield sentence


def _describe(passage: Passage, material: Material, number: int) -> tuple[str, str]:
    """Return the heading and text of a passage for a prompt, with who speaks before each turn."""
    lines: list[str] = []
    turn = None
    for sentence in material.sentences:
        if sentence.passage != number:
            continue
        if sentence.speaker and sentence.turn != turn:
            lines.append(f"{sentence.speaker}: {sentence.text}")
        elif lines:
            lines[-1] += f" {sentence.text}"
        else:
            lines.append(sentence.text)
        turn = sentence.turn
    return f"from {describe_source(passage)} ({passage.title})", "\n".join(lines) or passage.text


async def _save(run: _Run, status: chat.RunStatus) -> tuple[tuple[CitationView, ...], UUID | None]:
    """Store the answer and how the run ended; return its citations as they render now."""
    spans = [CitedSpan(**asdict(citation)) for citation in run.citations]
    _count_supporting(run)
    message_id = None
    async with tenant_session(run.reader) as session:
        # a source may have gone while the answer was written: what cites it is withheld at the next read
        views = await list_citation_views(session, spans)
        run.pack_id = await _pack(session, run, [span for span, view in zip(spans, views, strict=True) if view])
        if run.session_id is not None and run.reader.user_id is not None and run.sentences:
            message_id = await chat.append_answer(
                session, session_id=run.session_id, user_id=run.reader.user_id, run_id=run.run_id,
                answer=chat.StoredAnswer(
                    sentences=tuple(chat.StoredSentence(s.text, s.citations, s.evidence) for s in run.sentences),
                    citations=tuple(span for span, view in zip(spans, views, strict=True) if view), facts=_facts(run),
                ),
            )  # fmt: skip
        await chat.finish_run(
            session, run.run_id, status, metadata=_facts(run) | _costs(run),
            failures=[chat.Failure(f.error, f"{f.provider}: {f.message}", f.retryable) for f in run.failures],
        )  # fmt: skip
    return tuple(view for view in views if view is not None), message_id


async def _pack(session: AsyncSession, run: _Run, spans: Sequence[CitedSpan]) -> UUID | None:
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


def _save_later(run: _Run, status: chat.RunStatus) -> None:
    async def save() -> None:
        try:
            await _save(run, status)
        except AppError as error:
            _log.warning("answer_not_stored", run_id=str(run.run_id), error=error.code)

    task = asyncio.get_running_loop().create_task(save())
    _saving.add(task)
    task.add_done_callback(_saving.discard)


def _count_supporting(run: _Run) -> None:
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


def _facts(run: _Run) -> dict[str, Any]:
    """Return what is stored and shown beside an answer."""
    return {
        "coverage": asdict(run.coverage),
        "understood": run.understanding.words if run.understanding else "",
        "provider": run.provider,
        "refused": run.refused,
        "support": round(run.support, 4),
        "pack_id": str(run.pack_id) if run.pack_id else None,
    }


def _costs(run: _Run) -> dict[str, Any]:
    cost = add_costs(price(usage) for usage in run.usage)
    return {
        "input_tokens": sum(usage.input_tokens or 0 for usage in run.usage),
        "output_tokens": sum(usage.output_tokens or 0 for usage in run.usage),
        "models": sorted({usage.model for usage in run.usage}),
        "cost_usd": None if cost is None else str(cost),
        "sentences_dropped": run.dropped,
        "prompt_hash": prompt_hash(),
        "seconds": round(time.monotonic() - run.started, 3),
    }


def _finish(run: _Run, citations: tuple[CitationView, ...], message_id: UUID | None) -> Done:
    costs = _costs(run)
    return Done(
        run_id=run.run_id, message_id=message_id, text=" ".join(s.text for s in run.sentences),
        sentences=tuple(run.sentences), citations=citations, coverage=run.coverage,
        understood=run.understanding.words if run.understanding else "", provider=run.provider, refused=run.refused,
        support=run.support, input_tokens=costs["input_tokens"], output_tokens=costs["output_tokens"],
        cost_usd=None if costs["cost_usd"] is None else Decimal(costs["cost_usd"]),
        failures=tuple(run.failures), pack_id=run.pack_id,
    )  # fmt: skip


def _replay(run: _Run, stored: chat.MessageView) -> list[Event]:
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
