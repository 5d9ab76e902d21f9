"""Servers of our own: one clear sentence when one can't start, and no run left running when a process dies."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
import yaml
from prefect.client.orchestration import get_client
from prefect.events.filters import EventFilter, EventNameFilter, EventResourceFilter

from core.settings import get_settings
from domain import ingestion
from flows.automations import SILENCE, TAG, ensure_automations, list_automations
from flows.server import (
    HOST,
    PortTaken,
    ServerFailed,
    ServerLeftOver,
    answers,
    client_environment,
    find_free_port,
    prefect_session,
    run_server,
)
from flows.serving import list_deployments
from tests.factories.people import Organisation

ROOT = Path(__file__).parents[2]


async def test_a_taken_port_is_named(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind((HOST, 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(PortTaken, match=f"Port {port}.*choose another port"):
            async with run_server(tmp_path, port):
                pass


async def test_a_server_left_over_is_named_and_a_dead_one_forgotten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    me = psutil.Process()
    note = {"pid": me.pid, "created": me.create_time(), "port": 4242}
    (tmp_path / "server.json").write_text(json.dumps(note))
    with pytest.raises(ServerLeftOver, match=rf"process {me.pid}, port 4242.*kill {me.pid}"):
        async with run_server(tmp_path, find_free_port()):
            pass
    (tmp_path / "server.json").write_text(json.dumps(note | {"created": 1.0}))
    monkeypatch.setattr("flows.server.server_command", lambda _: [sys.executable, "-c", "exit('out of order')"])
    with pytest.raises(ServerFailed, match=r"stop with exit code 1 \(out of order\)"):
        async with run_server(tmp_path, find_free_port()):
            pass
    assert not (tmp_path / "server.json").exists()


async def test_a_named_server_that_does_not_answer_is_an_error() -> None:
    nowhere = get_settings().model_copy(update={"prefect_api_url": f"http://{HOST}:9/api"})
    with pytest.raises(ServerFailed, match="PREFECT_API_URL"):
        async with prefect_session(nowhere):
            pass


async def test_the_server_that_up_noted_is_used(prefect_server: str, tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text(json.dumps({"prefect_api_url": prefect_server}))
    async with prefect_session(get_settings().model_copy(update={"home": tmp_path})) as url:
        assert url == prefect_server
    assert await answers(prefect_server)


async def test_the_pages_know_where_their_api_is(prefect_server: str) -> None:
    async with httpx.AsyncClient() as client:
        settings = (await client.get(f"{prefect_server.removesuffix('/api')}/ui-settings")).json()
    assert settings["api_url"] == prefect_server


async def test_workers_and_the_serving_process_offer_the_same_flows() -> None:
    written = yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]
    served = await list_deployments()
    assert [(one["name"], one["entrypoint"], one["tags"]) for one in written] == [
        (one.name, one.entrypoint, one.tags) for one in served
    ]
    for one, other in zip(written, served, strict=True):
        crons = [planned.schedule.cron for planned in other.schedules or []]  # type: ignore[union-attr]  # all are crons
        assert [planned["cron"] for planned in one["schedules"]] == crons


async def test_automations_are_put_once(prefect_server: str) -> None:
    await ensure_automations()
    await ensure_automations(timedelta(seconds=60))
    async with get_client() as client:
        found = [await client.read_automations_by_name(one.name) for one in list_automations()]
    assert [len(same) for same in found] == [1, 1]
    assert found[0][0].trigger.within == timedelta(seconds=60)  # type: ignore[union-attr]  # an event trigger
    assert timedelta(seconds=60) < SILENCE


@asynccontextmanager
async def _serve(url: str, log: Path) -> AsyncIterator[psutil.Process]:
    """Serve the flows as a process of its own; kill all of it at the end."""
    environment = os.environ | client_environment(url, get_settings().home / "prefect")
    with log.open("ab") as sink:
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "flows.serving", cwd=ROOT, env=environment, stdout=sink, stderr=subprocess.STDOUT
        )
    try:
        yield psutil.Process(child.pid)
    finally:
        _kill_all(child.pid)
        await child.wait()


def _kill_all(pid: int) -> None:
    try:
        tree = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    except psutil.NoSuchProcess:
        return
    for process in tree:
        try:
            os.kill(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            continue


async def _wait_for(read: Callable[[], Any], wanted: Callable[[Any], bool]) -> Any:
    """Read until the wanted is there; no step takes so long, even on a busy machine."""
    async with asyncio.timeout(300):
        while True:
            found = await read()
            if wanted(found):
                return found
            await asyncio.sleep(0.3)


async def test_a_killed_run_does_not_stay_running_and_is_finished_by_the_next_process(
    organisation: Organisation, prefect_server: str, tmp_path: Path
) -> None:
    (tmp_path / "material").mkdir()
    (tmp_path / "material/guide.md").write_text("# Guide\n\nBe kind.")
    source = tmp_path / "material"
    async with get_client() as client:

        async def find_deployment() -> Any:
            found = await client.read_deployments()
            return next((one for one in found if one.name == "ingest-sources"), None)

        async def read_run() -> Any:
            return await client.read_flow_run(run.id)

        async def find_heartbeats() -> Any:
            theirs = EventFilter(
                event=EventNameFilter(name=["prefect.flow-run.heartbeat"]),
                resource=EventResourceFilter(id=[f"prefect.flow-run.{run.id}"]),
            )
            return (await client.read_events(theirs, limit=1)).events

        async with ingestion.hold_source(organisation.tenant_id, source.as_uri()):
            async with _serve(prefect_server, tmp_path / "log"):
                deployment = await _wait_for(find_deployment, lambda found: found is not None)
                await _wait_for(lambda: client.read_automations_by_name(list_automations()[1].name), bool)
                await ensure_automations(timedelta(seconds=10))
                run = await client.create_flow_run_from_deployment(
                    deployment.id, parameters={"tenant_id": str(organisation.tenant_id), "source": str(source)}
                )
                assert TAG in run.tags
                await _wait_for(read_run, lambda now: now.state_name == "Running")
                await _wait_for(find_heartbeats, bool)
                await asyncio.sleep(2)  # what is stored is on its way to the automations too
            await _wait_for(read_run, lambda now: now.state_name == "AwaitingRetry")
        async with _serve(prefect_server, tmp_path / "log"):
            done = await _wait_for(read_run, lambda now: now.state.is_final())
        assert (done.state_name, done.run_count) == ("Completed", 2)
        assert done.state.message.startswith("1 indexed;")
