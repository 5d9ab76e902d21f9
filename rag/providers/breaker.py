"""Keeps a question from waiting for a provider that is known to be down.

Own code, because a stream's outcome is known long after its call: the libraries guard one awaited call, count a caller
who hangs up as a failure, and let every waiting call through at once when the pause is over.
"""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Final

from core.errors import AppError, Unavailable

THRESHOLD: Final = 3  # failures in a row
PAUSE: Final = 30.0  # seconds without a call after that


class CircuitOpen(Unavailable):
    """This model service failed several times in a row and is left alone for half a minute; try again after that."""


class CircuitBreaker:
    """Counts failures in a row; at the threshold it refuses calls for a pause, then lets a single one try.

    For one event loop. An error other than `Unavailable` shows that the service answers, and so counts as success.
    """

    def __init__(
        self, *, threshold: int = THRESHOLD, pause: float = PAUSE, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._threshold = threshold
        self._pause = pause
        self._clock = clock
        self._failures = 0
        self._opened_at = 0.0
        self._trial: Attempt | None = None

    @property
    def is_open(self) -> bool:
        """Whether the next call would be refused."""
        if self._failures < self._threshold:
            return False
        return self._trial is not None or self._clock() - self._opened_at < self._pause

    def attempt(self) -> "Attempt":
        """Return the permit for one call; raises `CircuitOpen` while there is none to be had."""
        attempt = Attempt(self._settle)
        if self.is_open:
            raise CircuitOpen
        if self._failures >= self._threshold:
            self._trial = attempt
        return attempt

    def _settle(self, attempt: "Attempt", succeeded: bool | None) -> None:
        if self._trial is attempt:
            self._trial = None
        if succeeded:
            self._failures = 0
        elif succeeded is not None:
            self._failures += 1
            self._opened_at = self._clock()


class Attempt(AbstractContextManager["Attempt"]):
    """One permitted call; the first outcome told counts, and leaving the block without one counts as none."""

    def __init__(self, settle: Callable[["Attempt", bool | None], None]) -> None:
        self._settle = settle
        self._settled = False

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._tell(None)

    def succeed(self) -> None:
        """Say that the service answered."""
        self._tell(True)

    def fail(self, error: AppError) -> None:
        """Say what the service raised."""
        self._tell(not isinstance(error, Unavailable))

    def _tell(self, succeeded: bool | None) -> None:
        if not self._settled:
            self._settled = True
            self._settle(self, succeeded)
