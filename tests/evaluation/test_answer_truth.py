"""Answers measured against facts that are known: which quotes were cited, what was refused, who was shown too much."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from db.session import Principal
from evaluation.answer_truth import (
    Asked,
    Fact,
    UnusableTruth,
    ask_facts,
    find_leaks,
    format_tally,
    load_facts,
    tally,
)
from rag.answer import Assistant
from tests.factories.people import Organisation
from tests.factories.sessions import EMBEDDER, name_people, store_session

NOW = datetime(2026, 10, 1, tzinfo=UTC)
PROMISED = "I'll hand the release checklist over to Piotr by next Friday."
PEOPLE = [
    {"email": "coach@a.example", "roles": ["coach"]},
    {"email": "client@a.example", "roles": ["client"]},
    {"email": "admin@a.example", "roles": ["admin"]},
]
LINE: dict[str, object] = {
    "id": "a.one", "tenant": "a", "type": "commitment", "question": "What did she promise?",
    "quotes": [{"exact": PROMISED}], "answerable_by": ["client@a.example", "coach"],
}  # fmt: skip


def write(folder: Path, *lines: dict[str, object]) -> Path:
    (folder / "organisations.json").write_text(json.dumps({"tenants": [{"slug": "a", "users": PEOPLE}]}))
    (folder / "truth.jsonl").write_text("\n".join(json.dumps(line) for line in lines))
    return folder


def test_facts_name_who_may_know_and_who_may_not(tmp_path: Path) -> None:
    known, open_ = load_facts(
        write(tmp_path, LINE, LINE | {"id": "a.two", "type": "unanswerable", "quotes": [], "answerable_by": []})
    )
    assert known.askers == ("client@a.example", "coach@a.example")
    assert known.strangers == ("admin@a.example",)
    assert known.quotes == (PROMISED,)
    # what nobody can answer is asked by the coach, and is nobody's secret
    assert (open_.askers, open_.strangers) == (("coach@a.example",), ())


@pytest.mark.parametrize("broken", ["{", json.dumps({"id": "a"}), json.dumps(LINE | {"tenant": "b"})])
def test_unusable_facts_are_refused(tmp_path: Path, broken: str) -> None:
    with pytest.raises(UnusableTruth):
        load_facts(tmp_path)
    write(tmp_path)
    (tmp_path / "truth.jsonl").write_text(broken)
    with pytest.raises(UnusableTruth):
        load_facts(tmp_path)


def make_asked(kind: str, found: int, wanted: int, *, refused: bool = False, citations: int = 2, apt: int = 0) -> Asked:
    return Asked(
        id=kind, kind=kind, refused=refused, found=found, wanted=wanted, citations=citations, apt=apt,
        milliseconds=float(found), text="",
    )  # fmt: skip


def test_figures_are_those_of_the_questions() -> None:
    tallies = tally(
        [
            make_asked("kept", 1, 2, apt=1),
            make_asked("kept", 2, 2, apt=2),
            make_asked("change", 0, 1, refused=True, citations=0),
            make_asked("unanswerable", 0, 0, refused=True, citations=0),
        ]
    )
    kept, both = tallies["kept"], tallies["answerable"]
    assert (kept.questions, kept.cited, kept.cited_all, kept.recall, kept.precision) == (2, 1.0, 0.5, 0.75, 0.75)
    assert (both.questions, both.cited, both.recall, both.refused) == (3, 2 / 3, 0.5, 1 / 3)
    assert tallies["unanswerable"].refused == 1
    assert "answerable" in format_tally(tallies)


@pytest.mark.parametrize("visibility", ["coach_only", "client_visible"])
async def test_questions_are_asked_and_leaks_are_seen(organisation: Organisation, visibility: str) -> None:
    await name_people(organisation)
    await store_session(organisation, [("coach", "And then?"), ("client", PROMISED)], visibility=visibility)

    async def find(tenant: str, who: str) -> Principal:
        assert tenant == "a"
        return organisation.people[who]

    fact = Fact(
        id="a.one", tenant="a", kind="commitment", question="What did Amina promise about the release checklist?",
        quotes=(PROMISED, "Words that nobody has said in any session of this organisation."),
        askers=("coach_a",), strangers=("client_a", "client_b", "admin"),
    )  # fmt: skip
    (asked,) = await ask_facts(Assistant(EMBEDDER), [fact], find, now=NOW)
    assert (asked.found, asked.wanted, asked.refused) == (1, 2, False)
    assert asked.apt == asked.citations == 1
    leaks = await find_leaks(Assistant(EMBEDDER), [fact], find, now=NOW)
    # here the fact says that the client must not see it, though the session may be theirs to read
    assert leaks == ([("a.one", "client_a")] if visibility == "client_visible" else [])
