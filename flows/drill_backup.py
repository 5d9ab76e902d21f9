"""The flow that drills the newest backup, every week."""

from typing import Any

from prefect import flow, get_run_logger
from prefect.artifacts import acreate_markdown_artifact
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed

from core.settings import get_settings
from flows.starts import begin_run, end_run
from pipelines.backup import drill
from pipelines.backup.drill import DrillReport


@flow(name="drill-backup")
async def drill_backup(backup_id: str | None = None) -> dict[str, Any]:
    """Restore the newest backup into a fresh server, prove it, and show how long a recovery takes.

    The run fails on any difference. The server is gone afterwards; the store in use only remembers the outcome.
    """
    await begin_run()
    try:
        report = await drill.drill(get_settings(), backup_id)
    finally:
        await end_run()
    await acreate_markdown_artifact(describe_drill(report), key="backup-drill")
    for sentence in report.differences:
        get_run_logger().warning(sentence)
    return _conclude(report)  # type: ignore[return-value]  # Prefect unwraps the state


def _conclude(report: DrillReport) -> State[Any]:
    if not report.passed:
        return Failed(message=report.differences[0])
    told = f"{report.rows:,} rows equal; a recovery takes {report.recovery_seconds:,.1f} s"
    return Completed(message=told, data={"backup_id": report.backup_id, "recovery_seconds": report.recovery_seconds})


def describe_drill(report: DrillReport) -> str:
    """Return the page of a drill: the two figures that count, the phases, what differed; nobody's words."""
    objects = report.objects
    asked = "nobody has transcripts" if report.answered is None else f"{report.answered.citations} citations"
    lines = [
        f"# Drill of {report.backup_id}", "", f"**{'Passed' if report.passed else 'Failed'}.**", "",
        "| | |", "|---|--:|",
        f"| recovery point: age of the backup, s | {report.recovery_point_seconds:,.0f} |",
        f"| recovery time, s | {report.recovery_seconds:,.1f} |",
        f"| rows | {report.rows:,} |", f"| tables | {report.tables} |", f"| bytes | {report.size:,} |",
        f"| objects as they were, changed, gone | {objects.same:,}, {objects.changed:,}, {objects.gone:,} |",
        f"| a client's question | {asked} |",
        "", "| phase | s |", "|---|--:|", *(f"| {phase} | {took:,.1f} |" for phase, took in report.phases.items()),
    ]  # fmt: skip
    if report.differences:
        lines += ["", "## What differs", "", *(f"- {sentence}" for sentence in report.differences[:50])]
    return "\n".join(lines)
