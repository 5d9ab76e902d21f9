"""Where the time of answers goes: the median and the slow end of every stage, and how both changed between two runs."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from evaluation.records import LATENCIES, CaseResult
from evaluation.retrieval_metrics import RESAMPLES, SEED, Interval

QUANTILES: Final = (0.5, 0.95)

_BLOCK: Final = 4_000_000  # values at a time, 32 MB


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """One stage of a run's answers: its median and its 95th percentile in milliseconds, with their 95 % intervals."""

    metric: str
    answers: int
    """Those that passed the stage; a question that names nobody's session is refused without a search."""
    p50: Interval
    p95: Interval


@dataclass(frozen=True, slots=True, kw_only=True)
class LatencyChange:
    """One stage in two runs, over the answers of both: its quantiles in milliseconds, and how much they changed.

    Runs on other machines, or beside other work, differ in this without any change of the assistant.
    """

    metric: str
    answers: int
    p50_before: float
    p50_after: float
    p50_difference: Interval
    p95_before: float
    p95_after: float
    p95_difference: Interval


def measure_latencies(results: Sequence[CaseResult]) -> list[Latency]:
    """Return the stages that were timed, in the order of an answer; each repeat is an answer of its own."""
    found = []
    for metric in LATENCIES:
        values = [value for one in results if (value := one.scores.get(metric)) is not None]
        if values:
            p50, p95 = _bootstrap(np.asarray(values)[:, None])
            found.append(Latency(metric=metric, answers=len(values), p50=p50, p95=p95))
    return found


def compare_latencies(before: Sequence[CaseResult], after: Sequence[CaseResult]) -> list[LatencyChange]:
    """Return the stages that were timed in both runs, paired by case and repeat; a run from before has fewer."""
    known = {(one.case_id, one.repeat): one.scores for one in before}
    pairs = [(was, one.scores) for one in after if (was := known.get((one.case_id, one.repeat))) is not None]
    found = []
    for metric in LATENCIES:
        values = [
            (was[metric], now[metric])
            for was, now in pairs if was.get(metric) is not None and now.get(metric) is not None
        ]  # fmt: skip
        if not values:
            continue
        sample = np.asarray(values, np.float64)
        (p50_before, p50_after), (p95_before, p95_after) = np.quantile(sample, QUANTILES, axis=0).tolist()
        p50, p95 = _bootstrap(sample)
        change = LatencyChange(
            metric=metric, answers=len(values), p50_before=p50_before, p50_after=p50_after, p50_difference=p50,
            p95_before=p95_before, p95_after=p95_after, p95_difference=p95,
        )  # fmt: skip
        found.append(change)
    return found


def _bootstrap(sample: NDArray[np.float64]) -> list[Interval]:
    """Return each quantile of an (answers, 1) sample, or its step from the first to the second of (answers, 2).

    With 95 % percentile intervals, answers resampled; seeded, so the same values give the same ones.
    """
    rng = np.random.default_rng(SEED)
    size = max(1, _BLOCK // sample.size)
    drawn = []
    for begun in range(0, RESAMPLES, size):
        chosen = rng.integers(0, len(sample), (min(size, RESAMPLES - begun), len(sample)))
        drawn.append(_step(np.quantile(sample[chosen], QUANTILES, axis=1)))
    values = np.concatenate(drawn, axis=1)
    return [
        Interval(float(mean), *np.quantile(row, (0.025, 0.975)).tolist())
        for mean, row in zip(_step(np.quantile(sample, QUANTILES, axis=0)), values, strict=True)
    ]


def _step(quantiles: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the last column less the first, or the only one."""
    return quantiles[..., -1] - quantiles[..., 0] if quantiles.shape[-1] > 1 else quantiles[..., 0]
