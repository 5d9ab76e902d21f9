"""What every chat provider promises, so that an answer can come from whichever of them is up."""

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of the conversation that a model reads."""

    role: Literal["system", "user", "assistant"]
    content: str


@dataclass(frozen=True, slots=True)
class Usage:
    """What an answer took: the model as the service names it, and tokens, None where the service does not count."""

    model: str
    input_tokens: int | None
    output_tokens: int | None
    truncated: bool = False
    """The answer stopped because it reached `max_tokens`."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of an answer; the last piece has no text and the usage."""

    text: str = ""
    usage: Usage | None = None


class ChatProvider(Protocol):
    """A model that answers in words."""

    @property
    def name(self) -> str:
        """The provider as the tenant configured it, for records and failures."""

    def stream(
        self, messages: Sequence[Message], *, max_tokens: int, temperature: float | None
    ) -> AsyncGenerator[Piece, None]:
        """Yield the answer as it is written: one or more pieces of text, then the usage.

        Closing the generator hangs up. Raises the errors of `rag.providers.errors`, and nothing else of the service's.
        """
