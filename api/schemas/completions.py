"""OpenAI's chat completions on the wire, with the citations as an extension field."""

from typing import Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from api.schemas.chat import CitationOut, CoverageOut
from api.schemas.text import CleanText

MODEL = "sasha"


class TextPart(BaseModel):
    """A part of a message; only text can be used."""

    type: Literal["text"]
    text: CleanText = Field(max_length=100_000)


class CompletionMessage(BaseModel):
    """One message of the conversation."""

    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: CleanText | list[TextPart] | None = Field(None, max_length=100_000)

    @property
    def text(self) -> str:
        """The words of the message."""
        if isinstance(self.content, list):
            return "\n".join(part.text for part in self.content)
        return self.content or ""


class StreamOptions(BaseModel):
    """What a stream also tells."""

    include_usage: bool = False


class CompletionIn(BaseModel):
    """A chat completion request; options that make no sense for cited answers are accepted and have no effect."""

    model_config = ConfigDict(extra="allow")

    model: CleanText = Field(max_length=200)
    messages: list[CompletionMessage] = Field(min_length=1, max_length=200)
    stream: bool = False
    stream_options: StreamOptions | None = None
    n: Literal[1] = 1


class Usage(BaseModel):
    """Tokens that models behind the assistant used; none where it quoted without one."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class CompletionText(BaseModel):
    """The answer."""

    role: Literal["assistant"] = "assistant"
    content: str
    refusal: None = None


class Choice(BaseModel):
    """The one answer."""

    index: Literal[0] = 0
    message: CompletionText
    finish_reason: Literal["stop"] = "stop"
    logprobs: None = None


class Completion(BaseModel):
    """A whole answer; `citations`, `coverage` and what follows are ours."""

    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str
    choices: list[Choice]
    usage: Usage
    citations: list[CitationOut]
    coverage: CoverageOut
    understood: str
    provider: str
    refused: bool
    run_id: UUID


class Chunk(BaseModel):
    """One event of a streamed answer; the last with a choice carries `citations` and `coverage`."""

    model_config = ConfigDict(extra="allow")

    id: str
    object: Literal["chat.completion.chunk"] = "chat.completion.chunk"
    created: int
    model: str
    choices: list[dict[str, Any]]
    usage: Usage | None = None


class Model(BaseModel):
    """A model that can be asked."""

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str


class ModelList(BaseModel):
    """The models that can be asked."""

    object: Literal["list"] = "list"
    data: list[Model]
