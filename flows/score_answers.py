"""The flow that scores stored answers off-hours and tells when they got worse than they were."""

from datetime import datetime
from typing import Any
from uuid import UUID

from prefect import flow, get_run_logger, task
from prefect.artifacts import acreate_markdown_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun

from core.errors import AppError, Unavailable
from core.settings import Settings, get_settings
from domain.platform import choose_tenants
from evaluation.nightly import Night, score_window
from flows.answer_pages import count_nights, describe_drift, describe_nights
from flows.starts import begin_run, end_run
from flows.usage_pages import publish_usage
from pipelines.ingest import load_embedder
from rag.embedding.protocol import Embedder

RETRY_DELAYS = [2.0, 10.0, 30.0]


class _Work:
    """What one task scores; a class of its own, as Prefect looks into the parameters it knows."""

    def __init__(self, tenant_id: UUID, settings: Settings, embedder: Embedder, **options: Any) -> None:  # noqa: ANN401  # those of score_window
        self.tenant_id, self.settings, self.embedder, self.options = tenant_id, settings, embedder, options


def _is_unavailable(_task: object, _run: TaskRun, state: State[Any]) -> bool:
    """Retry only where something outside failed; what has a score is not scored again."""
    return isinstance(state.data, Unavailable) or isinstance(getattr(state.data, "exception", None), Unavailable)


@task(
    name="score-organisation",
    task_run_name="score {label}",
    retries=len(RETRY_DELAYS),
    retry_delay_seconds=RETRY_DELAYS,
    retry_condition_fn=_is_unavailable,
    cache_policy=NO_CACHE,
)
async def score_one(label: str, work: _Work) -> Night:  # noqa: ARG001  # names the task run
    """Score one organisation's window."""
    return await score_window(work.tenant_id, work.settings, work.embedder, **work.options)


@flow(name="score-answers", validate_parameters=True)
async def score_answers(
    tenant_id: UUID | None = None, count: int | None = None, since: datetime | None = None
) -> dict[str, int]:
    """Score a sample of the answers that may be studied, of one or every organisation, and tell of drift.

    `count` answers of the window at most, which begins at `since`; left out, both are as the settings say. An
    organisation that fails leaves the others alone, and the run fails at its end. Returns the counts by outcome.
    """
    await begin_run()
    logger, settings = get_run_logger(), get_settings()
    nights, failed = dict[str, Night](), dict[str, str]()
    try:
        chosen = await choose_tenants(tenant_id)
        embedder = await load_embedder(settings)
        for tenant in chosen:
            try:
                nights[tenant.slug] = await score_one(
                    tenant.slug, _Work(tenant.id, settings, embedder, since=since, count=count)
                )
                await publish_usage(tenant.id, key=f"usage-{tenant.slug}")
            except AppError as error:
                failed[tenant.slug] = error.message
            except Exception as error:  # a defect met in one organisation must not cost the others
                failed[tenant.slug] = f"It broke ({type(error).__name__}); the log says where."
                logger.exception("scoring the answers of %s broke", tenant.slug)
        for slug, sentence in failed.items():
            logger.error("the answers of %s: %s", slug, sentence)
    finally:
        await end_run()
    await acreate_markdown_artifact(describe_nights(nights, failed), key="scored-answers")
    if (drift := describe_drift(nights)) is not None:
        await acreate_markdown_artifact(drift, key="evaluation-drift")
        logger.warning("answers got worse: the page evaluation-drift says where")
    counts = count_nights(list(nights.values()))
    logger.info("%s", ", ".join(f"{number:,} {name}" for name, number in counts.items()))
    if failed:
        raise RuntimeError(f"The answers of {len(failed)} organisations were not scored; the log says why.")
    return counts
