"""Conversations with the assistant."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any, Final
from uuid import UUID

from fastapi import APIRouter, Request, status
from sse_starlette import ServerSentEvent

from api.deps import AssistantDep, CallerDep, IdempotencyKey, PrincipalDep, SessionDep, needs
from api.errors import list_problem_responses
from api.measure import measure_answer
from api.pagination import PLACE, CursorQuery, LimitQuery, read_cursor, write_cursor
from api.schemas.chat import (
    CitationsEvent,
    DeltaEvent,
    MessagePage,
    QuestionIn,
    SessionIn,
    SessionOut,
    SessionPage,
    show_citation,
    show_done,
    show_message,
    show_session,
    show_sources,
)
from api.streaming import EventStream, describe_failure
from domain import chat
from domain.reading import Read, list_citations_read, record_reading
from rag.answer import CitationsReady, Delta, Done, Event, SourcesFound, answer

router = APIRouter(prefix="/v1/chat/sessions", tags=["chat"], dependencies=[needs("chat")])

_STREAM: Final[dict[str, Any]] = {
    "description": (
        "Server-sent events in this order: `sources` (SourcesEvent), any number of `delta` (DeltaEvent), `citations` "
        "(CitationsEvent), `done` (DoneEvent); or `error` (Problem) at any point, which ends the stream."
    ),
    "content": {"text/event-stream": {"schema": {"type": "string"}}},
}


@router.post(
    "", status_code=status.HTTP_201_CREATED, operation_id="createChatSession",
    responses=list_problem_responses(404, 409),
)  # fmt: skip
async def create_chat_session(
    body: SessionIn, session: SessionDep, principal: PrincipalDep, key: IdempotencyKey = None
) -> SessionOut:
    """Open a conversation."""
    row = await chat.create_session(
        session, user_id=principal.user_id, client_id=body.client_id, title=body.title, key=key
    )
    await session.refresh(row)
    return show_session(row)


@router.get("", operation_id="listChatSessions", responses=list_problem_responses())
async def list_chat_sessions(session: SessionDep, limit: LimitQuery = 50, cursor: CursorQuery = None) -> SessionPage:
    """List your conversations, the last used first."""
    rows = await chat.list_sessions(session, limit=limit + 1, before=read_cursor(cursor, PLACE))
    page = rows[:limit]
    following = write_cursor((page[-1].updated_at, page[-1].id)) if len(rows) > limit else None
    return SessionPage(items=[show_session(row) for row in page], next_cursor=following)


@router.get("/{session_id}", operation_id="getChatSession", responses=list_problem_responses(404))
async def get_chat_session(session_id: UUID, session: SessionDep) -> SessionOut:
    """Read one conversation's particulars."""
    return show_session(await chat.get_session(session, session_id))


@router.get("/{session_id}/messages", operation_id="listChatMessages", responses=list_problem_responses(404))
async def list_chat_messages(
    session_id: UUID, session: SessionDep, limit: LimitQuery = 50, cursor: CursorQuery = None
) -> MessagePage:
    """Read a conversation as you may see it now: what you may no longer see is withheld, sentence by sentence."""
    conversation = await chat.get_session(session, session_id)
    views = await chat.list_messages(session, session_id, limit=limit + 1, after=read_cursor(cursor, PLACE))
    page = views[:limit]
    cited = (citation for view in page for citation in view.citations)
    read: Read = {"message": [view.id for view in page], "client": [conversation.client_id]}
    await record_reading(session, "history_read", read, list_citations_read(cited), entity=("chat_session", session_id))
    following = write_cursor((page[-1].created_at, page[-1].id)) if len(views) > limit else None
    return MessagePage(items=[show_message(view) for view in page], next_cursor=following)


@router.post(
    "/{session_id}/messages", status_code=200, operation_id="askInChatSession", response_class=EventStream,
    responses={200: _STREAM, **list_problem_responses(404, 409, 429)},
)  # fmt: skip
async def ask_in_chat_session(
    session_id: UUID, body: QuestionIn, request: Request, caller: CallerDep, assistant: AssistantDep,
    *, key: IdempotencyKey = None,
) -> EventStream:  # fmt: skip
    """Ask; the answer comes as server-sent events, every sentence of it cited."""
    events = answer(
        assistant, caller.principal, body.content, session_id=session_id, key=key, credential=caller.credential
    )
    first = await anext(events)  # what fails before the first byte still is a plain problem
    return EventStream(_stream(first, events, request.state.request_id))


async def _stream(
    first: Event, events: AsyncGenerator[Event, None], request_id: str
) -> AsyncGenerator[ServerSentEvent, None]:
    async with aclosing(events), aclosing(measure_answer(first, events)) as measured:
        try:
            async for event in measured:
                yield _show(event)
        except Exception as error:  # noqa: BLE001  # the status is sent; an event is all that can still tell
            yield ServerSentEvent(describe_failure(error, request_id).model_dump_json(exclude_none=True), event="error")


def _show(event: Event) -> ServerSentEvent:
    match event:
        case SourcesFound():
            return ServerSentEvent(show_sources(event).model_dump_json(), event="sources")
        case Delta(text):
            return ServerSentEvent(DeltaEvent(text=text).model_dump_json(), event="delta")
        case CitationsReady(citations):
            shown = CitationsEvent(citations=[show_citation(view) for view in citations])
            return ServerSentEvent(shown.model_dump_json(), event="citations")
        case Done():
            return ServerSentEvent(show_done(event).model_dump_json(), event="done")
