"""Scores stored answers, of those whose people allow it: what words alone can tell, and a judge where there is budget.

Nobody's words are copied. A score links to its message, where whoever asked reads them as far as they still may; so
there is one place to erase, and one to withhold. Each answer is read as whoever asked for it, at this moment: what they
may no longer see is not scored either.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any, Final
from uuid import UUID, uuid5

import psycopg
from sqlalchemy import select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from core.errors import AppError
from core.logging import get_logger
from db.models import AgentRun, ChatMessage, RagEvaluation, RagMetric
from db.session import BOUND_TO, Principal, ReaderUnknown, tenant_session
from domain.chat import MessageNotFound, MessageView, get_message
from domain.citations import CitationView
from evaluation.online_judge import BudgetedJudge
from evaluation.records import Cited, Response
from evaluation.run import Verdict
from evaluation.store import JUDGE, WORDS
from evaluation.suites import Case
from evaluation.support import score_likeness, score_support
from rag.embedding.protocol import Embedder

MOST_EXAMINED: Final = 20_000
"""The newest answers of a window among which a sample is drawn."""
LONGEST_QUESTION: Final = 4_000

# The draw is a hash of the answer's id, even from 0 to 1: a second run of a window draws the same answers again.
# OFFSET 0 keeps the inner order: whether an answer may be studied is asked of so many only as are wanted.
_CHOOSE: Final = text(
    """
    SELECT c.id, c.created_at, c.session_id, c.user_id, c.role FROM (
        SELECT n.*, u.role FROM (
            SELECT m.tenant_id, m.id, m.created_at, m.session_id, m.user_id,
                   (hashtextextended(m.id::text, 0) & 9007199254740991) / 9007199254740992.0 AS draw
            FROM chat.chat_messages m
            WHERE m.role = 'assistant' AND m.created_at >= :since AND m.created_at < :until
            ORDER BY m.created_at DESC LIMIT :examined
        ) n JOIN identity.users u ON u.tenant_id = n.tenant_id AND u.id = n.user_id
        WHERE n.draw < :share AND NOT EXISTS (
            SELECT FROM evaluation.rag_evaluations e WHERE e.tenant_id = n.tenant_id AND e.message_id = n.id)
        ORDER BY n.draw, n.id OFFSET 0
    ) c WHERE evaluation.may_study(c.tenant_id, c.id) LIMIT :most
    """
)
_SCORED: Final = text(
    """
    SELECT count(*) FROM evaluation.rag_evaluations
    WHERE message_id IS NOT NULL AND message_created_at >= :since AND message_created_at < :until
    """
)

_log = get_logger("evaluation.online")

Told = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Stored:
    """One stored answer that may be studied, and who asked for it."""

    id: UUID
    created_at: datetime
    session_id: UUID
    user_id: UUID
    role: str


@dataclass(frozen=True, slots=True)
class Effort:
    """What an answer took, as its run says: milliseconds by stage, tokens, USD; None where that is not known."""

    timings: Mapping[str, float] = field(default_factory=dict)
    input_tokens: int | None = None
    output_tokens: int | None = None
    cost_usd: Decimal | None = None


@dataclass(slots=True, kw_only=True)
class ScoringReport:
    """What became of a window's sample: counts by outcome, what the judge cost, and why it judged no more."""

    sampled: int = 0
    scored: int = 0
    refused: int = 0
    """Answers that were refusals, scored as such."""
    failed: int = 0
    withheld: int = 0
    """Answers of which their reader may no longer see all, left alone."""
    withdrawn: int = 0
    """Answers that nobody may study any more since they were sampled."""
    elsewhere: int = 0
    """Answers that another run scored in the meantime."""
    judged: int = 0
    cost_usd: Decimal | None = Decimal(0)
    judge_note: str = ""

    def summarize(self) -> str:
        """Return one sentence of counts."""
        parts = [f"{self.scored + self.refused:,} answers scored, {self.refused:,} of them refusals"]
        parts += [f"{count:,} {name}" for name in ("failed", "withheld", "withdrawn") if (count := getattr(self, name))]
        parts += [f"{self.judged:,} judged"] if self.judged else []
        return ", ".join(parts) + "."


async def score_answers(
    tenant_id: UUID, embedder: Embedder | None, *, since: datetime, until: datetime, count: int, share: float = 1.0,
    judge: BudgetedJudge | None = None, told: Told = lambda _done, _all: None,
) -> ScoringReport:  # fmt: skip
    """Score a random sample of the answers stored in the window that may be studied, each in its own transaction.

    At most `count` answers of the window have a score in the end, those of earlier runs included; what has one is not
    scored again. An answer that can't be scored is recorded as failed and the rest go on. `told` hears how many of how
    many are done. Raises whatever choosing them raises.
    """
    system = Principal(tenant_id, "system")
    async with tenant_session(system) as session:
        chosen = await _choose(session, since, until, count, share)
        efforts = await _list_efforts(session, chosen)
    report = ScoringReport(sampled=len(chosen))
    for place, one in enumerate(chosen):
        outcome = await _score_one(system, one, efforts.get(one.id, Effort()), embedder, judge)
        setattr(report, outcome, getattr(report, outcome) + 1)
        told(place + 1, len(chosen))
    if judge is not None:
        report.judged, report.cost_usd, report.judge_note = judge.judged, judge.cost_usd, judge.note
    return report


async def _choose(session: AsyncSession, since: datetime, until: datetime, count: int, share: float) -> list[Stored]:
    window = {"since": since, "until": until}
    left = max(count - int(await session.scalar(_SCORED, window) or 0), 0)
    values = window | {"share": share, "most": left, "examined": MOST_EXAMINED}
    return [Stored(*row) for row in await session.execute(_CHOOSE, values)] if left else []


async def _list_efforts(session: AsyncSession, chosen: Sequence[Stored]) -> dict[UUID, Effort]:
    """Return what the runs behind the answers took, by the answer's id."""
    if not chosen:
        return {}
    runs = select(AgentRun.id, AgentRun.metadata_).where(
        AgentRun.session_id.in_({one.session_id for one in chosen}), AgentRun.agent_type == "assistant"
    )
    wanted = {one.id for one in chosen}
    found = ((uuid5(run_id, "answer"), metadata) for run_id, metadata in (await session.execute(runs)).tuples())
    return {message: _read_effort(metadata) for message, metadata in found if message in wanted}


def _read_effort(metadata: Mapping[str, Any]) -> Effort:
    seconds, cost = metadata.get("seconds"), metadata.get("cost_usd")
    timings = {f"{stage}_ms": float(spent) for stage, spent in metadata.get("timings_ms", {}).items()}
    return Effort(
        timings=timings | ({"total_ms": 1_000 * float(seconds)} if seconds is not None else {}),
        input_tokens=metadata.get("input_tokens"), output_tokens=metadata.get("output_tokens"),
        cost_usd=None if cost is None else Decimal(cost),
    )  # fmt: skip


async def _score_one(
    system: Principal, one: Stored, effort: Effort, embedder: Embedder | None, judge: BudgetedJudge | None
) -> str:
    """Score one answer and return its outcome, which names a count of the report."""
    reader = Principal(system.tenant_id, one.role, one.user_id)  # type: ignore[arg-type]  # a role, by its check
    question, verdict = "", None
    scores: dict[str, float | None] = {}
    error = None
    try:
        async with tenant_session(reader) as session:
            message = await get_message(session, one.id)
            question = await _find_question(session, one)
        if any(sentence.withheld for sentence in message.sentences):
            return "withheld"
        response = _read_response(message, effort)
        scores = await score_stored(question, message, response, embedder)
        if judge is not None and not response.refused and question:
            case = Case(id=str(one.id), user_input=question[:LONGEST_QUESTION])
            verdict = await judge.score(case, response)
    except (ReaderUnknown, MessageNotFound):
        return "withheld"
    except AppError as failure:
        error = failure.message
    except Exception:  # noqa: BLE001  # one answer that breaks the scorer must not cost the others their scores
        _log.exception("scoring_broke", message_id=str(one.id))
        error = "This answer broke the scorer; the log says where."
    outcome = "failed" if error else "refused" if scores.get("refused") else "scored"
    names = {"embedder": embedder.name if embedder else None, "judge": judge.name if judge and verdict else None}
    try:
        async with tenant_session(system) as session:
            kept = await _store(session, one, outcome, error=error, query=question, scores=scores, verdict=verdict,
                                names=names)  # fmt: skip
    except IntegrityError as refusal:
        if isinstance(refusal.orig, psycopg.Error) and refusal.orig.diag.constraint_name == "may_study":
            return "withdrawn"
        if isinstance(refusal.orig, psycopg.errors.ForeignKeyViolation):
            return "withdrawn"  # the conversation went meanwhile
        raise
    return outcome if kept else "elsewhere"


async def score_stored(
    question: str, message: MessageView, response: Response, embedder: Embedder | None
) -> dict[str, float | None]:
    """Return what words can tell of an answer without a reference; None where there is nothing to tell.

    `support` is how much of the answer stands in the words it cites (and in who spoke them, where);
    `answer_relevance` the cosine of question and likest sentence; `cited_sentences` the share that cites anything.
    """
    answered, sentences = not response.refused, message.sentences
    cited = [" ".join(filter(None, (one.speaker, one.title, one.quote))) for one in response.citations]
    scores: dict[str, float | None] = {
        "refused": float(response.refused),
        "support": score_support(response.text, cited).score if answered else None,
        "answer_relevance": None,
        "cited_sentences": None,
        "citations_per_sentence": None,
        "scope_coverage": _share(response.sessions_examined, response.sessions_in_scope),
        "tokens": None,
        "cost_usd": None if response.cost_usd is None else float(response.cost_usd),
    }
    if answered and question and embedder is not None:
        scores["answer_relevance"] = await score_likeness(question, [response.text], embedder)
    if answered:
        scores["cited_sentences"] = _share(sum(bool(one.citations) for one in sentences), len(sentences))
        scores["citations_per_sentence"] = _share(len(response.citations), len(sentences))
    if response.input_tokens is not None and response.output_tokens is not None:
        scores["tokens"] = float(response.input_tokens + response.output_tokens)
    return scores | dict(response.timings)


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


async def _find_question(session: AsyncSession, one: Stored) -> str:
    """Return what the answer answers: the last question of its conversation before it."""
    asked = (
        select(ChatMessage.content)
        .where(
            ChatMessage.session_id == one.session_id, ChatMessage.role == "user",
            ChatMessage.created_at < one.created_at,
        )
        .order_by(ChatMessage.created_at.desc()).limit(1)
    )  # fmt: skip
    return (await session.scalar(asked) or "").strip()


def _read_response(message: MessageView, effort: Effort) -> Response:
    coverage = message.facts.get("coverage") or {}
    return Response(
        text=message.text, refused=bool(message.facts.get("refused")), provider=str(message.facts.get("provider", "")),
        contexts=tuple(_describe(view) for view in message.citations),
        citations=tuple(
            Cited(quote=view.quote, speaker=view.speaker, title=view.title, source_id=str(view.source_id))
            for view in message.citations
        ),
        sessions_in_scope=coverage.get("sessions_in_scope", 0), sessions_examined=coverage.get("sessions_examined", 0),
        timings=effort.timings, input_tokens=effort.input_tokens, output_tokens=effort.output_tokens,
        cost_usd=effort.cost_usd,
    )  # fmt: skip


def _describe(view: CitationView) -> str:
    """Return a citation with what was said around it, as a judge must read it to know who `she` is."""
    spoken = f"{view.speaker}: {view.quote}" if view.speaker else view.quote
    return "\n".join(filter(None, (view.title, view.before.strip(), spoken, view.after.strip())))


async def _store(
    session: AsyncSession, one: Stored, status: str, *, error: str | None, query: str,
    scores: Mapping[str, float | None], verdict: Verdict | None, names: Mapping[str, str | None],
) -> bool:  # fmt: skip
    """Store the scores; False where another run did before. The database refuses what may not be studied any more."""
    tenant = session.info[BOUND_TO].tenant_id
    details = dict(names) | {"judge_errors": dict(verdict.errors) if verdict else {}}
    evaluation_id = await session.scalar(
        insert(RagEvaluation).values(
            tenant_id=tenant, session_id=one.session_id, user_id=one.user_id, query=query, status=status, error=error,
            details=details, message_id=one.id, message_created_at=one.created_at,
        ).on_conflict_do_nothing().returning(RagEvaluation.id)
    )  # fmt: skip
    if evaluation_id is None:
        return False
    if error is None:
        total, tokens, cost = (scores.get(name) for name in ("total_ms", "tokens", "cost_usd"))
        session.add(
            RagMetric(
                tenant_id=tenant, evaluation_id=evaluation_id, scorer=WORDS, scores=dict(scores),
                coverage_score=scores.get("scope_coverage"), relevance_score=scores.get("answer_relevance"),
                latency_ms=None if total is None else round(total), tokens_used=None if tokens is None else int(tokens),
                cost_usd=None if cost is None else Decimal(str(cost)),
            )
        )  # fmt: skip
    if error is None and verdict is not None:
        session.add(
            RagMetric(
                tenant_id=tenant, evaluation_id=evaluation_id, scorer=JUDGE, scores=dict(verdict.scores),
                faithfulness_score=verdict.scores.get("faithfulness"),
                relevance_score=verdict.scores.get("response_relevancy"),
                hallucination_score=verdict.scores.get("hallucination"), cost_usd=verdict.cost_usd,
            )
        )  # fmt: skip
    await session.flush()
    return True
