"""The notes of a running `up`: one at a time, found by others, cleaned up after a kill."""

import fcntl
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

from cli.run_file import LOCK, NOTES, AlreadyRunning, RunNotes, Started, find_run, hold_home, stop_tree

SLEEPER = [sys.executable, "-c", "import time; time.sleep(120)"]
STUBBORN = """
import signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(120)"])
print("ready", flush=True)
time.sleep(120)
"""


def test_no_notes_no_run(tmp_path: Path) -> None:
    assert find_run(tmp_path) is None
    assert find_run(tmp_path / "absent") is None


def test_running_one_is_found_and_second_refused(tmp_path: Path) -> None:
    with hold_home(tmp_path) as notes:
        notes.api_url = "http://127.0.0.1:8123"
        notes.write(tmp_path)
        found = find_run(tmp_path)
        assert found == notes
        with pytest.raises(AlreadyRunning, match=r"http://127\.0\.0\.1:8123") as refused, hold_home(tmp_path):
            pass
        assert str(os.getpid()) in refused.value.message
        assert find_run(tmp_path) == notes, "the refused one must leave the notes alone"
    assert find_run(tmp_path) is None
    assert not (tmp_path / NOTES).exists()


def test_those_who_only_look_keep_nobody_from_starting(tmp_path: Path) -> None:
    with (tmp_path / LOCK).open("wb") as looking:
        fcntl.flock(looking, fcntl.LOCK_SH)  # as `find_run` does for a moment
        threading.Timer(0.2, lambda: fcntl.flock(looking, fcntl.LOCK_UN)).start()
        with hold_home(tmp_path):
            assert find_run(tmp_path) is not None


def test_notes_of_a_killed_run_do_not_count_and_its_children_are_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    meanwhile: list[RunNotes | None] = []

    def stop(process: psutil.Process) -> None:
        meanwhile.append(find_run(tmp_path))
        stop_tree(process)

    monkeypatch.setattr("cli.run_file.stop_tree", stop)
    left = subprocess.Popen(SLEEPER)
    other = subprocess.Popen(SLEEPER)
    created = psutil.Process(left.pid).create_time()
    killed = RunNotes(
        pid=1,
        api_url="http://127.0.0.1:1",
        children=[
            Started("left over", left.pid, created),
            Started("same number, another process", other.pid, created - 1000),
        ],
    )
    killed.write(tmp_path)
    assert find_run(tmp_path) is None
    try:
        with hold_home(tmp_path):
            assert not psutil.pid_exists(left.pid)
            assert other.poll() is None, "a process that only inherited the number is not ours"
            assert find_run(tmp_path) == RunNotes(pid=os.getpid())
        assert meanwhile == [RunNotes(pid=os.getpid(), children=killed.children)], "what is to be stopped stays noted"
    finally:
        for process in (left, other):
            process.kill()
            process.wait()


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"pid": 1}', '{"pid": 1, "children": [{}]}', '{"pid":1,"new":2,"children":[]}']
)
def test_unreadable_notes_are_no_notes(tmp_path: Path, content: str) -> None:
    (tmp_path / NOTES).write_text(content)
    with hold_home(tmp_path) as notes:
        assert notes.pid == os.getpid()
        (tmp_path / NOTES).write_text(content)
        assert find_run(tmp_path) is None


def test_stubborn_tree_is_killed() -> None:
    with subprocess.Popen([sys.executable, "-c", STUBBORN], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        parent.stdout.readline()
        process = psutil.Process(parent.pid)
        tree = [process, *process.children(recursive=True)]
        assert len(tree) == 2
        stop_tree(process, seconds=0.3)
        deadline = time.monotonic() + 60
        while any(one.is_running() and one.status() != psutil.STATUS_ZOMBIE for one in tree):
            assert time.monotonic() < deadline
            time.sleep(0.05)
