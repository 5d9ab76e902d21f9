"""Scores stored answers, of those whose people allow it: what words alone can tell, and a judge where there is budget.

Of the words only the question is copied, for whoever asked it. A score links to its message, where they read the answer
as far as they still may; so there is one place to erase, and one to withhold. Each answer is read as whoever asked for
it, at this moment: what they may no longer see is not scored either.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Final
from uuid import UUID

import psycopg
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from core.errors import AppError
from core.logging import get_logger
from db.models import RagEvaluation, RagMetric
from db.session import BOUND_TO, Principal, ReaderUnknown, tenant_session
from domain.chat import MessageNotFound, MessageView, get_message
from domain.reading import list_citations_read, reading_through, record_reading
from evaluation.metrics import strip_marks
from evaluation.online_answers import (
    Effort,
    Stored,
    choose_answers,
    find_question,
    list_efforts,
    may_leave,
    may_study,
    name_source,
    read_response,
)
from evaluation.online_judge import BudgetedJudge
from evaluation.records import Response
from evaluation.run import Verdict
from evaluation.store import JUDGE, WORDS
from evaluation.suites import Case
from evaluation.support import score_likeness, score_support
from rag.embedding.protocol import Embedder, is_outside

LONGEST_QUESTION: Final = 4_000

_log = get_logger("evaluation.online")

Told = Callable[[int, int], None]


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
        whole = self.scored + self.refused
        parts = [f"{whole:,} answer{'s' * (whole != 1)} scored, {self.refused:,} of them refusals"]
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
        chosen = await choose_answers(session, since, until, count, share)
        efforts = await list_efforts(session, chosen)
    report = ScoringReport(sampled=len(chosen))
    for place, one in enumerate(chosen):
        outcome = await _score_one(system, one, efforts.get(one.id, Effort()), embedder, judge)
        setattr(report, outcome, getattr(report, outcome) + 1)
        told(place + 1, len(chosen))
    if judge is not None:
        report.judged, report.cost_usd, report.judge_note = judge.judged, judge.cost_usd, judge.note
    return report


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
            question = await find_question(session, one)
            if not await may_study(session, one):
                return "withdrawn"  # before a judge reads it
            if not await may_leave(session, one):
                # a judge and an outside embedder are other machines' models
                judge, embedder = None, None if embedder is not None and is_outside(embedder) else embedder
            with reading_through("evaluation"):
                cited = list_citations_read(message.citations)
                await record_reading(session, "message_read", {"message": [one.id]}, cited, entity=("message", one.id))
        if any(sentence.withheld for sentence in message.sentences):
            return "withheld"
        response = read_response(message, effort)
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

    `support` is how much of the answer stands in the words it cites, and in who spoke them when and where;
    `answer_relevance` the cosine of question and likest sentence; `cited_sentences` the share that cites anything.
    """
    answered, sentences, text = not response.refused, message.sentences, strip_marks(response.text)
    cited = [f"{name_source(view)} {view.quote}" for view in message.citations]
    scores: dict[str, float | None] = {
        "refused": float(response.refused),
        "support": score_support(text, cited).score if answered else None,
        "answer_relevance": None,
        "cited_sentences": None,
        "citations_per_sentence": None,
        "scope_coverage": _share(response.sessions_examined, response.sessions_in_scope),
        "tokens": None,
        "cost_usd": None if response.cost_usd is None else float(response.cost_usd),
    }
    if answered and question and embedder is not None:
        scores["answer_relevance"] = await score_likeness(question, [text], embedder)
    if answered:
        scores["cited_sentences"] = _share(sum(bool(one.citations) for one in sentences), len(sentences))
        scores["citations_per_sentence"] = _share(len(response.citations), len(sentences))
    if response.input_tokens is not None and response.output_tokens is not None:
        scores["tokens"] = float(response.input_tokens + response.output_tokens)
    return scores | dict(response.timings)


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


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
