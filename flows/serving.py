"""Serves every flow from one process, which starts a child for each run: `python -m flows.serving`."""

import asyncio

from flows.server import HEARTBEAT_SECONDS, export

# Prefect reads its settings when it is imported.
export(
    {
        "DO_NOT_TRACK": "1",
        "PREFECT_RUNNER_POLL_FREQUENCY": "1",  # the default of ten seconds is a long time to wait for a first answer
        "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": str(HEARTBEAT_SECONDS),
    }
)

from prefect import aserve  # noqa: E402  # the environment comes first
from prefect.client.schemas.objects import ConcurrencyLimitConfig, ConcurrencyLimitStrategy  # noqa: E402
from prefect.deployments.runner import RunnerDeployment  # noqa: E402
from prefect.schedules import Cron  # noqa: E402
from prefect.types.entrypoint import EntrypointType  # noqa: E402

from flows.apply_retention import apply_retention  # noqa: E402
from flows.archive_months import archive_months  # noqa: E402
from flows.automations import TAG, ensure_automations  # noqa: E402
from flows.back_up import back_up  # noqa: E402
from flows.build_evidence import build_evidence  # noqa: E402
from flows.collect_dues import collect_dues  # noqa: E402
from flows.deliver_outbox import deliver_outbox  # noqa: E402
from flows.drill_backup import drill_backup  # noqa: E402
from flows.erase_subject import erase_subject  # noqa: E402
from flows.export_subject import export_subject  # noqa: E402
from flows.index_content import index_content  # noqa: E402
from flows.ingest_sources import ingest_sources  # noqa: E402
from flows.prepare_partitions import prepare_partitions  # noqa: E402
from flows.reconcile_store import reconcile_store  # noqa: E402
from flows.rederive_stale import rederive_stale  # noqa: E402
from flows.reembed_chunks import reembed_chunks  # noqa: E402
from flows.refresh_views import refresh_views  # noqa: E402
from flows.review_insights import review_insights  # noqa: E402
from flows.rotate_keys import rotate_keys  # noqa: E402
from flows.run_evaluation import run_evaluation  # noqa: E402
from flows.score_answers import score_answers  # noqa: E402
from flows.watch_readings import watch_readings  # noqa: E402

RUNS_AT_ONCE = 2  # each loads an embedding model and uses all cores
ONE_AT_A_TIME = ConcurrencyLimitConfig(limit=1, collision_strategy=ConcurrencyLimitStrategy.ENQUEUE)
SINGLE = {
    run_evaluation.name, score_answers.name, archive_months.name, apply_retention.name, reconcile_store.name,
    back_up.name, drill_backup.name, rotate_keys.name,
}  # fmt: skip
"""Flows whose runs would do each other's work: two of one suite would go on with the same unfinished run."""
SCHEDULES = {
    prepare_partitions.name: "17 2 * * *",
    refresh_views.name: "41 * * * *",
    rederive_stale.name: "3,13,23,33,43,53 * * * *",
    collect_dues.name: "7,22,37,52 * * * *",
    score_answers.name: "47 2 * * *",  # when few ask
    watch_readings.name: "*/5 * * * *",
    apply_retention.name: "7 3 * * *",
    archive_months.name: "37 3 * * *",  # after retention took what it takes row by row
    reconcile_store.name: "17 4 * * *",
    back_up.name: "23 1 * * *",
    drill_backup.name: "11 4 * * 0",  # Sunday, when few would notice that a core is busy
    deliver_outbox.name: "*/5 * * * *",  # the HTTP service delivers at once; this catches up where it does not run
}
"""When the flows that nobody starts run, as cron in UTC."""


async def list_deployments() -> list[RunnerDeployment]:
    """Return one deployment a flow, of the flow's own name; prefect.yaml says the same for workers."""
    return [
        await flow.ato_deployment(
            name=flow.name,
            description=flow.description,
            tags=[TAG],
            concurrency_limit=ONE_AT_A_TIME if flow.name in SINGLE else None,
            schedule=Cron(SCHEDULES[flow.name], timezone="UTC") if flow.name in SCHEDULES else None,
            entrypoint_type=EntrypointType.MODULE_PATH,
        )
        for flow in (
            ingest_sources,
            reembed_chunks,
            prepare_partitions,
            refresh_views,
            deliver_outbox,
            index_content,
            collect_dues,
            build_evidence,
            rederive_stale,
            review_insights,
            run_evaluation,
            score_answers,
            watch_readings,
            export_subject,
            apply_retention,
            archive_months,
            reconcile_store,
            back_up,
            drill_backup,
            erase_subject,
            rotate_keys,
        )
    ]


async def serve_flows() -> None:
    """Register the deployments and the automations, then run what is scheduled until this process is stopped."""
    await ensure_automations()
    await aserve(*await list_deployments(), limit=RUNS_AT_ONCE)


if __name__ == "__main__":
    asyncio.run(serve_flows())
