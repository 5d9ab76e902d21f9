"""The flow that makes a source's material searchable; Prefect's pages show its progress and every object's outcome."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from prefect import flow, get_run_logger, task
from prefect.artifacts import (
    acreate_markdown_artifact,
    acreate_progress_artifact,
    acreate_table_artifact,
    aupdate_progress_artifact,
)
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.context import TaskRunContext
from prefect.runtime import flow_run
from prefect.states import Completed
from pydantic import ValidationError

from core.errors import Unavailable
from flows.starts import begin_run, end_run
from flows.usage_pages import publish_usage
from pipelines.ingest import IngestReport, ingest_source
from pipelines.ingest_batch import ingest_batch
from pipelines.ingest_stages import IngestRun, ObjectOutcome, ObjectTask
from pipelines.sidecar import BadSidecar, Kind, Sidecar, Visibility

RETRY_DELAYS = [2.0, 10.0, 30.0]
MOST_ROWS = 1_000  # Prefect's pages get slow beyond


class ObjectsUnavailable(Unavailable):
    """Something this batch of objects needs did not answer; the batch is tried again."""


class _Batch:
    """Objects of one task; a class of its own, as Prefect looks into the parameters it knows."""

    def __init__(self, run: IngestRun, objects: Sequence[ObjectTask]) -> None:
        self.run, self.objects = run, objects


def _is_unavailable(_task: object, _run: TaskRun, state: State[Any]) -> bool:
    """Retry only where something outside failed: what is wrong with a file stays wrong."""
    return isinstance(state.data, Unavailable) or isinstance(getattr(state.data, "exception", None), Unavailable)


@task(
    name="ingest-objects",
    task_run_name="{label}",
    retries=len(RETRY_DELAYS),
    retry_delay_seconds=RETRY_DELAYS,
    retry_condition_fn=_is_unavailable,
    cache_policy=NO_CACHE,
)
async def ingest_objects(label: str, batch: _Batch) -> list[ObjectOutcome]:  # noqa: ARG001  # names the task run
    """Take one batch through all stages; what a try before this one has indexed is not touched again."""
    outcomes = await ingest_batch(batch.run, batch.objects)
    waiting = [one for one in outcomes if one.retryable]
    context = TaskRunContext.get()
    if waiting and context is not None and context.task_run.run_count <= len(RETRY_DELAYS):
        raise ObjectsUnavailable(f"{waiting[0].error} ({len(waiting)} of {len(outcomes)} objects wait for it)")
    return outcomes


@flow(name="ingest-sources", flow_run_name="ingest {source}", validate_parameters=True)
async def ingest_sources(  # noqa: PLR0917  # Prefect's parameters, given by name
    tenant_id: UUID,
    source: str,
    client: str | None = None,
    coach: str | None = None,
    held_at: str | datetime | None = None,
    visibility: Visibility | None = None,
    kind: Kind | None = None,
    session: str | None = None,
) -> IngestReport:
    """Index every new or changed object of the source and take what has vanished out of search.

    What is given beside the source holds for objects whose line in `manifest.jsonl` says nothing else.
    """
    await begin_run()
    said = _read_said(
        client=client, coach=coach, held_at=held_at, visibility=visibility, kind=kind, session=session
    )  # fmt: skip
    logger = get_run_logger()
    progress = await acreate_progress_artifact(0.0, key="ingest-progress", description=f"Ingesting {source}")

    async def run_batch(run: IngestRun, objects: Sequence[ObjectTask]) -> list[ObjectOutcome]:
        label = objects[0].stored.key + (f" and {len(objects) - 1} more" if len(objects) > 1 else "")
        outcomes = await ingest_objects(label, _Batch(run, objects))
        for one in outcomes:
            if one.outcome in {"failed", "refused"}:
                logger.warning("%s %s: %s", one.key, one.outcome, one.error)
        return outcomes

    async def show(done: int, total: int) -> None:
        await aupdate_progress_artifact(progress, progress=100 * done / max(total, 1), description=f"{done} of {total}")

    try:
        report = await ingest_source(
            tenant_id, source, said=said, run_id=str(flow_run.id), run_batch=run_batch, on_progress=show
        )
        await aupdate_progress_artifact(progress, progress=100.0, description=report.summarize())
        await _publish(report)
        await publish_usage(tenant_id)
    finally:
        await end_run()
    logger.info(report.summarize())
    return Completed(message=report.summarize(), data=report)  # type: ignore[return-value]  # Prefect unwraps it


def _read_said(**given: object) -> Sidecar:
    try:
        return Sidecar.model_validate({name: value for name, value in given.items() if value is not None})
    except ValidationError as error:
        first = error.errors()[0]
        sentence = first["msg"].removeprefix("Value error, ")
        raise BadSidecar(f"The parameter {first['loc'][0]} can't be used: {sentence}; correct it.") from error


async def _publish(report: IngestReport) -> None:
    """Show every object's outcome, what failed first, what did not change last."""
    order = ("failed", "refused", "vanished", "erased", "indexed", "unchanged")
    ranked = sorted(report.outcomes, key=lambda one: (order.index(one.outcome), one.key))
    await acreate_markdown_artifact(_describe(report), key="ingest-summary", description=report.source)
    table = [_row(one) for one in ranked[:MOST_ROWS]]
    shown = f"{len(table):,} of {len(ranked):,} objects"
    await acreate_table_artifact(table, key="ingest-objects", description=f"{report.source}: {shown}")


def _row(one: ObjectOutcome) -> dict[str, Any]:
    return {
        "object": one.key, "outcome": one.outcome, "kind": one.kind or "", "pieces": one.pieces,
        "seconds": round(one.seconds, 2), "visibility": one.visibility or "", "error": one.error or "",
        "notes": " ".join(one.notes),
    }  # fmt: skip


def _describe(report: IngestReport) -> str:
    lines = [f"# {report.summarize()}", "", f"Source `{report.source}`, run `{report.run_id}`.", ""]
    if report.stage_seconds:
        lines += ["| stage | seconds, all objects together |", "|---|---|"]
        lines += [f"| {stage} | {seconds:.2f} |" for stage, seconds in report.stage_seconds.items()]
    lines += ["", *_list_failures((*report.failed, *report.refused))]
    return "\n".join(lines)


def _list_failures(failed: Sequence[ObjectOutcome]) -> Iterable[str]:
    if failed:
        yield "## What failed"
    for one in failed[:50]:
        yield f"- `{one.key}`: {one.error}"
    if len(failed) > 50:
        yield f"- and {len(failed) - 50:,} more, in the table `ingest-objects`"
