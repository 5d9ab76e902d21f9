"""Answers made of what was derived: promises with what became of them, patterns, packs, and who may see which."""

import random
from dataclasses import dataclass
from datetime import UTC, date, datetime
from uuid import UUID

import pytest
from sqlalchemy import delete, select, update

from db.models import Claim, EvidencePack, IngestedObject, Pattern, Transcript
from db.session import Principal, tenant_session
from domain import chat
from domain.packs import get_pack
from rag import answer_models
from rag.answer import Assistant, Done, answer
from rag.evidence import NO_EVIDENCE, gather_evidence
from rag.fakes import ScriptedChat
from rag.passages import Scope
from rag.understand_evidence import find_asked_evidence
from tests.factories.evidence import store_claim, store_pattern
from tests.factories.people import Organisation
from tests.factories.sessions import EMBEDDER, Stored, name_people, store_session

NOW = datetime(2026, 6, 1, tzinfo=UTC)
ASSISTANT = Assistant(EMBEDDER)
MARCH, APRIL = datetime(2026, 3, 12, 9, tzinfo=UTC), datetime(2026, 4, 16, 9, tzinfo=UTC)
PROMISED = "I'll hand the pager to Tobias by Friday the thirteenth."
HANDED = "Tobias has had the pager since the twelfth."
HEAVY = "The pager wakes me twice every night."
STILL = "The pager still wakes me, and I don't even carry it."
OUTCOME = "Did Amina hand the pager to Tobias as she said she would?"


@dataclass(frozen=True)
class World:
    """Two sessions of Amina; a promise kept, and something that recurs."""

    march: Stored
    april: Stored
    promise: UUID
    kept: UUID
    pattern: UUID


async def build_world(organisation: Organisation, *, april: str = "client_visible") -> World:
    await name_people(organisation)
    first = await store_session(
        organisation,
        [
            ("coach", "What would make the biggest difference this month?"),
            ("client", f"Sleep, honestly. {HEAVY}"),
            ("coach", "What will you do about it?"),
            ("client", f"{PROMISED} I mean it this time."),
        ],
        held_at=MARCH,
    )
    second = await store_session(
        organisation,
        [
            ("coach", "How did it go?"),
            ("client", f"{HANDED} He likes it."),
            ("coach", "And the nights?"),
            ("client", STILL),
        ],
        held_at=APRIL,
        visibility=april,
    )
    promise = await store_claim(
        organisation, first, PROMISED, valid_to=date(2026, 3, 13), subject="pager",
        statement="Amina Diallo committed to hand the pager to Tobias by Friday 13 March 2026.",
    )  # fmt: skip
    kept = await store_claim(
        organisation, second, HANDED, claim_type="progress", settles=promise,
        statement="Tobias has had the pager since 12 March 2026.",
    )  # fmt: skip
    heavy = await store_claim(
        organisation, first, HEAVY, claim_type="obstacle", statement="The pager wakes Amina Diallo twice every night."
    )
    still = await store_claim(
        organisation, second, STILL, claim_type="obstacle", statement="The pager still wakes Amina Diallo."
    )
    pattern = await store_pattern(
        organisation, [heavy, still], subject="pager",
        statement="Amina Diallo spoke of being woken by the pager in 2 of 2 sessions.",
    )  # fmt: skip
    return World(first, second, promise, kept, pattern)


@pytest.fixture
async def world(organisation: Organisation) -> World:
    return await build_world(organisation)


async def ask(reader: Principal, question: str, session_id: UUID | None = None) -> Done:
    *_, done = [event async for event in answer(ASSISTANT, reader, question, now=NOW, session_id=session_id)]
    assert isinstance(done, Done)
    return done


async def open_chat(reader: Principal) -> UUID:
    async with tenant_session(reader) as session:
        return (await chat.create_session(session, user_id=reader.user_id)).id


async def read_answer(reader: Principal, conversation: UUID) -> chat.MessageView:
    async with tenant_session(reader) as session:
        return (await chat.list_messages(session, conversation, limit=10))[1]


def list_told(done: Done) -> set[UUID]:
    return {one for sentence in done.sentences for one in sentence.evidence}


async def test_promise_is_told_with_what_became_of_it(organisation: Organisation, world: World) -> None:
    done = await ask(organisation.coach_a, OUTCOME)
    promised, kept = done.sentences[:2]
    assert promised.text.startswith(f"In the session of 12 March 2026, Amina Diallo committed: “{PROMISED}")
    assert promised.text.endswith("” (by 13 March 2026) [1]")
    assert kept.text.startswith("That was kept: in the session of 16 April 2026, Amina Diallo said: “")
    assert HANDED in kept.text
    assert promised.evidence == (world.promise,)
    assert set(kept.evidence) == {world.promise, world.kept}
    assert [citation.source_id for citation in done.citations[:2]] == [world.march.source_id, world.april.source_id]
    assert done.coverage.sessions_supporting == 2


async def test_question_about_one_session_is_answered_from_it(organisation: Organisation, world: World) -> None:
    done = await ask(organisation.coach_a, "What did Amina commit to in the first session?")
    assert {citation.source_id for citation in done.citations} == {world.march.source_id}
    assert world.promise in list_told(done)
    assert world.kept not in list_told(done)
    last = await ask(organisation.coach_a, "What did Amina commit to in the last session?")
    assert world.promise not in list_told(last)


async def test_what_settled_a_promise_may_lie_beyond_the_session_asked_about(
    organisation: Organisation, world: World
) -> None:
    done = await ask(organisation.coach_a, "Did Amina keep the promise about the pager from the first session?")
    assert {world.promise, world.kept} <= list_told(done)
    assert done.coverage.sessions_supporting <= done.coverage.sessions_examined <= done.coverage.sessions_in_scope


async def test_pattern_is_told_with_the_quotes_it_stands_on(organisation: Organisation, world: World) -> None:
    done = await ask(organisation.coach_a, "What does Amina keep saying about the pager, again and again?")
    first = done.sentences[0]
    assert first.text.startswith("Amina Diallo spoke of being woken by the pager in 2 of 2 sessions.")
    assert first.evidence == (world.pattern,)
    quotes = {citation.ordinal: citation.quote for citation in done.citations}
    assert {quotes[ordinal] for ordinal in first.citations} == {HEAVY, STILL}


async def test_every_citation_is_in_the_pack_of_its_answer(organisation: Organisation, world: World) -> None:
    conversation = await open_chat(organisation.coach_a)
    done = await ask(organisation.coach_a, OUTCOME, conversation)
    assert done.pack_id is not None
    async with tenant_session(organisation.coach_a) as session:
        pack = await get_pack(session, done.pack_id)
    held = {(view.source_id, view.char_start, view.char_end) for view in pack.passages}
    assert held == {(view.source_id, view.char_start, view.char_end) for view in done.citations}
    assert list_told(done) <= {claim.id for claim in pack.claims} | {one.id for one in pack.patterns}
    assert pack.coverage.sessions_supporting == done.coverage.sessions_supporting
    assert pack.question == OUTCOME
    message = await read_answer(organisation.coach_a, conversation)
    assert message.facts["pack_id"] == str(done.pack_id)
    for other in (organisation.coach_b, organisation.client_a):
        async with tenant_session(other) as session:
            assert (await session.scalars(select(EvidencePack))).all() == []


async def test_refusals_and_machines_leave_no_pack(organisation: Organisation, world: World) -> None:
    assert (await ask(organisation.coach_a, "Which violin concerto does the orchestra rehearse?")).pack_id is None
    assert (await ask(organisation.system, OUTCOME)).pack_id is None


async def test_the_same_key_gives_the_same_pack(organisation: Organisation, world: World) -> None:
    conversation = await open_chat(organisation.coach_a)
    told = []
    for _ in range(2):
        *_, done = [
            event async for event in answer(
                ASSISTANT, organisation.coach_a, OUTCOME, now=NOW, session_id=conversation, key="k"
            )
        ]  # fmt: skip
        assert isinstance(done, Done)
        told.append((done.text, done.pack_id))
    assert told[0] == told[1]


async def test_sentence_is_withheld_once_its_claim_is_gone(organisation: Organisation, world: World) -> None:
    conversation = await open_chat(organisation.coach_a)
    await ask(organisation.coach_a, OUTCOME, conversation)
    before = await read_answer(organisation.coach_a, conversation)
    assert not any(sentence.withheld for sentence in before.sentences)
    async with tenant_session(organisation.system) as session:
        await session.execute(delete(Claim).where(Claim.id == world.kept))
    after = await read_answer(organisation.coach_a, conversation)
    # the words are still there to be read; that they settle the promise is said no longer
    assert "That was kept" not in after.text
    assert chat.WITHHELD in after.text


async def test_sentence_is_withheld_once_its_pattern_is_gone(organisation: Organisation, world: World) -> None:
    conversation = await open_chat(organisation.coach_a)
    await ask(organisation.coach_a, "What does Amina keep saying about the pager, again and again?", conversation)
    async with tenant_session(organisation.system) as session:
        await session.execute(delete(Pattern).where(Pattern.id == world.pattern))
    after = await read_answer(organisation.coach_a, conversation)
    assert after.sentences[0].withheld
    assert not after.sentences[1].withheld
    assert "2 of 2" not in after.text


async def test_narrowed_source_takes_its_promise_out_of_a_clients_answers(
    organisation: Organisation, world: World
) -> None:
    client = organisation.client_a
    conversation = await open_chat(client)
    asked = "Did I hand the pager to Tobias as I said I would?"
    assert world.kept in list_told(await ask(client, asked, conversation))
    async with tenant_session(organisation.system) as session:
        await session.execute(
            update(IngestedObject).where(IngestedObject.id == world.april.object_id).values(visibility="coach_only")
        )
    old = await read_answer(client, conversation)
    assert "That was kept" not in old.text
    assert HANDED not in old.text
    new = await ask(client, asked)
    assert world.kept not in list_told(new)
    assert HANDED not in new.text


async def test_stale_evidence_is_told_to_nobody(organisation: Organisation, world: World) -> None:
    async with tenant_session(organisation.system) as session:
        await session.execute(
            update(Transcript)
            .where(Transcript.id == world.march.source_id)
            .values(held_at=datetime(2026, 3, 11, tzinfo=UTC))
        )  # fmt: skip
    for reader in (organisation.coach_a, organisation.client_a, organisation.system):
        for question in (OUTCOME, "What does Amina keep saying about the pager, again and again?"):
            done = await ask(reader, question)
            assert not list_told(done) & {world.promise, world.pattern}
            assert "committed" not in done.text
            assert "2 of 2 sessions." not in done.text


async def test_client_is_told_nothing_that_only_the_coach_may_see(organisation: Organisation) -> None:
    world = await build_world(organisation, april="coach_only")
    coach = await ask(organisation.coach_a, OUTCOME)
    assert HANDED in coach.text
    for question in (OUTCOME, "What did I commit to?", "What do I keep saying about the pager, again and again?"):
        client = await ask(organisation.client_a, question)
        assert HANDED not in client.text
        assert STILL not in client.text
        assert "2 of 2" not in client.text
        assert world.kept not in list_told(client)
        assert world.pattern not in list_told(client)


async def test_nobody_is_told_what_they_may_not_read(organisation: Organisation) -> None:
    """Everyone, in any order, asks everything, while what may be seen narrows; nothing told is out of their sight."""
    dice = random.Random(5)
    world = await build_world(organisation, april=dice.choice(["client_visible", "coach_only"]))
    questions = (
        OUTCOME, "What did Amina commit to?", "What stands in Amina's way?", "How has the pager changed over time?",
        "What does Amina keep saying about the pager, again and again?", "Which promises did Amina not keep?",
    )  # fmt: skip
    for round_ in range(2):
        people = list(organisation.people.values())
        dice.shuffle(people)
        for reader in people:
            done = await ask(reader, dice.choice(questions))
            async with tenant_session(reader) as session:
                claims = set(await session.scalars(select(Claim.id).where(Claim.stale_at.is_(None))))
                patterns = set(await session.scalars(select(Pattern.id).where(Pattern.stale_at.is_(None))))
                sources = set(await session.scalars(select(Transcript.id)))
            assert list_told(done) <= claims | patterns
            assert {citation.source_id for citation in done.citations} <= sources
        if not round_:
            async with tenant_session(organisation.system) as session:
                await session.execute(
                    update(IngestedObject)
                    .where(IngestedObject.id == world.march.object_id)
                    .values(visibility="coach_only")
                )


async def test_model_is_told_what_was_derived_and_held_to_it(
    organisation: Organisation, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = ScriptedChat([["Tobias has had the pager since 12 March 2026. [1][2][3] ", "It cost 900 pounds. [1][2]"]])

    async def chosen(*_: object) -> list[answer_models.ModelChoice]:
        return [answer_models.ModelChoice(model, 200, None)]

    monkeypatch.setattr("rag.answer.list_models", chosen)
    done = await ask(organisation.coach_a, OUTCOME)
    _, user = model.calls[0]
    assert (
        "commitment, kept: Amina Diallo committed to hand the pager to Tobias by Friday 13 March 2026. ["
        in user.content
    )
    assert done.provider == "scripted"
    # the 12 is in no passage: it stands in the claim that was derived from one
    assert [sentence.text.partition(" [")[0] for sentence in done.sentences] == [
        "Tobias has had the pager since 12 March 2026."
    ]
    assert world.kept in list_told(done)
    assert done.pack_id is not None


async def test_nothing_is_gathered_where_nothing_was_built(organisation: Organisation) -> None:
    await name_people(organisation)
    await store_session(organisation, [("client", PROMISED)], held_at=MARCH)
    async with tenant_session(organisation.coach_a) as session:
        asked = find_asked_evidence(OUTCOME)
        assert not await gather_evidence(session, asked, ["pager"], Scope(), ())
        documents = Scope(source_kinds=("document",))
        assert await gather_evidence(session, asked, ["pager"], documents, ()) is NO_EVIDENCE
    done = await ask(organisation.coach_a, "What did Amina commit to?")
    assert PROMISED in done.text
    assert not list_told(done)
    assert done.pack_id is not None


@pytest.mark.parametrize("topic", [["a(b", "[", "\\"], [".*"], ["x" * 500], ["ünïcode", "日本"], []])
async def test_any_words_can_be_looked_for(organisation: Organisation, world: World, topic: list[str]) -> None:
    async with tenant_session(organisation.coach_a) as session:
        found = await gather_evidence(session, find_asked_evidence("Anything?"), topic, Scope(), ())
    assert not found


@pytest.mark.parametrize(
    ("question", "types", "kinds", "outcome", "statuses"),
    [
        ("What did she commit to last time?", {"commitment"}, set(), False, set()),
        ("Did he call the bank as he promised?", {"commitment"}, set(), True, set()),
        ("Which promises has she not kept?", {"commitment"}, {"commitment_record"}, True, {"broken"}),
        ("Which promises has she kept?", {"commitment"}, {"commitment_record"}, True, {"kept"}),
        ("What stands in her way?", {"obstacle"}, set(), False, set()),
        ("How did he feel about the move?", {"emotion"}, set(), False, set()),
        ("What feedback did the team give him?", {"feedback"}, set(), False, set()),
        ("What did she decide about the job?", {"decision"}, set(), False, set()),
        ("What theme comes back again and again?", set(), {"recurrence"}, False, set()),
        ("Has she changed her mind about the job?", set(), {"change"}, True, set()),
        ("Is there anything he said that doesn't fit together?", set(), {"contradiction"}, False, set()),
        ("How many pages has the handbook?", set(), set(), False, set()),
    ],
)
def test_kind_of_evidence_is_read_from_the_question(
    question: str, types: set[str], kinds: set[str], outcome: bool, statuses: set[str]
) -> None:
    asked = find_asked_evidence(question)
    assert types <= asked.claim_types
    assert kinds <= asked.pattern_kinds
    assert (asked.outcome, set(asked.statuses)) == (outcome, statuses)
    assert bool(asked) == bool(types or kinds or outcome)
