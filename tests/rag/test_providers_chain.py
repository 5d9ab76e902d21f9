"""A provider that is down costs a question nothing but a record of it."""

import asyncio
from collections.abc import AsyncGenerator, Sequence

import pytest

from core.errors import Invalid, Unavailable
from rag.fakes import ScriptedChat
from rag.providers.breaker import CircuitBreaker, CircuitOpen
from rag.providers.chain import AnswerInterrupted, NoProviderAnswered, ProviderFailure, is_resting, open_answer
from rag.providers.errors import BrokenReply, KeyRefused, ProviderUnavailable
from rag.providers.protocol import AnswerSchema, ChatProvider, Message, Piece, Usage

QUESTION = [Message("user", "What did Amina commit to?")]


def down(name: str = "down") -> ScriptedChat:
    return ScriptedChat([[ProviderUnavailable()]], name)


async def read(*providers: ChatProvider) -> tuple[str, str, tuple[ProviderFailure, ...]]:
    async with open_answer(providers, QUESTION, max_tokens=50) as answer:
        text = "".join([piece.text async for piece in answer.pieces])
        return text, answer.provider, answer.failures


async def test_the_first_provider_answers() -> None:
    first, second = ScriptedChat([["A weekly", " plan."]], "first"), ScriptedChat([["No."]], "second")
    assert await read(first, second) == ("A weekly plan.", "first", ())
    assert first.calls == [tuple(QUESTION)]
    assert second.calls == []


async def test_usage_comes_last() -> None:
    async with open_answer([ScriptedChat([["Two words", " more"]])], QUESTION, max_tokens=2) as answer:
        pieces = [piece async for piece in answer.pieces]
    assert [piece.text for piece in pieces] == ["Two words", ""]
    assert pieces[-1].usage == Usage("scripted", 5, 2, truncated=True)


async def test_failures_before_the_first_word_are_recorded_and_passed_by() -> None:
    refused = ScriptedChat([[KeyRefused("The key is wrong.")]], "refused")
    silent = ScriptedChat([[0.01, BrokenReply("Nonsense.")]], "silent")
    assert await read(refused, silent, ScriptedChat([["Yes."]], "third")) == (
        "Yes.",
        "third",
        (
            ProviderFailure("refused", "KeyRefused", "The key is wrong.", retryable=False),
            ProviderFailure("silent", "BrokenReply", "Nonsense.", retryable=True),
        ),
    )


async def test_when_none_answers_all_failures_are_told() -> None:
    with pytest.raises(NoProviderAnswered, match="b: Nonsense") as caught:
        await read(down("a"), ScriptedChat([[BrokenReply("Nonsense.")]], "b"))
    assert [failure.provider for failure in caught.value.failures] == ["a", "b"]
    with pytest.raises(NoProviderAnswered):
        await read()


async def test_after_the_first_word_a_failure_is_surfaced() -> None:
    half, spare = ScriptedChat([["Half", ProviderUnavailable("Gone.")]], "half"), ScriptedChat([["No."]])
    async with open_answer([half, spare], QUESTION, max_tokens=50) as answer:
        assert (await anext(answer.pieces)).text == "Half"
        with pytest.raises(AnswerInterrupted, match="half") as caught:
            await anext(answer.pieces)
    assert caught.value.failure == ProviderFailure("half", "ProviderUnavailable", "Gone.", retryable=True)
    assert spare.calls == []


async def test_a_bug_is_not_taken_for_an_outage() -> None:
    with pytest.raises(ZeroDivisionError):
        await read(ScriptedChat([[ZeroDivisionError()]]), ScriptedChat([["No."]]))


async def test_a_provider_that_is_down_is_left_alone_after_three_failures() -> None:
    sick = down()
    for _ in range(5):
        assert (await read(sick, ScriptedChat([["Yes."]])))[0] == "Yes."
    assert len(sick.calls) == 3
    failures = (await read(sick, ScriptedChat([["Yes."]])))[2]
    assert [failure.error for failure in failures] == ["CircuitOpen"]
    assert is_resting(sick)
    assert not is_resting(down())


async def test_breaking_off_counts_as_failing_and_a_wrong_request_does_not() -> None:
    breaks = ScriptedChat([["Half", ProviderUnavailable()]])
    picky = ScriptedChat([[Invalid()]])
    for _ in range(5):
        with pytest.raises((AnswerInterrupted, NoProviderAnswered)):
            await read(breaks)
        with pytest.raises(NoProviderAnswered):
            await read(picky)
    assert (len(breaks.calls), len(picky.calls)) == (3, 5)


async def test_leaving_early_hangs_up() -> None:
    closed = asyncio.Event()

    class Endless(ScriptedChat):
        async def stream(
            self,
            messages: Sequence[Message],
            *,
            max_tokens: int,
            temperature: float | None = None,
            schema: AnswerSchema | None = None,  # noqa: ARG002 - a script has none
        ) -> AsyncGenerator[Piece, None]:
            try:
                async for piece in super().stream(messages, max_tokens=max_tokens, temperature=temperature):
                    yield piece
            finally:
                closed.set()

    async with open_answer([Endless([["word"] * 500])], QUESTION, max_tokens=500) as answer:
        assert (await anext(answer.pieces)).text == "word"
    assert closed.is_set()


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def breaker(clock: Clock) -> CircuitBreaker:
    return CircuitBreaker(threshold=2, pause=10, clock=clock)


def fail(breaker: CircuitBreaker) -> None:
    breaker.attempt().fail(Unavailable())


def test_failures_in_a_row_open_the_circuit(breaker: CircuitBreaker) -> None:
    fail(breaker)
    breaker.attempt().succeed()
    fail(breaker)
    fail(breaker)
    with pytest.raises(CircuitOpen):
        breaker.attempt()


def test_after_the_pause_a_single_call_tries(breaker: CircuitBreaker, clock: Clock) -> None:
    fail(breaker)
    fail(breaker)
    clock.now = 9.9
    with pytest.raises(CircuitOpen):
        breaker.attempt()
    clock.now = 10
    assert not breaker.is_open
    trial = breaker.attempt()
    with pytest.raises(CircuitOpen):
        breaker.attempt()
    trial.fail(Unavailable())
    with pytest.raises(CircuitOpen):
        breaker.attempt()  # the pause begins anew
    clock.now = 20
    breaker.attempt().succeed()
    breaker.attempt()
    breaker.attempt()


def test_a_trial_that_is_abandoned_makes_room_for_the_next(breaker: CircuitBreaker, clock: Clock) -> None:
    fail(breaker)
    fail(breaker)
    clock.now = 10
    with pytest.raises(asyncio.CancelledError), breaker.attempt():
        raise asyncio.CancelledError
    with breaker.attempt() as trial:
        trial.succeed()
    breaker.attempt()


def test_only_the_first_outcome_counts(breaker: CircuitBreaker) -> None:
    attempt = breaker.attempt()
    attempt.succeed()
    attempt.fail(Unavailable())
    fail(breaker)
    breaker.attempt()
