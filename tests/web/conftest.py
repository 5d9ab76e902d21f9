"""The pages served by a process of its own, and a browser to use them with."""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import httpx
import pytest
from playwright.async_api import Browser

from core.settings import Settings
from flows.server import find_free_port
from tests.api.conftest import serve
from tests.web.browser import Eyes, find_browser, run_browser
from tests.web.flow_server import KnowingServer

MOST = 50_000
"""Bytes of a file that is added."""


@dataclass
class Served:
    """A process that serves pages; it can be killed and started again on the same port."""

    port: int
    environment: dict[str, str]
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> None:
        """Start it and wait until it answers."""
        command = [sys.executable, "-m", "tests.web.served", str(self.port)]
        self.process = subprocess.Popen(command, env={**os.environ, **self.environment})  # noqa: ASYNC220  # instant
        async with httpx.AsyncClient() as client:
            for _ in range(2400):
                assert self.process.poll() is None, "the service ended"
                try:
                    if (await client.get(f"{self.url}/healthz")).is_success:
                        return
                except httpx.TransportError:
                    await asyncio.sleep(0.1)
        raise AssertionError("the service did not start")

    def kill(self) -> None:
        """End it as a power cut would."""
        if self.process is not None:
            self.process.kill()
            self.process.wait(60)


@asynccontextmanager
async def serve_pages(store: Settings, **environment: str) -> AsyncIterator[Served]:
    """Serve pages on the tests' store, with these settings besides."""
    find_browser()
    made = Served(find_free_port(), {"REGENESIS_API__WEB": "true", "REGENESIS_HOME": str(store.home), **environment})
    await made.start()
    try:
        yield made
    finally:
        made.kill()


@pytest.fixture(scope="session")
def flow_server() -> Iterator[KnowingServer]:
    """Stands where the flow server is, for all tests of this worker."""
    server = KnowingServer()
    with serve(server.app()) as url:
        server.url = f"{url}/api"
        yield server


@pytest.fixture(scope="session")
async def served(store: Settings, flow_server: KnowingServer) -> AsyncIterator[Served]:
    """One service for the pages' tests of this worker; it takes small files only."""
    given = {"PREFECT_API_URL": flow_server.url, "REGENESIS_API__MAX_UPLOAD_BYTES": str(MOST)}
    async with serve_pages(store, **given) as made:
        yield made


@pytest.fixture(autouse=True)
def flows(flow_server: KnowingServer) -> KnowingServer:
    """The flow server as it is at first, whatever another test left of it."""
    flow_server.deployed = True
    for kept in (flow_server.started, flow_server.by_key, flow_server.runs):
        kept.clear()
    return flow_server


@pytest.fixture(scope="session")
async def browser() -> AsyncIterator[Browser]:
    """One browser for the tests of this worker."""
    async with run_browser() as running:
        yield running


@pytest.fixture
async def eyes(browser: Browser, served: Served) -> AsyncIterator[Eyes]:
    """Windows on the pages; afterwards no page may have complained or asked another host."""
    made = Eyes(browser, served.url)
    yield made
    await made.close()
    assert made.complaints == []
