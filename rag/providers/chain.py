"""Asks the tenant's providers in their order until one begins to answer, and tells what the others said."""

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import Final
from weakref import WeakKeyDictionary

from core.errors import AppError, Unavailable
from rag.providers.breaker import Attempt, CircuitBreaker
from rag.providers.errors import BrokenReply
from rag.providers.protocol import AnswerSchema, ChatProvider, Message, Piece

_breakers: Final[WeakKeyDictionary[ChatProvider, CircuitBreaker]] = WeakKeyDictionary()
"""One per provider and process, so that every conversation learns from the others' failures."""


@dataclass(frozen=True, slots=True)
class ProviderFailure:
    """Why a provider did not answer, as `agent_failures` stores it."""

    provider: str
    error: str
    message: str
    retryable: bool


class NoProviderAnswered(Unavailable):
    """None of the configured model services answered; see its failures for what each of them said."""

    def __init__(self, failures: Sequence[ProviderFailure]) -> None:
        said = " ".join(f"{failure.provider}: {failure.message}" for failure in failures)
        super().__init__(f"None of the {len(failures)} configured model services answered. {said}".strip())
        self.failures: Final = tuple(failures)


class AnswerInterrupted(Unavailable):
    """The model service broke off in the middle of its answer; ask again."""

    def __init__(self, failure: ProviderFailure) -> None:
        super().__init__(f"{failure.provider} broke off in the middle of its answer; ask again. ({failure.message})")
        self.failure: Final = failure


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer that has begun; `failures` are those of the providers asked before, in order."""

    provider: str
    failures: tuple[ProviderFailure, ...]
    pieces: AsyncGenerator[Piece, None]
    """To be read once; raises `AnswerInterrupted` if the provider breaks off."""


@asynccontextmanager
async def open_answer(
    providers: Sequence[ChatProvider],
    messages: Sequence[Message],
    *,
    max_tokens: int,
    temperature: float | None = None,
    schema: AnswerSchema | None = None,
) -> AsyncIterator[Answer]:
    """Hold an answer open from its first words until the block ends, which hangs up on whatever is still to come.

    Providers are asked in order, each behind its circuit breaker. One that fails before its first words is recorded and
    the next is asked; raises `NoProviderAnswered` after the last.
    """
    failures: list[ProviderFailure] = []
    for provider in providers:
        async with AsyncExitStack() as stack:
            try:
                attempt = stack.enter_context(_breakers.setdefault(provider, CircuitBreaker()).attempt())
                stream = provider.stream(messages, max_tokens=max_tokens, temperature=temperature, schema=schema)
                await stack.enter_async_context(aclosing(stream))
                first = await _get_first(stream, attempt)
            except AppError as error:
                failures.append(_describe(provider, error))
                continue
            pieces = await stack.enter_async_context(aclosing(_relay(provider, first, stream, attempt)))
            yield Answer(provider.name, tuple(failures), pieces)
            return
    raise NoProviderAnswered(failures)


async def _get_first(stream: AsyncGenerator[Piece, None], attempt: Attempt) -> Piece:
    try:
        first = await anext(stream, None)
        if first is None:
            raise BrokenReply("The model service sent an empty answer; try again shortly.")
    except AppError as error:
        attempt.fail(error)
        raise
    return first


async def _relay(
    provider: ChatProvider, first: Piece, stream: AsyncGenerator[Piece, None], attempt: Attempt
) -> AsyncGenerator[Piece, None]:
    yield first
    try:
        async for piece in stream:
            yield piece
    except AppError as error:
        attempt.fail(error)
        raise AnswerInterrupted(_describe(provider, error)) from error
    attempt.succeed()


def _describe(provider: ChatProvider, error: AppError) -> ProviderFailure:
    return ProviderFailure(provider.name, error.code, error.message, isinstance(error, Unavailable))


def is_resting(provider: ChatProvider) -> bool:
    """Tell whether this process leaves the provider alone at this moment, as it failed several times in a row."""
    breaker = _breakers.get(provider)
    return breaker is not None and breaker.is_open
