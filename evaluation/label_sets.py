"""Answers that people judged against their sources: what a scorer is calibrated on."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from core.errors import Invalid

RATED_FAITHFUL: Final = 2.5
"""On MTRAG's scale from 1 to 4, the mean of three people from which an answer counts as faithful."""


class UnusableLabels(Invalid):
    """This folder holds no judged answers; name one with diasumfact, faithbench or mtrag_human files in it."""


@dataclass(frozen=True, slots=True)
class JudgedAnswer:
    """One answer, its sources, and what people said: whether it is faithful, and how much where they graded it.

    `group` names the source it shares with others, so that intervals are drawn over sources.
    """

    id: str
    group: str
    sources: Sequence[str]
    answer: str
    faithful: bool
    grade: float | None = None


@dataclass(frozen=True, slots=True)
class LabelSet:
    """One corpus of judged answers."""

    name: str
    answers: Sequence[JudgedAnswer]


def load_label_sets(folder: Path) -> list[LabelSet]:
    """Return every corpus found in the folder: DiaSumFact's meetings and chats, FaithBench, MTRAG's human ratings."""
    found = [*_read_diasumfact(folder), *_read_faithbench(folder), *_read_mtrag(folder)]
    if not found:
        raise UnusableLabels(f"{folder} holds no judged answers; name a folder with files such as faithbench.jsonl.")
    return found


def _read_diasumfact(folder: Path) -> Iterator[LabelSet]:
    rows = _read(folder / "diasumfact.jsonl")
    sources = {row["id"]: row["utterances"] for row in _read(folder / "diasumfact_sources.jsonl")}
    for dataset, name in (("QMSum", "diasumfact-meetings"), ("SAMSum", "diasumfact-chats")):
        answers = [
            JudgedAnswer(
                row["id"], row["source_id"], sources[row["source_id"]], row["sentence"], row["label"] == "faithful"
            )
            for row in rows
            if row["dataset"] == dataset and row["source_id"] in sources
        ]
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
