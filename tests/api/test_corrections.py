"""Corrections over HTTP: who may ask, who decides, what changes, and that the wrong words are nowhere afterwards."""

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, text, update
from sqlalchemy.exc import DBAPIError

from core.settings import Settings
from db.models import Claim, Correction, IngestedObject, Pattern, Quote
from db.session import tenant_session
from pipelines.evidence.build import build_client
from pipelines.evidence.rederive import rederive_stale
from pipelines.ingest import ingest_source
from tests.api.conftest import Connect
from tests.factories.evidence_world import ROTA, build_world
from tests.factories.people import Organisation
from tests.factories.sessions import EMBEDDER, require_id, store_session

WRONG, RIGHT = "I feel like a fraud at work.", "I feel like a frog at work."
TURNS = [("coach", "How is work?"), ("client", WRONG), ("coach", "Go on."), ("client", "That is all.")]
PATH = "/v1/privacy/corrections"


@pytest.fixture
async def transcript(organisation: Organisation, keys: dict[str, str]) -> str:
    assert keys
    return str((await store_session(organisation, TURNS)).source_id)


async def call(connect: Connect, person: str, method: str, path: str, expected: int, /, **body: Any) -> Any:
    reply = await connect(person).request(method, f"{PATH}{path}", json=body or None)
    assert reply.status_code == expected, (person, method, path, reply.text)
    return reply.json() if reply.content else None


async def read(connect: Connect, transcript: str, person: str = "coach_a") -> list[dict[str, Any]]:
    shown = await connect(person).get(f"/v1/transcripts/{transcript}")
    assert shown.status_code == 200, shown.text
    turns: list[dict[str, Any]] = shown.json()["segments"]
    return turns


async def find_in_store(organisation: Organisation, words: str) -> list[str]:
    """Return the tables of the tenant that hold the words anywhere in a row."""
    found = []
    async with tenant_session(organisation.system) as session:
        tables = (
            await session.execute(
                text("SELECT schemaname || '.' || tablename FROM pg_tables WHERE schemaname IN "
                     "('rag', 'evidence', 'chat', 'governance', 'ingestion', 'coaching')")
            )
        ).scalars().all()  # fmt: skip
        for table in tables:
            may = text("SELECT has_table_privilege(CAST(:t AS text), 'SELECT')")
            if not await session.scalar(may, {"t": table}):
                continue
            query = text(f"SELECT count(*) FROM {table} r WHERE strpos(r::text, :words) > 0")
            if await session.scalar(query, {"words": words}):
                found.append(table)
    return found


async def test_wrong_word_is_corrected_and_kept_nowhere(
    organisation: Organisation, transcript: str, connect: Connect
) -> None:
    asked = await call(
        connect, "client_a", "POST", "", 201, transcript_id=transcript, segment_index=1, proposed_text=RIGHT,
        reason="I said frog.",
    )  # fmt: skip
    assert (asked["kind"], asked["status"], asked["proposed_text"]) == ("turn_words", "requested", RIGHT)
    await call(connect, "client_a", "POST", f"/{asked['id']}/apply", 403)
    await call(connect, "coach_b", "POST", f"/{asked['id']}/apply", 404)
    assert [one["id"] for one in (await call(connect, "compliance", "GET", "", 200))["items"]] == [asked["id"]]
    assert (await call(connect, "client_b", "GET", "", 200))["items"] == []
    before = await read(connect, transcript)
    done = await call(connect, "coach_a", "POST", f"/{asked['id']}/apply", 200)
    assert (done["status"], done["decided_by"]) == ("applied", str(organisation.coach_a.user_id))
    after = await read(connect, transcript)
    assert [one["text"] for one in after] == [RIGHT if one["text"] == WRONG else one["text"] for one in before]
    assert "fraud" not in (await connect("coach_a").post("/v1/search", json={"query": "fraud at work"})).text
    assert RIGHT in (await connect("coach_a").post("/v1/search", json={"query": "frog at work"})).text
    assert await find_in_store(organisation, "fraud") == []
    assert (await call(connect, "coach_a", "POST", f"/{asked['id']}/apply", 409))["code"] == "CorrectionDecided"


async def test_speaker_is_corrected(organisation: Organisation, transcript: str, connect: Connect) -> None:
    client = str(organisation.client_a.user_id)
    asked = await call(
        connect, "coach_a", "POST", "", 201, transcript_id=transcript, segment_index=2, speaker_id=client
    )
    assert (await call(connect, "coach_a", "POST", f"/{asked['id']}/apply", 403))["code"] == "NotTheDecider"
    await call(connect, "compliance", "POST", f"/{asked['id']}/apply", 200)
    async with tenant_session(organisation.system) as session:
        said = await session.execute(
            text("SELECT speaker, speaker_id FROM rag.transcript_segments WHERE segment_index IN (1, 2)")
        )
        assert {(row.speaker, str(row.speaker_id)) for row in said} == {("client", client)}


async def test_a_request_ends_once(transcript: str, connect: Connect, organisation: Organisation) -> None:
    async def ask(words: str = RIGHT) -> str:
        body = {"transcript_id": transcript, "segment_index": 1, "proposed_text": words}
        return str((await call(connect, "client_a", "POST", "", 201, **body))["id"])

    refused, taken_back, outdated, applied = [await ask(f"{RIGHT} {n}") for n in range(4)]
    shown = await call(connect, "coach_a", "POST", f"/{refused}/refuse", 200, decision="It was said so.")
    assert (shown["status"], shown["proposed_text"], shown["decision"]) == ("refused", None, "It was said so.")
    await call(connect, "coach_a", "DELETE", f"/{taken_back}", 404)
    await call(connect, "client_a", "DELETE", f"/{taken_back}", 204)
    await call(connect, "client_a", "DELETE", f"/{taken_back}", 204)
    for one in (refused, taken_back):
        assert (await call(connect, "coach_a", "POST", f"/{one}/refuse", 409, decision="No."))["status"] == 409
    await call(connect, "coach_a", "POST", f"/{applied}/apply", 200)
    assert (await call(connect, "client_a", "DELETE", f"/{applied}", 409))["code"] == "CorrectionDecided"
    assert (await call(connect, "coach_a", "POST", f"/{outdated}/apply", 409))["code"] == "CorrectionOutdated"
    missing: tuple[dict[str, Any], ...] = (
        {"transcript_id": transcript, "segment_index": 99, "proposed_text": "x"},
        {"transcript_id": str(organisation.tenant_id), "segment_index": 0, "proposed_text": "x"},
    )
    for body in missing:
        assert (await call(connect, "client_a", "POST", "", 404, **body))["code"] == "TurnNotFound"
    unusable: tuple[dict[str, Any], ...] = (
        {"transcript_id": transcript, "segment_index": 0}, {"claim_id": transcript}, {},
        {"transcript_id": transcript, "segment_index": 0, "proposed_text": TURNS[0][1]},
    )  # fmt: skip
    for body in unusable:
        assert (await connect("client_a").post(PATH, json=body)).status_code == 422, body
    assert (await connect("client_b").post(
        PATH, json={"transcript_id": transcript, "segment_index": 1, "proposed_text": "x"}
    )).status_code == 404  # fmt: skip


async def test_the_database_holds_the_states(organisation: Organisation, transcript: str, connect: Connect) -> None:
    asked = await call(
        connect, "client_a", "POST", "", 201, transcript_id=transcript, segment_index=1, proposed_text=RIGHT
    )
    tenant = organisation.system

    async def refused(person: Any, pattern: str, **values: Any) -> None:
        with pytest.raises(DBAPIError, match=pattern):
            async with tenant_session(person) as session:
                await session.execute(update(Correction).where(Correction.id == asked["id"]).values(values))

    await refused(tenant, "decided by the client", status="applied")
    await refused(tenant, "decided by the client", status="applied", decided_by=organisation.client_a.user_id)
    await refused(tenant, "decided by the client", status="refused", decided_by=organisation.coach_b.user_id)
    await refused(tenant, "never changed", proposed_text="Other words.")
    await refused(tenant, "permission denied", client_id=organisation.client_b.user_id)
    for person in (organisation.client_a, organisation.coach_a, organisation.compliance):
        async with tenant_session(person) as session:
            changed = await session.execute(
                update(Correction).values(status="applied", decided_by=person.user_id).returning(Correction.id)
            )
            assert changed.all() == [], person.role
    for given in (
        {"status": "applied", "decided_by": organisation.compliance.user_id}, {"kind": "claim"}, {"turn_hash": None},
    ):  # fmt: skip
        values = {
            "tenant_id": organisation.tenant_id, "kind": "turn_words", "requested_by": organisation.client_a.user_id,
            "client_id": organisation.client_a.user_id, "object_id": asked["object_id"], "segment_index": 0,
            "turn_hash": "x", "proposed_text": "x",
        }  # fmt: skip
        with pytest.raises(DBAPIError):
            async with tenant_session(tenant) as session:
                session.add(Correction(**values | given))


async def dispute(connect: Connect, person: str, claim: Any, expected: int) -> Any:
    return await call(connect, person, "POST", "", expected, claim_id=str(claim), reason="I did not mean that.")


async def test_disputed_claim_is_taken_back_for_good(
    organisation: Organisation, keys: dict[str, str], connect: Connect
) -> None:
    assert keys
    await build_world(organisation)
    client_id = require_id(organisation.client_a)
    await build_client(organisation.tenant_id, client_id, force=True)
    async with tenant_session(organisation.system) as session:
        claim = (
            await session.scalars(
                select(Claim).where(Claim.holder_id == client_id, Claim.stale_at.is_(None)).order_by(Claim.id).limit(1)
            )
        ).one()
    assert (await dispute(connect, "coach_a", claim.id, 404))["code"] == "ClaimNotYours"
    done = await dispute(connect, "client_a", claim.id, 201)
    assert (done["kind"], done["status"], done["claim_id"]) == ("claim", "applied", str(claim.id))
    shown = (await connect("client_a").get(f"/v1/claims/{claim.id}")).json()
    assert shown["status"] == "retracted"
    for _ in range(2):
        await rederive_stale(organisation.tenant_id)
        await build_client(organisation.tenant_id, client_id, force=True)
        async with tenant_session(organisation.system) as session:
            states = list(await session.scalars(select(Claim.status).where(Claim.id == claim.id)))
            assert states == ["retracted"]
            under = await session.scalars(
                text("SELECT pattern_id FROM evidence.pattern_claims WHERE claim_id = :id"), {"id": claim.id}
            )
            assert under.all() == []
    async with tenant_session(organisation.system) as session:
        await session.execute(update(Claim).where(Claim.id == claim.id).values(status="asserted"))
        assert await session.scalar(select(Claim.status).where(Claim.id == claim.id)) == "retracted"


async def test_what_stood_on_the_wrong_words_is_stale(
    organisation: Organisation, keys: dict[str, str], connect: Connect
) -> None:
    assert keys
    world = await build_world(organisation)
    asked = await call(
        connect, "client_a", "POST", "", 201, transcript_id=str(world.sessions[0].source_id), segment_index=3,
        proposed_text="The weather keeps me awake. I want to sleep again.",
    )  # fmt: skip
    await call(connect, "coach_a", "POST", f"/{asked['id']}/apply", 200)
    async with tenant_session(organisation.coach_a) as session:
        assert (await session.scalars(select(Pattern.id))).all() == []
        quotes = (await session.scalars(select(Quote.exact))).all()
        assert quotes.count(ROTA) == 1  # the other session's
    assert not (await rederive_stale(organisation.tenant_id)).failures


async def test_source_read_again_is_corrected_again(
    organisation: Organisation, keys: dict[str, str], connect: Connect, api_settings: Settings, tmp_path: Path
) -> None:
    assert keys
    people = organisation
    folder = tmp_path / "sessions"
    folder.mkdir()
    (folder / "one.txt").write_text("\n".join(f"{who.title()}: {words}" for who, words in TURNS))
    slug = people.slug
    (folder / "manifest.jsonl").write_text(
        f'{{"key": "one.txt", "client": "client_a@{slug}.example", "coach": "coach_a@{slug}.example", '
        '"visibility": "client_visible", "kind": "transcript"}\n'
    )

    async def ingest() -> list[tuple[str, str | None]]:
        report = await ingest_source(people.tenant_id, folder.as_uri(), embedder=EMBEDDER, settings=api_settings)
        return [(one.outcome, one.error) for one in report.outcomes]

    assert await ingest() == [("indexed", None)]
    async with tenant_session(people.system) as session:
        transcript = str(await session.scalar(text("SELECT id FROM rag.transcripts")))
        original = await session.scalar(select(IngestedObject.storage_key))
    objects = tmp_path / "objects"
    assert original
    assert (objects / original).exists()
    asked = await call(
        connect, "client_a", "POST", "", 201, transcript_id=transcript, segment_index=1, proposed_text=RIGHT
    )
    await call(connect, "coach_a", "POST", f"/{asked['id']}/apply", 200)
    assert not (objects / original).exists()
    async with tenant_session(people.system) as session:
        await session.execute(update(IngestedObject).values(pipeline_version="older", checksum="older"))
    assert await ingest() == [("indexed", None)]
    assert [one["text"] for one in await read(connect, transcript)][1] == RIGHT
    assert not (objects / original).exists()
    assert await find_in_store(people, "fraud") == []
