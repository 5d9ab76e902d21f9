"""Why something was not found: how many passages a person's question lost to what, in counts alone.

Search runs as that person, under their rights, and of what it finds only numbers leave this module; the audit log is
told who traced whose search. Passages are ranked, not matched, so how many are left over says nothing of their words.
Where words alone decide, as without an embedder, whether anything matches would tell: then it is told only of a search
over five clients or more.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final, Literal
from uuid import UUID

from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession

from core.errors import Invalid
from db.models import User
from db.session import Principal, Role, acting_as_system, tenant_session
from domain.consents import list_withheld
from domain.governance import record_event
from domain.operations import FEWEST_PEOPLE, ensure_administrator
from domain.roles import PersonNotFound
from rag.answer_run import Assistant
from rag.embedding.protocol import Embedder, is_outside
from rag.passages import Scope
from rag.retrieve import LONGEST_QUESTION, UnusableQuestion
from rag.spending import prepare_question
from rag.understand import Understanding, give_up_time, list_named_people, understand

Narrowing = Literal["people", "sessions", "times", "speakers", "kinds"]

_NARROWINGS: Final[Mapping[Narrowing, tuple[str, ...]]] = {
    "people": ("client_ids",), "sessions": ("coaching_session_ids", "source_ids"),
    "times": ("held_from", "held_until"), "speakers": ("speakers",), "kinds": ("source_kinds",),
}  # fmt: skip
_HERE: Final = "(SELECT current_setting('app.tenant_id')::uuid)"
_PASSAGES: Final = text(
    f"""
    SELECT count(*) AS passages, count(DISTINCT e.client_id) AS clients FROM rag.chunk_embeddings e
    WHERE e.tenant_id = {_HERE}
      AND e.registry_id = (SELECT id FROM rag.embeddings_registry WHERE tenant_id = {_HERE} AND status = 'active')
    """
)
_UNSEARCHABLE: Final = text(
    "SELECT count(*) FROM ingestion.ingested_objects WHERE ingestion_status IN ('received', 'failed', 'refused')"
)
_MODEL: Final = text("SELECT model_name FROM rag.embeddings_registry WHERE status = 'active'")


class PersonUnnamed(Invalid):
    """Nobody active in your organisation has this address; correct it, or list the people there are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """What became of all passages of the organisation on the way to one person's answer.

    `narrowed` says by what the question was understood to ask for less; `is_missing` that it asks for a session that
    is not there. `kept` are passages the assistant would get, None where that would tell of fewer than five clients.
    `unsearchable` counts files that have no passages, as they wait, failed or were refused.
    """

    searchable: int
    visible: int
    in_scope: int
    kept: int | None
    narrowed: tuple[Narrowing, ...]
    is_missing: bool
    by_meaning: bool
    unsearchable: int

    @property
    def by_permission(self) -> int:
        """Passages that this person may not see, or whose client keeps them from the assistant."""
        return max(self.searchable - self.visible, 0)

    @property
    def by_scope(self) -> int:
        """Passages that the question does not ask about, as it was understood."""
        return max(self.visible - self.in_scope, 0)

    @property
    def by_score(self) -> int | None:
        """Passages that others were ranked above."""
        return None if self.kept is None else max(self.in_scope - self.kept, 0)

    @property
    def verdict(self) -> str:
        """What most likely keeps an answer away, and what to do about it."""
        if not self.searchable:
            said = "Nothing is searchable yet; take in material first."
        elif self.is_missing:
            said = (
                "The question names a session that this person does not have; ask without it, or check who was coached."
            )
        elif not self.visible:
            said = (
                "This person may see none of it; check their role, their engagements and what their clients consent to."
            )
        elif not self.in_scope:
            said = "Nothing this person may see fits the limits in the question; ask without the time or name in it."
        elif self.by_permission > self.by_scope:
            said = "Most was left out by rights: if it should be found, check engagements, visibility and consents."
        elif self.by_scope:
            said = (
                "Most was left out by the question itself: ask without the name, time or session in it to look wider."
            )
        else:
            said = "Neither rights nor the question's limits left anything out: the words may not be in the material."
        if self.unsearchable:
            files = "1 file" if self.unsearchable == 1 else f"{self.unsearchable:,} files"
            said += f" {files} besides can't be searched, as they wait or failed."
        return said

    def to_json(self) -> dict[str, Any]:
        """Return all that it tells, for programs."""
        told = ("by_permission", "by_scope", "by_score", "verdict")
        return asdict(self) | {name: getattr(self, name) for name in told}


@dataclass(frozen=True, slots=True)
class _Store:
    """What is in the store before anybody asks."""

    person: Principal
    searchable: int
    unsearchable: int
    is_same_model: bool


async def trace_search(
    administrator: Principal, person_id: UUID, question: str, *, assistant: Assistant, now: datetime | None = None
) -> Trace:
    """Return what this person's question loses to permission, scope and score, as the organisation's administrator.

    In transactions of its own. Raises `NotAdministrator`, `PersonNotFound`, `ReaderUnknown` for somebody who is not
    active, `UnusableQuestion`, and what a paid embedder does.
    """
    question = question.strip().replace("\x00", "")
    if not question or len(question) > LONGEST_QUESTION:
        raise UnusableQuestion
    async with tenant_session(administrator) as session:
        store = await _look(session, person_id, assistant.embedder)
        await record_event(session, action="search_traced", entity_type="user", entity_id=person_id)
    embedder = await prepare_question(administrator.as_system(), assistant.embedder, question, memory=assistant.memory)
    async with tenant_session(store.person) as session:
        return await _trace(session, store, question, replace(assistant, embedder=embedder), now or datetime.now(UTC))


async def trace_search_of(administrator: Principal, email: str, question: str, *, assistant: Assistant) -> Trace:
    """Return the trace of the active person with this address; raises `PersonUnnamed`, and as `trace_search`."""
    async with tenant_session(administrator) as session:
        ensure_administrator(session)
        named = select(User.id).where(User.email == email.strip().lower(), User.status == "active")
        person_id = await session.scalar(named)
    if person_id is None:
        raise PersonUnnamed
    return await trace_search(administrator, person_id, question, assistant=assistant)


async def _look(session: AsyncSession, person_id: UUID, embedder: Embedder | None) -> _Store:
    administrator = ensure_administrator(session)
    person = await session.scalar(select(User).where(User.id == person_id))
    if person is None:
        raise PersonNotFound
    role: Role = person.role  # type: ignore[assignment]  # the table's own check
    async with acting_as_system(session):
        searchable = (await session.execute(_PASSAGES)).one().passages
        unsearchable = await session.scalar(_UNSEARCHABLE)
        model = await session.scalar(_MODEL)
    reader = Principal(administrator.tenant_id, role, person.id, acts_for=administrator.user_id)
    return _Store(reader, searchable, int(unsearchable or 0), embedder is not None and embedder.name == model)


async def _trace(session: AsyncSession, store: _Store, question: str, assistant: Assistant, now: datetime) -> Trace:
    people = await list_named_people(session, question)
    found = await understand(session, question, reader=store.person, people=people, now=now)
    visible = (await session.execute(_PASSAGES)).one()
    in_scope, kept = 0, 0
    if not found.missing:
        in_scope, kept = await _search(session, assistant, found)
        if found.soft_time and not in_scope:
            found = give_up_time(found)
            in_scope, kept = await _search(session, assistant, found)
    by_meaning = store.is_same_model and not await _keeps_inside(session, store.person, assistant.embedder)
    tells = by_meaning or (found.scope == Scope() and visible.clients >= FEWEST_PEOPLE)
    return Trace(
        searchable=store.searchable, visible=visible.passages, in_scope=in_scope,
        kept=kept if tells or not in_scope else None, narrowed=_list_narrowings(found.scope),
        is_missing=found.missing is not None, by_meaning=by_meaning, unsearchable=store.unsearchable,
    )  # fmt: skip


async def _search(session: AsyncSession, assistant: Assistant, found: Understanding) -> tuple[int, int]:
    """Return how many passages are in scope and how many of them the assistant would get."""
    result = await assistant.retriever(
        session, assistant.embedder, found.question, top_k=assistant.top_k, scope=found.scope
    )
    return result.chunks_in_scope, sum(len(passage.chunk_ids) for passage in result.passages)


async def _keeps_inside(session: AsyncSession, person: Principal, embedder: Embedder | None) -> bool:
    if embedder is None or not is_outside(embedder):
        return False
    return person.user_id in await list_withheld(session, "external_model")


def _list_narrowings(scope: Scope) -> tuple[Narrowing, ...]:
    return tuple(name for name, fields in _NARROWINGS.items() if any(getattr(scope, field) for field in fields))
