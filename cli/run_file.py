"""`<home>/run.json`: the notes a running `regenesis up` leaves, so that other commands find what it serves.

A lock file beside it says whether they still hold: the kernel lets go of the lock when the process dies, however it
dies. What a killed `up` left running is stopped by the next one.
"""

import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import BinaryIO, Final

import psutil

from core.errors import Conflict
from core.logging import get_logger

LOCK, NOTES = "run.lock", "run.json"
STOP_SECONDS = 5
_LOOKS_LAST_S: Final = 1.0
"""Commands that look whether somebody runs hold the lock for a moment themselves; this is far longer."""


class AlreadyRunning(Conflict):
    """`regenesis up` is already running on this home; stop it first, or use what it serves."""


@dataclass(frozen=True, slots=True)
class Started:
    """One child process; `created` tells it from a later process that was given the same number."""

    name: str
    pid: int
    created: float


@dataclass(slots=True)
class RunNotes:
    """What a running `up` serves, and the processes it started."""

    pid: int
    api_url: str | None = None
    prefect_api_url: str | None = None
    prefect_ui_url: str | None = None
    is_serving: bool = False
    children: list[Started] = field(default_factory=list)

    def write(self, home: Path) -> None:
        """Write the notes whole or not at all."""
        partial = home / f"{NOTES}.partial"
        partial.write_text(json.dumps(asdict(self), indent=2))
        partial.replace(home / NOTES)


def find_run(home: Path) -> RunNotes | None:
    """Return the notes of the `up` that runs on this home, or None."""
    try:
        with (home / LOCK).open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _read(home)
    except OSError:
        return None
    return None


@contextmanager
def hold_home(home: Path) -> Iterator[RunNotes]:
    """Be the one `up` of this home, with empty notes to fill; raises `AlreadyRunning`.

    What a killed one left running is stopped first.
    """
    with (home / LOCK).open("wb") as lock:
        try:
            _take(lock)
        except BlockingIOError as error:
            notes = _read(home)
            where = f"it serves {notes.api_url}" if notes and notes.api_url else "it is still starting"
            pid = f" (process {notes.pid})" if notes else ""
            raise AlreadyRunning(
                f"`regenesis up` is already running on {home}{pid}, {where}; "
                "stop it with Ctrl-C first, or set REGENESIS_HOME to another folder."
            ) from error
        left = _read(home)
        notes = RunNotes(pid=os.getpid(), children=left.children if left else [])
        notes.write(home)  # at once, as what a killed one served would pass for ours
        for child in notes.children:
            _stop_leftover(child)
        notes.children.clear()
        notes.write(home)
        try:
            yield notes
        finally:
            (home / NOTES).unlink(missing_ok=True)


def _take(lock: BinaryIO) -> None:
    end = time.monotonic() + _LOOKS_LAST_S
    while time.monotonic() < end:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(0.02)
        else:
            return
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _read(home: Path) -> RunNotes | None:
    with suppress(OSError, LookupError, TypeError, ValueError):
        read = json.loads((home / NOTES).read_text())
        children = [Started(**child) for child in read.pop("children")]
        return RunNotes(**read, children=children)
    return None


def _stop_leftover(child: Started) -> None:
    with suppress(psutil.NoSuchProcess):
        process = psutil.Process(child.pid)
        if abs(process.create_time() - child.created) < 1:
            get_logger("cli.up").warning("stopping what a killed run left", process=child.name, pid=child.pid)
            stop_tree(process)


def stop_tree(process: psutil.Process, *, seconds: float = STOP_SECONDS) -> None:
    """Ask the process to stop, and kill what is still there of it and all below it after some seconds."""
    tree = [process]
    with suppress(psutil.NoSuchProcess):
        tree += process.children(recursive=True)
        process.terminate()
    _, stubborn = psutil.wait_procs(tree, timeout=seconds)
    for one in stubborn:
        with suppress(psutil.NoSuchProcess):
            one.kill()
    psutil.wait_procs(stubborn, timeout=seconds)
