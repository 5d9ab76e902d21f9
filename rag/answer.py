"""Answers a question: understand, search, answer on cited words, store; told as events while it happens."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from datetime import UTC, datetime
from typing import Final
from uuid import UUID, uuid4, uuid5

from sqlalchemy.ext.asyncio import AsyncSession

from db.session import Principal, ReaderUnknown, tenant_session
from domain import chat
from domain.consents import list_withheld
from domain.identity import Credential
from domain.reading import list_citations_read, list_passages_read, record_reading
from domain.usage import Feature
from rag.answer_events import CitationsReady, Delta, Done, Event, SourcesFound
from rag.answer_models import list_models
from rag.answer_quota import reserve_answer
from rag.answer_run import Assistant, Run
from rag.answer_store import finish, replay, save_answer, save_later, settle
from rag.answer_write import ask_models, write_answer
from rag.passages import EVERYWHERE, Retrieval, Scope
from rag.retrieve import UnusableQuestion
from rag.rewrite import MAX_HISTORY, add_topic, rewrite, rewrite_by_rule
from rag.standing import SignInEnded, SourcesWithdrawn, ensure_standing, note_checked
from rag.synthesize import count_coverage
from rag.understand import Understanding, give_up_time, keep_within, list_named_people, understand

__all__ = [
    "MAX_QUESTION",
    "Assistant",
    "CitationsReady",
    "Delta",
    "Done",
    "Event",
    "SignInEnded",
    "SourcesFound",
    "SourcesWithdrawn",
    "UnusableQuestion",
    "answer",
    "settle",
]

MAX_QUESTION: Final = 4_000
_SESSION_FACTOR: Final = 3


async def answer(
    assistant: Assistant,
    reader: Principal,
    question: str,
    *,
    history: Sequence[tuple[str, str]] = (),
    session_id: UUID | None = None,
    key: str | None = None,
    now: datetime | None = None,
    feature: Feature = "chat",
    credential: Credential | None = None,
    within: Scope = EVERYWHERE,
) -> AsyncGenerator[Event, None]:
    """Yield `SourcesFound`, then `Delta`s, `CitationsReady` and `Done`.

    Inside a conversation (`session_id`) its own questions are the history, and question and answer are stored; the same
    idempotency `key` answers from what is stored. No transaction is open while a model writes or the caller reads. An
    answer whose caller leaves is stored as far as it came. The reader's rights are asked for again while it is told: it
    ends with `SourcesWithdrawn`, `SignInEnded` (where a `credential` is given) or `ReaderUnknown`, and of what was
    withdrawn nothing is stored. `within` narrows what is searched besides what the question names; `feature` is what
    its usage is counted for. Raises `UnusableQuestion`, `ChatSessionNotFound`, `AnswerUnderWay`, `QuotaExceeded` before
    anything is begun, and whatever the store raises; a model that fails only changes who answers.
    """
    if not question.strip() or len(question) > MAX_QUESTION:
        raise UnusableQuestion(f"A question needs 1 to {MAX_QUESTION:,} characters; shorten it or ask in parts.")
    run_id = uuid5(session_id, f"message:{key}") if session_id and key else uuid4()
    run = Run(
        assistant, reader, question.strip().replace("\x00", ""), run_id, session_id, now or datetime.now(UTC), history,
        feature=feature, credential=credential, within=within,
    )  # fmt: skip
    stored = None
    async with tenant_session(reader) as session:
        if not await _open(session, run):
            await chat.check_question(session, run_id, run.asked)
            stored = await chat.find_answer(session, run_id)
            if stored is None:
                raise chat.AnswerUnderWay
            read = list_citations_read(stored.citations)
            await record_reading(session, "message_read", {"message": [stored.id]}, read, entity=("message", stored.id))
        # limits are held under a lock until the commit: what was set aside is committed before the search
        elif not (run.history and run.models) and not run.limited:
            await _search(session, run, rewrite_by_rule(run.asked, run.history, run.people))
    if stored is not None:
        for event in replay(run, stored):
            yield event
        return
    try:
        if run.understanding is None:
            standalone = await rewrite(run.asked, run.history, run.people, ask_models(run) if run.models else None)
            async with tenant_session(reader) as session:
                await _search(session, run, standalone)
        assert run.understanding is not None  # noqa: S101  # _search sets it
        found = SourcesFound(
            run_id=run_id, question=run.understanding.question, understood=run.understanding.words,
            passages=run.passages, coverage=run.coverage,
        )  # fmt: skip
        note_checked(run)
        with run.clock.paused():
            yield found
        before = ""
        async for sentence in write_answer(run):
            await ensure_standing(run)
            with run.clock.paused():
                yield Delta(before + sentence.text, sentence.citations)
            run.told += 1
            before = " "
        citations, message_id = await save_answer(run, "refused" if run.refused else "succeeded")
    except (GeneratorExit, asyncio.CancelledError):
        save_later(run, "cancelled")  # this task is being torn down; what was said is stored all the same
        raise
    except (SourcesWithdrawn, SignInEnded, ReaderUnknown):
        run.sentences = run.sentences[: run.told]
        save_later(run, "cancelled")
        raise
    except Exception:
        save_later(run, "failed")
        raise
    with run.clock.paused():
        yield CitationsReady(citations)
    yield finish(run, citations, message_id)


async def _open(session: AsyncSession, run: Run) -> bool:
    """Note the run and the question and read what comes before it; False where the run is there already."""
    if run.session_id is not None:
        conversation = await chat.get_session(session, run.session_id)
        if not await chat.start_run(
            session, run_id=run.run_id, user_id=run.reader.user_id, session_id=conversation.id, agent_type="assistant"
        ):
            return False
        asked = await chat.list_questions(session, conversation.id, limit=MAX_HISTORY)
        run.history = [("user", text) for text in asked]
        run.client_id = conversation.client_id
        await chat.append_question(session, conversation, run_id=run.run_id, text=run.asked)
    else:
        await chat.start_run(
            session, run_id=run.run_id, user_id=run.reader.user_id, session_id=None, agent_type="assistant"
        )
    run.history = run.history[-MAX_HISTORY:]
    earlier = (said for role, said in run.history if role == "user")
    run.people = await list_named_people(session, run.asked, *earlier)
    run.models = await list_models(session, run.assistant.model)
    if run.may_leave:
        about = {run.reader.user_id, run.client_id, *(person.id for person in run.people)}
        if about & await list_withheld(session, "external_model"):
            run.keep_inside()
    await reserve_answer(session, run)
    return True


async def _search(session: AsyncSession, run: Run, standalone: str) -> None:
    understanding = await understand(
        session, standalone, reader=run.reader, people=run.people, now=run.now, client_id=run.client_id
    )
    understanding = keep_within(understanding, run.within)
    run.understanding = understanding
    if understanding.missing:
        return
    run.clock.enter("search")
    # whose words count is decided sentence by sentence: a passage holds both sides of a conversation
    retrieval = await _retrieve(session, run, understanding)
    if understanding.soft_time and not retrieval.sources_in_scope:
        run.understanding = understanding = keep_within(give_up_time(understanding), run.within)
        retrieval = await _retrieve(session, run, understanding)
    run.passages = retrieval.passages
    await record_reading(session, "passages_retrieved", list_passages_read(retrieval.passages))
    run.coverage = await count_coverage(session, understanding.scope, retrieval)


async def _retrieve(session: AsyncSession, run: Run, understanding: Understanding) -> Retrieval:
    scope = understanding.scope
    # of one session everything may be the answer ("What did she commit to?"), so it is read nearly whole
    wider = _SESSION_FACTOR if scope.coaching_session_ids or scope.source_ids else 1
    query = add_topic(understanding.question, run.history)
    return await run.assistant.retriever(session, run.embedder, query, top_k=run.assistant.top_k * wider, scope=scope)
