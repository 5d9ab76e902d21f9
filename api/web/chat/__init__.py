"""The chat: conversations, the one that is open, and the source beside it."""

from uuid import UUID

from nicegui import ui

from api.web.chat.conversations import ConversationList
from api.web.chat.narrow import Narrowing
from api.web.chat.suggest import suggest_questions
from api.web.chat.thread import Thread
from api.web.frame import page
from api.web.parts import element
from api.web.source_panel import SourcePanel
from api.web.viewer import Viewer
from db.models import ChatSession
from domain import chat

ROLES = frozenset({"coach", "client"})


@page("/chat", title="Chat", roles=ROLES)  # type: ignore[arg-type]  # the names of roles
async def begin_chat(viewer: Viewer, about: UUID | None = None) -> None:
    """Begin a conversation, about a client where one is named."""
    await _draw(viewer, None, about)


@page("/chat/{conversation_id}", title="Chat", roles=ROLES)  # type: ignore[arg-type]  # the names of roles
async def continue_chat(viewer: Viewer, conversation_id: UUID) -> None:
    """Go on with a conversation."""
    async with viewer.session() as session:
        conversation = await chat.get_session(session, conversation_id)
    await _draw(viewer, conversation, conversation.client_id)


async def _draw(viewer: Viewer, conversation: ChatSession | None, client_id: UUID | None) -> None:
    ui.add_head_html('<link rel="stylesheet" href="/web/chat.css">')
    element("h1", "Chat", "unseen")
    async with viewer.session() as session:
        suggestions = [] if conversation else await suggest_questions(session, viewer, client_id)
    narrowing = Narrowing(viewer, client_id=client_id)
    with ui.element("div").classes("chat"):
        conversations = ConversationList(viewer)
        await conversations.draw(conversation.id if conversation else None)
        with ui.element("section").classes("thread").props('aria-label="Conversation"'):
            if conversation is not None:
                element("h2", conversation.title or "Conversation", "thread-title")

            async def change_client() -> None:
                if conversation is None:
                    ui.navigate.to(f"/chat?about={narrowing.client_id}" if narrowing.client_id else "/chat")

            await narrowing.draw(fixed_client=conversation is not None, on_client=change_client)
            place = ui.element("div").classes("thread-body")
        panel = SourcePanel(viewer)
    with place:
        await Thread(viewer, panel, conversation, conversations.draw).draw(suggestions, narrowing)
