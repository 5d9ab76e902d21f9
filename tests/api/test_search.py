"""Search and the sources it leads to, over HTTP."""

from datetime import UTC, datetime
from typing import Any

import pytest

from tests.api.conftest import Connect
from tests.factories.people import Organisation
from tests.factories.sessions import Stored, store_document, store_session

MARCH = [("coach", "What about the harbour?"), ("client", "The harbour master wants the plan in writing.")]
APRIL = [("coach", "And the harbour now?"), ("client", "The harbour plan is written and signed.")]


@pytest.fixture
async def stored(organisation: Organisation) -> tuple[Stored, Stored, Stored]:
    return (
        await store_session(organisation, MARCH, held_at=datetime(2026, 3, 12, tzinfo=UTC)),
        await store_session(organisation, APRIL, held_at=datetime(2026, 4, 16, tzinfo=UTC)),
        await store_document(organisation, ["The harbour opens at nine.", "Visitors sign the book."]),
    )


async def search(connect: Connect, person: str, **body: Any) -> dict[str, Any]:
    reply = await connect(person).post("/v1/search", json={"query": "harbour plan"} | body)
    assert reply.status_code == 200, reply.text
    found: dict[str, Any] = reply.json()
    return found


async def test_passages_are_ranked_with_their_place(connect: Connect, stored: tuple[Stored, Stored, Stored]) -> None:
    found = await search(connect, "coach_a")
    assert [item["rank"] for item in found["items"]] == [1, 2, 3]
    assert {item["source_id"] for item in found["items"]} == {str(one.source_id) for one in stored}
    best = found["items"][0]
    assert best["source_kind"] == "transcript"
    assert best["started_s"] == 0.0
    assert (found["coverage"]["sessions_in_scope"], found["coverage"]["documents_in_scope"]) == (2, 1)
    assert found["sources_in_scope"] == 3


async def test_why_not_found_is_told_in_counts_to_an_administrator_alone(
    connect: Connect, organisation: Organisation, stored: tuple[Stored, Stored, Stored]
) -> None:
    async def trace(asker: str, person: str, query: str = "harbour plan in the last session") -> Any:
        body = {"person": f"{person}@{organisation.slug}.example", "query": query}
        return await connect(asker).post("/v1/search/trace", json=body)

    for person in ("coach_a", "client_a", "executive", "evaluator", "compliance"):
        refused = await trace(person, "coach_a")
        assert (refused.status_code, refused.json()["code"]) == (403, "RoleMissing"), person
    reply = await trace("admin", "Coach_A")
    assert reply.status_code == 200, reply.text
    told = reply.json()
    assert [told[name] for name in ("searchable", "visible", "in_scope", "kept")] == [3, 3, 1, 1]
    assert [told[name] for name in ("by_permission", "by_scope", "by_score")] == [0, 2, 0]
    assert (told["narrowed"], told["verdict"][:26]) == (["sessions"], "Most was left out by the q")
    others = (await trace("admin", "client_c", "harbour")).json()
    assert (others["by_permission"], others["verdict"][:27]) == (2, "Most was left out by rights")
    assert "master" not in reply.text + str(others)
    for person, query in (("nobody", "harbour"), ("coach_a", " ")):
        assert (await trace("admin", person, query)).status_code == 422


async def test_filters_and_words_narrow(
    connect: Connect, organisation: Organisation, stored: tuple[Stored, Stored, Stored]
) -> None:
    def sources(found: dict[str, Any]) -> set[str]:
        return {item["source_id"] for item in found["items"]}

    march, april, guide = (str(one.source_id) for one in stored)
    assert sources(await search(connect, "coach_a", source_kinds=["document"])) == {guide}
    assert sources(await search(connect, "coach_a", held_from="2026-04-01T00:00:00Z")) == {april}
    assert sources(await search(connect, "coach_a", source_ids=[march])) == {march}
    assert sources(await search(connect, "coach_a", query="harbour plan in the last session")) == {april}
    plain = await search(connect, "coach_a", query="harbour plan in the last session", understand=False)
    assert sources(plain) == {march, april, guide}
    both = await search(
        connect, "coach_a", query="Amina Diallo's harbour", client_ids=[str(organisation.client_b.user_id)]
    )
    assert both["items"] == []
    assert sources(await search(connect, "client_c")) == {guide}
    assert (await search(connect, "coach_a", query="the harbour in the ninth session"))["items"] == []


async def test_unusable_searches_name_the_field(connect: Connect) -> None:
    for body in ({"query": ""}, {"query": " "}, {"query": "x", "top_k": 0}, {"query": "x", "colour": "red"}):
        reply = await connect("coach_a").post("/v1/search", json=body)
        assert reply.status_code == 422


async def test_transcript_is_read_page_by_page(connect: Connect, organisation: Organisation) -> None:
    turns = [("coach" if n % 2 else "client", f"Turn number {n} of the talk.") for n in range(25)]
    stored = await store_session(organisation, turns)
    url, seen, cursor = f"/v1/transcripts/{stored.source_id}", [], None
    for _ in range(4):
        page = (
            await connect("client_a").get(url, params={"limit": 10} | ({"cursor": cursor} if cursor else {}))
        ).json()
        seen += [segment["text"] for segment in page["segments"]]
        if (cursor := page["next_cursor"]) is None:
            break
    assert seen == [words for _, words in turns]
    around = (await connect("client_a").get(url, params={"limit": 8, "around": 20})).json()
    assert [segment["segment_index"] for segment in around["segments"]] == [18, 19, 20, 21, 22, 23, 24]
    assert (await connect("client_a").get(url, params={"cursor": "-1"})).status_code == 422


async def test_document_is_read_whole(connect: Connect, stored: tuple[Stored, Stored, Stored]) -> None:
    read = (await connect("client_b").get(f"/v1/documents/{stored[2].source_id}")).json()
    assert read["text"] == "The harbour opens at nine.\n\nVisitors sign the book."
    assert read["page_count"] == 2
