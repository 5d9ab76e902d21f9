"""A conversation on the page: its messages, the question being typed, and the answer being told."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing
from datetime import datetime
from typing import Final
from uuid import UUID

from nicegui import background_tasks, ui
from nicegui.events import GenericEventArguments

from api.measure import measure_answer
from api.web.chat.answer import AnswerView, show_done, show_stored
from api.web.chat.narrow import Narrowing
from api.web.frame import tell
from api.web.parts import button, element, icon_button, say_time
from api.web.share import offer_link
from api.web.source_panel import SourcePanel
from api.web.viewer import Viewer
from core.errors import AppError
from db.models import ChatSession
from domain import chat
from domain.chat import MessageView
from domain.identity import Unauthenticated
from domain.reading import Read, list_citations_read, record_reading
from rag.answer import MAX_QUESTION, Delta, Done, Event, answer

PAGE: Final = 40
"""Messages shown at once; older ones on request."""
_SEND: Final = (
    "(e) => { if (e.shiftKey || e.isComposing) return; e.preventDefault();"
    " const words = e.target.value.trim(); if (words) emit(words); }"
)
_FOLLOW: Final = "const end = document.getElementById('thread-end'); end?.scrollIntoView({block: 'end'});"


class Thread:
    """One conversation; a new one is stored with its first question."""

    def __init__(
        self, viewer: Viewer, panel: SourcePanel, conversation: ChatSession | None,
        on_asked: Callable[[UUID], Awaitable[None]],
    ) -> None:  # fmt: skip
        self._viewer, self._panel, self._on_asked = viewer, panel, on_asked
        self._conversation_id = conversation.id if conversation else None
        self._narrowing: Narrowing | None = None
        self._task: asyncio.Task[None] | None = None
        self._asked = ""

    async def draw(self, suggestions: Sequence[str], narrowing: Narrowing) -> None:
        """Draw what was said and where to go on."""
        self._narrowing = narrowing
        self._older = ui.element("div").classes("older")
        self._list = ui.element("ol").classes("messages plain").props('aria-label="Messages" aria-live="polite"')
        if self._conversation_id is not None:
            await self._draw_stored(self._conversation_id)
        self._start = ui.element("section").classes("start")
        if self._conversation_id is None:
            self._draw_start(suggestions)
        ui.element("div").props("id=thread-end")
        self._draw_composer()
        if self._conversation_id is not None:
            ui.run_javascript(_FOLLOW)
        ui.context.client.on_delete(self._leave)

    async def _draw_stored(self, conversation_id: UUID) -> None:
        async with self._viewer.session() as session:
            conversation = await chat.get_session(session, conversation_id)
            views = await chat.list_last_messages(session, conversation_id, limit=PAGE + 1)
            read: Read = {"message": [view.id for view in views], "client": [conversation.client_id]}
            cited = list_citations_read(citation for view in views for citation in view.citations)
            await record_reading(session, "history_read", read, cited, entity=("chat_session", conversation_id))
        if len(views) > PAGE:
            with self._older:
                element("p", f"Only the last {PAGE} messages are shown.", "soft small")
        shown = views[-PAGE:]
        with self._list:
            for place, view in enumerate(shown):
                self._draw_message(view, is_last=place == len(shown) - 1)

    def _draw_message(self, view: MessageView, *, is_last: bool) -> None:
        if view.role != "user":
            AnswerView(self._viewer, self._panel.show, self._share).complete(show_stored(view))
            return
        self._draw_question(view.text, view.created_at)
        if is_last:
            broken = AnswerView(self._viewer, self._panel.show, self._share)
            broken.stop("This answer broke off before it was complete.", lambda: self.ask(view.text))

    def _draw_question(self, words: str, moment: datetime | None = None) -> None:
        with ui.element("li").classes("message question"):
            element("h3", "You", "unseen")
            element("p", words)
            if moment is not None:
                say_time(self._viewer, moment, classes="soft small")

    def _draw_start(self, suggestions: Sequence[str]) -> None:
        is_client = self._viewer.role == "client"
        with self._start:
            element("h2", "What would you like to know?")
            whose = "your sessions" if is_client else "your clients' sessions and your organisation's documents"
            element("p", f"Sasha answers from {whose}, and shows the words every sentence stands on.", "soft")
            with ui.element("ul").classes("suggestions plain"):
                for question in suggestions:
                    with ui.element("li"):
                        button(question, lambda question=question: self.ask(question))

    def _draw_composer(self) -> None:
        with ui.element("div").classes("composer"):
            with ui.element("div").classes("field"):
                element("label", "Your question", "unseen").props["for"] = "question"
                self._box = ui.element("textarea")
                self._box.props.update({
                    "id": "question", "rows": 2, "maxlength": MAX_QUESTION, "placeholder": "Ask about what was said …",
                    "aria-describedby": "question-help",
                })  # fmt: skip
                self._box.on("keydown.enter", self._on_question, js_handler=_SEND)
            self._send = button("Ask", classes="main", icon="arrow_upward")
            self._send.on(
                "click", self._on_question,
                js_handler="() => { const w = document.getElementById('question').value.trim(); if (w) emit(w); }",
            )  # fmt: skip
            self._stop = icon_button("stop", "Stop the answer")
            self._stop.on("click", self.stop)
            self._stop.set_visibility(False)
            element("p", "Enter asks, Shift and Enter begin a new line.", "unseen").props["id"] = "question-help"
        ui.keyboard(self._on_key, ignore=[])

    async def _on_question(self, event: GenericEventArguments) -> None:
        await self.ask(str(event.args))

    def _on_key(self, event: object) -> None:
        key, action = getattr(event, "key", None), getattr(event, "action", None)
        if key is not None and action is not None and action.keydown and key.escape:
            self.stop()
            self._panel.close()

    async def ask(self, question: str) -> None:
        """Ask, unless an answer is being told; the answer goes on while the page is used."""
        if self._task is not None and not self._task.done():
            return
        self._asked = question
        self._start.set_visibility(False)
        ui.run_javascript("const b = document.getElementById('question'); b.value = ''; b.focus();")
        with self._list:
            self._draw_question(question)
            view = AnswerView(self._viewer, self._panel.show, self._share)
        ui.run_javascript(_FOLLOW)
        self._set_busy(True)
        self._task = background_tasks.create(self._answer(question, view), name="answer")

    async def _answer(self, question: str, view: AnswerView) -> None:
        try:
            conversation_id = await self._ensure_conversation()
            assert self._narrowing is not None  # noqa: S101  # draw sets it
            events = answer(
                self._viewer.assistant, await self._viewer.check(), question, session_id=conversation_id,
                credential=self._viewer.credential, within=self._narrowing.scope,
            )  # fmt: skip
            first = await anext(events)
            async with aclosing(events), aclosing(measure_answer(first, events)) as told:
                async for event in told:
                    with view.frame:
                        self._show(event, view)
            await self._on_asked(conversation_id)
        except asyncio.CancelledError:
            if not view.frame.is_deleted:
                view.stop("Stopped. What was said so far is kept.", lambda: self.ask(question))
            raise
        except Unauthenticated as error:
            with view.frame:
                tell(error, f"/chat/{self._conversation_id}" if self._conversation_id else "/chat")
        except AppError as error:
            with view.frame:
                view.stop(error.message, lambda: self.ask(question))
        except Exception as error:  # noqa: BLE001  # told on the page and recorded by tell
            with view.frame:
                view.stop("The answer broke off on our side; it is recorded.", lambda: self.ask(question))
                tell(error, "/chat")
        finally:
            if not view.frame.is_deleted:
                self._set_busy(False)

    def _show(self, event: Event, view: AnswerView) -> None:
        match event:
            case Delta(text, citations):
                view.tell(text, citations)
                ui.run_javascript(_FOLLOW)
            case Done():
                view.complete(show_done(event))
                ui.run_javascript(_FOLLOW)
            case _:
                pass  # what was found and the citations come again with the whole answer

    async def _ensure_conversation(self) -> UUID:
        """Return the conversation's id; a new one is stored now, and the address leads to it from here on."""
        if self._conversation_id is None:
            assert self._narrowing is not None  # noqa: S101  # draw sets it
            async with self._viewer.session() as session:
                principal = await self._viewer.check()
                made = await chat.create_session(
                    session, user_id=principal.user_id, client_id=self._narrowing.client_id
                )
            self._conversation_id = made.id
            with self._list:
                ui.run_javascript(f"history.replaceState(null, '', '/chat/{made.id}')")
        return self._conversation_id

    def _set_busy(self, busy: bool) -> None:  # a state
        self._send.set_visibility(not busy)
        self._stop.set_visibility(busy)

    def stop(self) -> None:
        """Stop the answer that is being told; what was said is kept."""
        if self._task is not None:
            self._task.cancel()

    def _leave(self) -> None:
        self.stop()

    async def _share(self, message_id: UUID) -> None:
        await offer_link(self._viewer, message_id=message_id)
