"""What every flow does first and last: refuse to be restarted for ever, say whose usage it is, log, close the store."""

from prefect.context import FlowRunContext
from prefect.runtime import deployment

from core.errors import Conflict
from core.logging import configure_logging
from core.settings import get_settings
from db.session import close_store, request_context
from domain.usage import current_flow_run

MAX_STARTS = 5


class RunGivenUp(Conflict):
    """This run died too often; look at its logs, mend the cause, and start a new run."""


async def begin_run() -> None:
    """Call at the start of a flow; raises `RunGivenUp` once the run was started five times.

    A run whose process died is started again (see flows/automations.py), and what killed it may kill it for ever.
    """
    context = FlowRunContext.get()
    run = context.flow_run if context else None
    if run is not None and run.run_count > MAX_STARTS:
        raise RunGivenUp(f"This run died {MAX_STARTS} times; look at its logs, mend the cause, and start a new run.")
    request_context.set({**(request_context.get() or {}), "surface": "flow"})  # ends with the run's own context
    current_flow_run.set(run.id if run is not None else None)
    if _is_deployed():
        configure_logging(get_settings().log)


async def end_run() -> None:
    """Call at the end of a flow, however it ends: a process that runs one flow closes the store with it."""
    current_flow_run.set(None)
    if _is_deployed():
        await close_store()


def _is_deployed() -> bool:
    return deployment.id is not None
