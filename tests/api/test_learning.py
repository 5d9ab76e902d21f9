"""Learning over HTTP, from a coach's draft to a certificate a stranger verifies."""

import json
from typing import Any
from uuid import uuid4

import httpx
import pytest

from db.session import tenant_session
from domain.identity import SCOPES, issue_api_key
from tests.api.conftest import Connect, Keys
from tests.domain.test_questions import QUIZ, RIGHT
from tests.factories.people import Organisation
from tests.factories.sessions import require_id

PROGRAM = {"title": "Speaking with ease", "description": "Find words under pressure.", "category": "Leadership",
           "tags": ["voice"], "difficulty_level": "beginner"}  # fmt: skip


@pytest.fixture(autouse=True)
async def admin_key(keys: Keys, organisation: Organisation) -> None:
    """Give the administrator a key that may administer."""
    async with tenant_session(organisation.system) as session:
        user_id = require_id(organisation.admin)
        _, keys["admin"] = await issue_api_key(session, user_id=user_id, name="all", scopes=SCOPES)


def check(reply: httpx.Response, status: int = 200) -> Any:
    assert reply.status_code == status, reply.text
    return reply.json() if reply.content else None


async def write(connect: Connect, **fields: Any) -> tuple[str, str, list[str]]:
    """Write and publish a program of one module and two lessons; return their ids."""
    coach = connect("coach_a")
    program = check(await coach.post("/v1/programs", json=PROGRAM | {"slug": f"s-{uuid4().hex[:8]}"} | fields), 201)
    module = check(await coach.post(f"/v1/programs/{program['id']}/modules", json={"title": "Begin"}), 201)
    lessons = [
        check(
            await coach.post(
                f"/v1/modules/{module['id']}/lessons",
                json={"title": f"Lesson {n}", "content_type": kind, "text_content": "Breathe first."},
            ), 201,
        )
        for n, kind in enumerate(("text", "quiz"))
    ]  # fmt: skip
    check(await connect("admin").post(f"/v1/programs/{program['id']}/publish"))
    return program["id"], module["id"], [lesson["id"] for lesson in lessons]


async def test_from_draft_to_certificate(connect: Connect) -> None:
    program, module, (first, second) = await write(connect)
    coach, client, admin = connect("coach_a"), connect("client_a"), connect("admin")
    quiz = check(
        await coach.post(
            f"/v1/programs/{program}/assessments",
            json={"title": "What stayed", "assessment_type": "quiz", "lesson_id": second, "passing_score": 80,
                  "questions": QUIZ},
        ), 201,
    )  # fmt: skip
    assert all("answer" not in question for question in quiz["questions"])

    check(await client.get(f"/v1/lessons/{first}"), 404)
    outline = check(await client.get(f"/v1/programs/{program}/outline"))
    assert [lesson["title"] for lesson in outline["modules"][0]["lessons"]] == ["Lesson 0", "Lesson 1"]
    enrollment = check(await client.post(f"/v1/programs/{program}/enrollments", json={}), 201)
    again = check(await client.post(f"/v1/programs/{program}/enrollments", json={}), 201)
    assert again["id"] == enrollment["id"]
    lessons = check(await client.get(f"/v1/modules/{module}/lessons"))["items"]
    assert [lesson["text_content"] for lesson in lessons] == ["Breathe first.", "Breathe first."]

    message = {"event_id": str(uuid4()), "lesson_id": first, "percent": 100, "seconds": 60}
    for outcome in ("recorded", "repeated"):
        state = check(await client.post("/v1/progress", json=message))
        assert (state["outcome"], state["time_spent_seconds"]) == (outcome, 60)
    batch = [{"event_id": str(uuid4()), "lesson_id": lesson, "percent": 100} for lesson in (second, str(uuid4()))]
    told = check(await client.post("/v1/progress/batch", json={"messages": batch}))
    assert {state["lesson_id"]: state["progress_percent"] for state in told["lessons"]}[second] == 99
    assert "unknown" in {state["outcome"] for state in told["lessons"]}
    assert told["enrollments"][0]["progress_percent"] == 50
    check(await client.post(f"/v1/enrollments/{enrollment['id']}/certificate"), 409)

    check(await client.get(f"/v1/assessments/{quiz['id']}/questions"), 403)
    attempt = check(await client.post(f"/v1/assessments/{quiz['id']}/attempts"))
    bad = await client.post(f"/v1/submissions/{attempt['id']}/hand-in", json={"answers": {"riddle": "a"}})
    assert check(bad, 422)["code"] == "AnswerToNothing"
    graded = check(await client.post(f"/v1/submissions/{attempt['id']}/hand-in", json={"answers": RIGHT}))
    assert (graded["score"], graded["passed"]) == ("100.00", True)

    certificate = check(await client.post(f"/v1/enrollments/{enrollment['id']}/certificate"))
    assert certificate["completion_score"] == "100.00"
    by_admin = check(await admin.post(f"/v1/enrollments/{enrollment['id']}/certificate"))
    assert by_admin["id"] == certificate["id"]
    code = certificate["verification_code"]
    shown = check(await connect(None).get(f"/v1/certificates/verify/{code}"))
    assert shown["holder"] == "Amina Diallo"
    assert shown["is_revoked"] is False
    assert set(shown) == {
        "holder", "title", "organisation", "certificate_number", "issued_at", "completion_date", "is_revoked",
    }  # fmt: skip
    check(await coach.post(f"/v1/certificates/{certificate['id']}/revoke", json={"reason": "A test"}))
    assert check(await connect(None).get(f"/v1/certificates/verify/{code}"))["is_revoked"] is True
    check(await connect(None).get("/v1/certificates/verify/AAAA-BBBB"), 404)

    rated = check(await client.put(f"/v1/enrollments/{enrollment['id']}/rating", json={"rating": 4, "review": "Good."}))
    assert rated["status"] == "completed"
    assert check(await client.get(f"/v1/programs/{program}"))["average_rating"] == "4.00"
    assert len(check(await coach.get(f"/v1/enrollments/{enrollment['id']}/progress"))["items"]) == 2
    assert check(await admin.get(f"/v1/enrollments/{enrollment['id']}/progress"))["items"] == []


async def test_catalogue_is_searched_and_paged(connect: Connect) -> None:
    coach, client, admin = connect("coach_a"), connect("client_a"), connect("admin")
    ids = [(await write(connect, title=f"Course {n}"))[0] for n in range(3)]
    await write(connect, title="Negotiating calmly", category="Business", tags=["deals"], difficulty_level="advanced")
    draft = check(await coach.post("/v1/programs", json={"title": "Unfinished thoughts"}), 201)
    seen, cursor = [], None
    while True:
        place: dict[str, str] = {"cursor": cursor} if cursor else {}
        page = check(await client.get("/v1/programs", params={"limit": "2", "category": "Leadership", **place}))
        seen += [item["id"] for item in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert seen == ids[::-1]
    for name, value in (("q", "negotiate"), ("tag", "deals"), ("difficulty", "advanced"), ("category", "Business")):
        (found,) = check(await client.get("/v1/programs", params={name: value}))["items"]
        assert found["title"] == "Negotiating calmly"
    for person, there in (("client_a", False), ("coach_b", False), ("coach_a", True), ("admin", True)):
        items = check(await connect(person).get("/v1/programs", params={"status": "draft"}))["items"]
        assert (draft["id"] in {item["id"] for item in items}) == there, person
    for person in ("executive", "compliance", "evaluator"):
        check(await connect(person).get("/v1/programs"), 403)
    check(await client.get("/v1/programs", params={"q": "a\x00b' OR 1=1 --"}))
    check(await client.get(f"/v1/programs/{draft['id']}"), 404)
    check(await coach.post(f"/v1/programs/{draft['id']}/publish"), 403)
    assert check(await admin.post(f"/v1/programs/{draft['id']}/publish"), 409)["code"] == "ProgramNotReady"
    assert (
        check(await coach.post("/v1/programs", json={"title": "Unfinished thoughts"}), 409)["code"]
        == "ProgramSlugTaken"
    )
    check(await admin.delete(f"/v1/programs/{draft['id']}"), 204)
    check(await coach.get(f"/v1/programs/{draft['id']}"), 404)


async def test_authors_change_and_reorder(connect: Connect) -> None:
    program, module, lessons = await write(connect)
    coach, other = connect("coach_a"), connect("coach_b")
    check(await coach.put(f"/v1/modules/{module}/lessons/order", json={"ids": lessons[::-1]}), 204)
    items = check(await coach.get(f"/v1/modules/{module}/lessons"))["items"]
    assert [item["id"] for item in items] == lessons[::-1]
    for ids in (lessons[:1], [*lessons, lessons[0]], [lessons[0], str(uuid4())]):
        check(await coach.put(f"/v1/modules/{module}/lessons/order", json={"ids": ids}), 422)
    second = check(await coach.post(f"/v1/programs/{program}/modules", json={"title": "Go on"}), 201)
    check(await coach.put(f"/v1/programs/{program}/modules/order", json={"ids": [second["id"], module]}), 204)
    taken = await coach.patch(f"/v1/lessons/{lessons[0]}", json={"sequence_order": 1})
    assert check(taken, 409)["code"] == "PlaceTaken"
    moved = check(await coach.patch(f"/v1/lessons/{lessons[0]}", json={"module_id": second["id"], "is_preview": True}))
    assert moved["module_id"] == second["id"]
    assert check(await other.get(f"/v1/lessons/{lessons[0]}"))["text_content"] == "Breathe first."
    for method, path, body in (
        ("patch", f"/v1/programs/{program}", {"title": "Mine now"}),
        ("patch", f"/v1/modules/{module}", {"title": "Mine now"}),
        ("post", f"/v1/modules/{module}/lessons", {"title": "Mine", "content_type": "text"}),
        ("patch", f"/v1/lessons/{lessons[0]}", {"title": "Mine now"}),
        ("post", f"/v1/programs/{program}/archive", None),
    ):
        check(await other.request(method, path, json=body), 403)
    check(await coach.patch(f"/v1/programs/{program}", json={"pricing_type": "one_time"}), 409)
    check(await coach.delete(f"/v1/lessons/{lessons[0]}"), 204)
    check(await coach.delete(f"/v1/modules/{second['id']}"), 204)
    assert check(await coach.get(f"/v1/programs/{program}"))["lesson_count"] == 1
    check(await coach.post(f"/v1/programs/{program}/archive"))
    check(await connect("client_a").post(f"/v1/programs/{program}/enrollments", json={}), 409)


async def test_enrolments_move_by_those_who_may(connect: Connect, organisation: Organisation) -> None:
    program, _, _ = await write(connect)
    client, other, admin = connect("client_a"), connect("client_b"), connect("admin")
    mine = check(await client.post(f"/v1/programs/{program}/enrollments", json={}), 201)
    path = f"/v1/enrollments/{mine['id']}"
    person = str(organisation.client_c.user_id)
    check(await client.post(f"/v1/programs/{program}/enrollments", json={"user_id": person}), 403)
    granted = check(await admin.post(f"/v1/programs/{program}/enrollments", json={"user_id": person}), 201)
    assert granted["payment_type"] == "scholarship"
    check(await admin.post(f"/v1/programs/{program}/enrollments", json={"user_id": str(uuid4())}), 404)
    check(await other.get(path), 404)
    for step in ("drop", "suspend", "complete"):
        check(await other.post(f"{path}/steps", json={"step": step}), 403)
    check(await client.post(f"{path}/steps", json={"step": "complete"}), 403)
    check(await other.put(f"{path}/rating", json={"rating": 1}), 403)
    assert check(await connect("coach_a").post(f"{path}/steps", json={"step": "suspend"}))["status"] == "suspended"
    assert check(await admin.post(f"{path}/steps", json={"step": "resume"}))["status"] == "active"
    assert check(await client.post(f"{path}/steps", json={"step": "drop"}))["status"] == "dropped"
    assert [item["id"] for item in check(await client.get("/v1/enrollments"))["items"]] == [mine["id"]]
    assert check(await client.get("/v1/enrollments", params={"status": "active"}))["items"] == []
    visible = check(await admin.get("/v1/enrollments", params={"scope": "visible", "program": program}))["items"]
    assert {item["id"] for item in visible} == {mine["id"], granted["id"]}


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/programs", {"title": ""}),
        ("/v1/programs", {"title": "x" * 501}),
        ("/v1/programs", {"title": "x", "price_amount": "-1"}),
        ("/v1/programs", {"title": "x", "price_amount": "1.005"}),
        ("/v1/programs", {"title": "x", "currency": "usd"}),
        ("/v1/programs", {"title": "x", "tags": ["t"] * 31}),
        ("/v1/programs", {"title": "x", "thumbnail_url": "javascript:alert(1)"}),
        ("/v1/programs", {"title": "x", "enrollment_count": 9}),
        ("/v1/progress", {"event_id": str(uuid4()), "lesson_id": str(uuid4()), "percent": 101}),
        ("/v1/progress", {"event_id": str(uuid4()), "lesson_id": str(uuid4()), "percent": 1, "seconds": -1}),
        ("/v1/progress/batch", {"messages": []}),
        (
            "/v1/progress/batch",
            {"messages": [{"event_id": str(uuid4()), "lesson_id": str(uuid4()), "percent": 1}] * 501},
        ),
    ],
)
async def test_unusable_input_is_refused_with_a_sentence(connect: Connect, path: str, body: Any) -> None:
    problem = check(await connect("coach_a").post(path, json=body), 422)
    assert problem["detail"].startswith("body")


def raw(body: Any) -> dict[str, Any]:
    """Return the request with surrogates escaped, as JSON may have them."""
    return {"content": json.dumps(body), "headers": {"Content-Type": "application/json"}}


async def test_hostile_texts_are_stored_clean(connect: Connect) -> None:
    program, _, _ = await write(connect)
    coach, client = connect("coach_a"), connect("client_a")
    row = check(
        await coach.patch(
            f"/v1/programs/{program}", **raw({"title": "Nul \x00 and \ud800 surrogate", "tags": ["a\x00b"]})
        )
    )
    assert "\x00" not in row["title"] + row["tags"][0]
    questions = [{"id": "q", "type": "text", "prompt": "\x00\ud800?", "answer": ["\x00yes"]}]
    body = {"title": "T", "assessment_type": "quiz", "questions": questions}
    quiz = check(await coach.post(f"/v1/programs/{program}/assessments", **raw(body)), 201)
    check(await client.post(f"/v1/programs/{program}/enrollments", json={}), 201)
    attempt = check(await client.post(f"/v1/assessments/{quiz['id']}/attempts"))
    path = f"/v1/submissions/{attempt['id']}/hand-in"
    graded = check(await client.post(path, **raw({"answers": {"q": " YES\x00\ud800"}})))
    assert graded["score"] == "0.00"
