"""Answers that people judged against their sources: what a scorer is calibrated on."""

import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from core.errors import Invalid
from evaluation.retrieval_metrics import SEED

RATED_FAITHFUL: Final = 2.5
"""On MTRAG's scale from 1 to 4, the mean of three people from which an answer counts as faithful."""


class UnusableLabels(Invalid):
    """This folder holds no judged answers; name one with an answers.jsonl, or files such as faithbench.jsonl, in it."""


@dataclass(frozen=True, slots=True)
class JudgedAnswer:
    """One answer, its sources, and what people said: whether it is faithful, and how much where they graded it.

    `group` names the source it shares with others, so that intervals are drawn over sources; `question` is what was
    asked, empty where it is not known.
    """

    id: str
    group: str
    sources: Sequence[str]
    answer: str
    faithful: bool
    grade: float | None = None
    question: str = ""


@dataclass(frozen=True, slots=True)
class LabelSet:
    """One corpus of judged answers."""

    name: str
    answers: Sequence[JudgedAnswer]


class _OwnAnswer(BaseModel):
    """One line of an organisation's own answers.jsonl."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str
    question: str = ""
    answer: str = Field(min_length=1)
    sources: list[str] = Field(min_length=1)
    source_id: str | None = None
    faithful: bool
    grade: float | None = None


def load_label_sets(folder: Path) -> list[LabelSet]:
    """Return every corpus found in the folder.

    These are answers.jsonl, an organisation's own, under the folder's name, and the published DiaSumFact (meetings and
    chats), FaithBench and MTRAG's human ratings. Raises `UnusableLabels`.
    """
    found = [*_read_own(folder), *_read_diasumfact(folder), *_read_faithbench(folder), *_read_mtrag(folder)]
    if not found:
        raise UnusableLabels(
            f"{folder} holds no judged answers; put an answers.jsonl or files such as faithbench.jsonl in."
        )
    return found


def sample_labels(labels: LabelSet, limit: int) -> LabelSet:
    """Return at most so many of the answers, drawn by seed, each label and each source in proportion.

    Answers lie in a row by label and source, by chance within; every so many-th is taken (systematic sampling).
    """
    if limit >= len(labels.answers):
        return labels
    chance = np.random.default_rng(SEED)
    strata: dict[tuple[bool, str], list[JudgedAnswer]] = defaultdict(list)
    for answer in labels.answers:
        strata[answer.faithful, answer.group].append(answer)
    sources = sorted({answer.group for answer in labels.answers})
    places = dict(zip(sources, chance.permutation(len(sources)).tolist(), strict=True))
    row = [
        strata[key][number]
        for key in sorted(strata, key=lambda key: (key[0], places[key[1]]))
        for number in chance.permutation(len(strata[key])).tolist()
    ]
    step = len(row) / limit
    begin = float(chance.random()) * step
    return LabelSet(labels.name, [row[int(begin + number * step)] for number in range(limit)])


def _read_own(folder: Path) -> Iterator[LabelSet]:
    answers = []
    for number, row in enumerate(_read(folder / "answers.jsonl"), 1):
        try:
            one = _OwnAnswer.model_validate(row)
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(map(str, first["loc"]))
            raise UnusableLabels(f"Row {number} of answers.jsonl: {place}: {first['msg']}; correct it.") from error
        group = one.source_id or "\n".join(one.sources)
        answers.append(JudgedAnswer(one.id, group, one.sources, one.answer, one.faithful, one.grade, one.question))
    if answers:
        yield LabelSet(folder.resolve().name, answers)


def _read_diasumfact(folder: Path) -> Iterator[LabelSet]:
    rows = _read(folder / "diasumfact.jsonl")
    sources = {row["id"]: row for row in _read(folder / "diasumfact_sources.jsonl")}
    for dataset, name in (("QMSum", "diasumfact-meetings"), ("SAMSum", "diasumfact-chats")):
        answers = [
            JudgedAnswer(
                row["id"], row["source_id"], sources[row["source_id"]]["utterances"], row["sentence"],
                row["label"] == "faithful", question=sources[row["source_id"]].get("query") or "",
            )
            for row in rows
            if row["dataset"] == dataset and row["source_id"] in sources
        ]  # fmt: skip
        if answers:
            yield LabelSet(name, answers)


def _read_faithbench(folder: Path) -> Iterator[LabelSet]:
    answers = [
        JudgedAnswer(row["id"], row["source"], [row["source"]], row["summary"], not row["unfaithful"])
        for row in _read(folder / "faithbench.jsonl")
    ]
    if answers:
        yield LabelSet("faithbench", answers)


def _read_mtrag(folder: Path) -> Iterator[LabelSet]:
    documents = {row["document_id"]: row["text"] for row in _read(folder / "mtrag_human_docs.jsonl")}
    answers = [
        JudgedAnswer(
            row["id"], row["task_id"], [documents[key] for key in row["context_ids"] if key in documents],
            row["response"], row["faithfulness_mean"] >= RATED_FAITHFUL, row["faithfulness_mean"],
            row["conversation"][-1]["text"],
        )
        for row in _read(folder / "mtrag_human_eval.jsonl")
    ]  # fmt: skip
    if answers:
        yield LabelSet("mtrag_human", answers)


def _read(path: Path) -> list[dict[str, Any]]:
    if not path.is_file():
        return []
    rows = []
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            try:
                rows.append(json.loads(line))
            except ValueError as error:
                raise UnusableLabels(f"Line {number} of {path.name} is no JSON; mend or remove it.") from error
    return rows
