"""A scorer's agreement with people: known figures on made labels, what was reached on public ones."""

import json
from pathlib import Path

import numpy as np
import pytest

from evaluation.calibration import (
    calibrate,
    compute_auroc,
    find_threshold,
    judge_held_out,
    list_scorers,
    measure_agreement,
    write_thresholds,
)
from evaluation.label_sets import JudgedAnswer, LabelSet, UnusableLabels, load_label_sets
from evaluation.support import LEXICAL
from rag.fakes import HashEmbedder


def make_labels(faithful: list[bool], *, per_source: int = 2) -> LabelSet:
    answers = [
        JudgedAnswer(str(n), str(n // per_source), ["a source"], "an answer", one) for n, one in enumerate(faithful)
    ]
    return LabelSet("made", answers)


def test_auroc_counts_ties_half() -> None:
    faithful = np.array([True, True, False, False])
    assert compute_auroc(np.array([0.9, 0.8, 0.2, 0.1]), faithful) == 1.0
    assert compute_auroc(np.array([0.1, 0.2, 0.8, 0.9]), faithful) == 0.0
    assert compute_auroc(np.array([0.5, 0.5, 0.5, 0.5]), faithful) == 0.5
    assert compute_auroc(np.array([0.9, 0.3, 0.3, 0.1]), faithful) == 0.875
    assert np.isnan(compute_auroc(np.array([0.5]), np.array([True])))


def test_threshold_lies_between_the_kinds() -> None:
    threshold = find_threshold(np.array([0.9, 0.7, 0.3, 0.1]), np.array([True, True, False, False]))
    assert 0.3 < threshold < 0.7


def test_no_answer_has_a_part_in_its_own_threshold() -> None:
    """A source whose scores are high and wrong is judged by the others' threshold, not by its own."""
    scores = np.array([0.2, 0.8] * 10 + [0.95, 0.96])
    faithful = np.array([False, True] * 10 + [False, False])
    groups = np.array([n // 2 for n in range(22)])
    judged = judge_held_out(scores, faithful, groups)
    assert judged[-2:].all()
    assert (judged[:-2] == faithful[:-2]).all()


def test_a_perfect_and_a_blind_scorer() -> None:
    faithful = [True, False] * 30
    perfect = measure_agreement(make_labels(faithful), "perfect", [float(one) for one in faithful])
    assert (perfect.auroc.mean, perfect.auroc.low, perfect.balanced_accuracy.mean) == (1.0, 1.0, 1.0)
    assert perfect.threshold == 0.5
    assert perfect.spearman is None
    chance = np.random.default_rng(1)
    blind = measure_agreement(make_labels(faithful), "blind", list(chance.random(60)))
    assert blind.auroc.low < 0.5 < blind.auroc.high


def test_intervals_are_drawn_over_sources() -> None:
    """Ten copies of a source are worth one: the interval must not shrink."""
    faithful = [True, False, True, False, True, True, False, False]
    scores = [0.9, 0.4, 0.3, 0.5, 0.8, 0.6, 0.2, 0.7]
    once = measure_agreement(make_labels(faithful), "x", scores)
    copied = LabelSet("made", [answer for answer in make_labels(faithful).answers for _ in range(10)])
    often = measure_agreement(copied, "x", [score for score in scores for _ in range(10)])
    assert (often.auroc.low, often.auroc.high) == pytest.approx((once.auroc.low, once.auroc.high))


def test_too_few_labels_give_no_threshold(tmp_path: Path) -> None:
    few = measure_agreement(make_labels([True, False] * 5), "few", [0.1] * 10)
    assert few.threshold is None
    write_thresholds(tmp_path / "t.json", [few])
    assert json.loads((tmp_path / "t.json").read_text()) == {}


def test_grades_are_correlated() -> None:
    answers = [JudgedAnswer(str(n), str(n), ["s"], "a", n > 2, grade=float(n)) for n in range(6)]
    found = measure_agreement(LabelSet("graded", answers), "x", [0.0, 0.1, 0.2, 0.3, 0.4, 0.5])
    assert found.spearman is not None
    assert found.spearman.mean == pytest.approx(1.0)


def test_a_folder_without_labels_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnusableLabels, match="holds no judged answers"):
        load_label_sets(tmp_path)
    (tmp_path / "faithbench.jsonl").write_text('{"id": "1"\n')
    with pytest.raises(UnusableLabels, match=r"Line 1 of faithbench\.jsonl is no JSON"):
        load_label_sets(tmp_path)


@pytest.mark.parametrize(
    ("corpus", "least"), [("mtrag_human", 0.90), ("diasumfact-meetings", 0.68), ("faithbench", 0.64)]
)
async def test_support_agrees_with_people(shared_data: Path, corpus: str, least: float) -> None:
    labels = next(one for one in load_label_sets(shared_data / "faithfulness") if one.name == corpus)
    found = await calibrate(labels, LEXICAL, list_scorers(HashEmbedder())[LEXICAL])
    assert found.auroc.mean >= least
    assert found.auroc.low > 0.5
