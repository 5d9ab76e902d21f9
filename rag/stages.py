"""Where the time of an answer goes: the stages it passes, and the clock that adds them up."""

from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic
from typing import Final, Literal, get_args

Stage = Literal["understand", "search", "read", "write", "store"]
"""Rewriting and understanding the question; finding passages; reading their sentences and what was derived from them;
writing the answer, models' own time included; storing it."""

STAGES: Final[tuple[Stage, ...]] = get_args(Stage)


class StageClock:
    """Adds up how long an answer was in each stage; it starts in the first, and one it never entered has no time.

    The time in which a caller looks at an event belongs to no stage.
    """

    def __init__(self) -> None:
        self._seconds: dict[Stage, float] = {}
        self._stage: Stage = STAGES[0]
        self.started: Final = monotonic()
        self._since = self.started

    def enter(self, stage: Stage) -> None:
        """End the stage that runs and begin this one."""
        self._add()
        self._stage = stage

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Count nothing inside the block; the stage goes on after it."""
        self._add()
        try:
            yield
        finally:
            self._since = monotonic()

    def read(self) -> dict[str, float]:
        """Return the milliseconds of each stage so far, in the order in which they were entered."""
        self._add()
        return {stage: round(1_000 * seconds, 2) for stage, seconds in self._seconds.items()}

    def _add(self) -> None:
        now = monotonic()
        self._seconds[self._stage] = self._seconds.get(self._stage, 0.0) + now - self._since
        self._since = now
