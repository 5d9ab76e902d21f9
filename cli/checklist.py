"""The list of steps that `regenesis up` shows while it starts: alive on a terminal, plain lines elsewhere."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.spinner import Spinner
from rich.table import Table


@dataclass(slots=True)
class Step:
    """One line: what is done, what came out (`detail`), how long it took in seconds."""

    name: str
    started: float
    detail: str = ""
    took: float | None = None
    failed: bool = False


class Checklist:
    """Shows each step with its seconds; use as a context manager around all of them."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._steps: list[Step] = []
        self._spinner = Spinner("dots", style="cyan")
        self._live = Live(console=console, get_renderable=self._draw, refresh_per_second=10)

    def __enter__(self) -> Self:
        """Begin to show."""
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Leave the list standing as it is."""
        if self._console.is_terminal:
            self._live.stop()

    @contextmanager
    def step(self, name: str) -> Iterator[Step]:
        """Show a step while the block runs; the block may set its `detail`."""
        step = Step(name, time.perf_counter())
        self._steps.append(step)
        try:
            yield step
        except BaseException:
            step.failed = True
            raise
        finally:
            step.took = time.perf_counter() - step.started
            if not self._console.is_terminal:
                mark = "✗" if step.failed else "✓"
                self._console.print(f"{mark} {step.name:<18} {step.took:5.1f} s  {escape(step.detail)}")

    def _draw(self) -> Table:
        table = Table.grid(padding=(0, 2))
        for step in self._steps:
            took = step.took if step.took is not None else time.perf_counter() - step.started
            if step.took is None:
                mark: Spinner | str = self._spinner
            else:
                mark = "[red]✗[/]" if step.failed else "[green]✓[/]"
            table.add_row(mark, step.name, f"[dim]{took:5.1f} s[/]", escape(step.detail))
        return table
