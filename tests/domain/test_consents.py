"""What people withdraw ends at once, whichever way it would have been done; given again, it is done again."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, insert, select, text
from sqlalchemy.exc import IntegrityError

from db.models import AnalyticsEvent, Claim, EvidencePack, Insight, Pattern, Quote, User, WithheldPurpose
from db.session import Principal, tenant_session
from domain import consents
from domain.analytics import track_events
from domain.consents import publish_text, record_consent, withdraw_consent
from domain.identity import create_user
from pipelines.evidence.build import build_client
from pipelines.evidence.rederive import rederive_stale
from pipelines.evidence.store import EvidenceWithheld
from pipelines.ingest import ingest_source
from pipelines.reembed import reembed_chunks
from rag.answer import Assistant, Done, answer
from rag.answer_models import ModelChoice
from rag.embedding import is_outside
from rag.embedding.openai_compatible import OpenAIEmbedder
from rag.fakes import ScriptedChat
from rag.providers.openai_client import is_outside_url
from rag.retrieve import retrieve
from tests.factories.answers import store_answer
from tests.factories.evidence_world import PROMISE, add_session, build_world, make_claim, write_claims
from tests.factories.people import Organisation
from tests.factories.sessions import EMBEDDER, name_people, require_id, store_session

HASH = "0" * 64


async def withdraw(person: Principal, purpose: str) -> None:
    async with tenant_session(person) as session:
        await withdraw_consent(session, user_id=require_id(person), purpose=purpose)


async def give(person: Principal, purpose: str, version: str = "1") -> None:
    async with tenant_session(person) as session:
        await record_consent(session, user_id=require_id(person), purpose=purpose, version=version)


async def list_withheld(reader: Principal, purpose: Any = "assistant") -> set[Any]:
    async with tenant_session(reader) as session:
        return set(await consents.list_withheld(session, purpose))


async def publish(organisation: Organisation, purpose: str, version: str, *, required: bool) -> None:
    async with tenant_session(organisation.admin) as session:
        await publish_text(session, purpose=purpose, version=version, text_hash=HASH, is_required=required)


async def count_found(reader: Principal, question: str = "release checklist") -> int:
    async with tenant_session(reader) as session:
        return len((await retrieve(session, EMBEDDER, question)).passages)


async def test_objection_counts_where_nothing_was_agreed_to(organisation: Organisation) -> None:
    client, other = organisation.client_a, organisation.client_b
    for purpose in consents.PROCESSING:
        assert await list_withheld(organisation.system, purpose) == set()
        await withdraw(client, purpose)
        with pytest.raises(consents.ConsentNotFound):
            await withdraw(client, purpose)
        assert await list_withheld(organisation.system, purpose) == {client.user_id}
        assert await list_withheld(organisation.coach_a, purpose) == {client.user_id}
        assert await list_withheld(organisation.coach_b, purpose) == set()
        assert await list_withheld(other, purpose) == set()
        await give(client, purpose)
        assert await list_withheld(organisation.system, purpose) == set()
        await withdraw(client, purpose)
    with pytest.raises(consents.ConsentNotFound):
        await withdraw(client, "marketing")


async def test_required_consent_comes_first(organisation: Organisation) -> None:
    clients = {one.user_id for one in (organisation.client_a, organisation.client_b, organisation.client_c)}
    await give(organisation.client_a, "assistant", "2026")
    await publish(organisation, "assistant", "2026", required=True)
    assert await list_withheld(organisation.system) == clients - {organisation.client_a.user_id}
    with pytest.raises(consents.ConsentVersionUnknown):
        await give(organisation.client_b, "assistant", "2025")
    await give(organisation.client_b, "assistant", "2026")
    async with tenant_session(organisation.system) as session:
        new = await create_user(session, email=f"new@{organisation.slug}.example", full_name="New", role="client")
        await create_user(session, email=f"coach@{organisation.slug}.example", full_name="Coach", role="coach")
    assert await list_withheld(organisation.system) == {organisation.client_c.user_id, new.id}
    await publish(organisation, "assistant", "2027", required=False)
    assert await list_withheld(organisation.system) == set()
    await withdraw(organisation.client_b, "assistant")
    assert await list_withheld(organisation.system) == {organisation.client_b.user_id}


async def test_nobody_withholds_or_allows_by_hand(organisation: Organisation) -> None:
    for person in (organisation.client_a, organisation.admin, organisation.compliance, organisation.system):
        with pytest.raises(Exception, match="permission denied"):
            async with tenant_session(person) as session:
                await session.execute(
                    insert(WithheldPurpose).values(
                        tenant_id=organisation.tenant_id, user_id=organisation.client_a.user_id, purpose="assistant"
                    )
                )
    for person in (organisation.client_a, organisation.coach_a, organisation.executive):
        with pytest.raises(Exception, match="row-level security"):
            async with tenant_session(person) as session:
                await publish_text(session, purpose="assistant", version="9", text_hash=HASH, is_required=True)


async def test_search_leaves_out_who_wants_no_assistant(organisation: Organisation) -> None:
    await store_session(organisation, [("client", "I will hand over the release checklist.")])
    readers = (organisation.coach_a, organisation.client_a, organisation.system)
    assert [await count_found(one) for one in readers] == [1, 1, 1]
    await withdraw(organisation.client_a, "assistant")
    assert [await count_found(one) for one in readers] == [0, 0, 0]
    async with tenant_session(organisation.coach_a) as session:
        assert (await session.execute(text("SELECT count(*) FROM rag.transcripts"))).scalar_one() == 1
    await give(organisation.client_a, "assistant")
    assert [await count_found(one) for one in readers] == [1, 1, 1]


async def count_standing(organisation: Organisation) -> dict[str, int]:
    async with tenant_session(organisation.system) as session:
        return {
            table.__tablename__: await session.scalar(
                select(func.count()).select_from(table).where(table.stale_at.is_(None))
            ) or 0
            for table in (Quote, Claim, Pattern, Insight, EvidencePack)
        }  # fmt: skip


async def test_evidence_goes_stale_at_once_and_is_derived_again(organisation: Organisation) -> None:
    await build_world(organisation)
    client_id = require_id(organisation.client_a)
    await build_client(organisation.tenant_id, client_id, force=True)
    before = await count_standing(organisation)
    assert before["claims"] > 0
    await withdraw(organisation.client_a, "evidence")
    assert set((await count_standing(organisation)).values()) == {0}
    report = await rederive_stale(organisation.tenant_id)
    assert not report.failures
    assert set((await count_standing(organisation)).values()) == {0}
    again = await rederive_stale(organisation.tenant_id)
    assert (sum(again.stale.values()), again.clients) == (0, ())
    await give(organisation.client_a, "evidence")
    assert not (await rederive_stale(organisation.tenant_id)).failures
    after = await count_standing(organisation)
    assert after["claims"] > 0
    assert after["quotes"] > 0


async def test_nothing_is_derived_against_a_persons_will(organisation: Organisation) -> None:
    _, said = await add_session(organisation)
    claim = make_claim(said, PROMISE)
    await withdraw(organisation.client_a, "evidence")
    with pytest.raises(EvidenceWithheld):
        await write_claims(organisation, said, claim)
    with pytest.raises(IntegrityError, match="does not agree to evidence"):
        async with tenant_session(organisation.system) as session:
            await session.execute(
                text(
                    "INSERT INTO evidence.quotes (tenant_id, transcript_id, content_hash, segment_first, segment_last, "
                    "speaker, speaker_id, char_start, char_end, exact, prefix, suffix, method, visibility, client_id, "
                    "coach_id) SELECT t.tenant_id, t.id, t.content_hash, 0, 0, s.speaker, s.speaker_id, 0, 4, "
                    "left(s.text, 4), '', '', 'x', t.visibility, t.client_id, t.coach_id FROM rag.transcripts t "
                    "JOIN rag.transcript_segments s ON s.transcript_id = t.id AND s.segment_index = 0"
                )
            )


async def test_deriving_and_withdrawing_at_once_leave_nothing(organisation: Organisation) -> None:
    sessions = [await add_session(organisation, week) for week in range(6)]

    async def derive(place: int) -> None:
        said = sessions[place][1]
        try:
            await write_claims(organisation, said, make_claim(said, PROMISE))
        except EvidenceWithheld:
            return

    await asyncio.gather(*(derive(n) for n in range(3)), withdraw(organisation.client_a, "evidence"),
                         *(derive(n) for n in range(3, 6)))  # fmt: skip
    assert (await count_standing(organisation))["quotes"] == 0


async def test_what_somebody_does_is_not_counted(organisation: Organisation) -> None:
    async def do(person: Principal) -> None:
        async with tenant_session(person) as session:
            await track_events(session, [("lesson.opened", None, {})])

    async def count() -> int:
        async with tenant_session(organisation.system) as session:
            return await session.scalar(select(func.count()).select_from(AnalyticsEvent)) or 0

    await do(organisation.coach_a)
    await withdraw(organisation.coach_a, "analytics")
    await do(organisation.coach_a)
    await do(organisation.coach_b)
    assert await count() == 2
    await give(organisation.coach_a, "analytics")
    await do(organisation.coach_a)
    assert await count() == 3


class Outside:
    """An embedder outside, which must not be asked."""

    dimensions, is_outside = EMBEDDER.dimensions, True

    def __init__(self, name: str = EMBEDDER.name) -> None:
        self.name = name
        self.asked: list[str] = []

    async def embed(self, texts: Sequence[str]) -> Any:
        self.asked += texts
        return await EMBEDDER.embed(texts)


async def ask(
    monkeypatch: pytest.MonkeyPatch, reader: Principal, question: str, *, outside: bool = True
) -> tuple[ScriptedChat, Outside, Done]:
    model, embedder = ScriptedChat([["The pager goes to Tobias. [1]"]]), Outside()

    async def chosen(*_: object) -> list[ModelChoice]:
        return [ModelChoice(model, 200, None, is_outside=outside)]

    monkeypatch.setattr("rag.answer.list_models", chosen)
    events = [event async for event in answer(Assistant(embedder), reader, question)]
    done = events[-1]
    assert isinstance(done, Done)
    return model, embedder, done


async def test_no_words_leave_for_models_outside(organisation: Organisation, monkeypatch: pytest.MonkeyPatch) -> None:
    await name_people(organisation)
    await store_session(organisation, [("client", "The pager goes to Tobias by Friday.")])
    coach = organisation.coach_a
    question = "What was said about the pager?"
    model, embedder, done = await ask(monkeypatch, coach, question)
    assert model.calls and embedder.asked  # noqa: PT018
    assert done.provider == "scripted"
    await withdraw(organisation.client_a, "external_model")
    model, embedder, done = await ask(monkeypatch, coach, question)
    assert model.calls == []
    assert embedder.asked == [question]  # the coach's own words; nothing of the client's
    assert done.provider == "extractive"
    assert "Tobias" in done.text
    model, _, done = await ask(monkeypatch, coach, question, outside=False)
    assert model.calls
    model, embedder, _ = await ask(monkeypatch, coach, "What did Amina Diallo say about the pager?")
    assert (model.calls, embedder.asked) == ([], [])  # her name is about her
    await give(organisation.client_a, "external_model")
    await withdraw(coach, "external_model")
    model, embedder, done = await ask(monkeypatch, coach, question)
    assert (model.calls, embedder.asked) == ([], [])
    assert "Tobias" in done.text
    async with tenant_session(coach) as session:
        assert (await retrieve(session, embedder, question)).passages
    assert embedder.asked == []


def test_outside_is_what_is_not_this_machine() -> None:
    assert [is_outside_url(url) for url in (
        None, "https://api.openai.com/v1", "http://10.0.0.7:8000/v1", "http://localhost:11434/v1",
        "http://127.0.0.1:9/v1", "http://[::1]:9/v1",
    )] == [True, True, True, False, False, False]  # fmt: skip
    for url, outside in ((None, True), ("http://localhost:11434/v1", False)):
        assert is_outside(OpenAIEmbedder(model="m", dimensions=4, base_url=url)) is outside
    assert not is_outside(EMBEDDER)


async def test_who_goes_leaves_nothing_withheld(organisation: Organisation) -> None:
    async with tenant_session(organisation.system) as session:
        user = await create_user(session, email=f"gone@{organisation.slug}.example", full_name="Gone", role="client")
    gone = Principal(organisation.tenant_id, "client", user.id)
    await withdraw(gone, "assistant")
    async with tenant_session(organisation.system) as session:
        await session.delete(await session.get_one(User, (organisation.tenant_id, user.id)))
    assert await list_withheld(organisation.system) == set()


async def test_no_words_leave_to_be_found_by(organisation: Organisation, tmp_path: Path) -> None:
    """Indexed without a vector, a client's words are found as words."""
    folder = tmp_path / "sessions"
    folder.mkdir()
    slug, lines = organisation.slug, []
    for client, words in (("client_a", "The lighthouse needs paint."), ("client_b", "The harbour needs boats.")):
        (folder / f"{client}.txt").write_text(f"Coach: And then?\nClient: {words}\n")
        lines.append(
            f'{{"key": "{client}.txt", "client": "{client}@{slug}.example", "coach": "coach_a@{slug}.example", '
            '"visibility": "client_visible", "kind": "transcript"}'
        )
    (folder / "manifest.jsonl").write_text("\n".join(lines))
    await withdraw(organisation.client_a, "external_model")
    embedder = Outside()
    report = await ingest_source(organisation.tenant_id, folder.as_uri(), embedder=embedder)
    assert [one.error for one in report.outcomes] == [None, None]
    assert embedder.asked
    assert not any("lighthouse" in one for one in embedder.asked)
    async with tenant_session(organisation.coach_a) as session:
        found = await retrieve(session, EMBEDDER, "lighthouse paint")
        assert "lighthouse" in found.passages[0].text
    async with tenant_session(organisation.system) as session:
        bare = "SELECT count(*) FROM rag.chunk_embeddings WHERE embedding IS NULL AND client_id = :id"
        assert await session.scalar(text(bare), {"id": organisation.client_a.user_id}) == 1
    moved = Outside("another")
    await reembed_chunks(organisation.tenant_id, moved)
    assert moved.asked
    assert not any("lighthouse" in one for one in moved.asked)


async def test_stored_answer_is_sent_nowhere_either(organisation: Organisation) -> None:
    stored = await store_session(organisation, [("client", "The pager goes to Tobias by Friday.")])
    answered = await store_answer(organisation.coach_a, (stored, "The pager goes to Tobias"))

    async def may_leave() -> bool:
        async with tenant_session(organisation.coach_a) as session:
            asked = text("SELECT evaluation.may_leave(:tenant, :id)")
            return bool(await session.scalar(asked, {"tenant": organisation.tenant_id, "id": answered.message_id}))

    assert await may_leave()
    for person in (organisation.client_a, organisation.coach_a):
        await withdraw(person, "external_model")
        assert not await may_leave()
        await give(person, "external_model")
