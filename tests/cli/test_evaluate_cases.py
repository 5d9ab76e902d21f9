"""`regenesis eval cases`: from a rated answer to a suite that runs, by command and by review."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

import cli.evaluate_cases
from cli.main import app
from core.settings import Settings
from db.session import close_store, tenant_session
from domain.feedback import give_feedback
from tests.factories.answers import agree, store_answer
from tests.factories.people import Organisation, found_organisation
from tests.factories.sessions import store_session

PROMISE = "I'll mend the greenhouse roof before the first frost."
FACT = "The roof leaks over the tomato beds."
TURNS = [("client", FACT), ("coach", "And then?"), ("client", PROMISE)]


async def _rate_two() -> Organisation:
    people = await found_organisation()
    await agree(people.client_a)
    stored = await store_session(people, TURNS)
    for question, rating in (("What will she mend?", 1), ("Which [b]submarine[/b] did she sell?", -1)):
        answer = await store_answer(people.coach_a, (stored, FACT), (stored, PROMISE), question=question)
        async with tenant_session(people.coach_a) as session:
            await give_feedback(
                session, target_type="message", target_id=answer.message_id, rating=rating,  # type: ignore[arg-type]  # ±1
                comment="[red]really?", may_be_studied=True,
            )  # fmt: skip
    await close_store()
    return people


@pytest.fixture
def people(store: Settings) -> Organisation:
    """An organisation with two answers of coach_a, one rated up, one down."""
    return asyncio.run(_rate_two())


def call(people: Organisation, *arguments: str, person: str | None = "coach_a", given: str | None = None) -> Result:
    who = ["--as", f"{person}@{people.slug}.example"] if person else []
    return CliRunner().invoke(app, ["eval", "cases", *arguments, "--tenant", people.slug, *who], input=given)


def read(result: Result) -> Any:
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


def test_from_a_rated_answer_to_a_run(people: Organisation, tmp_path: Path) -> None:
    made = read(call(people, "propose", "--json", person=None))
    assert made == {"proposed": 2, "waiting": {f"coach_a@{people.slug}.example": 2}}
    said = call(people, "propose", person=None).stdout
    assert "0 proposed from feedback." in said
    assert f"2 wait for coach_a@{people.slug}.example" in said

    newest, oldest = read(call(people, "list", "--status", "proposed", "--json"))
    assert {newest["rating"], oldest["rating"]} == {1, -1}
    good, bad = (newest, oldest) if newest["rating"] == 1 else (oldest, newest)
    assert "[b]submarine[/b]" in call(people, "list").stdout
    shown = call(people, "show", bad["id"]).stdout
    assert f"[2] Session of 2026-03-12 — client_a: {PROMISE}" in shown
    assert "rated down: [red]really?" in shown

    confirmed = read(call(people, "confirm", good["id"], "--quote", "2", "--question", "What will she do?", "--json"))
    assert (confirmed["user_input"], confirmed["reference_contexts"]) == ("What will she do?", [PROMISE])
    assert call(people, "confirm", bad["id"], "--unanswerable").stdout.strip() == f"{bad['id']} is confirmed."

    folder = tmp_path / "golden"
    built = call(people, "build", "golden", "--write", str(folder), person=None)
    assert "golden@1: 2 cases" in built.stdout
    assert "holds people's words" in built.stderr
    assert len((folder / "cases.jsonl").read_text().splitlines()) == 2
    again = read(call(people, "build", "golden", "--json", person=None))
    assert (again["version"], again["cases"]) == (1, 2)

    for suite in (["golden", "--tenant", people.slug], ["golden@1", "--tenant", people.slug], [str(folder)]):
        report = read(CliRunner().invoke(app, ["eval", "run", *suite, "--json"]))
        assert (report["dataset_version"], report["answers"], report["failed"]) == (1, 2, [])


def test_a_review_confirms_edits_and_rejects(people: Organisation, monkeypatch: pytest.MonkeyPatch) -> None:
    refused = call(people, "review")
    assert refused.exit_code == 2
    assert "eval cases list" in refused.stderr
    monkeypatch.setattr(cli.evaluate_cases, "has_terminal", lambda: True)
    call(people, "propose", person=None)
    skipped = call(people, "review", given="s\nq\n")
    assert "0 decided" in skipped.stdout
    typed = [
        "yes", "c", "none", "",  # nothing to compare with
        "e", "What did she say?", "y", "1, x", "1 2", "The roof.",
        "reject", "No such boat.",
    ]  # fmt: skip
    reviewed = call(people, "review", given="".join(f"{line}\n" for line in typed))
    assert "2 of 2" in reviewed.stdout
    assert "2 decided" in reviewed.stdout
    assert "Say what a good answer holds" in reviewed.stderr
    assert "Write numbers such as" in reviewed.stderr
    assert "Write the first letter" in reviewed.stderr
    done = {row["status"]: row["id"] for row in read(call(people, "list", "--json"))}
    confirmed, rejected = (read(call(people, "show", done[status], "--json")) for status in ("confirmed", "rejected"))
    assert (confirmed["user_input"], confirmed["reference"]) == ("What did she say?", "The roof.")
    assert confirmed["reference_contexts"] == [FACT, PROMISE]
    assert rejected["reason"] == "No such boat."
    assert "0 decided" in call(people, "review").stdout


def test_only_whoever_asked_decides(people: Organisation) -> None:
    call(people, "propose", person=None)
    one = read(call(people, "list", "--json"))[0]["id"]
    for person in ("admin", "evaluator", "coach_b", "client_a"):
        assert read(call(people, "list", "--json", person=person)) == []
        for command in (["show"], ["confirm", "--unanswerable"], ["reject", "--reason", "No."]):
            refused = call(people, *command, one, person=person)
            assert refused.exit_code == 1
            assert refused.stderr.strip() == "There is no such proposal of yours; list yours to see their ids."


def test_what_is_missing_is_said(people: Organisation) -> None:
    for arguments, said in (
        (["eval", "cases", "build", "golden", "--tenant", people.slug], "No proposal of this kind is confirmed yet"),
        (["eval", "run", "golden", "--tenant", people.slug], "There is no stored suite 'golden' here"),
        (["eval", "run", "./golden", "--tenant", people.slug], "'./golden' can't be a stored suite"),
        (["eval", "run", "golden"], "golden can't be read as text"),
    ):
        refused = CliRunner().invoke(app, arguments)
        assert refused.exit_code == 1
        assert said in refused.stderr
        assert len(refused.stderr.strip().splitlines()) == 1
