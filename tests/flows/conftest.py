"""One Prefect server for all tests of flows, started as the product starts it."""

import gc
from collections.abc import AsyncIterator, Iterator

import pytest
from prefect.settings import (
    PREFECT_API_URL,
    PREFECT_FLOWS_HEARTBEAT_FREQUENCY,
    PREFECT_LOGGING_LEVEL,
    temporary_settings,
)

from core.settings import Settings
from flows.server import HEARTBEAT_SECONDS, find_free_port, run_server, send_rest


@pytest.fixture(scope="session")
async def prefect_server(store: Settings) -> AsyncIterator[str]:
    """The address of its API; flows called in a test that asks for it run there."""
    gc.collect()
    gc.freeze()  # what earlier tests left for good is not looked through again after each of these
    async with run_server(store.home / "prefect", find_free_port()) as url:
        chosen = {
            PREFECT_API_URL: url,
            PREFECT_FLOWS_HEARTBEAT_FREQUENCY: HEARTBEAT_SECONDS,
            PREFECT_LOGGING_LEVEL: "ERROR",
        }
        with temporary_settings(chosen):
            yield url
            await send_rest()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Forgive Prefect the connections to its server that its engine leaves to the garbage collector."""
    left_open = r"ignore:Exception ignored in. <(socket\.socket|ssl\.SSLSocket):pytest.PytestUnraisableExceptionWarning"
    for item in items:
        if "prefect_server" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.filterwarnings(left_open))


@pytest.fixture(autouse=True)
def collect_connections() -> Iterator[None]:
    """Collect what Prefect left open while it is forgiven, not in some later test."""
    yield
    gc.collect()
