"""The processes that `up` starts: ready or a clear reason, watched, stopped with all below them."""

import asyncio
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from cli.children import Child, ChildDied, Children, ChildSilent
from cli.run_file import RunNotes
from cli.services import PortInUse, answers, ensure_port_free
from tests.cli.ports import free_port

SERVER = """
import http.server, sys
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), http.server.SimpleHTTPRequestHandler).serve_forever()
"""


@pytest.fixture
def children(tmp_path: Path) -> Iterator[Children]:
    group = Children(tmp_path / "logs", RunNotes(pid=os.getpid()), tmp_path)
    yield group
    group.stop()


def start(children: Children, code: str, *arguments: str) -> Child:
    return children.start("small server", [sys.executable, "-c", code, *arguments], os.environ)


async def test_ready_child_is_waited_for_and_stopped(children: Children, tmp_path: Path) -> None:
    port = free_port()
    child = start(children, SERVER, str(port))
    await children.wait_until_answers(child, f"http://127.0.0.1:{port}/", seconds=20)
    assert f'"pid": {child.pid}' in (tmp_path / "run.json").read_text()
    assert os.getpgid(child.pid) != os.getpgid(0)
    children.stop()
    assert not psutil.pid_exists(child.pid)
    assert not await answers(f"http://127.0.0.1:{port}/")


async def test_child_that_dies_at_once_shows_its_last_words(children: Children) -> None:
    child = start(children, "import sys; print('the disk is full'); sys.exit(3)")
    with pytest.raises(ChildDied, match=r"(?s)exited with code 3.*the disk is full"):
        await children.wait_until_answers(child, "http://127.0.0.1:9/", seconds=20)


async def test_silent_child_is_given_up(children: Children) -> None:
    child = start(children, "import time; print('thinking', flush=True); time.sleep(60)")
    with pytest.raises(ChildSilent, match=r"(?s)small server.*thinking"):
        await children.wait_until_answers(child, "http://127.0.0.1:9/", seconds=1.5)


async def test_later_death_ends_the_watch(children: Children) -> None:
    child = start(children, "import time; time.sleep(60)")
    watch = asyncio.create_task(children.watch())
    await asyncio.sleep(0.2)
    psutil.Process(child.pid).kill()
    with pytest.raises(ChildDied, match="signal 9"):
        await asyncio.wait_for(watch, 60)


async def test_port_in_use_names_its_holder_and_the_flag(children: Children) -> None:
    port = free_port()
    child = start(children, SERVER, str(port))
    await children.wait_until_answers(child, f"http://127.0.0.1:{port}/", seconds=20)
    with pytest.raises(PortInUse, match=f"Port {port} is in use.*process {child.pid}.*--port"):
        ensure_port_free("127.0.0.1", port, "--port")
    children.stop()
    ensure_port_free("127.0.0.1", port, "--port")
