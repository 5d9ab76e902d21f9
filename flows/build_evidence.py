"""The flow that makes evidence of stored sessions; its pages show counts, cost and links, never anyone's words."""

from time import perf_counter
from typing import Any
from uuid import UUID

from prefect import flow, get_run_logger, task
from prefect.artifacts import acreate_markdown_artifact, acreate_progress_artifact, aupdate_progress_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.runtime import flow_run
from prefect.states import Completed

from core.errors import AppError, Unavailable
from core.settings import get_settings
from flows.evidence_pages import describe_cost, describe_pyramid, describe_sessions
from flows.starts import begin_run, end_run
from flows.usage_pages import publish_usage
from pipelines.evidence.build import OnProgress, build_client
from pipelines.evidence.build_plan import choose_clients, plan_clients
from pipelines.evidence.build_report import BuildReport, EvidenceReport
from pipelines.evidence.cohorts import build_cohorts

RETRY_DELAYS = [2.0, 10.0, 30.0]


class _Work:
    """What one task builds; a class of its own, as Prefect looks into the parameters it knows."""

    def __init__(self, tenant_id: UUID, client_id: UUID | None, show: OnProgress, **options: Any) -> None:  # noqa: ANN401  # those of build_client
        self.tenant_id, self.client_id, self.show, self.options = tenant_id, client_id, show, options


def _is_unavailable(_task: object, _run: TaskRun, state: State[Any]) -> bool:
    """Retry only where something outside failed: what is wrong with a session stays wrong."""
    return isinstance(state.data, Unavailable) or isinstance(getattr(state.data, "exception", None), Unavailable)


@task(
    name="build-client",
    task_run_name="client {label}",
    retries=len(RETRY_DELAYS),
    retry_delay_seconds=RETRY_DELAYS,
    retry_condition_fn=_is_unavailable,
    cache_policy=NO_CACHE,
)
async def build_one(label: str, work: _Work) -> BuildReport:  # noqa: ARG001  # names the task run
    """Build one client's evidence; what a try before this one has written is not touched again."""
    return await build_client(work.tenant_id, work.client_id, on_progress=work.show, **work.options)


def name_run(client: str | None) -> str:
    """Return how a run for this client, or for all, is called."""
    return f"evidence of {client or 'every client'}"


def _name_this_run() -> str:
    return name_run(flow_run.parameters.get("client"))


@flow(name="build-evidence", flow_run_name=_name_this_run, validate_parameters=True)
async def build_evidence(
    tenant_id: UUID, client: str | None = None, force: bool = False, ask_models: bool = True
) -> EvidenceReport:
    """Build what is new of a client's or every client's evidence, then what their cohorts have in common.

    `force` reads every session again. The tenant's models are asked where it has any, within its budget; what that
    may cost is shown before the first is. A client or session that fails leaves the others alone.
    """
    await begin_run()
    began, logger, settings = perf_counter(), get_run_logger(), get_settings()
    progress = await acreate_progress_artifact(0.0, key="evidence-progress", description="Building evidence")
    done = 0

    async def show(*_: int) -> None:
        nonlocal done
        done += 1
        told = f"{done} of {plan.sessions} sessions"
        await aupdate_progress_artifact(progress, progress=100 * done / max(done, plan.sessions), description=told)

    try:
        clients = await choose_clients(tenant_id, client)
        plan = await plan_clients(tenant_id, clients, settings, force=force, ask_models=ask_models)
        if plan.forecast is not None:
            await acreate_markdown_artifact(describe_cost(plan, None), key="evidence-forecast")
        if plan.stopped:
            logger.warning(plan.stopped)
        reports = []
        for client_id in clients:
            work = _Work(tenant_id, client_id, show, models=plan.models, force=force)
            reports.append(await _build(work))
            for one in reports[-1].failed:
                logger.warning("session %s failed: %s", one.transcript_id, one.error)
        report = EvidenceReport(
            plan=plan, clients=tuple(reports), cohorts=tuple(await build_cohorts(tenant_id)),
            seconds=round(perf_counter() - began, 3),
        )  # fmt: skip
        await aupdate_progress_artifact(progress, progress=100.0, description=report.summarize())
        await _publish(tenant_id, report, f"http://{settings.api.host}:{settings.api.port}")
        await publish_usage(tenant_id)
    finally:
        await end_run()
    logger.info(report.summarize())
    return Completed(message=report.summarize(), data=report)  # type: ignore[return-value]  # Prefect unwraps it


async def _build(work: _Work) -> BuildReport:
    try:
        return await build_one(str(work.client_id or "nobody's")[:8], work)
    except AppError as error:
        get_run_logger().warning("client %s failed: %s", work.client_id, error.message)
        return BuildReport(client_id=work.client_id, error=error.message)


async def _publish(tenant_id: UUID, report: EvidenceReport, api_url: str) -> None:
    await acreate_markdown_artifact(describe_sessions(report), key="evidence-sessions")
    pyramid = await describe_pyramid(tenant_id, report.plan.clients, api_url)
    await acreate_markdown_artifact(pyramid, key="evidence-pyramid")
    if report.plan.forecast is not None:
        await acreate_markdown_artifact(describe_cost(report.plan, report.cost_usd), key="evidence-cost")
