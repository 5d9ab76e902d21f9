"""Suites are read whole, or refused with the line to correct."""

import json
from pathlib import Path
from typing import Any

import pytest

from evaluation.suites import BrokenSuite, hash_cases, load_suite

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
