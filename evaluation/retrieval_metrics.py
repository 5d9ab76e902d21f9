"""The measures of a ranking: how much of the evidence a reader meets, how soon, and how sure the figure is."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from math import log2
from typing import Any, Final

import numpy as np

BUDGETS: Final = (500, 1_000, 2_000)  # words of source text
RESAMPLES: Final = 2_000
SEED: Final = 20_261_120

Statistic = Callable[..., Any]
"""Takes an array, and `axis` to work along; numpy's own mean, median and the like."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean over questions and its 95 % bootstrap interval, questions resampled."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Found:
    """One ranked passage: the suite's turns it holds, in order, and its own words."""

    segments: tuple[str, ...]
    words: int
    score: float


def measure_ranking(passages: Sequence[Found], relevant: Collection[str], words: Mapping[str, int]) -> dict[str, float]:
    """Return every measure of one question's ranking, each from 0 to 1.

    `er@W` is the share of the relevant turns met within W words of source text, each turn counted once. A passage is
    relevant if it holds a relevant turn; `ndcg@10` is ideal when those found come first.
    """
    hits = [not set(relevant).isdisjoint(passage.segments) for passage in passages]
    values = {f"er@{budget}": _recall_within(passages, relevant, words, budget) for budget in BUDGETS}
    values["ndcg@10"] = _ndcg(hits, 10)
    for k in (5, 10, 20):
        met = {segment for passage in passages[:k] for segment in passage.segments}
        values[f"recall@{k}"] = len(met.intersection(relevant)) / len(relevant)
    values["mrr"] = next((1 / rank for rank, hit in enumerate(hits, 1) if hit), 0.0)
    return values


def bootstrap(values: Sequence[float], statistic: Statistic = np.mean) -> Interval:
    """Return the statistic with its 95 % percentile interval; seeded, so the same values give the same one."""
    sample = np.asarray(values, np.float64)
    drawn = np.random.default_rng(SEED).integers(0, len(sample), (RESAMPLES, len(sample)))
    low, high = np.quantile(statistic(sample[drawn], axis=1), (0.025, 0.975))
    return Interval(float(statistic(sample)), float(low), float(high))


def _recall_within(
    passages: Sequence[Found], relevant: Collection[str], words: Mapping[str, int], budget: int
) -> float:
    met: set[str] = set()
    for segment in (segment for passage in passages for segment in passage.segments):
        if segment not in met:
            budget -= words[segment]
            if budget < 0:
                break
            met.add(segment)
    return len(met.intersection(relevant)) / len(relevant)


def _ndcg(hits: Sequence[bool], k: int) -> float:
    gain = sum(1 / log2(rank + 1) for rank, hit in enumerate(hits[:k], 1) if hit)
    ideal = sum(1 / log2(rank + 1) for rank in range(1, min(k, sum(hits)) + 1))
    return gain / ideal if ideal else 0.0
