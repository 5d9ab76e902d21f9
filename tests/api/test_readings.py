"""Who reads words leaves an entry that says so, by ids alone, whatever the surface; compliance finds it, no words."""

import asyncio
import json
from datetime import timedelta
from hashlib import sha256
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from sqlalchemy import func, select, text, update
from sqlalchemy.exc import DBAPIError

from core.settings import Settings
from db.models import AuditHead, AuditLog, AuditPending, AuditReading, DataExport
from db.session import tenant_session
from domain import exports
from domain.audit_chain import check_chain
from domain.corrections import request_turn
from domain.feedback import give_feedback as judge_answer
from domain.governance import record_event
from domain.insights import edit_insight
from domain.objects import tenant_store
from domain.practice import write_note
from domain.reading import link_tenant, list_passages_read, reading_through, record_reading
from domain.reviews import give_feedback
from domain.shared_links import share
from evaluation.proposals import propose_from_feedback
from evaluation.run import run_suite
from pipelines.privacy.export import name_object
from rag.retrieve import retrieve
from tests.api.conftest import Connect
from tests.architecture.test_readings import RECORDED
from tests.domain.test_assessments import add_quiz, hand_in, start
from tests.domain.test_questions import RIGHT
from tests.evaluation.test_run import ASSISTANT, CASES, TALKS, make_suite, people
from tests.factories.answers import agree, store_answer
from tests.factories.courses import enroll_free, write_course
from tests.factories.evidence_world import PROMISE, TURNS, World, build_world
from tests.factories.people import Organisation, found_organisation
from tests.factories.practice import hold
from tests.factories.sessions import EMBEDDER, NAMES, require_id, store_document, store_session

__all__ = ["people"]

Ask = tuple[str, str, str, dict[str, Any]]
"""Person, method, path and body."""
SAID = "Kaleidoscopes in Zanzibar"
QUESTION = f"What will she do about the release checklist? {SAID}"
TOLD = [
    SAID, "Kaleidoscope", PROMISE, *(words for _, words in TURNS), *(words for talk in TALKS for words in talk),
    *NAMES.values(), "Session of 2026", "Programme guide", "example", "The rota",
]  # fmt: skip
"""Words of every kind that there are in the organisation."""


async def find_linked(organisation: Organisation, after: int) -> list[AuditLog]:
    """Link what waits and return the readings since that place, the chain checked."""
    await link_tenant(organisation.tenant_id)
    async with tenant_session(organisation.compliance) as session:
        assert (await check_chain(session)).fault is None
        rows = await session.scalars(select(AuditLog).where(AuditLog.sequence > after).order_by(AuditLog.sequence))
        return [row for row in rows if "read" in (row.metadata_ or {})]


async def count(organisation: Organisation) -> int:
    async with tenant_session(organisation.system) as session:
        return await session.scalar(select(AuditHead.sequence)) or 0


async def plant(organisation: Organisation, settings: Settings) -> dict[str, Ask]:
    """Store something for every route to read and return, by operation, who asks how."""
    await store_session(organisation, [("client", f"{SAID} are what I love.")])
    document = await store_document(organisation, [f"A guide to {SAID}."])
    world: World = await build_world(organisation)
    coach, client = organisation.coach_a, organisation.client_a
    await agree(client)
    answered = await store_answer(coach, (world.sessions[0], PROMISE), question=QUESTION, client=client)
    async with tenant_session(coach) as session:
        await judge_answer(
            session, target_type="message", target_id=answered.message_id, rating=-1, may_be_studied=True
        )
        await edit_insight(session, world.insight, title=SAID, body=SAID)
    async with tenant_session(organisation.system) as session:
        assert await propose_from_feedback(session) == 1
        proposal = (await session.execute(text("SELECT id FROM evaluation.case_proposals"))).scalar_one()
    held = await hold(organisation)
    async with tenant_session(coach) as session:
        await write_note(session, held, by=coach, kind="coach_notes", content=SAID)
    async with tenant_session(client) as session:
        await give_feedback(session, held, by=client, rating=5, feedback_text=SAID)
    course = await write_course(organisation, (2,))
    quiz = await add_quiz(organisation, course)
    await enroll_free(organisation, course, client)
    submission = await start(organisation, quiz, client)
    await hand_in(organisation, submission, client, RIGHT)
    suite = make_suite(*CASES[:2], user=f"coach_a@{organisation.slug}.example", tenant=organisation.slug)

    async def find(_tenant: str, _email: str) -> Any:
        return organisation.admin

    transcript = world.sessions[0].source_id
    async with tenant_session(coach) as session:
        _, token = await share(session, message_id=answered.message_id)
    async with tenant_session(client) as session:
        wrong = await request_turn(
            session, transcript_id=transcript, segment_index=1, proposed_text=SAID, speaker_id=None, reason=None
        )
        copy = await exports.request_export(session, client, user_id=require_id(client))
    key, zipped = name_object(organisation.tenant_id, copy.id), b"PK, as far as anybody looks"
    await (await tenant_store(organisation.tenant_id, settings)).write(key, zipped)
    async with tenant_session(organisation.system) as session:
        ready = {"status": "ready", "object_key": key, "size_bytes": len(zipped), "sha256": sha256(zipped).digest()}
        await session.execute(update(DataExport).values(status="running"))
        in_an_hour = func.now() + timedelta(hours=1)
        await session.execute(update(DataExport).values(ready | {"expires_at": in_an_hour, "completed_at": func.now()}))
    async with tenant_session(client) as session:
        link = await exports.make_link(session, client, copy.id)
    runs = [(await run_suite(ASSISTANT, suite, find_reader=find, anew=True)).experiment_id for _ in range(2)]
    talks = f"/v1/chat/sessions/{answered.session_id}/messages"
    proposals = f"/v1/evaluations/proposals/{proposal}"
    get = {
        "listCaseProposals": "/v1/evaluations/proposals",
        "getClaim": f"/v1/claims/{world.rota[0].claim_id}", "listClaims": "/v1/claims",
        "listPatterns": "/v1/patterns", "getPattern": f"/v1/patterns/{world.pattern}",
        "listClientCommitments": f"/v1/clients/{require_id(client)}/commitments",
        "getTranscript": f"/v1/transcripts/{transcript}", "listCorrections": "/v1/privacy/corrections",
        "getCorrection": f"/v1/privacy/corrections/{wrong.id}",
        "getDocument": f"/v1/documents/{document.source_id}", "listInsights": "/v1/insights",
        "getInsight": f"/v1/insights/{world.insight}", "listInsightReviews": f"/v1/insights/{world.insight}/reviews",
        "listChatMessages": talks, "getCaseProposal": proposals, "listSessionNotes": f"/v1/sessions/{held}/notes",
        "getSessionFeedback": f"/v1/sessions/{held}/feedback", "listCoachingSessions": "/v1/sessions",
        "getCoachingSession": f"/v1/sessions/{held}", "listSubmissions": "/v1/submissions",
        "getSubmission": f"/v1/submissions/{submission}",
    }  # fmt: skip
    asks: dict[str, Ask] = {name: ("coach_a", "GET", path, {}) for name, path in get.items() if name in RECORDED}
    asks["makeEvidencePack"] = ("coach_a", "POST", "/v1/evidence-packs", {"client_id": str(require_id(client))})
    asks["search"] = ("coach_a", "POST", "/v1/search", {"query": QUESTION})
    asks["askInChatSession"] = ("coach_a", "POST", talks, {"content": QUESTION})
    question = {"model": "sasha", "messages": [{"role": "user", "content": QUESTION}]}
    asks["createChatCompletion"] = ("coach_a", "POST", "/v1/chat/completions", question)
    asks["confirmCaseProposal"] = ("coach_a", "POST", f"{proposals}/confirm", {"quotes": [1]})
    asks["rejectCaseProposal"] = ("coach_a", "POST", f"{proposals}/reject", {"reason": SAID})
    asks["openShare"] = ("coach_b", "GET", f"/v1/shares/{token}", {})
    asks["downloadDataExport"] = (
        "client_a", "GET", f"/v1/privacy/exports/{copy.id}/download?token={link.token}", {},
    )  # fmt: skip
    speakers = f"/v1/ingestions/{world.sessions[0].object_id}/speakers"
    asks["getSpeakers"] = ("coach_a", "GET", speakers, {})
    asks["saySpeakers"] = ("coach_a", "PATCH", speakers, {"speakers": {"client": "client"}})
    run = f"/v1/evaluations/{runs[1]}"
    for name, path in (
        ("listEvaluationCases", f"{run}/cases"), ("compareEvaluation", f"{run}/comparison?baseline={runs[0]}"),
        ("readEvaluationReport", f"{run}/report"),
    ):  # fmt: skip
        asks[name] = ("admin", "GET", path, {})
    return asks


async def test_every_recorded_route_leaves_one_entry_before_it_answers(
    people: Organisation, connect: Connect, api_settings: Settings
) -> None:
    asks = await plant(people, api_settings)
    pack = await connect("coach_a").post("/v1/evidence-packs", json=asks["makeEvidencePack"][3])
    asks["getEvidencePack"] = ("coach_a", "GET", f"/v1/evidence-packs/{pack.json()['id']}", {})
    assert set(asks) == RECORDED
    silent, silly = [], []
    for name, (person, method, path, body) in asks.items():
        await link_tenant(people.tenant_id)
        before = await count(people)
        reply = await connect(person).request(method, path, json=body or None, headers={"User-Agent": "a test"})
        assert reply.status_code in (200, 201), (name, reply.text)
        found = await find_linked(people, before)
        if not found:
            silent.append(name)
        # an answer is found in one transaction, and what was derived from its passages is read in a second
        if len(found) > (2 if name in ("askInChatSession", "createChatCompletion") else 1):
            silly.append((name, [one.action for one in found]))
        for one in found:
            told = one.metadata_ or {}
            assert (one.actor_id, one.actor_role) == (people.people[person].user_id, person.partition("_")[0]), name
            assert (told["surface"], one.user_agent) == ("api", "a test"), name
            assert all(UUID(key) for ids in told["read"].values() for key in ids), name
    assert (silent, silly) == ([], [])
    page = await connect("coach_a").get(asks["getTranscript"][2], headers={"Sec-Fetch-Mode": "cors"})
    assert page.status_code == 200
    (last,) = await find_linked(people, await count(people))
    assert (last.metadata_ or {})["surface"] == "web"
    await assert_no_words(people, connect)


async def assert_no_words(organisation: Organisation, connect: Connect) -> None:
    """Look for every word there is in the log, in the list of readings and in what compliance is shown."""
    async with tenant_session(organisation.system) as session:
        for table in ("audit_logs", "audit_pending", "audit_readings", "reading_windows", "audit_anchors"):
            whole = (await session.execute(text(f"SELECT string_agg(t::text, ' ') FROM governance.{table} t"))).scalar()
            assert [word for word in TOLD if word in (whole or "")] == [], table
    cursor, pages = None, 0
    while pages == 0 or cursor:
        query = {"limit": 200} | ({"cursor": cursor} if cursor else {})
        reply = await connect("compliance").get("/v1/audit", params=query)
        assert reply.status_code == 200
        assert [word for word in TOLD if word in reply.text] == []
        cursor, pages = reply.json()["next_cursor"], pages + 1


async def test_compliance_reads_no_content(people: Organisation, connect: Connect, api_settings: Settings) -> None:
    """Of all routes that serve words, none serves the words of clients to whoever answers for the log."""
    asks = await plant(people, api_settings)
    del asks["downloadDataExport"]  # its link is made for one person and asks nobody else who they are
    for name, (_, method, path, body) in asks.items():
        reply = await connect("compliance").request(method, path, json=body or None)
        words = [*(words for _, words in TURNS), *(words for talk in TALKS for words in talk[1:]), f"{SAID} are"]
        assert [word for word in words if word in reply.text] == [], name


async def read(connect: Connect, **query: Any) -> list[dict[str, Any]]:
    reply = await connect("compliance").get("/v1/audit", params=query)
    assert reply.status_code == 200, reply.text
    items: list[dict[str, Any]] = reply.json()["items"]
    return items


async def test_who_read_this_and_who_read_about_them(people: Organisation, connect: Connect) -> None:
    world = await build_world(people)
    transcript, client = str(world.sessions[0].source_id), str(require_id(people.client_a))
    for person in ("coach_a", "client_a", "coach_a"):
        assert (await connect(person).get(f"/v1/transcripts/{transcript}")).status_code == 200
    claims = (await connect("coach_a").get("/v1/claims")).json()["items"]
    assert (await connect("coach_b").get("/v1/claims")).json()["items"] == []
    assert (await connect("coach_b").get(f"/v1/transcripts/{transcript}")).status_code == 404
    quote = claims[0]["quotes"][0]["id"]
    found = await read(connect, read_kind="transcript", read_id=transcript)
    people_ids = [str(require_id(people.people[name])) for name in ("coach_a", "coach_a", "client_a", "coach_a")]
    assert [one["actor_id"] for one in found] == people_ids, "the newest first, those who got nothing left out"
    assert [one["action"] for one in found] == ["evidence_read", *["transcript_read"] * 3]
    assert [one["action"] for one in await read(connect, read_kind="quote", read_id=quote)] == ["evidence_read"]
    assert len(await read(connect, client_id=client)) == 4
    both = await read(connect, client_id=client, read_kind="quote", read_id=quote, actor_id=people_ids[0])
    assert [one["metadata"]["read"]["quote"].count(quote) for one in both] == [1]
    assert await read(connect, client_id=str(require_id(people.client_b))) == []
    assert await read(connect, read_kind="transcript", read_id=str(uuid4())) == []
    assert (
        len(await read(connect, client_id=client, action="transcript_read", **{"from": found[1]["occurred_at"]})) == 1
    )
    paged = await connect("compliance").get("/v1/audit", params={"client_id": client, "limit": 3})
    rest = await connect("compliance").get(
        "/v1/audit", params={"client_id": client, "limit": 3, "cursor": paged.json()["next_cursor"]}
    )
    assert [one["id"] for one in (*paged.json()["items"], *rest.json()["items"])] == [one["id"] for one in found]
    told = (await read(connect, action="audit_log_read"))[0]["metadata"]
    assert (told["filters"], told["client_id"]) == (["client_id"], client)
    for wrong in (
        {"read_kind": "quote"},
        {"read_id": quote},
        {"read_kind": "chunk", "read_id": quote},
        {"read_kind": "x"},
    ):
        assert (await connect("compliance").get("/v1/audit", params=wrong)).status_code == 422, wrong
    for person in set(people.people) - {"compliance"}:
        assert (await connect(person).get("/v1/audit", params={"client_id": client})).status_code == 403


async def test_what_is_undone_was_not_read_and_what_is_read_is_noted(people: Organisation) -> None:
    before = await count(people)
    stored = await store_session(people, [("client", "The altos sing.")])

    async def fail() -> None:
        async with tenant_session(people.coach_a) as session:
            await record_reading(session, "transcript_read", {"transcript": [stored.source_id]})
            raise LookupError

    with pytest.raises(LookupError):
        await fail()
    assert await find_linked(people, before) == []
    async with tenant_session(people.coach_a) as session:
        await record_reading(session, "transcript_read", {"transcript": [], "client": [None]})
    assert await find_linked(people, before) == [], "nothing was there to read"
    async with tenant_session(people.coach_a, isolation="SERIALIZABLE") as session:
        with reading_through("cli"):
            await record_reading(session, "transcript_read", {"transcript": [stored.source_id] * 3})
    async with tenant_session(people.system) as session:
        assert await session.scalar(select(func.count()).select_from(AuditPending)) == 1
    (one,) = await find_linked(people, before)
    assert one.metadata_ == {"surface": "cli", "read": {"transcript": [str(stored.source_id)]}}


async def test_more_than_an_entry_holds_is_counted(people: Organisation) -> None:
    before = await count(people)
    async with tenant_session(people.coach_a) as session:
        await record_reading(session, "passages_retrieved", {"chunk": [uuid4() for _ in range(2_100)]})
    (one,) = await find_linked(people, before)
    assert one.metadata_ is not None
    assert (len(one.metadata_["read"]["chunk"]), one.metadata_["left_out"]) == (2_000, 100)


async def test_a_hundred_readers_and_writers_make_one_chain(people: Organisation) -> None:
    """Searches never wait for the chain; whoever links meanwhile loses none and links none twice."""
    before = await count(people)

    async def search(number: int) -> None:
        async with tenant_session(people.coach_a) as session:
            found = await retrieve(session, EMBEDDER, TALKS[number % len(TALKS)][1], top_k=3)
            await record_reading(session, "passages_retrieved", list_passages_read(found.passages))

    async def write(number: int) -> None:
        async with tenant_session(people.system) as session:
            await record_event(session, action="counted", metadata={"number": number})

    async def link() -> None:
        await link_tenant(people.tenant_id)

    await asyncio.gather(
        *(search(number) for number in range(100)),
        *(write(number) for number in range(20)),
        *(link() for _ in range(10)),
    )
    assert len(await find_linked(people, before)) == 100
    async with tenant_session(people.system) as session:
        places = await session.scalars(select(AuditLog.sequence).order_by(AuditLog.sequence))
        assert list(places) == list(range(1, await count(people) + 1))
        listed = await session.scalar(
            select(func.count(AuditReading.sequence.distinct())).where(AuditReading.sequence > before)
        )
        assert listed == 100


async def test_a_commit_links_no_more_than_some(people: Organisation) -> None:
    before = await count(people)
    async with tenant_session(people.coach_a) as session:
        for _ in range(250):
            await record_reading(session, "transcript_read", {"transcript": [uuid4()]})
    async with tenant_session(people.system) as session:
        await record_event(session, action="counted")
    assert await count(people) == before + 1 + 100
    assert len(await find_linked(people, before)) == 250


LOOSE = {
    "a word as an action": ("'Amina_read'", "'{transcript}'", "ARRAY[uuidv7()]", "'api'"),
    "a word as a kind": ("'transcript_read'", "ARRAY['Amina said so']", "ARRAY[uuidv7()]", "'api'"),
    "a word as a surface": ("'transcript_read'", "'{transcript}'", "ARRAY[uuidv7()]", "'My phone'"),
    "a word as an id": ("'transcript_read'", "'{transcript}'", "ARRAY['Amina']::uuid[]", "'api'"),
    "more ids than kinds": ("'transcript_read'", "'{transcript}'", "ARRAY[uuidv7(), uuidv7()]", "'api'"),
    "nothing": ("'transcript_read'", "'{}'", "'{}'::uuid[]", "'api'"),
    "no reading": ("'user_deleted'", "'{transcript}'", "ARRAY[uuidv7()]", "'api'"),
}


@pytest.mark.parametrize("case", LOOSE)
async def test_the_store_takes_no_word_as_a_reading(people: Organisation, case: str) -> None:
    action, kinds, ids, surface = LOOSE[case]
    given = f"{action}, null, null, null, {kinds}::text[], {ids}, {surface}, 0"
    with pytest.raises(DBAPIError):
        async with tenant_session(people.coach_a) as session:
            await session.execute(text(f"SELECT governance.record_reading({given})"))


async def test_app_writes_no_reading_by_hand(people: Organisation) -> None:
    other = await found_organisation()
    for statement in (
        ("INSERT INTO governance.audit_readings (tenant_id, kind, target_id, sequence, occurred_at) "
        "VALUES (current_setting('app.tenant_id')::uuid, 'transcript', uuidv7(), 1, now())"),
        "DELETE FROM governance.audit_readings", "UPDATE governance.audit_readings SET sequence = 1",
        "TRUNCATE governance.audit_readings", "DELETE FROM governance.audit_pending",
        ("SELECT governance.record_event('transcript_read', null, null, null, null, "
        "jsonb_build_object('read', jsonb_build_object('transcript', jsonb_build_array('nobody'))), 'info')"),
    ):  # fmt: skip
        with pytest.raises(DBAPIError) as refusal:
            async with tenant_session(people.system) as session:
                await session.execute(text(statement))
        assert isinstance(refusal.value.orig, psycopg.errors.InsufficientPrivilege), statement
    async with tenant_session(people.coach_a) as session:
        await record_reading(session, "transcript_read", {"transcript": [uuid4()]})
    await link_tenant(people.tenant_id)
    for name, person in (*people.people.items(), ("another's compliance", other.compliance)):
        async with tenant_session(person) as session:
            seen = await session.scalar(select(func.count()).select_from(AuditReading)) or 0
            assert (seen > 0) == (name == "compliance"), name


async def test_a_stream_is_noted_before_its_first_word(people: Organisation, connect: Connect) -> None:
    """Who leaves after the first event has read what it held."""
    from rag.answer import answer

    before = await count(people)
    events = answer(ASSISTANT, people.coach_a, f"What is known about {TALKS[0][0]}?")
    first = await anext(events)
    async with tenant_session(people.system) as session:
        waiting = list(await session.scalars(select(AuditPending)))
    assert [one.action for one in waiting] == ["passages_retrieved"]
    shown = {str(chunk) for passage in first.passages for chunk in passage.chunk_ids}  # type: ignore[union-attr]  # SourcesFound
    assert waiting[0].metadata_ is not None
    assert set(waiting[0].metadata_["read"]["chunk"]) == shown
    await events.aclose()
    assert len(await find_linked(people, before)) == 1
    assert json.dumps(waiting[0].metadata_).count("greenhouse") == 0
