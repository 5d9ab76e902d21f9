"""How one run's scores are spread over its answers: histograms, quality against what it took, times by stage."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from evaluation.latency import Latency, measure_latencies
from evaluation.records import QUALITY, CaseResult
from evaluation.report import measure_quality

BINS: Final = 20
"""Equal steps from 0 to 1; the last holds 1 itself."""
MOST_POINTS: Final = 1_000
"""Answers drawn as points; of more, each so-manieth."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerPoint:
    """One answer: the mean of its quality metrics, higher is better, and what it took in milliseconds and USD."""

    case_id: str
    repeat: int
    quality: float
    total_ms: float | None
    cost_usd: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """The spread of one run's scores, without anybody's words."""

    distributions: Mapping[str, Sequence[int]]
    """Answers in each of `BINS` steps, by metric of quality."""
    points: Sequence[AnswerPoint]
    latencies: Sequence[Latency]
    slices: Mapping[str, int]
    """Cases in each slice."""


def measure_spread(results: Sequence[CaseResult]) -> Spread:
    """Return the spread of these results; takes up to a second of a processor."""
    scored = [one for one in results if one.status == "scored"]
    every = -(-len(scored) // MOST_POINTS) or 1
    return Spread(
        distributions={
            metric: count_steps(values)
            for metric in QUALITY if (values := [value for one in results if (value := one.count(metric)) is not None])
        },
        points=[
            AnswerPoint(
                case_id=one.case_id, repeat=one.repeat, quality=measure_quality(one),
                total_ms=one.scores.get("total_ms"), cost_usd=one.scores.get("cost_usd"),
            )
            for one in scored[::every]
        ],
        latencies=measure_latencies(results), slices=_count_slices(results),
    )  # fmt: skip


def _count_slices(results: Sequence[CaseResult]) -> dict[str, int]:
    cases = {one.case_id: one.groups for one in results}
    return dict(Counter(f"{name}={value}" for groups in cases.values() for name, value in groups.items()))


def count_steps(values: Sequence[float]) -> list[int]:
    """Return how many of the values lie in each of `BINS` equal steps from 0 to 1."""
    counts = [0] * BINS
    for value in values:
        counts[min(max(int(value * BINS), 0), BINS - 1)] += 1
    return counts
