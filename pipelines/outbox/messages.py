"""What a handler of the outbox is given and what it says back."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Literal

from sqlalchemy.ext.asyncio import AsyncSession

from domain.outbox import Message


@dataclass(frozen=True, slots=True, kw_only=True)
class Settlement:
    """How an attempt ends: `failed` is due again in `retry_in`, `dead` waits for an administrator."""

    outcome: Literal["delivered", "failed", "dead"]
    error: str | None = None
    retry_in: timedelta | None = None


Write = Callable[[AsyncSession, Settlement], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Handled:
    """What a handler did: `write` runs in the transaction that settles the message, so both happen or neither.

    `error` is one sentence without words of a person. `retry_after` is when the other side asked to be tried again;
    `give_up` says that trying again can't help.
    """

    write: Write | None = None
    error: str | None = None
    retry_after: timedelta | None = None
    give_up: bool = False


Handler = Callable[[Message], Awaitable[Handled]]
"""Handles one message, outside any transaction; it may be called again for the same one, so it must bear that."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Registry:
    """Handlers by topic; any other topic is for `otherwise`."""

    by_topic: Mapping[str, Handler] = field(default_factory=dict)
    otherwise: Handler

    def find(self, topic: str) -> Handler:
        """Return the topic's handler."""
        return self.by_topic.get(topic, self.otherwise)
