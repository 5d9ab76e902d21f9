"""Why something was not found is told in counts: of what was left out by rights, by scope and by score, no word."""

from datetime import UTC, datetime

import pytest

from db.session import Principal, ReaderUnknown, tenant_session
from domain.operations import NotAdministrator
from domain.people import suspend_person
from domain.roles import PersonNotFound
from rag.answer import Assistant
from rag.fakes import HashEmbedder
from rag.retrieve import UnusableQuestion
from rag.trace import Trace, trace_search
from tests.factories.people import Organisation, found_organisation
from tests.factories.sessions import EMBEDDER, name_people, require_id, store_document, store_session

SAID = [("coach", "What weighs on you?"), ("client", "My father's illness is why I leave the bank.")]
MARCH, APRIL = datetime(2026, 3, 12, tzinfo=UTC), datetime(2026, 4, 16, tzinfo=UTC)


@pytest.fixture
async def told(organisation: Organisation) -> Organisation:
    """Two sessions of client_a, one of client_c, and two passages of a guide that everyone reads."""
    await name_people(organisation)
    await store_session(organisation, SAID, held_at=MARCH, visibility="coach_only")
    await store_session(organisation, SAID, held_at=APRIL, visibility="coach_only")
    await store_session(organisation, SAID, client=organisation.client_c, coach=organisation.coach_b)
    await store_document(organisation, ["The quay opens at nine.", "Visitors sign the book."])
    return organisation


async def ask(
    organisation: Organisation, person: Principal, question: str, *, assistant: Assistant | None = None
) -> Trace:
    assistant = assistant or Assistant(EMBEDDER, top_k=1)
    return await trace_search(organisation.admin, require_id(person), question, assistant=assistant)


async def test_each_loss_is_counted(told: Organisation) -> None:
    trace = await ask(told, told.coach_a, "What did Amina Diallo say in the last session?")
    assert (trace.searchable, trace.visible, trace.in_scope, trace.kept) == (4, 3, 1, 1)
    assert (trace.by_permission, trace.by_scope, trace.by_score) == (1, 2, 0)
    assert trace.narrowed == ("people", "sessions")
    whole = await ask(told, told.coach_a, "Why leave the bank?")
    assert (whole.by_permission, whole.by_scope, whole.by_score) == (1, 0, 2)
    assert whole.narrowed == ()


async def test_what_is_counted_does_not_depend_on_the_words(told: Organisation) -> None:
    """A word that was said and one that never was are told alike: nobody learns by asking what clients speak of."""
    said, never = [await ask(told, told.client_a, f"Anything on {word}?") for word in ("illness", "zeppelins")]
    assert said == never
    by_words = Assistant(None, top_k=1)
    said, never = [await ask(told, told.coach_a, word, assistant=by_words) for word in ("illness", "zeppelins")]
    assert said == never
    assert said.kept is said.by_score is None
    assert not said.by_meaning
    other = Assistant(HashEmbedder(64), top_k=1)
    assert (await ask(told, told.coach_a, "illness", assistant=other)).kept is None
    assert "illness" not in repr(said)


async def test_a_session_that_is_not_there_is_told_from_a_search_that_found_nothing(told: Organisation) -> None:
    trace = await ask(told, told.coach_a, "What did Daniel Okafor say in the third session?")
    assert trace.is_missing
    assert (trace.in_scope, trace.kept, trace.by_scope) == (0, 0, 3)


async def test_only_an_administrator_traces_people_of_their_own_organisation(told: Organisation) -> None:
    assistant, coach = Assistant(EMBEDDER), require_id(told.coach_a)
    for person in (told.coach_a, told.executive, told.compliance, told.evaluator, told.client_a):
        with pytest.raises(NotAdministrator):
            await trace_search(person, coach, "bank", assistant=assistant)
    stranger = await found_organisation()
    with pytest.raises(PersonNotFound):
        await trace_search(stranger.admin, coach, "bank", assistant=assistant)
    for question in (" ", "x" * 10_001):
        with pytest.raises(UnusableQuestion):
            await trace_search(told.admin, coach, question, assistant=assistant)
    async with tenant_session(told.system) as session:
        await suspend_person(session, user_id=coach)
    with pytest.raises(ReaderUnknown):
        await trace_search(told.admin, coach, "bank", assistant=assistant)
