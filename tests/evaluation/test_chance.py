"""Chance is told from change over all scores at once: no more false alarms for more scores, and real falls are seen."""

import numpy as np
import pytest
from numpy.typing import NDArray

from evaluation.chance import LEVEL, find_chances
from evaluation.compare import compare
from evaluation.records import BY_WORDS, CaseResult

CASES = 40


def make_run(scores: NDArray[np.float64]) -> list[CaseResult]:
    return [
        CaseResult(
            case_id=f"case-{n}", repeat=1, status="scored", scores=dict(zip(BY_WORDS, map(float, row), strict=True))
        )
        for n, row in enumerate(scores)
    ]


def vary(chance: np.random.Generator, scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the scores of one more run: half of them as they were, the others anywhere near."""
    strayed = scores + chance.normal(0, 0.15, scores.shape)
    return np.where(chance.random(scores.shape) < 0.5, scores, strayed)


def test_runs_that_vary_by_chance_alone_are_hardly_ever_flagged() -> None:
    chance = np.random.default_rng(11)
    flagged = 0
    for _ in range(60):
        truth = chance.random((CASES, len(BY_WORDS)))
        flagged += bool(compare(make_run(vary(chance, truth)), make_run(vary(chance, truth))).broken)
    assert flagged <= 3  # 1.5 expected; each metric by itself at 2.5 % flags twelve


def test_a_fall_is_found_among_scores_that_vary() -> None:
    chance = np.random.default_rng(12)
    truth = chance.random((CASES, len(BY_WORDS)))
    worse = vary(chance, truth)
    worse[:, 3] -= 0.12
    found = compare(make_run(vary(chance, truth)), make_run(worse))
    assert len(found.broken) == 1
    assert found.broken[0].startswith(f"{BY_WORDS[3]} got worse")


def test_few_cases_have_the_chance_that_counting_gives() -> None:
    """Six cases that all fell alike: of the 64 ways to swap their runs one falls as far."""
    (fell,) = find_chances(np.full((6, 1), -0.3))
    assert fell == pytest.approx(1 / 64, abs=0.006)
    (rose,) = find_chances(np.full((6, 1), 0.3))
    assert rose == pytest.approx(fell, abs=0.006)
    assert find_chances(np.full((4, 1), -0.3))[0] > LEVEL


def test_the_more_scores_the_clearer_a_fall_has_to_be() -> None:
    chance = np.random.default_rng(13)
    fall = chance.normal(0, 0.25, (CASES, 1))
    fall -= fall.mean() + 0.1
    noise = chance.normal(0, 0.25, (CASES, 8))
    alone, among = find_chances(fall)[0], find_chances(np.hstack([fall, noise]))[0]
    assert alone < LEVEL < among
    # a second name for the same score is no second test
    assert find_chances(np.hstack([fall, fall]))[0] == pytest.approx(alone)


def test_what_did_not_change_or_is_not_known_says_nothing() -> None:
    steps = np.column_stack([np.zeros(CASES), np.full(CASES, np.nan), np.full(CASES, -0.2)])
    chances = find_chances(steps)
    assert list(chances[:2]) == [1.0, 1.0]
    assert chances[2] < 0.001
    assert list(find_chances(np.zeros((3, 2)))) == [1.0, 1.0]
