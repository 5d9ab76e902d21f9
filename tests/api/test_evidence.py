"""Claims, patterns, commitments and packs over HTTP, as each caller may see them."""

from datetime import UTC, date, datetime
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text

from db.session import tenant_session
from tests.api.conftest import Connect
from tests.factories.evidence import store_claim, store_pattern
from tests.factories.people import Organisation
from tests.factories.sessions import require_id, store_session

MARCH, APRIL = (datetime(2026, month, 12, 9, tzinfo=UTC) for month in (3, 4))
PROMISE, KEPT, SECRET = "I'll raise the rota with Helen.", "I talked to Helen about the rota.", "I have not slept."

Told = dict[str, str]


@pytest.fixture
async def told(organisation: Organisation, keys: dict[str, str]) -> Told:
    """A kept promise, a claim for coaches alone, and a pattern over each: their ids, and the client's."""
    march = await store_session(organisation, [("coach", "And?"), ("client", PROMISE)], held_at=MARCH)
    april = await store_session(organisation, [("client", KEPT)], held_at=APRIL)
    secrets = await store_session(organisation, [("client", SECRET)], held_at=APRIL, visibility="coach_only")
    promise = await store_claim(organisation, march, PROMISE, valid_to=date(2026, 3, 31))
    kept = await store_claim(organisation, april, KEPT, claim_type="progress", settles=promise)
    secret = await store_claim(organisation, secrets, SECRET, claim_type="emotion")
    made = {
        "promise": promise, "kept": kept, "secret": secret, "march": march.source_id, "april": april.source_id,
        "pattern": await store_pattern(organisation, [promise, kept]),
        "hidden": await store_pattern(organisation, [promise, secret], kind="trend"),
        "client": require_id(organisation.client_a),
    }  # fmt: skip
    return {name: str(key) for name, key in made.items()}


async def read(connect: Connect, person: str, path: str, expected: int = 200, /, **query: Any) -> Any:
    reply = await connect(person).get(path, params=query)
    assert reply.status_code == expected, (person, path, reply.text)
    return reply.json()


async def test_claim_leads_to_the_words(connect: Connect, told: Told) -> None:
    claim = await read(connect, "client_a", f"/v1/claims/{told['promise']}")
    assert (claim["statement"], claim["status"], claim["superseded_by"]) == (PROMISE, "kept", told["kept"])
    (quote,) = claim["quotes"]
    assert (quote["exact"], quote["speaker"], quote["started_s"]) == (PROMISE, "Amina Diallo", 10.0)
    path, _, fragment = quote["link"].partition("#char=")
    page = await read(connect, "client_a", path)
    words = "\n".join(turn["text"] for turn in page["segments"])
    start, end = (int(part) - page["segments"][0]["char_start"] for part in fragment.split(","))
    assert words[start:end] == PROMISE


async def test_lists_page_and_narrow(connect: Connect, told: Told) -> None:
    page = await read(connect, "coach_a", "/v1/claims", limit=2)
    rest = await read(connect, "coach_a", "/v1/claims", limit=2, cursor=page["next_cursor"])
    assert rest["next_cursor"] is None
    seen = [one["id"] for one in (*page["items"], *rest["items"])]
    assert len(seen) == 3
    assert seen[-1] == told["promise"]
    for query, expected in (
        ({"type": "commitment"}, ["promise"]), ({"status": "kept", "client": told["client"]}, ["promise"]),
        ({"from": APRIL.isoformat(), "type": "emotion"}, ["secret"]), ({"until": APRIL.isoformat()}, ["promise"]),
        ({"client": str(uuid4())}, []), ({"visibility": "coach_only"}, ["secret"]),
    ):  # fmt: skip
        found = await read(connect, "coach_a", "/v1/claims", **query)
        assert [one["id"] for one in found["items"]] == [told[name] for name in expected], query
    patterns = await read(connect, "coach_a", "/v1/patterns", limit=1)
    more = await read(connect, "coach_a", "/v1/patterns", limit=1, cursor=patterns["next_cursor"])
    assert {patterns["items"][0]["id"], more["items"][0]["id"]} == {told["pattern"], told["hidden"]}
    trends = await read(connect, "coach_a", "/v1/patterns", kind="trend")
    assert [one["id"] for one in trends["items"]] == [told["hidden"]]
    for unusable in (
        {"type": "promise"},
        {"cursor": "x"},
        {"limit": 0},
        {"from": "yesterday"},
        {"client": "Amina"},
        {"visibility": "mine"},
    ):
        await read(connect, "coach_a", "/v1/claims", 422, **unusable)


async def test_what_one_may_not_see_is_not_there(organisation: Organisation, connect: Connect, told: Told) -> None:
    """Every read, by everyone: 200 for whom it is, an empty page or 404 for the others."""
    everybody = {*organisation.people}
    paths = {
        f"/v1/claims/{told['promise']}": {"coach_a", "client_a"},
        f"/v1/claims/{told['secret']}": {"coach_a"},
        f"/v1/patterns/{told['pattern']}": {"coach_a", "client_a"},
        f"/v1/patterns/{told['hidden']}": {"coach_a"},
        f"/v1/clients/{told['client']}/evidence": {"coach_a", "client_a"},
        f"/v1/clients/{told['client']}/evidence/sessions": {"coach_a", "client_a"},
        f"/v1/clients/{told['client']}/commitments": {"coach_a", "client_a"},
    }
    for path, readers in paths.items():
        for person in everybody:
            await read(connect, person, path, 200 if person in readers else 404)
    for path in ("/v1/claims", "/v1/patterns", "/v1/evidence-packs"):
        for person in everybody - {"coach_a", "client_a"}:
            assert (await read(connect, person, path))["items"] == [], (person, path)
    assert (await connect(None).get("/v1/claims")).status_code == 401


async def test_pattern_shows_its_pyramid(connect: Connect, told: Told) -> None:
    pattern = await read(connect, "client_a", f"/v1/patterns/{told['pattern']}")
    assert [(one["role"], one["claim"]["id"]) for one in pattern["pyramid"]] == [
        ("supporting", told["promise"]), ("supporting", told["kept"]),
    ]  # fmt: skip
    assert [one["claim"]["quotes"][0]["exact"] for one in pattern["pyramid"]] == [PROMISE, KEPT]
    assert pattern["sessions_supporting"] == 2


async def test_client_page_counts_and_tells(connect: Connect, told: Told) -> None:
    base = f"/v1/clients/{told['client']}"
    whole = await read(connect, "coach_a", f"{base}/evidence")
    assert (whole["sessions_in_scope"], whole["commitments"], whole["patterns"]) == (
        3, {"kept": 1}, {"recurrence": 1, "trend": 1},
    )  # fmt: skip
    own = await read(connect, "client_a", f"{base}/evidence")
    assert (own["sessions_in_scope"], own["claims"]) == (2, {"commitment": 1, "progress": 1})
    (commitment,) = (await read(connect, "client_a", f"{base}/commitments", state="kept"))["items"]
    assert (commitment["due"], commitment["settled_by"]["quotes"][0]["exact"]) == ("2026-03-31", KEPT)
    page = await read(connect, "client_a", f"{base}/evidence/sessions", limit=1)
    last = await read(connect, "client_a", f"{base}/evidence/sessions", limit=1, cursor=page["next_cursor"])
    assert [one["transcript_id"] for one in (*page["items"], *last["items"])] == [told["april"], told["march"]]
    assert last["next_cursor"] is None
    for path in ("evidence/sessions", "commitments"):  # a coach can look at what the client sees
        theirs = await read(connect, "client_a", f"{base}/{path}")
        assert await read(connect, "coach_a", f"{base}/{path}", visibility="client_visible") == theirs
    (hidden,) = (await read(connect, "coach_a", f"{base}/evidence/sessions", visibility="coach_only"))["items"]
    assert hidden["visibility"] == "coach_only"


async def make(connect: Connect, person: str, status: int = 201, /, **body: Any) -> Any:
    reply = await connect(person).post("/v1/evidence-packs", json=body)
    assert reply.status_code == status, reply.text
    return reply.json()


async def test_pack_of_a_client(connect: Connect, told: Told) -> None:
    made = await make(connect, "client_a", client_id=told["client"])
    assert {one["id"] for one in made["claims"]} == {told["promise"], told["kept"]}
    assert [one["id"] for one in made["patterns"]] == [told["pattern"]]
    assert made["coverage"] == {"sessions_in_scope": 2, "sessions_examined": 2, "sessions_supporting": 2}
    assert await make(connect, "client_a", client_id=told["client"]) == made
    assert await read(connect, "client_a", f"/v1/evidence-packs/{made['id']}") == made
    await read(connect, "coach_a", f"/v1/evidence-packs/{made['id']}", 404)
    listed = await read(connect, "client_a", "/v1/evidence-packs", client=told["client"])
    assert [(one["id"], one["claims"], one["patterns"], one["passages"]) for one in listed["items"]] == [
        (made["id"], 2, 1, 0)
    ]
    assert len((await make(connect, "coach_a", client_id=told["client"]))["claims"]) == 3


async def test_pack_of_a_question(connect: Connect, told: Told) -> None:
    made = await make(connect, "coach_a", question="Did she talk to Helen about the rota?")
    assert {told["promise"], told["kept"]} <= {one["id"] for one in made["claims"]}
    assert told["pattern"] in {one["id"] for one in made["patterns"]}
    about = await make(connect, "coach_a", question="What about the rota?", client_id=told["client"])
    assert (about["client_id"], about["coverage"]["sessions_in_scope"]) == (told["client"], 3)
    nobody = await make(connect, "coach_b", question="Did she talk to Helen about the rota?")
    assert (nobody["claims"], nobody["patterns"]) == ([], [])


async def test_unusable_packs_are_refused(connect: Connect, told: Told) -> None:
    for body in ({}, {"question": ""}, {"question": "  "}, {"question": "x" * 4_001}, {"client": told["client"]}):
        await make(connect, "coach_a", 422, **body)
    for person in ("coach_b", "admin"):
        await make(connect, person, 404, client_id=told["client"])


async def test_erased_session_is_gone_everywhere(organisation: Organisation, connect: Connect, told: Told) -> None:
    pack = await make(connect, "coach_a", client_id=told["client"])
    async with tenant_session(organisation.system) as session:
        await session.execute(text("DELETE FROM rag.transcripts WHERE id = :id"), {"id": UUID(told["march"])})
    for path in (f"claims/{told['promise']}", f"patterns/{told['pattern']}", f"evidence-packs/{pack['id']}"):
        await read(connect, "coach_a", f"/v1/{path}", 404)
    assert PROMISE not in (await connect("coach_a").get("/v1/claims")).text
