"""Scores an answer by its words alone, without a model: deterministic, and honest about what words can't tell."""

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from evaluation.records import Response
from evaluation.suites import Case
from evaluation.support import SourceWords, Support, score_likeness, score_support, score_within
from rag.embedding.protocol import Embedder
from rag.lexical import list_words

HELD: Final = 0.8
"""Share of a reference's word pairs and words that a passage holds to count as holding it: transcripts are cut in the
middle of turns, and a quote's edges may be another's."""

_MARK: Final = re.compile(r"\s*\[\d{1,3}(?:\s*,\s*\d{1,3})*\]")


async def score_answer(case: Case, response: Response, embedder: Embedder | None) -> dict[str, float | None]:
    """Return every metric that words alone can give; None where one has nothing to say of this case.

    `answer_relevance` needs an embedder: the cosine of question and likest sentence.
    """
    text = strip_marks(response.text)
    answered = not response.refused
    wanted = case.reference_contexts
    quotes = [citation.quote for citation in response.citations]
    scores: dict[str, float | None] = {
        "refusal_correct": float(response.refused != case.answerable),
        "support": _check_support(text, _list_sources(response)).score if answered else None,
        "answer_relevance": await score_likeness(case.user_input, [text], embedder) if answered and embedder else None,
        "context_precision": _average_precision(response.contexts, wanted) if wanted else None,
        "context_recall": _share_held(wanted, response.contexts) if wanted else None,
        "citation_precision": _share_apt(quotes, wanted) if wanted and answered else None,
        "citation_recall": _share_held(wanted, quotes) if wanted else None,
        "scope_coverage": _share(response.sessions_examined, response.sessions_in_scope),
        "claim_coverage": score_support(case.reference, [text]).score if case.reference and case.answerable else None,
        "tokens": _add(response.input_tokens, response.output_tokens),
        "cost_usd": float(response.cost_usd) if response.cost_usd is not None else None,
    }
    return scores | dict(response.timings)


def strip_marks(text: str) -> str:
    """Return an answer's text without the marks of its citations, such as `[1][2]`."""
    return _MARK.sub("", text)


def score_failure(case: Case) -> dict[str, float | None]:
    """Return the scores of a case that gave no answer: the worst of every metric that would have spoken of it."""
    wanted = bool(case.reference_contexts)
    speaks = {
        "support": case.answerable, "answer_relevance": case.answerable, "context_precision": wanted,
        "context_recall": wanted, "citation_precision": wanted, "citation_recall": wanted, "scope_coverage": True,
        "claim_coverage": case.reference is not None and case.answerable, "refusal_correct": True,
    }  # fmt: skip
    return {metric: 0.0 if spoken else None for metric, spoken in speaks.items()}


def flag_answer(response: Response) -> list[str]:
    """Return what no source of the answer holds: its figures and names, a sentence each."""
    if response.refused:
        return []
    support = _check_support(strip_marks(response.text), _list_sources(response))
    flags = [f"No source holds the figure {figure}." for figure in dict.fromkeys(support.unknown_figures)]
    return flags + [f"No source holds the name {name}." for name in dict.fromkeys(support.unknown_names)]


@lru_cache(maxsize=1_024)
def holds(context: str, reference: str) -> bool:
    """Tell whether the passage holds the reference's words, or is itself a stretch of them."""
    return score_within(reference, _read(context)) >= HELD or (
        len(list_words(context)) >= 4 and score_within(context, _read(reference)) >= HELD  # words
    )


@lru_cache(maxsize=256)
def _read(text: str) -> SourceWords:
    """Return the words of one text; each passage is held against every reference, and comes up in many cases."""
    return SourceWords([text])


@lru_cache(maxsize=16)
def _check_support(text: str, sources: tuple[str, ...]) -> Support:
    """Return an answer's support, which its score and its flags both tell of."""
    return score_support(text, sources)


def _average_precision(contexts: Sequence[str], wanted: Sequence[str]) -> float:
    """Return average precision: the mean, over passages that hold a reference, of precision at their rank."""
    hits = [any(holds(context, reference) for reference in wanted) for context in contexts]
    precisions = [sum(hits[: rank + 1]) / (rank + 1) for rank, hit in enumerate(hits) if hit]
    return sum(precisions) / len(precisions) if precisions else 0.0


def _share_held(wanted: Sequence[str], given: Sequence[str]) -> float:
    return sum(any(holds(one, reference) for one in given) for reference in wanted) / len(wanted)


def _share_apt(given: Sequence[str], wanted: Sequence[str]) -> float:
    return sum(any(holds(one, reference) for reference in wanted) for one in given) / len(given) if given else 0.0


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _add(one: int | None, other: int | None) -> float | None:
    return None if one is None or other is None else float(one + other)


def _list_sources(response: Response) -> tuple[str, ...]:
    """Return the passages, and what an answer may name beside their words: who spoke, and in what."""
    named = (" ".join(filter(None, (one.speaker, one.title))) for one in response.citations)
    return (*response.contexts, *named)
