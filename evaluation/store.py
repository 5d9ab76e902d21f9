"""Keeps runs of suites and every score in the store, so that a run can go on where it broke off."""

import hashlib
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Final, Literal
from uuid import UUID, uuid4

import orjson
from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from core.errors import NotFound
from db.holds import is_held
from db.models import DatasetCase, Experiment, RagEvaluation, RagMetric
from domain.identity import bound_tenant
from evaluation.code_version import hash_code
from evaluation.datasets import StoredSuite
from evaluation.records import BY_JUDGE, CaseResult, Cited, Response, SourceRead
from evaluation.suites import Suite

WORDS: Final = "words"
JUDGE: Final = "judge"
Status = Literal["running", "completed", "interrupted", "over_budget", "failed"]


class ExperimentNotFound(NotFound):
    """There is no such run; `regenesis eval list` shows the runs there are."""


def name_experiment(experiment_id: UUID) -> str:
    """Return what whoever runs it holds (db/holds.py)."""
    return f"experiment:{experiment_id}"


async def open_experiment(
    session: AsyncSession, suite: Suite, stored: StoredSuite, *, user_id: UUID, config: Mapping[str, Any],
    repeats: int, budget_usd: Decimal | None, forecast_usd: Decimal | None, anew: bool, flow_run_id: UUID | None = None,
) -> UUID:  # fmt: skip
    """Return the run of this suite that broke off under the same configuration and code, to go on, else a new one.

    One that somebody is running at this moment is left to them.
    """
    # other code is another run: half of its answers from before and half from after a change would tell of neither
    decides = {**config, "code": hash_code()}
    config_hash = hashlib.sha256(orjson.dumps(decides, option=orjson.OPT_SORT_KEYS)).hexdigest()
    tenant = await bound_tenant(session)
    if not anew:
        begun = await session.scalar(
            select(Experiment).where(
                Experiment.dataset_id == stored.dataset_id, Experiment.config_hash == config_hash,
                Experiment.repeats == repeats, Experiment.status.in_(("running", "interrupted", "over_budget")),
            ).order_by(Experiment.started_at.desc()).limit(1).with_for_update()
        )  # fmt: skip
        if begun is not None and not await is_held(session, tenant, name_experiment(begun.id)):
            begun.status, begun.budget_usd, begun.forecast_usd = "running", budget_usd, forecast_usd
            begun.flow_run_id = flow_run_id
            return begun.id
    experiment_id = uuid4()
    session.add(
        Experiment(
            tenant_id=tenant,
            id=experiment_id,
            suite=suite.name,
            dataset_id=stored.dataset_id,
            user_id=user_id,
            config=dict(config),
            config_hash=config_hash,
            repeats=repeats,
            budget_usd=budget_usd,
            forecast_usd=forecast_usd,
            flow_run_id=flow_run_id,
        )
    )
    await session.flush()
    return experiment_id


async def store_results(
    session: AsyncSession, experiment_id: UUID, stored: StoredSuite, askers: Mapping[str, UUID],
    results: Sequence[CaseResult],
) -> None:  # fmt: skip
    """Add results to a run; one that is there already, by case and repeat, stays."""
    tenant = await bound_tenant(session)
    rows = {
        uuid4(): {
            "case_id": stored.case_ids[one.case_id], "repeat": one.repeat, "user_id": askers[one.case_id],
            "query": one.user_input, "answer": one.response.text if one.response else None,
            "retrieved_contexts": list(one.response.contexts) if one.response else [], "status": _name_status(one),
            "error": one.error, "details": _write_details(one),
        }
        for one in results
    }  # fmt: skip
    added = await session.scalars(
        insert(RagEvaluation)
        .values([{"tenant_id": tenant, "experiment_id": experiment_id, "id": id_, **row} for id_, row in rows.items()])
        .on_conflict_do_nothing().returning(RagEvaluation.id)
    )  # fmt: skip
    written = set(added)
    for id_, one in zip(rows, results, strict=True):
        if id_ in written:
            session.add_all(_write_metrics(tenant, id_, one))
    await session.flush()


async def close_experiment(
    session: AsyncSession, experiment_id: UUID, status: Status, *, cost_usd: Decimal | None
) -> None:
    """Say how the run ended and what it cost, None where that is not known."""
    await session.execute(
        update(Experiment).where(Experiment.id == experiment_id).values(
            status=status, cost_usd=cost_usd, completed_at=func.clock_timestamp() if status == "completed" else None
        )
    )  # fmt: skip


async def load_results(session: AsyncSession, experiment_id: UUID) -> list[CaseResult]:
    """Return a run's results as far as its reader may see them; raises `ExperimentNotFound`."""
    if await session.scalar(select(Experiment.id).where(Experiment.id == experiment_id)) is None:
        raise ExperimentNotFound
    rows = await session.execute(
        select(RagEvaluation, DatasetCase).join(DatasetCase, RagEvaluation.case_id == DatasetCase.id)
        .where(RagEvaluation.experiment_id == experiment_id).order_by(DatasetCase.case_key, RagEvaluation.repeat)
    )  # fmt: skip
    pairs = rows.tuples().all()
    metrics: dict[UUID, dict[str, RagMetric]] = {}
    scored = select(RagMetric).where(RagMetric.evaluation_id.in_([one.id for one, _ in pairs]))
    for metric in await session.scalars(scored):
        metrics.setdefault(metric.evaluation_id, {})[metric.scorer] = metric
    return [_read_result(one, case, metrics.get(one.id, {})) for one, case in pairs]


def _name_status(result: CaseResult) -> str:
    if result.status == "failed":
        return "failed"
    return "refused" if result.response is not None and result.response.refused else "scored"


def _write_metrics(tenant: UUID, evaluation_id: UUID, one: CaseResult) -> list[RagMetric]:
    words = {name: value for name, value in one.scores.items() if name not in BY_JUDGE}
    judged = {
        name: one.scores[name] for name in BY_JUDGE if one.scores.get(name) is not None or name in one.judge_errors
    }
    response = one.response
    rows = [
        RagMetric(
            tenant_id=tenant,
            evaluation_id=evaluation_id,
            scorer=WORDS,
            coverage_score=words.get("scope_coverage"),
            relevance_score=words.get("answer_relevance"),
            scores=words,
            latency_ms=_round(words.get("total_ms")),
            tokens_used=_round(words.get("tokens")),
            cost_usd=response.cost_usd if response else None,
        )
    ]
    if judged:
        rows.append(
            RagMetric(
                tenant_id=tenant,
                evaluation_id=evaluation_id,
                scorer=JUDGE,
                faithfulness_score=judged.get("faithfulness"),
                relevance_score=judged.get("response_relevancy"),
                hallucination_score=judged.get("hallucination"),
                scores=judged,
                cost_usd=one.judge_cost_usd,
            )
        )
    return rows


def _write_details(one: CaseResult) -> dict[str, Any]:
    """Return what stands beside the answer, for those who may read it: a score must not carry anybody's words."""
    return {
        "flags": list(one.flags), "judge_errors": dict(one.judge_errors),
        "response": _write_response(one.response) if one.response else None,
    }  # fmt: skip


def _write_response(response: Response) -> dict[str, Any]:
    return {
        "refused": response.refused, "provider": response.provider,
        "citations": [
            {"quote": one.quote, "speaker": one.speaker, "title": one.title, "source_id": one.source_id}
            for one in response.citations
        ],
        "sources": [one._asdict() for one in response.sources],
        "sessions_in_scope": response.sessions_in_scope, "sessions_examined": response.sessions_examined,
        "timings": dict(response.timings), "input_tokens": response.input_tokens,
        "output_tokens": response.output_tokens,
    }  # fmt: skip


def _read_result(row: RagEvaluation, case: DatasetCase, metrics: Mapping[str, RagMetric]) -> CaseResult:
    words, judge = metrics.get(WORDS), metrics.get(JUDGE)
    return CaseResult(
        case_id=case.case_key, repeat=row.repeat, status="failed" if row.status == "failed" else "scored",
        scores=(dict(words.scores) if words else {}) | (dict(judge.scores) if judge else {}),
        response=read_response(row, words.cost_usd if words else None), error=row.error,
        judge_errors=dict(row.details.get("judge_errors", {})), judge_cost_usd=judge.cost_usd if judge else None,
        groups={name: value for name, value in case.slices.items() if name != "user"}, user_input=row.query,
        flags=tuple(row.details.get("flags", ())),
    )  # fmt: skip


def read_response(row: RagEvaluation, cost_usd: Decimal | None) -> Response | None:
    """Return the stored answer as it was given, None where there was none."""
    kept = row.details.get("response")
    if kept is None:
        return None
    citations = tuple(Cited(**citation) for citation in kept["citations"])
    sources = tuple(SourceRead(**source) for source in kept.get("sources", ()))
    return Response(
        text=row.answer or "", contexts=tuple(row.retrieved_contexts), cost_usd=cost_usd,
        **(kept | {"citations": citations, "sources": sources}),
    )  # fmt: skip


def _round(value: float | None) -> int | None:
    return None if value is None else round(value)
