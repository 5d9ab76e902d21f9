"""The flow that backs up the whole store, every night."""

from typing import Any

from prefect import flow, get_run_logger
from prefect.artifacts import acreate_table_artifact

from core.settings import get_settings
from flows.starts import begin_run, end_run
from pipelines.backup import write


@flow(name="back-up")
async def back_up() -> dict[str, Any]:
    """Back up the whole store, take old backups away, and return what the new one holds.

    Where it is kept, how many are, and whether objects are copied is as the settings say. Workers need the operator's
    database URL for it. A run that died leaves parts that count as no backup; started again, it makes another.
    """
    await begin_run()
    try:
        manifest = await write.back_up(get_settings())
    finally:
        await end_run()
    told = {name: value if isinstance(value, int | float) else str(value) for name, value in manifest.to_json().items()}
    await acreate_table_artifact(
        key="backup", table=[told], description=f"The backup {manifest.id}: what it holds, in rows and bytes."
    )
    get_run_logger().info("%s rows in %.1f s", f"{manifest.rows:,}", told["seconds"])
    return told
