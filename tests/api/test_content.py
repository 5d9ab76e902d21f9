"""Content over HTTP: approvals, questions, articles, tags, skills and files."""

from typing import Any
from uuid import uuid4

import pytest

from db.session import tenant_session
from domain.identity import SCOPES, issue_api_key
from tests.api.conftest import Connect, Keys
from tests.factories.people import Organisation
from tests.factories.sessions import require_id

PNG = b"\x89PNG\r\n\x1a\n" + b"\x00" * 32
POST = {"content": "Rest is work too.", "category": "discussion", "draft": True}
QUESTION = {"category": "Start", "question": "How do I begin?", "answer": "With one step."}


@pytest.fixture(autouse=True)
async def administration(organisation: Organisation, keys: Keys) -> None:
    """Give the administrator a key for administration."""
    async with tenant_session(organisation.system) as session:
        user_id = require_id(organisation.admin)
        _, keys["admin"] = await issue_api_key(session, user_id=user_id, name="administration", scopes=SCOPES)


async def make(connect: Connect, person: str, path: str, body: dict[str, Any]) -> dict[str, Any]:
    reply = await connect(person).post(path, json=body)
    assert reply.status_code == 201, reply.text
    made: dict[str, Any] = reply.json()
    return made


async def test_a_post_goes_through_its_reviews(connect: Connect) -> None:
    post = await make(connect, "client_a", "/v1/posts", POST)
    body = {"content_type": "post", "content_id": post["id"]}
    approval = await make(connect, "client_a", "/v1/approvals", body)
    assert (await connect("client_a").post("/v1/approvals", json=body)).json()["code"] == "SubmissionOpen"
    assert (await connect("coach_a").post("/v1/approvals", json=body)).status_code == 404
    url = f"/v1/approvals/{approval['id']}"
    assert (await connect("coach_a").get(url)).status_code == 404
    assert (await connect("coach_a").post(f"{url}/approve", json={"stage": "editorial_review"})).status_code == 403
    waiting = (await connect("admin").get("/v1/approvals", params={"stage": "editorial_review"})).json()["items"]
    assert [item["id"] for item in waiting] == [approval["id"]]
    for stage in ("editorial_review", "brand_review", "legal_review"):
        passed = await connect("admin").post(f"{url}/approve", json={"stage": stage, "notes": "Good."})
        assert passed.status_code == 200, passed.text
    late = await connect("admin").post(f"{url}/reject", json={"stage": "legal_review", "reason": "No."})
    assert (late.status_code, late.json()["code"]) == (409, "ReviewMovedOn")
    assert (await connect("client_b").get(f"/v1/posts/{post['id']}")).json()["status"] == "published"
    own = (await connect("client_a").get("/v1/approvals", params={"mine": True})).json()["items"]
    assert [item["current_stage"] for item in own] == ["approved"]
    second = await make(connect, "client_a", "/v1/posts", POST)
    taken = await make(connect, "client_a", "/v1/approvals", body | {"content_id": second["id"]})
    withdrawn = await connect("client_a").post(f"/v1/approvals/{taken['id']}/withdraw")
    assert withdrawn.json()["current_stage"] == "rejected"


async def test_questions_are_answered_once_for_all(connect: Connect) -> None:
    faq = await make(connect, "admin", "/v1/faqs", QUESTION)
    url = f"/v1/faqs/{faq['id']}"
    assert (await connect("coach_a").post("/v1/faqs", json=QUESTION)).json()["code"] == "FaqNotYours"
    assert (await connect("client_a").post("/v1/faqs", json=QUESTION)).status_code == 403
    for _ in range(2):
        assert (await connect("client_a").put(f"{url}/helpful")).json()["helpful_count"] == 1
    found = (await connect("client_b").get("/v1/faqs", params={"q": "beginning", "category": "Start"})).json()["items"]
    assert [(item["id"], item["helpful_count"], item["is_helpful"]) for item in found] == [(faq["id"], 1, False)]
    assert (await connect("client_a").delete(f"{url}/helpful")).json()["helpful_count"] == 0
    changed = await connect("admin").patch(url, json={"is_published": False})
    assert changed.json()["is_published"] is False
    assert (await connect("client_a").get(url)).status_code == 404
    figures = await make(connect, "admin", "/v1/faqs", QUESTION | {"visibility": "admin_aggregate"})
    seen = (await connect("executive").get("/v1/faqs")).json()["items"]
    assert [item["id"] for item in seen] == [figures["id"]]
    assert (await connect("compliance").get("/v1/faqs")).json()["items"] == []
    assert (await connect("admin").delete(url)).status_code == 204


async def test_articles_are_written_and_found(connect: Connect) -> None:
    article = await make(connect, "coach_a", "/v1/blog-posts", {"title": "On rest", "content": "Rest is work too."})
    url = f"/v1/blog-posts/{article['id']}"
    assert (await connect("client_a").get(url)).status_code == 404
    published = await connect("coach_a").patch(url, json={"status": "published", "summary": "Short."})
    assert published.json()["published_at"] is not None
    skill = await make(connect, "coach_a", "/v1/skills", {"name": "Resting", "category": "craft"})
    assert (await connect("coach_a").put(f"{url}/skills", json={"skill_ids": [skill["id"]]})).status_code == 204
    assert (await connect("coach_b").put(f"{url}/skills", json={"skill_ids": []})).status_code == 404
    for params in ({"q": "resting"}, {"skill": skill["id"]}, {}):
        found = (await connect("client_a").get("/v1/blog-posts", params=params)).json()["items"]
        assert [item["id"] for item in found] == [article["id"]]
    assert (await connect("coach_b").patch(url, json={"title": "Mine"})).status_code == 403
    assert (await connect("coach_a").delete(url)).status_code == 204


async def test_tags_and_skills_are_listed_by_their_letters(connect: Connect, organisation: Organisation) -> None:
    for words in (["Mut", "Ruhe"], ["Mut"]):
        await make(connect, "client_a", "/v1/posts", POST | {"tags": words})
    listed = (await connect("client_b").get("/v1/tags")).json()["items"]
    assert [(tag["slug"], tag["usage_count"]) for tag in listed] == [("mut", 2), ("ruhe", 1)]
    tag = await make(connect, "admin", "/v1/tags", {"name": "Mutig sein", "category": "topic"})
    found = (await connect("client_b").get("/v1/tags", params={"q": "MUT"})).json()["items"]
    assert [item["slug"] for item in found] == ["mut", "mutig-sein"]
    assert (await connect("admin").delete(f"/v1/tags/{listed[0]['id']}")).json()["code"] == "TagInUse"
    assert (await connect("admin").patch(f"/v1/tags/{tag['id']}", json={"category": None})).json()["category"] is None
    assert (await connect("admin").delete(f"/v1/tags/{tag['id']}")).status_code == 204
    skill = await make(connect, "coach_a", "/v1/skills", {"name": "Listening"})
    own = {"skills": [{"skill_id": skill["id"], "level": "expert"}]}
    assert (await connect("client_a").put("/v1/me/skills", json=own)).status_code == 204
    unknown = {"skills": [{"skill_id": str(uuid4())}]}
    assert (await connect("client_a").put("/v1/me/skills", json=unknown)).status_code == 404
    url = f"/v1/users/{organisation.client_a.user_id}/skills"
    assert [item["level"] for item in (await connect("coach_a").get(url)).json()["items"]] == ["expert"]
    assert (await connect("coach_b").get(url)).json()["items"] == []
    assert (await connect("client_a").post("/v1/skills", json={"name": "Flying"})).status_code == 403
    assert (await connect("admin").delete(f"/v1/skills/{skill['id']}")).status_code == 204


async def test_a_file_is_what_its_bytes_say(connect: Connect) -> None:
    files = {"file": ("holiday.html", PNG, "text/html")}
    sent = await connect("coach_a").post("/v1/media", files=files, data={"usage_type": "profile_photo"})
    assert sent.status_code == 201, sent.text
    asset = sent.json()
    assert (asset["file_type"], asset["file_size_bytes"], asset["filename"]) == ("image/png", len(PNG), "holiday.html")
    url = f"/v1/media/{asset['id']}"
    read = await connect("coach_a").get(f"{url}/content")
    assert (read.content, read.headers["content-type"]) == (PNG, "image/png")
    assert read.headers["content-disposition"] == "attachment"
    for path in (url, f"{url}/content"):
        assert (await connect("client_a").get(path)).status_code == 404
    page = {"file": ("a.png", b"<html><script>alert(1)</script></html>", "image/png")}
    refused = await connect("coach_a").post("/v1/media", files=page)
    assert (refused.status_code, refused.json()["code"]) == (422, "FileTypeRefused")
    shown = {"url": "https://files.example/a", "type": "image", "asset_id": asset["id"]}
    await make(connect, "coach_a", "/v1/posts", POST | {"media": [shown]})
    assert (await connect("coach_a").delete(url)).json()["code"] == "MediaInUse"
    unused = await connect("coach_a").get("/v1/media", params={"unused": True})
    assert unused.json()["items"] == []
    assert (await connect("client_a").delete(url)).status_code == 404
