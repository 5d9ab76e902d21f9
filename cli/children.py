"""The processes that `regenesis up` starts: each in a group of its own, with a log, watched, and always stopped."""

import asyncio
import subprocess
from collections.abc import Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Any, Never, TypeVar

import psutil

from cli.run_file import RunNotes, Started, stop_tree
from cli.services import answers
from core.errors import Unavailable

T = TypeVar("T")

LAST_LINES = 12
POLL_SECONDS = 0.1


class ChildDied(Unavailable):
    """A process that everything needs stopped by itself; read its log."""


class ChildSilent(Unavailable):
    """A process did not become ready in time; read its log."""


class Child:
    """One process under watch; without its `popen` somebody else waits for it, and its exit code stays unknown."""

    def __init__(self, name: str, pid: int, log: Path, popen: "subprocess.Popen[bytes] | None" = None) -> None:
        self.name = name
        self.pid = pid
        self.log = log
        self._popen = popen
        self._process = psutil.Process(pid)
        self.created = self._process.create_time()

    def raise_if_dead(self) -> None:
        """Raise `ChildDied`, with the last lines of the log, once the process has ended."""
        code = self._popen.poll() if self._popen else None
        if code is None and self._process.is_running():
            return
        how = "stopped" if code is None else f"was killed by signal {-code}" if code < 0 else f"exited with code {code}"
        raise ChildDied(f"The {self.name} {how}; its log {self.log} ends with:\n{self.read_log_end()}")

    def read_log_end(self) -> str:
        """Return the last lines of the log."""
        lines = self.log.read_text(errors="replace").splitlines()[-LAST_LINES:]
        return "\n".join(f"  {line[:400]}" for line in lines)

    def stop(self) -> None:
        """Stop it and all below it; nothing happens where it has ended."""
        stop_tree(self._process)
        if self._popen:
            self._popen.wait()


class Children:
    """All processes of one `up`, stopped together in the reverse order of their start."""

    def __init__(self, logs: Path, notes: RunNotes, home: Path) -> None:
        self._logs, self._notes, self._home = logs, notes, home
        self._watched: list[Child] = []
        self._started: list[Child] = []
        logs.mkdir(parents=True, exist_ok=True)

    def start(self, name: str, command: Sequence[str], environment: Mapping[str, str]) -> Child:
        """Start the command with its output in `<logs>/<name>.log`, and note it for a later clean-up."""
        log = self._logs / f"{name.replace(' ', '-')}.log"
        with log.open("wb") as sink:
            popen = subprocess.Popen(  # noqa: S603  # our own commands only
                list(command),
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # the terminal's Ctrl-C is for us, who then stop it in order
            )
        return self._watch(Child(name, popen.pid, log, popen))

    def adopt(self, name: str, pid: int, log: Path) -> Child:
        """Watch and note a process that was started elsewhere, and is stopped there too."""
        return self._watch(Child(name, pid, log), is_ours=False)

    def _watch(self, child: Child, *, is_ours: bool = True) -> Child:
        self._watched.append(child)
        if is_ours:
            self._started.append(child)
        self._notes.children.append(Started(child.name, child.pid, child.created))
        self._notes.write(self._home)
        return child

    async def wait_until_answers(self, child: Child, url: str, *, seconds: float) -> None:
        """Wait for a GET of the URL to succeed; raises `ChildDied`, `ChildSilent`."""
        try:
            async with asyncio.timeout(seconds):
                while not await answers(url):
                    child.raise_if_dead()
                    await asyncio.sleep(POLL_SECONDS)
        except TimeoutError as error:
            raise ChildSilent(
                f"The {child.name} did not answer at {url} within {seconds:.0f} s; "
                f"its log {child.log} ends with:\n{child.read_log_end()}"
            ) from error

    async def run_beside(self, work: Coroutine[Any, Any, T]) -> T:
        """Do the work to its end, unless a process ends first; raises `ChildDied`."""
        doing, watching = asyncio.create_task(work), asyncio.create_task(self.watch())
        try:
            await asyncio.wait({doing, watching}, return_when=asyncio.FIRST_COMPLETED)
            if not doing.done():
                watching.result()
            return await doing
        finally:
            for task in (doing, watching):
                task.cancel()
            await asyncio.gather(doing, watching, return_exceptions=True)

    async def watch(self) -> Never:
        """Watch for ever; raises `ChildDied` when one of them ends."""
        while True:
            for child in self._watched:
                child.raise_if_dead()
            await asyncio.sleep(POLL_SECONDS * 5)

    def stop(self) -> None:
        """Stop all that were started here, the last one first."""
        self._watched.clear()
        while self._started:
            self._started.pop().stop()
