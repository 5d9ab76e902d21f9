"""What every test stands on: a home of its own, one migrated embedded PostgreSQL, a fresh tenant a test.

Tests isolate by tenant instead of by rollback: every test that writes founds its own tenant, so real commits
are tested and row-level security itself keeps the tests apart.
"""

import gc
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Generator, Iterator
from pathlib import Path

import pytest

# Before anything reads the environment: no telemetry, a home that goes away.
os.environ |= {"DO_NOT_TRACK": "1", "PREFECT_SERVER_ANALYTICS_ENABLED": "false", "REGENESIS_LOG__LEVEL": "WARNING"}
_home = Path(tempfile.mkdtemp(prefix="regenesis-tests-"))
_home.chmod(0o755)  # as root, PostgreSQL runs as a user of its own that must pass through
for name in [name for name in os.environ if name.startswith("REGENESIS_") and "TEST" not in name]:
    if name != "REGENESIS_LOG__LEVEL":
        del os.environ[name]
os.environ["REGENESIS_HOME"] = str(_home)
os.environ["REGENESIS_OUTBOX__DISPATCH"] = "false"  # a served app would deliver what other tests look at
os.environ["REGENESIS_API__WEB"] = "false"  # one app of a process has the pages; those that test them serve their own
os.environ["REGENESIS_AUDIT__LINK"] = "false"  # and link what they count

from core.logging import configure_logging  # noqa: E402  # the environment comes first
from core.settings import Settings, get_settings  # noqa: E402
from db import embedded, migrate  # noqa: E402
from db.locate import owner_url  # noqa: E402
from db.session import close_store  # noqa: E402
from tests.factories.people import Organisation, found_organisation  # noqa: E402

embedded.TUNING += "fsync = off\n"  # a store of tests outlives killed processes, as it must, but no power cut


@pytest.fixture(scope="session", autouse=True)
def settings() -> Iterator[Settings]:
    """The settings of the test run."""
    configure_logging(get_settings().log)
    yield get_settings()
    shutil.rmtree(_home, ignore_errors=True)


@pytest.fixture(scope="session")
async def store(settings: Settings) -> AsyncIterator[Settings]:
    """A migrated store, for tests that read or write it."""
    migrate.upgrade(owner_url(settings))
    yield settings
    await close_store()


@pytest.fixture
async def organisation(store: Settings) -> Organisation:
    """A new tenant with one person of each role, two coaches and three clients."""
    return await found_organisation()


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of public development data; skips where it is absent."""
    default = Path(__file__).parents[2] / "shared" / "data"
    folder = Path(os.environ.get("REGENESIS_TEST_DATA", default))
    if not folder.is_dir():
        pytest.skip(f"the public development data is not at {folder}; set REGENESIS_TEST_DATA to its folder")
    return folder


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what reads the whole store, and spread the files that drive a browser over the run.

    A store that holds other tests' tenants takes longer to read; browsers beside each other leave nothing of a small
    machine.
    """
    files: dict[Path, list[pytest.Item]] = {}
    for item in items:
        files.setdefault(item.path, []).append(item)
    pages = [path for path in files if path.parent.name == "web"]
    others = [path for path in files if path.parent.name != "web"]
    others.sort(key=lambda path: files[path][0].get_closest_marker("whole_store") is None)
    apart = len(others) / (len(pages) + 1)
    for place, path in reversed(list(enumerate(pages, 1))):
        others.insert(round(place * apart), path)
    items[:] = [item for path in others for item in files[path]]


def pytest_collection_finish() -> None:
    """Look no more for garbage among what was imported and collected; it is most there ever is."""
    gc.collect()
    gc.freeze()


def pytest_xdist_auto_num_workers() -> int:
    """One worker more than cores, as much time is spent waiting for servers; more than four share them badly."""
    return min((os.cpu_count() or 1) + 1, 4)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Where skips are forbidden, let a test that lacks a service fail; the public data may be absent all the same."""
    report = yield
    if report.skipped and os.environ.get("REGENESIS_TEST_FORBID_SKIP") and not hasattr(report, "wasxfail"):
        reason = str(report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr)
        if "public development data" not in reason:
            report.outcome = "failed"
            report.longrepr = f"{item.nodeid} was skipped where no test may be: {reason}"
    return report
