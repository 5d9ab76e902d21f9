"""The few figures a run is told by in a list of runs, worked out once and kept while nothing of the run changes."""

import asyncio
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Final
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from evaluation.compare import WHOLE, summarize
from evaluation.records import CaseResult
from evaluation.retrieval_metrics import Interval
from evaluation.runs import RunRow, load_scores

FIGURES: Final = ("faithfulness", "support", "citation_recall", "refusal_correct")
MOST_KEPT: Final = 1_000
"""Runs whose figures are kept, each some hundred bytes."""

_kept: Final[OrderedDict[tuple[UUID, str, int, int], Mapping[str, Interval]]] = OrderedDict()


async def measure_headlines(session: AsyncSession, run: RunRow) -> Mapping[str, Interval]:
    """Return the means of `FIGURES` over all cases with their 95 % intervals; none for a run without an answer.

    A run that its reader was shown is asked for, so what is kept of it is nobody else's. Raises `RunTooLarge`.
    """
    known = run.id, run.status, run.answers, run.failed
    figures = _kept.get(known)
    if figures is None:
        scores = await load_scores(session, run, FIGURES)
        figures = _kept[known] = await asyncio.to_thread(_measure, scores)
        while len(_kept) > MOST_KEPT:
            _kept.popitem(last=False)
    return figures


def _measure(scores: Sequence[CaseResult]) -> Mapping[str, Interval]:
    return summarize(scores)[WHOLE] if any(one.scores or one.judge_errors for one in scores) else {}
