"""Answers from any service that speaks OpenAI's chat API: OpenAI, vLLM, Ollama, llama.cpp, most clouds."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import asdict
from functools import lru_cache
from typing import TYPE_CHECKING, Final, cast

from rag.providers.errors import BrokenReply, RequestRejected
from rag.providers.openai_client import OPENAI_URL, ClientPool, Endpoint, translate_errors
from rag.providers.protocol import AnswerSchema, Message, Piece, Usage

if TYPE_CHECKING:
    from openai import AsyncStream
    from openai.types.chat import ChatCompletionChunk, ChatCompletionMessageParam
    from openai.types.shared_params import ResponseFormatJSONSchema

LONGEST_TOKEN: Final = 64  # characters; no vocabulary averages near it, so more text than that is a runaway service


class OpenAIChat:
    """A model behind an OpenAI-compatible endpoint.

    Creating one connects to nothing. Requests are retried, as `Endpoint` says, only until the answer begins; the whole
    answer has `answer_timeout` seconds.
    """

    def __init__(self, name: str, *, model: str, endpoint: Endpoint, answer_timeout: float = 120.0) -> None:
        self.name: Final = name
        self.model: Final = model
        self.service: Final = endpoint.base_url or OPENAI_URL
        self._takes_schema = True  # until it says otherwise
        self._endpoint = endpoint
        self._pool = ClientPool(endpoint)
        self._answer_timeout = answer_timeout

    async def stream(
        self,
        messages: Sequence[Message],
        *,
        max_tokens: int,
        temperature: float | None = None,
        schema: AnswerSchema | None = None,
    ) -> AsyncGenerator[Piece, None]:
        """Yield the answer's text as it comes, then its usage; raises the errors of `rag.providers.errors`.

        A service that refuses a request with a schema is asked once more without.
        """
        deadline = asyncio.get_running_loop().time() + self._answer_timeout
        with translate_errors():
            async with asyncio.timeout_at(deadline):
                chunks = await self._open(messages, max_tokens, temperature, schema)
        answer = _Answer(self.model, max_tokens, self.service)
        async with aclosing(_iterate(chunks, deadline)) as received:
            async for chunk in received:
                text = answer.take(chunk)
                if text:
                    yield Piece(text)
        yield Piece(usage=answer.finish())

    async def aclose(self) -> None:
        """Close the running loop's connections."""
        await self._pool.aclose()

    async def _open(
        self, messages: Sequence[Message], max_tokens: int, temperature: float | None, schema: AnswerSchema | None
    ) -> "AsyncStream[ChatCompletionChunk]":
        from openai import BadRequestError, UnprocessableEntityError  # heavy; see ClientPool

        if schema is None or not self._takes_schema:
            return await self._request(messages, max_tokens, temperature, None)
        try:
            return await self._request(messages, max_tokens, temperature, schema)
        except (BadRequestError, UnprocessableEntityError):  # each service words it in its own way
            chunks = await self._request(messages, max_tokens, temperature, None)
        self._takes_schema = False  # it was the schema, and would be again
        return chunks

    async def _request(
        self, messages: Sequence[Message], max_tokens: int, temperature: float | None, schema: AnswerSchema | None
    ) -> "AsyncStream[ChatCompletionChunk]":
        from openai import omit

        # OpenAI's newer models refuse the old name of the limit, and compatible servers may not know the new one
        at_openai = (self._endpoint.base_url or OPENAI_URL).rstrip("/") == OPENAI_URL
        return await self._pool.get_client().chat.completions.create(
            model=self.model,
            messages=cast("list[ChatCompletionMessageParam]", [asdict(message) for message in messages]),
            max_completion_tokens=max_tokens if at_openai else omit,
            max_tokens=omit if at_openai else max_tokens,
            temperature=omit if temperature is None else temperature,
            response_format=omit if schema is None else _constrain(schema),
            stream=True,
            stream_options={"include_usage": True},
        )


def _constrain(schema: AnswerSchema) -> "ResponseFormatJSONSchema":
    return {"type": "json_schema", "json_schema": {"name": schema.name, "schema": dict(schema.schema), "strict": True}}


async def _iterate(
    chunks: "AsyncStream[ChatCompletionChunk]", deadline: float
) -> "AsyncGenerator[ChatCompletionChunk, None]":
    """Yield the chunks in our errors and within the deadline, which also holds against endless keep-alive comments."""
    try:
        while True:
            with translate_errors():
                async with asyncio.timeout_at(deadline):
                    try:
                        chunk = await anext(chunks)
                    except StopAsyncIteration:
                        return
            yield chunk
    finally:
        await chunks.close()


class _Answer:
    """What has come of an answer so far, and whether it is all of it."""

    def __init__(self, model: str, max_tokens: int, service: str) -> None:
        self._model = model
        self._service = service
        self._input_tokens: int | None = None
        self._output_tokens: int | None = None
        self._cached_tokens = 0
        self._ended: str | None = None
        self._length = 0
        self._longest = max_tokens * LONGEST_TOKEN

    def take(self, chunk: "ChatCompletionChunk") -> str:
        """Return the chunk's text; raises `BrokenReply` for a chunk of another shape, as the package checks none."""
        try:
            self._model = _make_storable(chunk.model or self._model)
            if chunk.usage is not None:
                self._input_tokens = _count(chunk.usage.prompt_tokens)
                self._output_tokens = _count(chunk.usage.completion_tokens)
                self._cached_tokens = count_cached(chunk.usage)
            text = ""
            if chunk.choices:  # the last chunk has usage only
                self._ended = chunk.choices[0].finish_reason or self._ended
                text = chunk.choices[0].delta.content or ""
        except (AttributeError, TypeError, KeyError) as error:
            raise BrokenReply from error
        if not isinstance(text, str):
            raise BrokenReply
        text = _make_storable(text)
        self._length += len(text)
        if self._length > self._longest:
            raise BrokenReply("The model service does not stop at the asked length; try another model.")
        return text

    def finish(self) -> Usage:
        """Return the usage of a whole answer; raises `BrokenReply` if it broke off or has no words."""
        if self._ended == "content_filter":
            raise RequestRejected("The model service's content filter stopped this answer; ask in other words.")
        if self._ended is None:
            raise BrokenReply("The model service broke off its answer; try again shortly.")
        if self._length == 0:
            raise BrokenReply("The model service sent an empty answer; try again, or with a higher limit of tokens.")
        truncated = self._ended == "length"
        return Usage(
            self._model, self._input_tokens, self._output_tokens, truncated, self._service, self._cached_tokens
        )


def _make_storable(text: str) -> str:
    """Return the text without what no store takes: NUL, and halves of characters, which JSON can hold."""
    return text.replace("\0", "").encode("utf-8", "replace").decode()


def _count(told: object) -> int | None:
    """Return a number of tokens as the service tells it; None where it tells none, as the package checks nothing."""
    return told if isinstance(told, int) and told >= 0 else None


def count_cached(usage: object) -> int:
    """Return the tokens that a service tells it had read before; 0 where it tells none."""
    return _count(getattr(getattr(usage, "prompt_tokens_details", None), "cached_tokens", None)) or 0


@lru_cache(maxsize=256)
def build_chat_provider(name: str, *, model: str, endpoint: Endpoint, answer_timeout: float = 120.0) -> OpenAIChat:
    """Return the provider of these settings; the same settings share one, with its connections and circuit breaker."""
    return OpenAIChat(name, model=model, endpoint=endpoint, answer_timeout=answer_timeout)
