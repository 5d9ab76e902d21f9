"""OpenAI's wire format, so that any OpenAI client can ask the assistant."""

import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any, Final
from uuid import UUID

from fastapi import APIRouter, Request
from sse_starlette import ServerSentEvent

from api.deps import AssistantDep, CallerDep, needs
from api.errors import list_problem_responses
from api.measure import measure_answer
from api.schemas.chat import show_citation, show_coverage
from api.schemas.completions import (
    MODEL,
    Choice,
    Chunk,
    Completion,
    CompletionIn,
    CompletionText,
    Model,
    ModelList,
    Usage,
)
from api.streaming import EventStream, describe_failure
from core.errors import Invalid, NotFound
from rag.answer import Delta, Done, Event, answer

router = APIRouter(prefix="/v1", tags=["chat"], dependencies=[needs("chat")])

_CREATED: Final = 1_767_225_600  # 2026-01-01, when the assistant got its name
_STREAM: Final[dict[str, Any]] = {
    "description": "The answer; with `stream`, server-sent events of chat.completion.chunk, the last one `[DONE]`.",
    "content": {"text/event-stream": {"schema": {"type": "string"}}},
}


class UnknownModel(NotFound):
    """There is one model here, sasha; ask for it, or see GET /v1/models."""


class NoQuestion(Invalid):
    """The last message must be the user's question; add one with role user."""


@router.get("/models", operation_id="listModels", responses=list_problem_responses())
async def list_models() -> ModelList:
    """List the models that can be asked: one, the assistant."""
    return ModelList(data=[Model(id=MODEL, created=_CREATED, owned_by="regenesis")])


@router.get("/models/{model}", operation_id="getModel", responses=list_problem_responses(404))
async def get_model(model: str) -> Model:
    """Read one model."""
    if model != MODEL:
        raise UnknownModel
    return Model(id=MODEL, created=_CREATED, owned_by="regenesis")


@router.post(
    "/chat/completions", operation_id="createChatCompletion", response_model=Completion,
    responses={200: _STREAM, **list_problem_responses(404, 429)},
)  # fmt: skip
async def create_chat_completion(
    body: CompletionIn, request: Request, caller: CallerDep, assistant: AssistantDep
) -> Completion | EventStream:
    """Ask in OpenAI's format; system messages are ignored, as who may see what is not the caller's to say."""
    if body.model != MODEL:
        raise UnknownModel(f"There is no model {body.model!r} here; ask for {MODEL!r}, or see GET /v1/models.")
    if body.messages[-1].role != "user":
        raise NoQuestion
    history = [(m.role, m.text) for m in body.messages[:-1] if m.role in {"user", "assistant"} and m.text.strip()]
    events = answer(assistant, caller.principal, body.messages[-1].text, history=history, credential=caller.credential)
    first = await anext(events)  # what fails before the first byte still is a plain problem
    if body.stream:
        wants_usage = body.stream_options is not None and body.stream_options.include_usage
        return EventStream(_stream(first, events, request.state.request_id, wants_usage=wants_usage))
    async with aclosing(events), aclosing(measure_answer(first, events)) as measured:
        done = [event async for event in measured if isinstance(event, Done)][-1]
    return Completion(
        id=_name(done.run_id), created=int(time.time()), model=MODEL,
        choices=[Choice(message=CompletionText(content=done.text))], usage=_usage(done), **_extend(done),
        run_id=done.run_id,
    )  # fmt: skip


def _name(run_id: UUID) -> str:
    return f"chatcmpl-{run_id.hex}"


def _usage(done: Done) -> Usage:
    return Usage(
        prompt_tokens=done.input_tokens, completion_tokens=done.output_tokens,
        total_tokens=done.input_tokens + done.output_tokens,
    )  # fmt: skip


def _extend(done: Done) -> dict[str, Any]:
    """Return the fields that OpenAI's format lacks."""
    return {
        "citations": [show_citation(view) for view in done.citations],
        "coverage": show_coverage(done.coverage),
        "understood": done.understood,
        "provider": done.provider,
        "refused": done.refused,
    }


async def _stream(
    first: Event, events: AsyncGenerator[Event, None], request_id: str, *, wants_usage: bool
) -> AsyncGenerator[ServerSentEvent, None]:
    name, created = f"chatcmpl-{request_id}", int(time.time())

    def chunk(choices: list[dict[str, Any]], **more: Any) -> ServerSentEvent:  # noqa: ANN401  # extension fields
        shown = Chunk(id=name, created=created, model=MODEL, choices=choices, **more)
        return ServerSentEvent(shown.model_dump_json(exclude={"usage"} if shown.usage is None else None))

    def choice(delta: dict[str, str], finish: str | None = None) -> list[dict[str, Any]]:
        return [{"index": 0, "delta": delta, "finish_reason": finish}]

    async with aclosing(events), aclosing(measure_answer(first, events)) as measured:
        try:
            yield chunk(choice({"role": "assistant", "content": ""}))
            async for event in measured:
                if isinstance(event, Delta):
                    yield chunk(choice({"content": event.text}))
                elif isinstance(event, Done):
                    yield chunk(choice({}, "stop"), **_extend(event), run_id=event.run_id)
                    if wants_usage:
                        yield chunk([], usage=_usage(event))
            yield ServerSentEvent("[DONE]")
        except Exception as error:  # noqa: BLE001  # the status is sent; OpenAI's clients raise on this event
            problem = describe_failure(error, request_id)
            yield ServerSentEvent(f'{{"error": {problem.model_dump_json(exclude_none=True)}}}')
