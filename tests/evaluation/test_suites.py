"""Suites are read whole, or refused with the line to correct."""

import json
from pathlib import Path
from typing import Any

import pytest

import cli
from evaluation.answer_truth import load_facts
from evaluation.suites import BrokenSuite, Case, hash_cases, load_suite

SAMPLE = Path(cli.__file__).parent / "sample"
STYLES = {"question", "keywords", "first_person", "chat"}

SUITE: dict[str, Any] = {"name": "small", "tenant": "acme", "user": "kim@acme.example", "cases": "cases.jsonl"}
CASES: list[dict[str, Any]] = [
    {"id": "a", "user_input": "What?", "reference_contexts": ["exact words"], "slices": {"language": "en"}},
    {"id": "b", "user_input": "Why?", "answerable": False, "user": "jo@acme.example"},
]


def write(folder: Path, suite: Any = SUITE, cases: list[Any] | None = None) -> Path:
    path = folder / "suite.yaml"
    path.write_text(suite if isinstance(suite, str) else json.dumps(suite))
    lines = [one if isinstance(one, str) else json.dumps(one) for one in (CASES if cases is None else cases)]
    (folder / "cases.jsonl").write_text("\n".join(lines))
    return path


def test_a_suite_is_read(tmp_path: Path) -> None:
    suite = load_suite(write(tmp_path))
    assert [(case.id, suite.get_asker(case)) for case in suite.loaded] == [
        ("a", "kim@acme.example"), ("b", "jo@acme.example"),
    ]  # fmt: skip
    assert suite.loaded[0].groups == {"answerable": "yes", "language": "en"}
    assert load_suite(tmp_path) == suite


def test_the_hash_is_of_what_is_asked_not_of_its_order(tmp_path: Path) -> None:
    cases = load_suite(write(tmp_path)).loaded
    assert hash_cases(cases) == hash_cases(cases[::-1])
    assert hash_cases(cases) != hash_cases(cases[:1])


@pytest.mark.parametrize(
    ("suite", "cases", "said"),
    [
        ("name: [", None, "suite.yaml is no YAML"),
        ({**SUITE, "name": "Bad Name"}, None, "suite.yaml: name:"),
        ({**SUITE, "metrics": []}, None, "suite.yaml: metrics: Extra inputs"),
        ({**SUITE, "cases": "none.jsonl"}, None, "none.jsonl can't be read"),
        (SUITE, [], "holds no case"),
        (SUITE, [CASES[0], CASES[0]], "Line 2 of cases.jsonl: a is there twice"),
        (SUITE, [CASES[0], "{"], "Line 2 of cases.jsonl: "),
        (SUITE, [{"id": "a", "user_input": " "}], "Line 1 of cases.jsonl: user_input"),
        (SUITE, [{**CASES[0], "answerable": False}], "an unanswerable question has no reference_contexts"),
        ({key: value for key, value in SUITE.items() if key != "user"}, [CASES[0]], "Nobody asks the case a"),
    ],
)
def test_what_can_not_be_used_is_named(tmp_path: Path, suite: Any, cases: list[Any] | None, said: str) -> None:
    with pytest.raises(BrokenSuite) as refused:
        load_suite(write(tmp_path, suite, cases))
    assert said in refused.value.message
    assert refused.value.message.count("\n") == 0


def list_sample_cases() -> list[tuple[str, Case]]:
    return [
        (slug, case) for slug in ("harbourlight", "fieldstone") for case in load_suite(SAMPLE / "suites" / slug).loaded
    ]


def read_rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def find_fact(case: Case) -> str:
    """Return the id of the fact a case asks for: its own, or what it rephrases."""
    style = case.slices["style"]
    return case.id if style == "question" else case.id.removesuffix(f".{style}")


@pytest.mark.parametrize(("slug", "case"), list_sample_cases(), ids=lambda given: getattr(given, "id", given))
def test_a_sample_case_asks_for_a_known_fact_of_somebody_who_may_know_it(slug: str, case: Case) -> None:
    facts = {fact.id: fact for fact in load_facts(SAMPLE)}
    fact = facts[find_fact(case)]
    assert fact.tenant == slug
    assert (case.reference_contexts, case.slices["question_type"]) == (fact.quotes, fact.kind)
    assert (case.user_input == fact.question) == (case.slices["style"] == "question")
    assert case.user in fact.askers


@pytest.mark.parametrize(("slug", "case"), list_sample_cases(), ids=lambda given: getattr(given, "id", given))
def test_a_sample_case_is_counted_where_its_words_stand(slug: str, case: Case) -> None:
    assert set(case.slices) == {"question_type", "client", "language", "source_kind", "style"}
    assert case.slices["style"] in STYLES
    (fact,) = (row for row in read_rows(SAMPLE / "truth.jsonl") if row["id"] == find_fact(case))
    assert case.slices["client"] == (fact["client"] or "none").partition("@")[0]
    kinds = {row["key"]: row["kind"] for row in read_rows(SAMPLE / slug / "manifest.jsonl")}
    found = {kinds[quote["key"]] for quote in fact["quotes"]}
    assert case.slices["source_kind"] == ("both" if len(found) == 2 else found.pop() if found else "none")
    assert (case.slices["source_kind"] == "none") == (not case.answerable)


def test_a_slice_that_a_case_does_not_name_is_not_made_up() -> None:
    assert Case(id="a", user_input="What?", reference_contexts=("words",)).groups == {"answerable": "yes"}
