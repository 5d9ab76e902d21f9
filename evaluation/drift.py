"""Tells whether the newest scored answers are worse than those before them, seldom wrongly and with a reason to act.

Shares and scores from 0 to 1 are compared on the scale of the arcsine of their root (Anscombe 1948), on which a share's
variance hardly depends on the share, so that rare refusals and citations that never fail get a band as well as scores
in the middle. The band is as wide as the answers' own spread says, or wider where earlier windows lie further apart
than that; how far is their mean square, cut off at `CUT` times what the median of their absolute deviations says, so
that one bad night does not widen it. The centre is the mean of all earlier answers, not the median of windows, as that
of a rare event is 0. Times and costs are compared as shares too, of answers beyond a quantile of the earlier ones, so
that no single one decides.

Each metric is looked at three times: the newest window alone, for what broke overnight, and the newest three and seven
together, for what a window is too small to show. `BAND` is set by simulation (tests/evaluation/test_drift.py holds it):
with all metrics and looks together, of nights that vary by a fifth about one in a thousand is told wrongly, and one in
seventy where refusals swing by two fifths and times by a quarter from night to night.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

Verdict = Literal["steady", "better", "drifted", "too few"]
Floats = NDArray[np.float64]

BAND: Final = 3.6
"""Standard errors of a difference that are still steady; more where the spread of windows had to be estimated."""
WINDOWS: Final = 28
"""Earlier windows that the newest are held against; four weeks, so that weekends are among them."""
LOOKS: Final = (1, 3, 7)
"""How many of the newest windows are taken together."""
LEAST_NOW: Final = 20
LEAST_BEFORE: Final = 100
LEAST_WINDOWS: Final = 5
"""Answers now, answers before, and windows before that have any: with less, nothing is said."""
MAD_TO_SD: Final = 1.4826
"""Of a normal distribution."""
CUT: Final = 2.5
"""Standard deviations from the centre beyond which a window counts as if it lay there."""


@dataclass(frozen=True, slots=True)
class Watched:
    """How a metric is watched: which way is worse, beyond which quantile, and the least change worth telling.

    `quantile` None compares means; else the share of answers beyond that quantile of the earlier ones. `least` is a
    difference of means, or for a quantile the ratio of now to before, less 1. `shown` names what is shown.
    """

    worse: Literal["lower", "higher"]
    least: float
    quantile: float | None = None
    shown: Literal["mean", "p95"] = "mean"


WATCHED: Final[Mapping[str, Watched]] = {
    "support": Watched("lower", 0.03),
    "answer_relevance": Watched("lower", 0.03),
    "cited_sentences": Watched("lower", 0.03),
    "scope_coverage": Watched("lower", 0.03),
    "faithfulness": Watched("lower", 0.03),
    "response_relevancy": Watched("lower", 0.03),
    "refused": Watched("higher", 0.03),
    "total_ms": Watched("higher", 0.25, quantile=0.95, shown="p95"),
    "cost_usd": Watched("higher", 0.25, quantile=0.75),
}
"""What is watched; the order is that of the table."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trend:
    """One metric over the newest `windows` windows beside the earlier ones; None where there is nothing to show."""

    metric: str
    shown: Literal["mean", "p95"]
    windows: int
    before: float | None
    now: float | None
    answers_before: int
    answers: int
    verdict: Verdict

    @property
    def drifted(self) -> bool:
        """Whether it got worse beyond doubt, and by enough to matter."""
        return self.verdict == "drifted"


def find_trends(scores: Mapping[str, Sequence[tuple[int, float]]], *, band: float = BAND) -> list[Trend]:
    """Return every watched metric's trends, one a look.

    `scores` holds by metric each answer's (age, value): age 0 is the newest window, 1 the one before it. Windows older
    than `WINDOWS` before a look are left out.
    """
    trends = []
    for metric, how in WATCHED.items():
        pairs = np.array(scores.get(metric, ()), np.float64).reshape(-1, 2)
        trends += [_look(metric, how, pairs, look, band) for look in LOOKS]
    return trends


def _look(metric: str, how: Watched, pairs: Floats, look: int, band: float) -> Trend:
    earlier = (pairs[:, 0] >= look) & (pairs[:, 0] < look + WINDOWS)
    ages, before, now = pairs[earlier, 0], pairs[earlier, 1], pairs[pairs[:, 0] < look, 1]
    was, here = _show(how, before), _show(how, now)
    windows = len(np.unique(ages))
    verdict: Verdict = "too few"
    if was is not None and here is not None and _is_enough(len(now), len(before), windows):
        verdict = "steady"
        if how.quantile is None:
            matters = abs(here - was) >= how.least
        else:
            limit = np.quantile(before, how.quantile)
            now, before = (now > limit).astype(np.float64), (before > limit).astype(np.float64)
            matters = abs(here - was) > how.least * min(was, here)
        deviation = _standardize(now, before, ages, band) * (-1 if how.worse == "lower" else 1)
        if matters and abs(deviation) > band:
            verdict = "drifted" if deviation > 0 else "better"
    return Trend(
        metric=metric, shown=how.shown, windows=look, before=was, now=here, answers_before=len(before),
        answers=len(now), verdict=verdict,
    )  # fmt: skip


def _show(how: Watched, values: Floats) -> float | None:
    if not len(values):
        return None
    return float(np.quantile(values, 0.95) if how.shown == "p95" else np.mean(values))


def _is_enough(now: int, before: int, windows: int) -> bool:
    return now >= LEAST_NOW and before >= LEAST_BEFORE and windows >= LEAST_WINDOWS


def _standardize(now: Floats, before: Floats, ages: Floats, band: float) -> float:
    """Return by how many standard errors the values now, from 0 to 1, lie above those before."""
    centre = (before.sum() + 0.5) / (len(before) + 1)
    binomial = centre * (1 - centre)
    # how much less the values spread than yes and no would; where nothing ever varied, about as much as those
    spread = (float(((before - centre) ** 2).sum()) + 1) / (len(before) * binomial + 1)
    middle = np.arcsin(np.sqrt(centre))
    windows = [before[ages == age] for age in np.unique(ages)]
    apart = np.array([(_transform(one) - middle) * 2 * np.sqrt(len(one) / spread) for one in windows])
    most = CUT * max(1.0, float(MAD_TO_SD * np.median(np.abs(apart))))
    excess = max(1.0, float((np.clip(apart, -most, most) ** 2).mean()))
    error = np.sqrt(spread * excess * (1 / len(now) + 1 / len(before)) / 4)
    if excess > 1:
        error *= _widen(band, len(windows))
    return float((_transform(now) - middle) / error)


def _widen(band: float, windows: int) -> float:
    """Return by what to widen a band whose scale so few windows tell, as Student's quantile is wider: first order."""
    return 1 + (band**2 + 1) / (4 * (windows - 1))


def _transform(values: Floats) -> float:
    """Return the arcsine of the root of the mean, with Anscombe's correction for few values."""
    return float(np.arcsin(np.sqrt((values.sum() + 0.375) / (len(values) + 0.75))))
