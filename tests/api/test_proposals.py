"""Proposed cases over HTTP: each person sees and decides their own, in words they may read."""

from typing import Any

import pytest

from db.session import tenant_session
from domain.feedback import give_feedback
from evaluation.proposals import propose_from_feedback
from tests.api.conftest import Connect, issue_keys
from tests.factories.answers import Answered, agree, store_answer
from tests.factories.people import Organisation, found_organisation
from tests.factories.sessions import store_session

PROMISE = "I'll mend the greenhouse roof before the first frost."
FACT = "The roof leaks over the tomato beds."


@pytest.fixture
async def proposed(organisation: Organisation, keys: dict[str, str]) -> list[Answered]:
    """Two answers to coach_a's questions that may be studied, proposed one after the other."""
    await agree(organisation.client_a)
    stored = await store_session(organisation, [("client", FACT), ("coach", "And then?"), ("client", PROMISE)])
    answers = []
    for words, question in ((PROMISE, "What did she promise?"), (FACT, "What is wrong with the roof?")):
        answer = await store_answer(organisation.coach_a, (stored, words), question=question)
        async with tenant_session(organisation.coach_a) as session:
            await give_feedback(
                session, target_type="message", target_id=answer.message_id, rating=-1, may_be_studied=True
            )
        async with tenant_session(organisation.system) as session:
            assert await propose_from_feedback(session) == 1
        answers.append(answer)
    return answers


async def call(connect: Connect, person: str, method: str, path: str, expected: int = 200, /, **body: Any) -> Any:
    reply = await connect(person).request(method, f"/v1/evaluations/proposals{path}", json=body or None)
    assert reply.status_code == expected, (person, method, path, reply.text)
    return reply.json()


async def test_whoever_asked_decides(proposed: list[Answered], connect: Connect) -> None:
    first = await call(connect, "coach_a", "GET", "?limit=1")
    second = await call(connect, "coach_a", "GET", f"?limit=1&cursor={first['next_cursor']}")
    listed = [*first["items"], *second["items"]]
    assert [(one["message_id"], one["question"], one["rating"]) for one in listed] == [
        (str(proposed[1].message_id), "What is wrong with the roof?", -1),
        (str(proposed[0].message_id), "What did she promise?", -1),
    ]  # fmt: skip
    newer, older = (f"/{one['id']}" for one in listed)
    shown = await call(connect, "coach_a", "GET", older)
    assert [one["quote"] for one in shown["answer"]["citations"]] == [PROMISE]
    assert (shown["status"], shown["user_input"], shown["earlier"]) == ("proposed", None, [])
    problem = await call(connect, "coach_a", "POST", f"{older}/confirm", 422, answerable=True)
    assert problem["code"] == "NothingToCompare"
    assert (await call(connect, "coach_a", "POST", f"{older}/confirm", 422, quotes=[7]))["code"] == "UnusableCase"
    confirmed = await call(connect, "coach_a", "POST", f"{older}/confirm", quotes=[1])
    assert (confirmed["status"], confirmed["reference_contexts"]) == ("confirmed", [PROMISE])
    assert confirmed["user_input"] == "What did she promise?"
    rejected = await call(connect, "coach_a", "POST", f"{newer}/reject", reason="Too vague.")
    assert (rejected["status"], rejected["reason"]) == ("rejected", "Too vague.")
    for status, expected in (("confirmed", [listed[1]["id"]]), ("rejected", [listed[0]["id"]]), ("proposed", [])):
        found = await call(connect, "coach_a", "GET", f"?status={status}&origin=feedback")
        assert [one["id"] for one in found["items"]] == expected
    assert (await call(connect, "coach_a", "GET", "?origin=production"))["items"] == []


async def test_nobody_else_sees_or_decides_them(
    organisation: Organisation, proposed: list[Answered], connect: Connect
) -> None:
    (one, _) = (await call(connect, "coach_a", "GET", ""))["items"]
    stranger = (await issue_keys(await found_organisation()))["coach_a"]
    for person in (*(organisation.people.keys() - {"coach_a"}), stranger):
        assert (await call(connect, person, "GET", ""))["items"] == []
        for method, end, body in (
            ("GET", "", {}), ("POST", "/confirm", {"reference": "Mine."}), ("POST", "/reject", {"reason": "Mine."}),
        ):  # fmt: skip
            problem = await call(connect, person, method, f"/{one['id']}{end}", 404, **body)
            assert problem["code"] == "ProposalNotFound"
    assert (await call(connect, "coach_a", "GET", f"/{one['id']}"))["status"] == "proposed"


@pytest.mark.parametrize(
    ("end", "body"),
    [
        ("/confirm", {"quotes": "1"}), ("/confirm", {"user_input": ""}), ("/confirm", {"reference": "x" * 20_001}),
        ("/confirm", {"quotes": [1] * 101}), ("/reject", {"reason": " "}), ("/reject", {"why": "x"}),
    ],
)  # fmt: skip
async def test_unusable_decisions_are_refused(
    proposed: list[Answered], connect: Connect, end: str, body: dict[str, Any]
) -> None:
    (one, _) = (await call(connect, "coach_a", "GET", ""))["items"]
    await call(connect, "coach_a", "POST", f"/{one['id']}{end}", 422, **body)
