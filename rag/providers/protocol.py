"""What every chat provider promises, so that an answer can come from whichever of them is up."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol


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
    service: str | None = field(default=None, compare=False)
    """The address that answered, as its prices are found by; None where nothing was asked over a network."""
    cached_tokens: int = field(default=0, compare=False)
    """Of the input, what the service had read before and sells cheaper."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of an answer; the last piece has no text and the usage."""

    text: str = ""
    usage: Usage | None = None


@dataclass(frozen=True, slots=True)
class AnswerSchema:
    """The shape of an answer in JSON, in the part of JSON Schema that OpenAI's strict mode takes."""

    name: str
    schema: Mapping[str, Any]


class ChatProvider(Protocol):
    """A model that answers in words."""

    @property
    def name(self) -> str:
        """The provider as the tenant configured it, for records and failures."""

    @property
    def model(self) -> str:
        """The model asked for; the usage may name a version of it."""

    @property
    def service(self) -> str | None:
        """The address it answers at, None where nothing is asked over a network."""

    def stream(
        self,
        messages: Sequence[Message],
        *,
        max_tokens: int,
        temperature: float | None,
        schema: AnswerSchema | None = None,
    ) -> AsyncGenerator[Piece, None]:
        """Yield the answer as it is written: one or more pieces of text, then the usage.

        A `schema` is a wish: a service that can't hold to one answers all the same, so check what comes.
        Closing the generator hangs up. Raises the errors of `rag.providers.errors`, and nothing else of the service's.
        """
