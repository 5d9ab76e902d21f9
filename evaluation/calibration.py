"""How far a scorer agrees with people, and from which score on an answer may be called supported, corpus by corpus."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter
from typing import Any, Final

import numpy as np
import orjson
from numpy.typing import NDArray
from scipy.stats import rankdata, spearmanr

from evaluation.label_sets import JudgedAnswer, LabelSet
from evaluation.retrieval_metrics import RESAMPLES, SEED, Interval
from evaluation.support import LEXICAL, LIKENESS, score_likeness, score_support
from rag.embedding.protocol import Embedder

FOLDS: Final = 5
FEWEST: Final = 20
"""Answers of either kind below which no threshold is given: chance would choose it."""

Scores = NDArray[np.float64]
Labels = NDArray[np.bool_]
Scorer = Callable[[JudgedAnswer], Awaitable[float]]


@dataclass(frozen=True, slots=True)
class Agreement:
    """One scorer on one corpus, with 95 % intervals drawn over sources.

    `auroc`: how often a faithful answer scores above one that is not. `balanced_accuracy`: mean of both kinds told
    right, with a threshold chosen on other sources than those judged. `spearman`: rank correlation with people's
    grades, None where they gave none. `threshold`: what to call supported here, None where labels are too few.
    """

    corpus: str
    scorer: str
    answers: int
    sources: int
    faithful: int
    auroc: Interval
    balanced_accuracy: Interval
    spearman: Interval | None
    threshold: float | None
    ms_per_answer: float

    def to_json(self) -> dict[str, Any]:
        """Return it as plain values."""
        return asdict(self)


def list_scorers(embedder: Embedder) -> dict[str, Scorer]:
    """Return the scorers that need no model service, by name."""

    async def support(judged: JudgedAnswer) -> float:
        return score_support(judged.answer, judged.sources).score

    async def likeness(judged: JudgedAnswer) -> float:
        return await score_likeness(judged.answer, judged.sources, embedder)

    return {LEXICAL: support, LIKENESS: likeness}


async def calibrate(
    labels: LabelSet, name: str, scorer: Scorer, *, told: Callable[[int], None] = lambda _: None
) -> Agreement:
    """Score every answer of the corpus and compare with what people said."""
    scores: list[float] = []
    spent = 0.0
    for answer in labels.answers:
        started = perf_counter()
        scores.append(await scorer(answer))
        spent += perf_counter() - started
        told(1)
    return measure_agreement(labels, name, scores, ms_per_answer=1_000 * spent / max(len(scores), 1))


def measure_agreement(labels: LabelSet, name: str, given: Sequence[float], *, ms_per_answer: float = 0.0) -> Agreement:
    """Return how far the scores, one an answer in the corpus' order, agree with people."""
    scores = np.asarray(given, np.float64)
    faithful = np.asarray([answer.faithful for answer in labels.answers], np.bool_)
    _, groups = np.unique([answer.group for answer in labels.answers], return_inverse=True)
    held_out = judge_held_out(scores, faithful, groups)
    grades = [answer.grade for answer in labels.answers]
    spearman = None
    if all(grade is not None for grade in grades):
        graded = np.asarray(grades, np.float64)
        spearman = _over_sources(groups, lambda drawn: compute_spearman(scores[drawn], graded[drawn]))
    enough = min(int(faithful.sum()), int((~faithful).sum())) >= FEWEST
    return Agreement(
        corpus=labels.name, scorer=name, answers=len(scores), sources=int(groups.max()) + 1,
        faithful=int(faithful.sum()),
        auroc=_over_sources(groups, lambda drawn: compute_auroc(scores[drawn], faithful[drawn])),
        balanced_accuracy=_over_sources(groups, lambda drawn: compute_balanced(held_out[drawn], faithful[drawn])),
        spearman=spearman, threshold=find_threshold(scores, faithful) if enough else None,
        ms_per_answer=ms_per_answer,
    )  # fmt: skip


def write_thresholds(path: Path, agreements: Sequence[Agreement]) -> None:
    """Write, as JSON by scorer and corpus, each threshold with the agreement it rests on."""
    found: dict[str, dict[str, Any]] = {}
    for one in agreements:
        if one.threshold is not None:
            found.setdefault(one.scorer, {})[one.corpus] = {
                "threshold": one.threshold, "answers": one.answers, "sources": one.sources,
                "auroc": asdict(one.auroc), "balanced_accuracy": asdict(one.balanced_accuracy),
            }  # fmt: skip
    path.write_bytes(orjson.dumps(found, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE))


def compute_auroc(scores: Scores, faithful: Labels) -> float:
    """Return the chance that a faithful answer scores above another, ties counting half; NaN without both kinds."""
    above, below = int(faithful.sum()), int((~faithful).sum())
    if not above or not below:
        return float("nan")
    ranks = float(rankdata(scores)[faithful].sum())
    return (ranks - above * (above + 1) / 2) / (above * below)


def compute_spearman(scores: Scores, grades: Scores) -> float:
    """Return the rank correlation of scores and grades; NaN where either is the same throughout."""
    if np.ptp(scores) == 0 or np.ptp(grades) == 0:
        return float("nan")
    return float(spearmanr(scores, grades).statistic)


def compute_balanced(judged: Labels, faithful: Labels) -> float:
    """Return the mean of the shares of faithful and of other answers judged right; NaN without both kinds."""
    if faithful.all() or not faithful.any():
        return float("nan")
    return float((judged[faithful].mean() + (~judged[~faithful]).mean()) / 2)


def find_threshold(scores: Scores, faithful: Labels) -> float:
    """Return the score between two answers' from which on calling answers faithful is right most often, balanced."""
    distinct = np.unique(scores)
    between = (distinct[1:] + distinct[:-1]) / 2 if len(distinct) > 1 else distinct
    balanced = [compute_balanced(scores >= threshold, faithful) for threshold in between]
    return round(float(between[int(np.nanargmax(balanced))]), 4) if not np.isnan(balanced).all() else float(between[0])


def judge_held_out(scores: Scores, faithful: Labels, groups: NDArray[np.intp]) -> Labels:
    """Return each answer's verdict by a threshold that no answer of its own source had a part in."""
    order = np.random.default_rng(SEED).permutation(int(groups.max()) + 1)
    fold = order[groups] % FOLDS
    judged = np.zeros(len(scores), np.bool_)
    for number in range(FOLDS):
        here = fold == number
        if here.any() and not here.all():
            judged[here] = scores[here] >= find_threshold(scores[~here], faithful[~here])
    return judged


def _over_sources(groups: NDArray[np.intp], statistic: Callable[[NDArray[np.intp]], float]) -> Interval:
    """Return the statistic with its 95 % interval, whole sources resampled: answers to one source are alike."""
    members = [np.flatnonzero(groups == group) for group in range(int(groups.max()) + 1)]
    chance = np.random.default_rng(SEED)
    drawn = (
        statistic(np.concatenate([members[number] for number in chance.integers(0, len(members), len(members))]))
        for _ in range(RESAMPLES)
    )
    values = np.asarray([value for value in drawn if not np.isnan(value)])
    low, high = np.quantile(values, (0.025, 0.975)) if len(values) else (float("nan"), float("nan"))
    return Interval(statistic(np.arange(len(groups))), float(low), float(high))
