"""Community over HTTP: the feed page by page, answers, reactions, conversations, projects."""

import asyncio
from typing import Any
from uuid import uuid4

import pytest

from db.session import tenant_session
from domain.identity import SCOPES, issue_api_key
from tests.api.conftest import Connect, Keys
from tests.factories.people import Organisation
from tests.factories.sessions import require_id

POST = {"title": "A first step", "content": "I spoke up in the meeting.", "category": "story"}
PROJECT = {
    "title": "Quiet hour", "problem_statement": "Nobody rests.", "solution_description": "An hour without calls.",
    "stage": "idea", "support_needed": ["mentorship"],
}  # fmt: skip


@pytest.fixture(autouse=True)
async def administration(organisation: Organisation, keys: Keys) -> None:
    """Give the administrator a key for administration."""
    async with tenant_session(organisation.system) as session:
        user_id = require_id(organisation.admin)
        _, keys["admin"] = await issue_api_key(session, user_id=user_id, name="administration", scopes=SCOPES)


async def make(connect: Connect, person: str, path: str, body: dict[str, Any], **headers: str) -> dict[str, Any]:
    reply = await connect(person).post(path, json=body, headers=headers)
    assert reply.status_code == 201, reply.text
    made: dict[str, Any] = reply.json()
    return made


async def test_the_feed_is_paged_without_gaps(connect: Connect) -> None:
    made = [await make(connect, "coach_a", "/v1/posts", POST | {"title": f"Post {n}"}) for n in range(7)]
    pinned = made[2]["id"]
    reply = await connect("admin").post(f"/v1/posts/{pinned}/feature", json={"is_pinned": True})
    assert reply.json()["is_pinned"]
    seen, cursor = [], None
    for _ in range(4):
        page = await connect("client_a").get("/v1/posts", params={"limit": 2, **({"cursor": cursor} if cursor else {})})
        assert page.status_code == 200, page.text
        seen += [post["id"] for post in page.json()["items"]]
        cursor = page.json()["next_cursor"]
    assert cursor is None
    assert seen == [pinned, *(post["id"] for post in reversed(made) if post["id"] != pinned)]
    forged = await connect("client_a").get("/v1/posts", params={"cursor": "WyJNYXliZSIsICIyMDI2LTAxLTAxIiwgIngiXQ=="})
    assert (forged.status_code, forged.json()["code"]) == (422, "BadCursor")


async def test_a_post_is_written_answered_liked_and_moderated(connect: Connect, organisation: Organisation) -> None:
    post = await make(connect, "client_a", "/v1/posts", POST | {"tags": ["Mut zur Lücke"]})
    assert (post["status"], post["tags"]) == ("published", ["mut-zur-lücke"])
    assert post["author"]["id"] == str(organisation.client_a.user_id)
    url = f"/v1/posts/{post['id']}"
    first = await make(connect, "coach_a", f"{url}/comments", {"content": "Well done."})
    reply = {"content": "Thanks.", "parent_comment_id": first["id"]}
    await make(connect, "client_a", f"{url}/comments", reply)
    for kind in ("like", "love", "bookmark", "bookmark"):
        assert (await connect("client_b").put(f"/v1/reactions/post/{post['id']}/{kind}")).status_code == 204
    shown = (await connect("client_b").get(url)).json()
    assert (shown["like_count"], shown["bookmark_count"], shown["comment_count"]) == (1, 1, 2)
    assert sorted(shown["my_reactions"]) == ["bookmark", "love"]
    marked = (await connect("client_b").get("/v1/reactions", params={"reaction_type": "bookmark"})).json()
    assert [reaction["entity_id"] for reaction in marked["items"]] == [post["id"]]
    bookmarked = (await connect("client_b").get("/v1/posts", params={"reacted": "bookmark"})).json()
    assert [item["id"] for item in bookmarked["items"]] == [post["id"]]
    assert (await connect("client_b").delete(f"/v1/reactions/post/{post['id']}/love")).status_code == 204
    answers = (await connect("client_c").get(f"{url}/comments")).json()["items"]
    assert [(answer["depth"], answer["content"]) for answer in answers] == [(0, "Well done."), (1, "Thanks.")]

    changed = await connect("client_a").patch(url, json={"content": "I whispered.", "title": None})
    assert (changed.json()["content"], changed.json()["title"]) == ("I whispered.", None)
    assert (await connect("client_b").patch(url, json={"content": "x"})).status_code == 403
    assert (await connect("client_b").delete(url)).status_code == 403
    assert (await connect("client_b").post(f"{url}/moderation", json={"status": "removed"})).status_code == 403
    taken = await connect("admin").post(f"{url}/moderation", json={"status": "removed", "note": "Not here."})
    assert taken.json()["status"] == "removed"
    assert (await connect("client_b").get(url)).status_code == 404
    assert (await connect("client_b").get(f"{url}/comments")).status_code == 404
    assert (await connect("client_a").get(url)).json()["moderation_note"] == "Not here."
    removed = (await connect("admin").get("/v1/posts", params={"status": "removed"})).json()
    assert [item["id"] for item in removed["items"]] == [post["id"]]
    assert (await connect("client_b").get("/v1/posts", params={"status": "removed"})).json()["items"] == []


async def test_a_repeated_request_writes_once(connect: Connect) -> None:
    client = connect("client_a")
    replies = await asyncio.gather(
        *(client.post("/v1/posts", json=POST, headers={"Idempotency-Key": "p1"}) for _ in range(10))
    )
    assert {reply.status_code for reply in replies} == {201}
    assert len({reply.json()["id"] for reply in replies}) == 1


@pytest.mark.parametrize("person", ["executive", "compliance", "evaluator"])
async def test_others_have_no_part_in_it(connect: Connect, person: str) -> None:
    for path in ("/v1/posts", "/v1/conversations", "/v1/projects", "/v1/reactions"):
        assert (await connect(person).get(path)).status_code == 403
    assert (await connect(person).post("/v1/posts", json=POST)).status_code == 403


@pytest.mark.parametrize(
    "body",
    [
        {"content": "x" * 50_001}, {"content": ""}, {"category": "rumour"}, {"tags": ["a"] * 11}, {"tags": ["!"]},
        {"media": [{"url": "javascript:alert(1)", "type": "image"}]}, {"visibility": "admin_aggregate"},
        {"media": [{"url": "https://a.example", "type": "image", "extra": "x"}]}, {"title": "x" * 501},
        {"mentions": ["me"]},
    ],
)  # fmt: skip
async def test_what_can_not_be_a_post_is_refused(connect: Connect, body: dict[str, Any]) -> None:
    reply = await connect("client_a").post("/v1/posts", json=POST | body)
    assert (reply.status_code, reply.json()["code"]) == (422, "UnusableRequest")


async def test_clients_do_not_announce_and_nul_is_no_letter(connect: Connect) -> None:
    reply = await connect("client_a").post("/v1/posts", json=POST | {"category": "announcement"})
    assert (reply.status_code, reply.json()["code"]) == (403, "AnnouncementForbidden")
    post = await make(connect, "coach_a", "/v1/posts", POST | {"category": "announcement", "content": "a\x00b"})
    assert post["content"] == "ab"
    found = await connect("client_a").get("/v1/posts", params={"q": "ab", "category": "announcement"})
    assert [item["id"] for item in found.json()["items"]] == [post["id"]]


async def test_two_people_talk_and_nobody_listens(connect: Connect, organisation: Organisation) -> None:
    body = {"recipient_id": str(organisation.coach_a.user_id), "content": "May I ask you something?"}
    file = {"filename": "plan.pdf", "url": "https://files.example/plan", "type": "application/pdf", "size": 9}
    sent = await make(connect, "client_a", "/v1/messages", body | {"attachments": [file]}, **{"Idempotency-Key": "m1"})
    again = await make(connect, "client_a", "/v1/messages", body, **{"Idempotency-Key": "m1"})
    assert again == sent
    assert sent["attachments"] == [file]
    listed = (await connect("coach_a").get("/v1/conversations")).json()["items"]
    assert [(item["unread_count"], item["last_message"]["content"]) for item in listed] == [(1, body["content"])]
    url = f"/v1/conversations/{sent['conversation_id']}"
    assert (await connect("coach_a").post(f"{url}/read", json={})).json() == {"marked": 1}
    assert (await connect("client_a").get(f"{url}/messages")).json()["items"][0]["read_at"] is not None
    for person in ("client_b", "admin", "coach_b"):
        assert (await connect(person).get(f"{url}/messages")).json()["items"] == []
        assert (await connect(person).get(f"/v1/messages/{sent['id']}")).status_code == 404
        assert (await connect(person).delete(f"/v1/messages/{sent['id']}")).status_code == 404
    person_id = organisation.client_a.user_id
    assert (await connect("coach_a").put(f"/v1/blocks/{person_id}")).status_code == 204
    assert (await connect("coach_a").get("/v1/blocks")).json()["items"] == [str(person_id)]
    refused = await connect("client_a").post("/v1/messages", json=body)
    assert (refused.status_code, refused.json()["code"]) == (403, "MessagesNotTaken")
    assert (await connect("coach_a").delete(f"/v1/blocks/{person_id}")).status_code == 204
    await make(connect, "client_a", "/v1/messages", body)
    assert (await connect("coach_a").put(f"/v1/blocks/{uuid4()}")).status_code == 404
    for person in ("client_a", "coach_a"):
        assert (await connect(person).delete(f"/v1/messages/{sent['id']}")).status_code == 204


async def test_a_project_is_approved_and_joined(connect: Connect) -> None:
    project = await make(connect, "client_a", "/v1/projects", PROJECT)
    url = f"/v1/projects/{project['id']}"
    assert project["status"] == "pending"
    assert (await connect("client_b").get(url)).status_code == 404
    waiting = (await connect("admin").get("/v1/projects", params={"status": "pending"})).json()["items"]
    assert [item["id"] for item in waiting] == [project["id"]]
    assert (await connect("coach_a").post(f"{url}/review", json={"status": "approved"})).status_code == 403
    approved = await connect("admin").post(f"{url}/review", json={"status": "approved", "notes": "Yes."})
    assert approved.json()["status"] == "approved"
    found = (await connect("client_b").get("/v1/projects", params={"support": "mentorship", "q": "calls"})).json()
    assert [item["id"] for item in found["items"]] == [project["id"]]
    assert (await connect("client_b").put(f"/v1/reactions/project/{project['id']}/endorse")).status_code == 204
    for _ in range(2):
        asked = await connect("client_b").post(f"{url}/collaborators", json={"role": "Tester", "message": "Please."})
        assert asked.status_code == 204
    assert (await connect("client_a").post(f"{url}/collaborators", json={})).json()["code"] == "OwnProjectJoined"
    assert (await connect("client_c").get(f"{url}/collaborators")).json()["items"] == []
    (request,) = (await connect("client_a").get(f"{url}/collaborators")).json()["items"]
    answer = f"{url}/collaborators/{request['id']}/answer"
    assert (await connect("client_b").post(answer, json={"accept": True})).status_code == 404
    assert (await connect("client_a").post(answer, json={"accept": True})).status_code == 204
    (shown,) = (await connect("client_c").get(f"{url}/collaborators")).json()["items"]
    assert (shown["status"], shown["role"]) == ("accepted", "Tester")
    counts = (await connect("client_c").get(url)).json()
    assert (counts["endorsement_count"], counts["collaboration_request_count"]) == (1, 1)
    assert (await connect("client_b").delete(f"{url}/collaborators/{request['id']}")).status_code == 204
    changed = await connect("client_a").patch(url, json={"title": "A loud hour", "target_market": None})
    assert changed.json()["status"] == "pending"
    own = await make(connect, "admin", "/v1/projects", PROJECT)
    refused = await connect("admin").post(f"/v1/projects/{own['id']}/review", json={"status": "approved"})
    assert (refused.status_code, refused.json()["code"]) == (403, "OwnProjectReviewed")
