"""Who speaks, said by a person: the turns, what is searched by, and the evidence follow; nothing else does."""

from typing import Any

import pytest
from sqlalchemy import text

from db.session import Principal, tenant_session
from domain.speakers import Part, Speakers, fold_label, get_speakers, say_speakers, suggest_part
from pipelines.evidence.build import extract
from pipelines.evidence.build_plan import BUILD_VERSION
from pipelines.evidence.rederive import rederive_stale
from pipelines.evidence.store import SessionChanged, load_session, write_extraction
from tests.factories.people import Organisation
from tests.factories.sessions import Stored, name_people, require_id, store_session

TALK = [
    ("Speaker 1", "How was the week with the rota? I'll send you the worksheet by Friday."),
    ("Speaker 2", "I want to hand over the rota. I'll talk to Helen about it by Friday."),
    ("speaker 2 ", "I feel tired of being on call."),
    ("Visitor", "I'll bring the coffee."),
]


async def say(person: Principal, stored: Stored, **said: str | None) -> None:
    async with tenant_session(person) as session:
        await say_speakers(session, stored.object_id, {name.replace("_", " "): who for name, who in said.items()})


async def read(person: Principal, stored: Stored) -> Speakers:
    async with tenant_session(person) as session:
        return await get_speakers(session, stored.object_id)


async def ask(organisation: Organisation, question: str, **values: Any) -> list[tuple[Any, ...]]:
    async with tenant_session(organisation.system) as session:
        return [tuple(row) for row in await session.execute(text(question), values)]


async def list_holders(organisation: Organisation) -> dict[str, Any]:
    rows = await ask(
        organisation,
        "SELECT q.exact, c.holder_id FROM evidence.claims c JOIN evidence.claim_quotes e ON e.claim_id = c.id "
        "JOIN evidence.quotes q ON q.id = e.quote_id WHERE c.stale_at IS NULL AND c.claim_type = 'commitment'",
    )
    return {words: holder for words, holder in rows}  # noqa: C416  # rows are no pairs to mypy


@pytest.mark.parametrize(
    ("label", "part"),
    [
        ("Client", "client"), ("COACHEE", "client"), ("coach ", "coach"), ("Amina", "client"),
        ("amina  diallo", "client"), ("Ruth Ellery (she/her)", "coach"),
        ("Speaker 1", None), ("Amina's phone", None), ("Lee", None), ("()", None),
    ],
)  # fmt: skip
def test_a_label_suggests_whom_it_names_and_nobody_else(label: str, part: Part | None) -> None:
    assert suggest_part(label, {"client": "Amina Diallo Lee", "coach": "Ruth Ellery Lee"}) == part


async def test_labels_are_shown_with_how_they_begin_and_then_who_they_are(organisation: Organisation) -> None:
    await name_people(organisation)
    stored = await store_session(organisation, [*TALK, ("Amina", "Yes."), ("visitor", "Sugar?")])
    found = await read(organisation.coach_a, stored)
    assert [(one.label, one.turns, one.suggested) for one in found.speakers] == [
        ("Speaker 1", 1, None), ("Speaker 2", 2, None), ("Visitor", 2, None), ("Amina", 1, "client"),
    ]  # fmt: skip
    assert found.speakers[1].first_words.startswith("I want to hand over the rota.")
    assert (found.may_say, found.is_asked) == (True, True)
    await say(organisation.coach_a, stored, Speaker_1="coach", SPEAKER_2="client", Visitor=None)
    found = await read(organisation.coach_a, stored)
    coach, client = require_id(organisation.coach_a), require_id(organisation.client_a)
    assert [(one.user_id, one.is_said) for one in found.speakers] == [
        (coach, True), (client, True), (None, True), (None, False),
    ]  # fmt: skip
    assert not found.is_asked
    rows = await ask(
        organisation, "SELECT speaker_id FROM rag.transcript_segments WHERE transcript_id = :t ORDER BY segment_index",
        t=stored.source_id,
    )  # fmt: skip
    assert [row[0] for row in rows] == [coach, client, client, None, None, None]
    rows = await ask(
        organisation, "SELECT DISTINCT unnest(speaker_ids) FROM rag.chunk_embeddings WHERE source_id = :t",
        t=stored.source_id,
    )  # fmt: skip
    assert {row[0] for row in rows} == {coach, client}


async def test_what_was_derived_is_stale_at_once_and_then_the_right_persons(organisation: Organisation) -> None:
    await name_people(organisation)
    stored = await store_session(organisation, TALK)
    other = await store_session(organisation, [("client", "I'll call the school by Monday.")])
    await rederive_stale(organisation.tenant_id)
    before = await list_holders(organisation)
    assert set(before.values()) == {None, require_id(organisation.client_a)}
    await say(organisation.coach_a, stored, Speaker_1="coach", Speaker_2="client")
    stale = await ask(
        organisation, "SELECT transcript_id, count(*) FROM evidence.quotes WHERE stale_at IS NOT NULL GROUP BY 1"
    )
    assert [row[0] for row in stale] == [stored.source_id]
    report = await rederive_stale(organisation.tenant_id)
    assert not report.left.total()  # type: ignore[attr-defined]  # a Counter
    holders = await list_holders(organisation)
    (mine,) = [who for words, who in holders.items() if "Helen" in words]
    assert mine == require_id(organisation.client_a)
    assert all(who == require_id(organisation.coach_a) for words, who in holders.items() if "worksheet" in words)
    assert [who for words, who in holders.items() if "school" in words] == [require_id(organisation.client_a)]
    own = await ask(
        organisation,
        "SELECT modality FROM evidence.claims WHERE transcript_id = :t AND claim_type = 'goal' AND holder_id = :c",
        t=stored.source_id, c=require_id(organisation.client_a),
    )  # fmt: skip
    assert own == [("stated",)]
    extractions = await ask(organisation, "SELECT built_at FROM evidence.extractions ORDER BY transcript_id")
    await say(organisation.coach_a, stored, Speaker_1="coach", Speaker_2="client")  # says nothing new
    assert await ask(organisation, "SELECT id FROM evidence.quotes WHERE stale_at IS NOT NULL") == []
    assert await ask(organisation, "SELECT built_at FROM evidence.extractions ORDER BY transcript_id") == extractions
    assert other.source_id != stored.source_id


async def test_a_session_that_gave_nothing_is_read_again(organisation: Organisation) -> None:
    stored = await store_session(organisation, [("Speaker 1", "Hello."), ("Speaker 2", "Good morning.")])
    await rederive_stale(organisation.tenant_id)
    assert not (await rederive_stale(organisation.tenant_id)).clients
    await say(organisation.coach_a, stored, Speaker_2="client")
    assert (await rederive_stale(organisation.tenant_id)).clients


async def test_what_was_read_before_it_was_said_is_not_stored_after(organisation: Organisation) -> None:
    stored = await store_session(organisation, TALK)
    async with tenant_session(organisation.system) as session:
        words = await load_session(session, stored.source_id)
    await say(organisation.coach_a, stored, Speaker_2="client")
    with pytest.raises(SessionChanged):
        async with tenant_session(organisation.system) as session:
            await write_extraction(session, words, extract(words), version=BUILD_VERSION)


async def test_the_log_tells_who_said_it_and_no_label(organisation: Organisation) -> None:
    stored = await store_session(organisation, TALK)
    await say(organisation.coach_a, stored, Visitor="client")
    rows = await ask(
        organisation,
        "SELECT actor_id, entity_id, metadata FROM governance.audit_logs WHERE action = 'speakers_named'",
    )
    (entry,) = rows
    assert entry[:2] == (require_id(organisation.coach_a), stored.source_id)
    assert entry[2] == {"labels": 1, "people": [str(require_id(organisation.client_a))]}


def test_labels_are_compared_without_case_and_spaces() -> None:
    assert fold_label(" Speaker  1\n") == fold_label("SPEAKER 1")
