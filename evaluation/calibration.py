"""How far a scorer agrees with people, and from which score on an answer may be called supported, corpus by corpus."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from decimal import Decimal
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata, spearmanr

from evaluation.label_sets import JudgedAnswer, LabelSet
from evaluation.retrieval_metrics import RESAMPLES, SEED, Interval
from evaluation.support import LEXICAL, LIKENESS, score_likeness, score_support
from rag.costs import add_costs
from rag.embedding.protocol import Embedder

if TYPE_CHECKING:
    from evaluation.judge import RagasJudge

FOLDS: Final = 5
FEWEST: Final = 20
"""Scored answers of either kind below which no threshold is given: chance would choose it."""
LEAST_SCORED: Final = 0.8
"""Share of the answers asked for that were scored, below which no threshold is given: what fails may be of one kind."""

AT_ONCE: Final = 8
"""Answers whose judgement is under way; the judge has its own limit of requests."""
UNKNOWN_QUESTION: Final = "What do the sources say?"

Scores = NDArray[np.float64]
Labels = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """A scorer's word on one answer: a score from 0 to 1, or why there is none; what it cost, None if not known."""

    score: float | None
    error: str | None = None
    cost_usd: Decimal | None = Decimal(0)
    cached: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Scorer:
    """How answers are scored: so many at once, and what one is going to cost, None where its price is not known."""

    score: Callable[[JudgedAnswer], Awaitable[Outcome]]
    forecast_usd: Callable[[JudgedAnswer], Decimal | None] = lambda _: Decimal(0)
    at_once: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """A corpus as far as it was scored: an outcome an answer in its order, None for what the budget did not reach."""

    outcomes: Sequence[Outcome | None]
    ms_per_answer: float = 0.0
    """Of those that came from no cache."""

    @property
    def cost_usd(self) -> Decimal | None:
        """What it cost, None where that is not known."""
        return add_costs(one.cost_usd for one in self.outcomes if one is not None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """One scorer on one corpus, with 95 % intervals drawn over sources.

    Of `answers`, those `failed` have no score, by the `errors` counted, and the budget did not reach those `unasked`;
    all else is of the rest. `auroc`: how often a faithful answer scores above one that is not. `balanced_accuracy`:
    mean of both kinds told right, with a threshold chosen on other sources than those judged. `spearman`: rank
    correlation with people's grades. Each is None where there is nothing to compare. `threshold`: what to call
    supported here, None where too few were scored.
    """

    corpus: str
    scorer: str
    answers: int
    scored: int
    failed: int
    unasked: int
    sources: int
    faithful: int
    auroc: Interval | None
    balanced_accuracy: Interval | None
    spearman: Interval | None
    threshold: float | None
    ms_per_answer: float
    cost_usd: Decimal | None
    errors: Mapping[str, int] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return it as plain values."""
        return asdict(self)


def list_scorers(embedder: Embedder) -> dict[str, Scorer]:
    """Return the scorers that need no model service, by name."""

    async def support(judged: JudgedAnswer) -> Outcome:
        return Outcome(score=score_support(judged.answer, judged.sources).score)

    async def likeness(judged: JudgedAnswer) -> Outcome:
        return Outcome(score=await score_likeness(judged.answer, judged.sources, embedder))

    return {LEXICAL: Scorer(score=support), LIKENESS: Scorer(score=likeness)}


def build_judge_scorer(judge: "RagasJudge") -> Scorer:
    """Return the scorer that asks the judge how faithful an answer is; what it judged before costs nothing."""

    async def score(judged: JudgedAnswer) -> Outcome:
        one = await judge.judge_faithfulness(judged.question or UNKNOWN_QUESTION, judged.answer, judged.sources)
        return Outcome(score=one.score, error=one.error, cost_usd=one.cost_usd, cached=one.cached)

    def forecast(judged: JudgedAnswer) -> Decimal | None:
        return judge.forecast_faithfulness(judged.question or UNKNOWN_QUESTION, judged.answer, judged.sources)

    return Scorer(score=score, forecast_usd=forecast, at_once=AT_ONCE)


def forecast_labels(labels: LabelSet, scorer: Scorer) -> Decimal | None:
    """Return what scoring the corpus is going to cost in USD, None where a price is not known."""
    return add_costs(scorer.forecast_usd(answer) for answer in labels.answers)


async def score_labels(
    labels: LabelSet, scorer: Scorer, *, budget_usd: Decimal | None = None, told: Callable[[int], None] = lambda _: None
) -> Scored:
    """Score the corpus' answers in an order drawn by seed, so that those a budget reaches stand for the others.

    An answer is not begun where it, and those under way, could pass the budget if each cost as much as the dearest so
    far or as foretold. `told` hears of each answer that is done.
    """
    waiting = np.random.default_rng(SEED).permutation(len(labels.answers)).tolist()
    outcomes: list[Outcome | None] = [None] * len(labels.answers)
    seconds: list[float] = []
    spent = dearest = Decimal(0)
    running: dict[asyncio.Task[tuple[Outcome, float]], tuple[int, Decimal]] = {}
    try:
        while waiting or running:
            while waiting and len(running) < scorer.at_once:
                foretold = max(scorer.forecast_usd(labels.answers[waiting[-1]]) or Decimal(0), Decimal(0))
                reserved = spent + sum(max(one, dearest) for _, one in running.values() if one)
                if budget_usd is not None and foretold and reserved + max(foretold, dearest) > budget_usd:
                    break
                number = waiting.pop()
                task = asyncio.create_task(_time(scorer, labels.answers[number]))
                running[task] = (number, foretold)
            if not running:
                break
            for task in (await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED))[0]:
                number, _ = running.pop(task)
                outcome, took = task.result()
                outcomes[number] = outcome
                spent += outcome.cost_usd or Decimal(0)
                dearest = max(dearest, outcome.cost_usd or Decimal(0))
                if not outcome.cached:
                    seconds.append(took)
                told(1)
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
    return Scored(outcomes=outcomes, ms_per_answer=1_000 * float(np.mean(seconds)) if seconds else 0.0)


async def _time(scorer: Scorer, answer: JudgedAnswer) -> tuple[Outcome, float]:
    started = perf_counter()
    return await scorer.score(answer), perf_counter() - started


def measure_agreement(labels: LabelSet, name: str, scored: Scored) -> Agreement:
    """Return how far the scores agree with people; what has none is counted and has no part in anything else."""
    pairs = [
        (answer, one.score) for answer, one in zip(labels.answers, scored.outcomes, strict=True)
        if one is not None and one.score is not None
    ]  # fmt: skip
    answers, scores = [answer for answer, _ in pairs], np.asarray([score for _, score in pairs], np.float64)
    faithful = np.asarray([answer.faithful for answer in answers], np.bool_)
    _, groups = np.unique([answer.group for answer in answers], return_inverse=True)
    graded = np.asarray([np.nan if answer.grade is None else answer.grade for answer in answers], np.float64)
    errors = Counter(one.error or "" for one in scored.outcomes if one is not None and one.score is None)
    unasked = sum(one is None for one in scored.outcomes)
    enough = (
        min(int(faithful.sum()), int((~faithful).sum())) >= FEWEST
        and len(pairs) >= LEAST_SCORED * (len(labels.answers) - unasked)
    )  # fmt: skip
    both = bool(faithful.any()) and not faithful.all()
    held_out = judge_held_out(scores, faithful, groups) if both else faithful
    return Agreement(
        corpus=labels.name, scorer=name, answers=len(labels.answers), scored=len(pairs), failed=errors.total(),
        unasked=unasked, sources=len(set(groups.tolist())), faithful=int(faithful.sum()),
        auroc=_over_sources(groups, lambda drawn: compute_auroc(scores[drawn], faithful[drawn])),
        balanced_accuracy=_over_sources(groups, lambda drawn: compute_balanced(held_out[drawn], faithful[drawn])),
        spearman=None if np.isnan(graded).any()
        else _over_sources(groups, lambda drawn: compute_spearman(scores[drawn], graded[drawn])),
        threshold=find_threshold(scores, faithful) if enough else None,
        ms_per_answer=scored.ms_per_answer, cost_usd=scored.cost_usd, errors=dict(errors.most_common()),
    )  # fmt: skip


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


def _over_sources(groups: NDArray[np.intp], statistic: Callable[[NDArray[np.intp]], float]) -> Interval | None:
    """Return the statistic with its 95 % interval, whole sources resampled: answers to one source are alike.

    None where there is no such statistic, as without answers of both kinds.
    """
    if not len(groups) or np.isnan(whole := statistic(np.arange(len(groups)))):
        return None
    members = [np.flatnonzero(groups == group) for group in range(int(groups.max()) + 1)]
    chance = np.random.default_rng(SEED)
    drawn = (
        statistic(np.concatenate([members[number] for number in chance.integers(0, len(members), len(members))]))
        for _ in range(RESAMPLES)
    )
    values = np.asarray([value for value in drawn if not np.isnan(value)])
    low, high = np.quantile(values, (0.025, 0.975)) if len(values) else (whole, whole)
    return Interval(whole, float(low), float(high))
