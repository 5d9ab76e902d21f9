"""Answers stay apart from questions, and points go to right answers only."""

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from domain.questions import (
    AnswerToNothing,
    Question,
    QuestionsUnusable,
    join_questions,
    needs_person,
    require_known,
    score_answers,
    split_questions,
)

READ: TypeAdapter[list[Question]] = TypeAdapter(list[Question])
OPTIONS = [{"id": "a", "text": "Pause"}, {"id": "b", "text": "Hurry"}, {"id": "c", "text": "Breathe"}]
QUIZ: list[dict[str, Any]] = [
    {"id": "one", "type": "single", "prompt": "First?", "options": OPTIONS, "answer": "a"},
    {"id": "many", "type": "multiple", "prompt": "Which?", "options": OPTIONS, "answer": ["a", "c"], "points": 2},
    {"id": "truth", "type": "true_false", "prompt": "True?", "answer": False},
    {"id": "figure", "type": "numeric", "prompt": "How many?", "answer": "2.5", "tolerance": "0.25"},
    {"id": "words", "type": "text", "prompt": "Name it", "answer": ["Active  listening", "écoute"]},
]
RIGHT: dict[str, Any] = {
    "one": "a",
    "many": ["c", "a"],
    "truth": False,
    "figure": "2,75",
    "words": " ACTIVE listening ",
}


def test_answers_leave_no_trace_in_what_is_shown() -> None:
    shown, answers = split_questions(READ.validate_python(QUIZ))
    assert all(not {"answer", "tolerance"} & set(question) for question in shown)
    assert answers["figure"] == {"answer": "2.5", "tolerance": "0.25"}
    assert join_questions(shown, answers) == READ.validate_python(QUIZ)


@pytest.mark.parametrize(
    ("changed", "score"),
    [
        ({}, "100.00"),
        ({"one": "b"}, "83.33"),
        ({"many": ["a"]}, "66.67"),
        ({"many": ["a", "b", "c"]}, "66.67"),
        ({"many": ["a", "a"]}, "66.67"),
        ({"truth": "False"}, "83.33"),
        ({"figure": "2.7501"}, "83.33"),
        ({"figure": "NaN"}, "83.33"),
        ({"figure": "1e400"}, "83.33"),
        ({"words": "listening"}, "83.33"),
        ({"words": ["écoute"]}, "83.33"),
        ({"words": "ÉCOUTE"}, "100.00"),
    ],
)
def test_points(changed: dict[str, Any], score: str) -> None:
    assert score_answers(READ.validate_python(QUIZ), RIGHT | changed) == Decimal(score)


def test_no_answer_no_points() -> None:
    assert score_answers(READ.validate_python(QUIZ), {}) == 0
    assert score_answers([], {}) == 0


@given(
    st.dictionaries(
        st.sampled_from(sorted(RIGHT)), st.text(max_size=40) | st.booleans() | st.lists(st.text(max_size=5), max_size=5)
    )
)
def test_any_answer_has_a_score(answers: dict[str, Any]) -> None:
    assert 0 <= score_answers(READ.validate_python(QUIZ), answers) <= 100


def test_unusable_questions_are_refused() -> None:
    for changed in (
        {"answer": "z"}, {"options": OPTIONS[:1]}, {"options": [OPTIONS[0], OPTIONS[0]]}, {"points": 0},
        {"type": "riddle"}, {"id": "no spaces"}, {"prompt": "x" * 5001}, {"unknown": 1},
    ):  # fmt: skip
        with pytest.raises(ValidationError):
            READ.validate_python([QUIZ[0] | changed])
    with pytest.raises(ValidationError):
        READ.validate_python([QUIZ[3] | {"answer": "Infinity"}])
    with pytest.raises(QuestionsUnusable):
        split_questions(READ.validate_python([QUIZ[0], QUIZ[0]]))


def test_people_grade_essays_and_assignments() -> None:
    shown, answers = split_questions(READ.validate_python([{"id": "e", "type": "essay", "prompt": "Tell"}]))
    assert needs_person(shown)
    assert answers == {}
    assert needs_person([])
    assert not needs_person(split_questions(READ.validate_python(QUIZ))[0])


def test_answers_name_questions() -> None:
    shown, _ = split_questions(READ.validate_python(QUIZ))
    require_known(shown, RIGHT)
    require_known([], {"text": "My essay"})
    for known, answers in ((shown, {"text": "x"}), ([], {"one": "a"})):
        with pytest.raises(AnswerToNothing):
            require_known(known, answers)
