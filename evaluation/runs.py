"""Runs of suites as their readers may see them: scores for whoever measures, words for whoever asked.

Which score is of which case comes from functions of the store that hold no word; the answers themselves are joined
under row-level security, and read by evaluators as whoever asked (evaluation/asked_as.py). A row without its answer is
one whose words its reader may not see.
"""

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Integer,
    Numeric,
    Row,
    Select,
    TableValuedAlias,
    Text,
    Uuid,
    any_,
    case,
    cast,
    column,
    func,
    literal,
    select,
    text,
    true,
    update,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from core.errors import Invalid
from db.models import Dataset, DatasetCase, Experiment, RagEvaluation, RagMetric
from domain.reading import Kind, record_reading
from evaluation.asked_as import read_as_askers
from evaluation.records import EFFORT, LOWER_IS_BETTER, QUALITY, CaseResult, get_worst
from evaluation.store import JUDGE, WORDS, ExperimentNotFound, read_response

MOST_ANSWERS: Final = 20_000
MOST_CASES: Final = 2_000
"""What is summed up and compared while somebody waits: some seconds of a processor."""
MOST_GROUPS: Final = 100
MOST_VALUES: Final = 50
"""Values of a slice whose cases are counted."""

HIDDEN: Final = "Why is not for you to read."

_SOURCES: Final = text(
    """
    SELECT 'transcript' AS kind, id, client_id FROM rag.transcripts WHERE id = ANY (CAST(:ids AS uuid[]))
    UNION ALL SELECT 'document', id, client_id FROM rag.documents WHERE id = ANY (CAST(:ids AS uuid[]))
    """
)


class RunTooLarge(Invalid):
    """This run is too large to work out while you wait; read its report with `regenesis eval report`."""


class MetricUnknown(Invalid):
    """There is no such metric; choose one of those that the run's summary shows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRow:
    """One run of a suite; amounts in USD, None where they are not known."""

    id: UUID
    suite: str
    version: int
    status: str
    started_at: datetime
    completed_at: datetime | None
    answers: int
    failed: int
    repeats: int
    budget_usd: Decimal | None
    forecast_usd: Decimal | None
    cost_usd: Decimal | None
    judge: str | None
    """The model that judged, None where none did."""
    baseline_id: UUID | None
    flow_run_id: UUID | None
    config: dict[str, Any]
    settings: dict[str, Any]
    """Of the suite, as it was run last: its rules, its budget."""


def select_runs(
    suite: str | None = None, status: str | None = None, flow_run_id: UUID | None = None
) -> Select[Any]:  # fmt: skip
    """Return the runs that are as given; order by `(Experiment.started_at, Experiment.id)`."""
    counted = (
        func.evaluation.count_answers(Experiment.id)
        .table_valued(column("answers", BigInteger), column("failed", BigInteger)).lateral("counted")
    )  # fmt: skip
    query = (
        select(
            Experiment.id, Experiment.suite, Dataset.version, Experiment.status, Experiment.started_at,
            Experiment.completed_at, counted.c.answers, counted.c.failed, Experiment.repeats, Experiment.budget_usd,
            Experiment.forecast_usd, Experiment.cost_usd, Experiment.config["judge"].astext.label("judge"),
            Experiment.baseline_id, Experiment.flow_run_id, Experiment.config, Dataset.settings,
        )
        .join(Dataset, Dataset.id == Experiment.dataset_id).join(counted, true())
    )  # fmt: skip
    if suite is not None:
        query = query.where(Experiment.suite == suite)
    if flow_run_id is not None:
        query = query.where(Experiment.flow_run_id == flow_run_id)
    return query if status is None else query.where(Experiment.status == status)


async def get_run(session: AsyncSession, experiment_id: UUID) -> RunRow:
    """Return one run; raises `ExperimentNotFound`."""
    found = await session.execute(select_runs().where(Experiment.id == experiment_id))
    row = found.mappings().one_or_none()
    if row is None:
        raise ExperimentNotFound
    return RunRow(**row)


async def set_baseline(session: AsyncSession, experiment_id: UUID, baseline_id: UUID | None) -> None:
    """Note which run this one was held against."""
    await session.execute(update(Experiment).where(Experiment.id == experiment_id).values(baseline_id=baseline_id))


def select_results(experiment_id: UUID, metric: str | None = None) -> tuple[Select[Any], Sequence[ColumnElement[Any]]]:
    """Return a run's results for `read_results`, and the ascending order of their list: by case, or by a metric.

    By a metric the worst come first, and those that it says nothing of not at all. Raises `MetricUnknown`.
    """
    scored = _read_scores(experiment_id)
    words, judge = aliased(RagMetric), aliased(RagMetric)
    scores = _join_scores(words, judge)
    query = (
        select(
            scored, scores.label("scores"), words.cost_usd.label("answer_usd"), judge.cost_usd.label("judge_usd"),
            RagEvaluation, DatasetCase.user_input.label("question"),
        )
        .select_from(scored)
        .join(words, (words.evaluation_id == scored.c.evaluation_id) & (words.scorer == WORDS))
        .outerjoin(judge, (judge.evaluation_id == scored.c.evaluation_id) & (judge.scorer == JUDGE))
        .outerjoin(RagEvaluation, RagEvaluation.id == scored.c.evaluation_id)
        .outerjoin(DatasetCase, DatasetCase.id == scored.c.case_id)
    )  # fmt: skip
    if metric is None:
        return query, (scored.c.case_key, scored.c.repeat)
    if metric not in (*QUALITY, *EFFORT):
        raise MetricUnknown(f"There is no metric {metric}; choose one of {', '.join((*QUALITY, *EFFORT))}.")
    unjudged = case((literal(metric) == any_(scored.c.unjudged), get_worst(metric)))
    value = func.coalesce(cast(scores[metric].astext, Numeric), cast(unjudged, Numeric))
    signed = cast(value * (-1 if metric in LOWER_IS_BETTER else 1), Numeric)
    return query.where(value.is_not(None)), (signed, scored.c.evaluation_id)


async def read_results(session: AsyncSession, rows: Sequence[Row[Any]]) -> list[CaseResult]:
    """Return the results in these rows; without question, answer and reasons where the session's reader may not."""
    answers = await read_as_askers(session, [row.evaluation_id for row in rows if row.RagEvaluation is None])
    return [_read_result(row, row.RagEvaluation or answers.get(row.evaluation_id)) for row in rows]


def _read_result(row: Row[Any], answer: RagEvaluation | None) -> CaseResult:
    judge_errors = answer.details.get("judge_errors", {}) if answer else dict.fromkeys(row.unjudged, HIDDEN)
    return CaseResult(
        case_id=row.case_key, repeat=row.repeat, status="failed" if row.status == "failed" else "scored",
        scores=row.scores, response=read_response(answer, row.answer_usd) if answer else None,
        error=answer.error if answer else None, judge_errors=judge_errors, judge_cost_usd=row.judge_usd,
        groups=row.slices, user_input=answer.query if answer else row.question or "",
        flags=tuple(answer.details.get("flags", ())) if answer else (),
    )  # fmt: skip


async def load_visible_results(session: AsyncSession, run: RunRow) -> list[CaseResult]:
    """Return all results of a run by case and repeat, each with its words where the reader may see them.

    Raises `RunTooLarge`. Of slices with many values only the commonest are kept as groups.
    """
    query, order = select_results(run.id)
    if run.answers > MOST_ANSWERS or run.answers > MOST_CASES * run.repeats:
        raise RunTooLarge
    rows = (await session.execute(query.order_by(*order))).all()
    return _keep_commonest_groups(await read_results(session, rows))


async def load_scores(session: AsyncSession, run: RunRow, metrics: Collection[str]) -> list[CaseResult]:
    """Return what a run's answers scored in these metrics, by case and repeat, without a word and without slices.

    Raises `RunTooLarge`.
    """
    if run.answers > MOST_ANSWERS or run.answers > MOST_CASES * run.repeats:
        raise RunTooLarge
    scored = _read_scores(run.id)
    words, judge = aliased(RagMetric), aliased(RagMetric)
    query = (
        select(scored, _join_scores(words, judge).label("scores"))
        .join(words, (words.evaluation_id == scored.c.evaluation_id) & (words.scorer == WORDS))
        .outerjoin(judge, (judge.evaluation_id == scored.c.evaluation_id) & (judge.scorer == JUDGE))
        .order_by(scored.c.case_key, scored.c.repeat)
    )  # fmt: skip
    return [
        CaseResult(
            case_id=row.case_key, repeat=row.repeat, status="failed" if row.status == "failed" else "scored",
            scores={name: value for name, value in row.scores.items() if name in metrics},
            judge_errors={name: HIDDEN for name in row.unjudged if name in metrics},
        )
        for row in await session.execute(query)
    ]  # fmt: skip


async def record_results_read(
    session: AsyncSession, results: Sequence[CaseResult], experiment_id: UUID, baseline_id: UUID | None = None
) -> None:
    """Note that the session's reader reads the answers of these results; nothing where all words are hidden."""
    responses = [one.response for one in results if one.response is not None]
    if not responses:
        return
    read: dict[Kind, list[UUID | None]] = {"experiment": [experiment_id, baseline_id], "client": []}
    sources = {source for response in responses for source in response.sources}
    for source in sources:
        read.setdefault(source.kind, []).append(UUID(source.id))
        read["client"].append(UUID(source.client_id) if source.client_id else None)
    known = {source.id for source in sources}
    cited = {one.source_id for response in responses for one in response.citations if one.source_id}
    for row in await session.execute(_SOURCES, {"ids": list(cited - known)}):
        read.setdefault(row.kind, []).append(row.id)
        read["client"].append(row.client_id)
    await record_reading(session, "evaluation_read", read, entity=("experiment", experiment_id))


def hide_words(results: Sequence[CaseResult]) -> list[CaseResult]:
    """Return the results with everything that scores say, and nobody's words."""
    return [
        replace(
            one, response=None, error=None, user_input="", flags=(),
            judge_errors=dict.fromkeys(one.judge_errors, HIDDEN),
        )
        for one in results
    ]  # fmt: skip


def select_datasets(name: str | None = None) -> Select[Any]:
    """Return the versions of stored suites with how many cases each has, and how many in each slice."""
    counted = (
        func.evaluation.count_cases(Dataset.id, MOST_VALUES)
        .table_valued(column("cases", BigInteger), column("answerable", BigInteger), column("slices", JSONB))
        .lateral("counted")
    )  # fmt: skip
    query = select(
        Dataset.id, Dataset.name, Dataset.version, Dataset.origin, Dataset.description, Dataset.settings,
        Dataset.created_at, counted.c.cases, counted.c.answerable, counted.c.slices,
    ).join(counted, true())  # fmt: skip
    return query if name is None else query.where(Dataset.name == name)


def _join_scores(words: type[RagMetric], judge: type[RagMetric]) -> ColumnElement[Any]:
    return words.scores.op("||", return_type=JSONB())(func.coalesce(judge.scores, literal({}, JSONB)))


def _read_scores(experiment_id: UUID) -> TableValuedAlias:
    return func.evaluation.read_scores(experiment_id).table_valued(
        column("evaluation_id", Uuid), column("case_id", Uuid), column("case_key", Text), column("repeat", Integer),
        column("status", Text), column("slices", JSONB), column("unjudged", ARRAY(Text)), name="scored",
    )  # fmt: skip


def _keep_commonest_groups(results: Sequence[CaseResult]) -> list[CaseResult]:
    counted = Counter(group for one in results if one.repeat == 1 for group in one.groups.items())
    if len(counted) <= MOST_GROUPS:
        return list(results)
    kept = {group for group, _ in counted.most_common(MOST_GROUPS)}
    return [replace(one, groups={n: v for n, v in one.groups.items() if (n, v) in kept}) for one in results]
