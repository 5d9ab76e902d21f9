"""Questions, their answers kept apart, and the points for what people answer."""

import re
from collections.abc import Mapping, Sequence
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from typing import Annotated, Any, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, model_validator

from core.errors import Invalid

QuestionId = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[\w-]+$")]
Given = Annotated[str, Field(max_length=20_000)] | bool | list[Annotated[str, Field(max_length=64)]]
"""What a taker may answer: text, an option or a figure; true or false; several options."""

MOST_QUESTIONS: Final = 200


class QuestionsUnusable(Invalid):
    """These questions can't be used; give every question an id of its own and an answer among its options."""


class AnswerToNothing(Invalid):
    """An answer names a question this assessment does not have; use the ids of its questions."""


class Option(BaseModel):
    """One of the answers to choose from."""

    model_config = ConfigDict(extra="forbid")

    id: QuestionId
    text: str = Field(min_length=1, max_length=1_000)


class _Question(BaseModel):
    model_config = ConfigDict(extra="forbid")

    id: QuestionId
    prompt: str = Field(min_length=1, max_length=5_000)
    points: int = Field(1, ge=1, le=100)


class SingleChoice(_Question):
    """Choose one option."""

    type: Literal["single"]
    options: list[Option] = Field(min_length=2, max_length=20)
    answer: QuestionId = Field(description="the id of the right option")

    @model_validator(mode="after")
    def _answer_is_an_option(self) -> Self:
        _require_options(self.options, [self.answer])
        return self


class MultipleChoice(_Question):
    """Choose every right option, and no other."""

    type: Literal["multiple"]
    options: list[Option] = Field(min_length=2, max_length=20)
    answer: list[QuestionId] = Field(min_length=1, max_length=20)

    @model_validator(mode="after")
    def _answers_are_options(self) -> Self:
        _require_options(self.options, self.answer)
        return self


class TrueFalse(_Question):
    """Say whether it is so."""

    type: Literal["true_false"]
    answer: bool


class Figure(_Question):
    """Give a number, right within a tolerance."""

    type: Literal["numeric"]
    answer: Decimal = Field(max_digits=20, decimal_places=10, allow_inf_nan=False)
    tolerance: Decimal = Field(Decimal(0), ge=0, max_digits=20, decimal_places=10, allow_inf_nan=False)


class ShortText(_Question):
    """Write one of the accepted texts; case and spacing do not matter."""

    type: Literal["text"]
    answer: list[Annotated[str, Field(min_length=1, max_length=200)]] = Field(min_length=1, max_length=50)


class Essay(_Question):
    """Write freely; a person grades it."""

    type: Literal["essay"]


Question = Annotated[
    SingleChoice | MultipleChoice | TrueFalse | Figure | ShortText | Essay, Field(discriminator="type")
]
_QUESTIONS: TypeAdapter[list[Question]] = TypeAdapter(list[Question])
_SECRET: Final = ("answer", "tolerance")


def _require_options(options: Sequence[Option], answers: Sequence[str]) -> None:
    ids = [option.id for option in options]
    if len(set(ids)) != len(ids) or len(set(answers)) != len(answers) or not set(answers) <= set(ids):
        raise ValueError("each option needs an id of its own, and each right answer must be one of them")


def split_questions(questions: Sequence[Question]) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Return what takers may see and, by question, what they may not. Raises `QuestionsUnusable` for ids used twice."""
    shown: list[dict[str, Any]] = []
    answers: dict[str, Any] = {}
    for question in questions:
        whole = question.model_dump(mode="json")
        answers[question.id] = {name: whole.pop(name) for name in _SECRET if name in whole}
        shown.append(whole)
    if len(answers) != len(questions):
        raise QuestionsUnusable
    return shown, {name: answer for name, answer in answers.items() if answer}


def join_questions(shown: Sequence[Mapping[str, Any]], answers: Mapping[str, Any]) -> list[Question]:
    """Return the questions whole, for those who teach."""
    return _QUESTIONS.validate_python([{**question, **answers.get(question["id"], {})} for question in shown])


def needs_person(shown: Sequence[Mapping[str, Any]]) -> bool:
    """Tell whether only a person can grade these: there are none, or one asks for an essay."""
    return not shown or any(question["type"] == "essay" for question in shown)


def require_known(shown: Sequence[Mapping[str, Any]], given: Mapping[str, Given]) -> None:
    """Raise `AnswerToNothing` for an answer to no question; without questions, one answer is named `text`."""
    if not set(given) <= ({question["id"] for question in shown} or {"text"}):
        raise AnswerToNothing


def score_answers(questions: Sequence[Question], given: Mapping[str, Given]) -> Decimal:
    """Return the points reached in percent, half up to two decimals; all or nothing for each question."""
    total = sum(question.points for question in questions)
    reached = sum(question.points for question in questions if _is_right(question, given.get(question.id)))
    return (Decimal(100 * reached) / total).quantize(Decimal("0.01"), ROUND_HALF_UP) if total else Decimal("0.00")


def _is_right(question: Question, given: Given | None) -> bool:
    match question, given:
        case SingleChoice(answer=answer), str():
            return given == answer
        case MultipleChoice(answer=answers), list():
            return len(given) == len(answers) and set(given) == set(answers)
        case TrueFalse(answer=truth), bool():
            return given is truth
        case Figure(answer=figure, tolerance=tolerance), str():
            number = _read_number(given)
            return number is not None and abs(number - figure) <= tolerance
        case ShortText(answer=accepted), str():
            return _flatten(given) in {_flatten(text) for text in accepted}
    return False


def _read_number(text: str) -> Decimal | None:
    """Return the number, written with a point or a comma, or None."""
    written = text.strip().replace(",", ".")
    if not re.fullmatch(r"[+-]?\d{1,20}(\.\d{0,10})?|[+-]?\.\d{1,10}", written):
        return None
    try:
        return Decimal(written)
    except InvalidOperation:
        return None


def _flatten(text: str) -> str:
    return " ".join(text.split()).casefold()
