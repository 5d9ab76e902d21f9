"""Compares two runs of a suite case by case: what changed, how sure that is, and whether a rule forbids it."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np

from core.errors import Invalid
from evaluation.chance import LEVEL, find_chances
from evaluation.latency import LatencyChange, compare_latencies
from evaluation.records import BY_JUDGE, EFFORT, LOWER_IS_BETTER, QUALITY, CaseResult, get_worst
from evaluation.retrieval_metrics import Interval, bootstrap

WHOLE: Final = "all"
NOTICEABLE: Final = 0.1
"""A case whose score fell by more is listed; smaller steps are a word more or less in a quote."""
MATERIAL: Final = 0.005
"""A fall of a mean by less is nobody's concern, however certain."""
MOST_LISTED: Final = 100
_NO_PAIR: Final = (np.nan, np.nan)
FEWEST_IN_SLICE: Final = 5
"""Cases below which nothing is called certain: a slice of four may change by chance in any way."""

_RULE: Final = re.compile(
    r"\s*(?P<metric>[a-z_]+)\s*(?P<sign>[<>])\s*(?:(?P<limit>\d*\.?\d+)"
    r"|(?P<baseline>baseline)(?:\s*(?P<step>[-+*])\s*(?P<value>\d*\.?\d+))?)\s*"
)


class UnusableRule(Invalid):
    """This rule can't be read; write it like `support < 0.6` or `support < baseline - 0.02`."""


class Rule(NamedTuple):
    """What fails a run: a mean beyond `limit`, or, with `step`, beyond the baseline's so changed and beyond chance."""

    text: str
    metric: str
    below: bool
    step: str
    limit: float

    def find_limit(self, baseline: float) -> float:
        """Return the limit for a run whose baseline had this mean."""
        match self.step:
            case "-":
                return baseline - self.limit
            case "+":
                return baseline + self.limit
            case "*":
                return baseline * self.limit
        return self.limit


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One metric in one slice: means of both runs over the cases of both, and their paired difference."""

    metric: str
    group: str
    cases: int
    before: float
    after: float
    difference: Interval
    unjudged_before: int = 0
    unjudged_after: int = 0
    """Cases that the judge failed to judge in each run; they count as worst in its mean."""
    chance: float = 1.0
    """How often chance alone changes any metric of the slice as clearly; those of quality and of effort apart."""

    @property
    def worse(self) -> bool:
        """Whether it got worse beyond chance, and by enough to matter."""
        return self._rose() if self.metric in LOWER_IS_BETTER else self._fell()

    @property
    def better(self) -> bool:
        """Whether it got better beyond chance, and by enough to matter."""
        return self._fell() if self.metric in LOWER_IS_BETTER else self._rose()

    def is_beyond_chance(self, *, below: bool) -> bool:
        """Tell whether it fell, or rose, so that the whole interval lies there and chance hardly ever does it."""
        beyond = self.difference.high < 0 if below else self.difference.low > 0
        return beyond and self.chance <= LEVEL and self.cases >= FEWEST_IN_SLICE

    def _fell(self) -> bool:
        return self.is_beyond_chance(below=True) and self._matters()

    def _rose(self) -> bool:
        return self.is_beyond_chance(below=False) and self._matters()

    def _matters(self) -> bool:
        return self.metric in EFFORT or abs(self.difference.mean) > MATERIAL


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseChange:
    """One case that moved most in one metric, with both answers to read side by side; a case without one says why."""

    case_id: str
    user_input: str
    metric: str
    before: float
    after: float
    answer_before: str
    answer_after: str
    judge_error: str | None = None
    """Why a case that was judged before has no judgement now, in this metric or another."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unjudged:
    """One metric of one answer that the judge failed to judge, and why."""

    case_id: str
    repeat: int
    metric: str
    error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """All that changed between two runs; it fails where `broken` says why."""

    changes: Sequence[Change]
    regressions: Sequence[CaseChange]
    """The largest falls first."""
    missing: Sequence[str]
    """Cases of the baseline without a result in the new run; each counts as worst."""
    added: Sequence[str]
    flaky: Sequence[str]
    unjudged: Sequence[Unjudged]
    """What the judge failed to judge in the new run."""
    broken: Sequence[str]
    latencies: Sequence[LatencyChange] = ()
    improvements: Sequence[CaseChange] = ()
    """Cases that got better in one metric and in none worse, the largest rises first."""


def parse_rule(text: str) -> Rule:
    """Read one rule; raises `UnusableRule`."""
    found = _RULE.fullmatch(text)
    if found is None:
        raise UnusableRule(f"The rule {text!r} can't be read; write it like `support < baseline - 0.02`.")
    known = (*QUALITY, *EFFORT)
    if found["metric"] not in known:
        raise UnusableRule(f"There is no metric {found['metric']}; choose one of {', '.join(known)}.")
    step = (found["step"] or "-") if found["baseline"] else ""
    return Rule(text.strip(), found["metric"], found["sign"] == "<", step, float(found["limit"] or found["value"] or 0))


def compare(baseline: Sequence[CaseResult], results: Sequence[CaseResult], rules: Sequence[Rule] = ()) -> Comparison:
    """Compare two runs of one suite, paired by case, repeats averaged first.

    Without rules, any metric of quality that fell over all cases, by more than `MATERIAL` and beyond chance, fails.
    All such metrics, or all that rules compare with the baseline, are tested together: the more of them, the clearer
    each has to fall. A case that is missing always fails.
    """
    before, after = _by_case(baseline), _by_case(results)
    missing = [case for case in before if case not in after]
    changes = list(_list_changes(before, after))
    if rules:
        whole = {change.metric: change for change in changes if change.group == WHOLE}
        # only what is held against the baseline can be a false alarm by chance
        compared = dict.fromkeys(rule.metric for rule in rules if rule.step)
        whole |= {one.metric: one for one in _compare_group(WHOLE, list(before), before, after, compared)}
        broken = [said for rule in rules if (said := _check(rule, whole)) is not None]
    else:
        broken = [
            _say_fall(change) for change in changes
            if change.group == WHOLE and change.metric in QUALITY and change.worse
        ]  # fmt: skip
    if missing:
        broken.append(
            f"{len(missing)} of the baseline's {len(before)} cases have no result; the first is {missing[0]}."
        )
    return Comparison(
        changes=changes, regressions=_list_regressions(before, after), missing=missing,
        added=[case for case in after if case not in before], flaky=find_flaky(results),
        unjudged=list_unjudged(results), broken=broken, latencies=compare_latencies(baseline, results),
        improvements=_list_improvements(before, after),
    )  # fmt: skip


def summarize(results: Sequence[CaseResult]) -> dict[str, dict[str, Interval]]:
    """Return the mean of each metric with its 95 % interval over cases, by slice, the whole (`all`) first."""
    cases = _by_case(results)
    found: dict[str, dict[str, Interval]] = {}
    for group, members in _list_groups(cases).items():
        for metric in (*QUALITY, *EFFORT):
            values = [value for case in members if (value := _read(cases[case], metric)) is not None]
            if values:
                found.setdefault(group, {})[metric] = bootstrap(values)
    return found


def check_limits(results: Sequence[CaseResult], rules: Sequence[Rule]) -> list[str]:
    """Return which of the rules without a baseline the run breaks, a sentence each."""
    means = summarize(results)[WHOLE]
    return [
        said for rule in rules if not rule.step
        and (said := _judge(rule, means[rule.metric].mean if rule.metric in means else None, rule.limit)) is not None
    ]  # fmt: skip


def list_unjudged(results: Sequence[CaseResult]) -> list[Unjudged]:
    """Return every judgement that failed, in the results' order."""
    return [
        Unjudged(case_id=one.case_id, repeat=one.repeat, metric=metric, error=error)
        for one in results for metric, error in one.judge_errors.items()
    ]  # fmt: skip


def say_unjudged(results: Sequence[CaseResult]) -> list[str]:
    """Return what the judge failed to judge and why, a sentence for each metric and cause, the most frequent first."""
    causes = Counter((one.metric, one.error) for one in list_unjudged(results))
    judged = Counter(
        metric for one in results for metric in BY_JUDGE if one.status == "scored" and metric in one.scores
    )
    return [
        f"{metric}: {count:,} of {judged[metric]:,} judgements failed and count as worst. {error}"
        for (metric, error), count in causes.most_common()
    ]


def find_flaky(results: Sequence[CaseResult]) -> list[str]:
    """Return the cases whose repeats differ: in being refused or failing, or in a metric of quality noticeably."""
    return [case for case, repeats in _by_case(results).items() if _differ(repeats)]


def _by_case(results: Sequence[CaseResult]) -> dict[str, list[CaseResult]]:
    found: dict[str, list[CaseResult]] = defaultdict(list)
    for one in results:
        found[one.case_id].append(one)
    return found


def _list_groups(cases: Mapping[str, Sequence[CaseResult]]) -> dict[str, list[str]]:
    groups: dict[str, list[str]] = {WHOLE: list(cases)}
    for case, repeats in cases.items():
        for name, value in repeats[0].groups.items():
            groups.setdefault(f"{name}={value}", []).append(case)
    return groups


def _read(repeats: Sequence[CaseResult], metric: str) -> float | None:
    values = [value for one in repeats if (value := one.count(metric)) is not None]
    return sum(values) / len(values) if values else None  # few values, where an array takes ten times as long


def _pair(before: Sequence[CaseResult], after: Sequence[CaseResult] | None, metric: str) -> tuple[float, float] | None:
    """Return both runs' scores of a case; None where one has nothing to say. A missing case has the worst quality."""
    was = _read(before, metric)
    if was is None:
        return None
    if after is None:
        return (was, get_worst(metric)) if metric in QUALITY else None
    now = _read(after, metric)
    return None if now is None else (was, now)


def _list_changes(
    before: Mapping[str, Sequence[CaseResult]], after: Mapping[str, Sequence[CaseResult]]
) -> Iterator[Change]:
    for group, members in _list_groups(before).items():
        for metrics in (QUALITY, EFFORT):
            yield from _compare_group(group, members, before, after, metrics)


def _compare_group(
    group: str, members: Sequence[str], before: Mapping[str, Sequence[CaseResult]],
    after: Mapping[str, Sequence[CaseResult]], metrics: Iterable[str],
) -> Iterator[Change]:  # fmt: skip
    """Yield the changes of the metrics that both runs have, tested together."""
    found: dict[str, dict[str, tuple[float, float]]] = {}
    for metric in metrics:
        paired = ((case, _pair(before[case], after.get(case), metric)) for case in members)
        if known := {case: pair for case, pair in paired if pair is not None}:
            found[metric] = known
    if not found:
        return
    both = np.array([[pairs.get(case, _NO_PAIR) for pairs in found.values()] for case in members], np.float64)
    chances = find_chances(both[..., 1] - both[..., 0])
    for (metric, pairs), chance in zip(found.items(), chances, strict=True):
        was, now = np.asarray(list(pairs.values()), np.float64).T
        yield Change(
            metric=metric, group=group, cases=len(pairs), before=float(was.mean()), after=float(now.mean()),
            difference=bootstrap(now - was), chance=float(chance),
            unjudged_before=sum(_find_error(before[case], metric) is not None for case in pairs),
            unjudged_after=sum(_find_error(after.get(case, ()), metric) is not None for case in pairs),
        )  # fmt: skip


def _list_regressions(
    before: Mapping[str, Sequence[CaseResult]], after: Mapping[str, Sequence[CaseResult]]
) -> list[CaseChange]:
    found: list[CaseChange] = []
    for case, repeats in before.items():
        pairs, falls = _measure_falls(repeats, after.get(case))
        lost = {
            metric: error for metric in pairs
            if _find_error(repeats, metric) is None and (error := _find_error(after.get(case, ()), metric)) is not None
        }  # fmt: skip
        metric = max(falls, key=lambda name: falls[name], default=None)
        # a judgement lost is named even where the score was as low before: nobody knows what it is now
        if metric is not None and (lost or falls[metric] > NOTICEABLE):
            change = CaseChange(
                case_id=case, user_input=repeats[0].user_input, metric=metric, before=pairs[metric][0],
                after=pairs[metric][1], answer_before=_quote(repeats), answer_after=_quote(after.get(case)),
                judge_error=lost.get(metric, next(iter(lost.values()), None)),
            )  # fmt: skip
            found.append(change)
    return sorted(found, key=lambda one: -abs(one.before - one.after))[:MOST_LISTED]


def _list_improvements(
    before: Mapping[str, Sequence[CaseResult]], after: Mapping[str, Sequence[CaseResult]]
) -> list[CaseChange]:
    found: list[CaseChange] = []
    for case, repeats in before.items():
        pairs, falls = _measure_falls(repeats, after.get(case))
        metric = min(falls, key=lambda name: falls[name], default=None)
        # a case that also fell is listed there; one whose judgement was lost before says nothing of the answer
        if metric is None or falls[metric] >= -NOTICEABLE or max(falls.values()) > NOTICEABLE:
            continue
        if _find_error(repeats, metric) is None:
            change = CaseChange(
                case_id=case, user_input=repeats[0].user_input, metric=metric, before=pairs[metric][0],
                after=pairs[metric][1], answer_before=_quote(repeats), answer_after=_quote(after.get(case)),
            )  # fmt: skip
            found.append(change)
    return sorted(found, key=lambda one: -abs(one.before - one.after))[:MOST_LISTED]


def _measure_falls(
    before: Sequence[CaseResult], after: Sequence[CaseResult] | None
) -> tuple[dict[str, tuple[float, float]], dict[str, float]]:
    """Return a case's scores in both runs by metric of quality, and by how much each got worse."""
    pairs = {metric: pair for metric in QUALITY if (pair := _pair(before, after, metric)) is not None}
    return pairs, {m: (was - now) * (-1 if m in LOWER_IS_BETTER else 1) for m, (was, now) in pairs.items()}


def _quote(repeats: Sequence[CaseResult] | None) -> str:
    if repeats is None:
        return "No result."
    first = repeats[0]
    return first.response.text if first.response is not None else first.error or ""


def _find_error(repeats: Sequence[CaseResult], metric: str) -> str | None:
    return next((error for one in repeats if (error := one.judge_errors.get(metric)) is not None), None)


def _differ(repeats: Sequence[CaseResult]) -> bool:
    ends = {(one.status, one.response.refused if one.response else None) for one in repeats}
    if len(ends) > 1:
        return True
    spreads = ([value for one in repeats if (value := one.scores.get(metric)) is not None] for metric in QUALITY)
    return any(max(values) - min(values) > NOTICEABLE for values in spreads if values)


def _check(rule: Rule, whole: Mapping[str, Change]) -> str | None:
    """Return how the run breaks the rule; one against the baseline is broken only by a change beyond chance."""
    change = whole.get(rule.metric)
    if change is None:
        return _judge(rule, None, rule.limit)
    said = _judge(rule, change.after, rule.find_limit(change.before))
    if said is None or not rule.step:
        return said
    return f"{said} {_say_difference(change)}" if change.is_beyond_chance(below=rule.below) else None


def _judge(rule: Rule, mean: float | None, limit: float) -> str | None:
    if mean is None:
        return f"`{rule.text}` can't be held: no case was scored for {rule.metric}."
    if (mean < limit) if rule.below else (mean > limit):
        return f"`{rule.text}` is broken: {rule.metric} is {mean:.4g}, the limit {limit:.4g}."
    return None


def _say_fall(change: Change) -> str:
    return f"{change.metric} got worse: {change.before:.3f} to {change.after:.3f}. {_say_difference(change)}"


def _say_difference(change: Change) -> str:
    step = change.difference
    lost = f", {change.unjudged_after} of them not judged" if change.unjudged_after else ""
    sure = f"95 % interval {step.low:+z.3f} to {step.high:+z.3f}, p = {change.chance:.2g}"
    return f"({step.mean:+z.3f}, {sure}, {change.cases} cases{lost})"
