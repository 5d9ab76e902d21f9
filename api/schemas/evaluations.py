"""Runs of suites, their scores and answers, stored suites, and proposed cases on the wire."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import Field, StringConstraints
from sqlalchemy import Row

from api.schemas.chat import MessageOut, show_message
from api.schemas.text import CleanText
from api.schemas.users import Stored, Strict
from evaluation.proposals import MOST_QUESTIONS, ProposalView
from evaluation.records import CaseResult
from evaluation.runs import HIDDEN
from evaluation.spread import BINS, MOST_POINTS

RunStatus = Literal["running", "completed", "interrupted", "over_budget", "failed"]
SuiteName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._-]{0,99}(@[1-9][0-9]{0,8})?$")]
Rule = Annotated[CleanText, StringConstraints(min_length=1, max_length=200)]
Rules = Annotated[list[Rule], Field(max_length=100)]
MOST_NAMED = 100
"""Cases that are named in a summary; the list of cases has all."""


class EvaluationOut(Stored):
    """One run of a suite; amounts in USD, null where they are not known."""

    id: UUID
    suite: str
    version: int = Field(description="of the suite's cases")
    status: RunStatus
    started_at: datetime
    completed_at: datetime | None
    answers: int
    failed: int = Field(description="those of them that gave no answer, which count as worst")
    repeats: int
    budget_usd: Decimal | None
    forecast_usd: Decimal | None
    cost_usd: Decimal | None
    judge: str | None = Field(description="the model that judged; null: none did")
    baseline_id: UUID | None = Field(description="the run it was held against")
    flow_run_id: UUID | None


class IntervalOut(Stored):
    """A mean over cases with its 95 % interval."""

    mean: float
    low: float
    high: float


class FailureOut(Stored):
    """A case that gave no answer, or that the judge failed to judge."""

    case_id: str
    repeat: int
    metric: str | None = Field(None, description="the judge's metric; null: there was no answer at all")
    error: str | None = Field(description="why; null where only whoever asked may read it")


class EvaluationDetailOut(EvaluationOut):
    """One run with its means, by metric within each slice; `all` is the whole."""

    config: dict[str, Any] = Field(description="what decides the answers: models, embedder, prompt, judge")
    metrics: dict[str, dict[str, IntervalOut]]
    failures: list[FailureOut] = Field(description=f"the first {MOST_NAMED}")
    flaky: list[str] = Field(description=f"cases whose repeats differ, the first {MOST_NAMED}")
    broken: list[str] = Field(description="the suite's rules that it breaks; those against a baseline are left out")


class CitedOut(Stored):
    """One citation of an answer."""

    quote: str
    speaker: str | None
    title: str | None
    source_id: str | None


class CaseResultOut(Stored):
    """One case asked once: its scores, and its words where you may read them."""

    case_id: str
    repeat: int
    status: Literal["scored", "failed", "refused"]
    slices: dict[str, str]
    scores: dict[str, float | None] = Field(description="null where the metric has nothing to say, or was not judged")
    not_judged: dict[str, str] = Field(description="why the judge gave no score, by metric; it counts as worst")
    cost_usd: Decimal | None
    readable: bool = Field(
        description="whether you may read the answer: whoever it was asked as may, and as them an evaluator where the "
        "clients it is about agree"
    )
    question: str | None
    answer: str | None
    contexts: list[str] = Field(description="the passages it could read, the best first")
    citations: list[CitedOut]
    flags: list[str] = Field(description="figures and names that no source holds")
    error: str | None


class ChangeOut(Stored):
    """One metric in one slice, before and after, over the cases of both runs."""

    metric: str
    group: str
    cases: int
    before: float
    after: float
    difference: IntervalOut
    chance: float = Field(
        description="p: how often chance alone changes any metric of the slice as clearly, those of quality together"
    )
    worse: bool
    better: bool


class CaseChangeOut(Stored):
    """A case that changed, with its words where you may read them."""

    case_id: str
    metric: str
    before: float
    after: float
    user_input: str
    answer_before: str
    answer_after: str
    judge_error: str | None = Field(description="why a case that was judged before has no judgement now")


class LatencyOut(Stored):
    """The time of one stage in milliseconds: its median and its 95th percentile."""

    metric: str
    p50: IntervalOut
    p95: IntervalOut


class LatencyChangeOut(Stored):
    """The time of one stage in two runs, over the answers of both; another machine is a change too."""

    metric: str
    p50_before: float
    p50_after: float
    p50_difference: IntervalOut
    p95_before: float
    p95_after: float
    p95_difference: IntervalOut


class AnswerPointOut(Stored):
    """One answer: how good it was, from 0 to 1, and what it took."""

    case_id: str
    repeat: int
    quality: float = Field(description="mean of its quality metrics, those where less is better turned round")
    total_ms: float | None
    cost_usd: float | None


class SpreadOut(Stored):
    """How a run's scores are spread over its answers."""

    distributions: dict[str, list[int]] = Field(description=f"how many in each of {BINS} steps from 0 to 1, by metric")
    points: list[AnswerPointOut] = Field(description=f"up to {MOST_POINTS:,}")
    latencies: list[LatencyOut]
    slices: dict[str, int] = Field(description="cases in each slice")


class ComparisonOut(Stored):
    """All that changed between two runs of a suite."""

    baseline_id: UUID
    changes: list[ChangeOut]
    regressions: list[CaseChangeOut] = Field(description="the largest falls first")
    improvements: list[CaseChangeOut] = Field(description="cases that only got better, the largest rises first")
    latencies: list[LatencyChangeOut]
    missing: list[str] = Field(description="cases of the baseline without a result, which count as worst")
    added: list[str]
    flaky: list[str]
    broken: list[str] = Field(description="the rules that are broken, a sentence each")


class SuiteOut(Stored):
    """One version of a stored suite."""

    name: str
    version: int
    origin: Literal["files", "feedback", "production"]
    description: str | None
    created_at: datetime
    cases: int
    answerable: int
    slices: dict[str, dict[str, int]] = Field(description="cases by slice and value, the commonest values")
    repeats: int | None
    budget_usd: Decimal | None
    judge: str | None
    fail_on: list[str]


class ForecastOut(Stored):
    """What a run takes; amounts in USD."""

    suite: str
    version: int
    cases: int
    repeats: int
    questions: int
    cost_usd: Decimal | None = Field(description="null where a price is not known")
    basis: str = Field(description="how that is counted")
    budget_usd: Decimal | None = Field(description="where the run stops")
    month_left_usd: Decimal | None = Field(description="what models may still cost this month; null without a limit")


class EvaluationIn(Strict):
    """A stored suite to run; what is left out is as the suite says."""

    suite: SuiteName = Field(description="`name`, the newest version, or `name@version`")
    repeats: int | None = Field(None, ge=1, le=100)
    limit: int | None = Field(None, ge=1, le=20_000, description="ask the first cases only")
    budget_usd: float | None = Field(None, ge=0, le=1_000_000, description="stop before it costs more")
    judge: Literal["none", "ragas"] | None = None
    baseline_id: UUID | None = Field(None, description="fail where it got worse than this run")
    fail_on: Rules | None = Field(None, description="rules such as `support < 0.6`, `support < baseline - 0.02`")


class StartedOut(Stored):
    """A run on its way."""

    flow_run_id: UUID = Field(description="of the flow server; the run bears it once it has begun")
    forecast: ForecastOut


class ProposalOut(Stored):
    """A stored answer of yours that may become a case."""

    id: UUID
    origin: Literal["feedback", "production"]
    status: Literal["proposed", "confirmed", "rejected"]
    created_at: datetime
    message_id: UUID
    question: str | None
    rating: int | None = Field(description="what you thought of the answer")
    decided_at: datetime | None


class ProposalDetailOut(ProposalOut):
    """One proposal with its answer as you may see it now."""

    asked_at: datetime
    earlier: list[str] = Field(description=f"up to {MOST_QUESTIONS} questions before it, the oldest first")
    answer: MessageOut
    rating_reason: str | None
    comment: str | None
    user_input: str | None = Field(description="the question as the case asks it, once confirmed")
    reference: str | None
    reference_contexts: list[str] = Field(description="the exact words a good answer stands on")
    answerable: bool
    reason: str | None = Field(description="why it was rejected")


class ConfirmIn(Strict):
    """What a good answer holds: quotes of the stored one, a reference, or that there is none."""

    user_input: Annotated[CleanText, Field(min_length=1, max_length=4_000)] | None = Field(
        None, description="unset: the question as it was asked"
    )
    reference: Annotated[CleanText, Field(max_length=20_000)] | None = None
    quotes: Annotated[list[int], Field(max_length=100)] = Field(default=[], description="citations, by their ordinals")
    answerable: bool = True


class RejectProposalIn(Strict):
    """Why a stored answer is no case."""

    reason: Annotated[CleanText, StringConstraints(min_length=1, max_length=2_000, pattern=r"\S")]


def show_suite(row: Row[Any]) -> SuiteOut:
    """Return a stored version for the wire; who asks it is left out."""
    settings: Mapping[str, Any] = row.settings
    return SuiteOut(
        name=row.name, version=row.version, origin=row.origin, description=row.description, created_at=row.created_at,
        cases=row.cases, answerable=row.answerable, slices=row.slices, repeats=settings.get("repeats"),
        budget_usd=settings.get("budget_usd"), judge=settings.get("judge"), fail_on=settings.get("fail_on") or [],
    )  # fmt: skip


def show_case(row: Row[Any], one: CaseResult) -> CaseResultOut:
    """Return one of a run's results, and the row it was read from, for the wire."""
    response = one.response
    return CaseResultOut(
        case_id=one.case_id, repeat=one.repeat, status=row.status, slices=dict(one.groups), scores=dict(one.scores),
        not_judged=dict(one.judge_errors), cost_usd=row.answer_usd, readable=bool(response or one.error),
        question=one.user_input or None, answer=response.text if response else None,
        contexts=list(response.contexts) if response else [],
        citations=[CitedOut.model_validate(cited) for cited in response.citations] if response else [],
        flags=list(one.flags), error=one.error,
    )  # fmt: skip


def show_failures(failed: Sequence[Any], unjudged: Sequence[Any]) -> list[FailureOut]:
    """Return failed results and failed judgements for the wire, the former first, up to `MOST_NAMED`."""
    shown = [FailureOut.model_validate(one) for one in (*failed, *unjudged)][:MOST_NAMED]
    return [one if one.error != HIDDEN else one.model_copy(update={"error": None}) for one in shown]


def show_proposal(view: ProposalView) -> ProposalDetailOut:
    """Return a proposal for the wire."""
    return ProposalDetailOut(
        id=view.id, origin=view.origin, status=view.status, created_at=view.created_at,
        message_id=view.message_id, question=view.question or None, rating=view.rating, decided_at=view.decided_at,
        asked_at=view.asked_at, earlier=list(view.earlier), answer=show_message(view.answer),
        rating_reason=view.rating_reason, comment=view.comment, user_input=view.user_input, reference=view.reference,
        reference_contexts=list(view.reference_contexts), answerable=view.answerable, reason=view.reason,
    )  # fmt: skip
