"""The flow that keeps evidence true to its sources: what became stale is derived anew or goes, what is new is built."""

from uuid import UUID

from prefect import flow, get_run_logger
from prefect.artifacts import acreate_table_artifact

from core.errors import AppError
from domain.platform import list_tenants
from flows.review_insights import resume_judged
from flows.starts import begin_run, end_run
from pipelines.evidence import rederive
from pipelines.evidence.rederive import LEVELS, RederiveReport


@flow(name="rederive-stale")
async def rederive_stale(tenant_id: UUID | None = None) -> dict[str, int]:
    """Derive anew what is stale, build what was ingested since, and return the rows by what became of them.

    By rules alone: a schedule spends no money. Reviews whose drafts were all judged by the API go on. A tenant that
    fails is tried again at the next run; the others go on, and the run fails at its end.
    """
    await begin_run()
    reports, failed = list[tuple[str, RederiveReport]](), 0
    try:
        named = [(tenant.id, tenant.slug) for tenant in await list_tenants()]
        for each, slug in named if tenant_id is None else [one for one in named if one[0] == tenant_id]:
            try:
                report = await rederive.rederive_stale(each)
            except AppError as error:
                failed += 1
                get_run_logger().error("the evidence of %s: %s", slug, error.message)
                continue
            for sentence in report.failures:
                get_run_logger().warning("%s: %s", slug, sentence)
            reports.append((slug, report))
        resumed = await resume_judged()
    finally:
        await end_run()
    rows = [row for slug, report in reports for row in _tabulate(slug, report)]
    if rows:
        await acreate_table_artifact(rows, key="stale-evidence", description="Stale rows, and what became of them")
    counts = {
        name: sum(sum(getattr(report, name).values()) for _, report in reports)
        for name in ("stale", "rederived", "deleted", "left")
    } | {"built": sum(one.count("built") for _, report in reports for one in report.clients), "resumed": resumed}
    get_run_logger().info("%s", ", ".join(f"{count:,} {name}" for name, count in counts.items()))
    if failed:
        raise RuntimeError(f"The evidence of {failed} organisations could not be looked at; the log says why.")
    return counts


def _tabulate(slug: str, report: RederiveReport) -> list[dict[str, str | int]]:
    return [
        {"organisation": slug, "level": level, "stale": report.stale[level],
         "derived anew": report.rederived.get(level, 0), "deleted": report.deleted.get(level, 0),
         "left": report.left.get(level, 0)}
        for level in LEVELS if report.stale.get(level)
    ]  # fmt: skip
