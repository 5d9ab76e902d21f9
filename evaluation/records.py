"""What one question asked for measurement brought, and what its scores are; shared by everything that measures."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final, Literal, NamedTuple

from rag.stages import STAGES

Scores = Mapping[str, float | None]
"""A score by metric; None where the metric has nothing to say of the case, such as recall where nothing was to find."""

BY_WORDS: Final = (
    "support", "answer_relevance", "context_precision", "context_recall", "citation_precision", "citation_recall",
    "scope_coverage", "claim_coverage", "refusal_correct",
)  # fmt: skip
"""What words alone can tell (evaluation/metrics.py)."""

BY_JUDGE: Final = (
    "faithfulness", "response_relevancy", "judged_context_precision", "judged_context_recall", "hallucination",
)  # fmt: skip
"""What a model judges (evaluation/judge.py)."""

BY_REFERENCE: Final = frozenset({"judged_context_precision", "judged_context_recall"})
"""Those of them that need a reference answer."""

UNSUPPORTED: Final = "unsupported"
"""Whether an answer's support is below a calibrated threshold (evaluation/thresholds.py)."""

LATENCIES: Final = (*(f"{stage}_ms" for stage in STAGES), "first_event_ms", "first_words_ms", "total_ms")
"""Milliseconds in each stage of an answer (rag/stages.py), until its first signs, and until it was whole."""

EFFORT: Final = (*LATENCIES, "tokens", "cost_usd")
"""What an answer took."""

QUALITY: Final = (*BY_WORDS, UNSUPPORTED, *BY_JUDGE)
"""Metrics from 0 to 1, in which a case that failed counts as worst."""

LOWER_IS_BETTER: Final = frozenset({UNSUPPORTED, "hallucination", *EFFORT})


@dataclass(frozen=True, slots=True, kw_only=True)
class Cited:
    """One citation of an answer: its exact words and where they stand."""

    quote: str
    speaker: str | None = None
    title: str | None = None
    source_id: str | None = None


class SourceRead(NamedTuple):
    """One version of a transcript or document that an answer was made from, and whom it is about."""

    kind: Literal["transcript", "document"]
    id: str
    content_hash: str
    client_id: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """One answer of the assistant, with what it was made from.

    `contexts` are the passages it could read, best first, and `sources` all that these and its citations are of;
    `timings` milliseconds by metric of `LATENCIES`; tokens and cost are None where they are not known.
    """

    text: str
    refused: bool
    provider: str
    contexts: Sequence[str] = ()
    citations: Sequence[Cited] = ()
    sources: Sequence[SourceRead] = ()
    sessions_in_scope: int = 0
    sessions_examined: int = 0
    timings: Mapping[str, float] = field(default_factory=dict)
    input_tokens: int | None = None
    output_tokens: int | None = None
    cost_usd: Decimal | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseResult:
    """One case asked once: its answer and scores, or the sentence that says why there is none.

    A case that failed counts as worst in every quality metric that speaks of it, and so does one that the judge failed
    to judge; a refusal is nothing to judge.
    """

    case_id: str
    repeat: int
    status: Literal["scored", "failed"]
    scores: Scores
    response: Response | None = None
    error: str | None = None
    judge_errors: Mapping[str, str] = field(default_factory=dict)
    """Why the judge gave no score, by metric; such a metric has None in `scores`, and counts as worst."""
    judge_cost_usd: Decimal | None = None
    groups: Mapping[str, str] = field(default_factory=dict)
    user_input: str = ""
    flags: Sequence[str] = ()
    """What a reader should look at, such as figures that no source holds."""

    def count(self, metric: str) -> float | None:
        """Return the score as means, rules and comparisons count it: the worst where the judge failed."""
        value = self.scores.get(metric)
        return get_worst(metric) if value is None and metric in self.judge_errors else value


def get_worst(metric: str) -> float:
    """Return the worst score of a metric of quality."""
    return float(metric in LOWER_IS_BETTER)
