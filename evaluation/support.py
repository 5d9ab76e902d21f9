"""How much of an answer stands in its sources, told from words alone, without a model.

This is support, not truth: it sees what was added, not what was turned round. A negation left out or two names changed
over pass unseen. What a score means differs from corpus to corpus; `regenesis eval calibrate` says where which
threshold holds.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Final

import numpy as np

from rag.embedding.protocol import Embedder
from rag.lexical import list_words, term_index
from rag.synthesize import split_sentences

LEXICAL: Final = "support"
LIKENESS: Final = "support-likeness"

PAIR_WEIGHT: Final = 2 / 3
"""Share of adjacent word pairs in a sentence's score, the rest its best source sentence; of the shares tried (0, 1/2,
2/3, 1) the one that keeps all three of MTRAG's rated answers, DiaSumFact and FaithBench above what was asked for."""

_NUMBER: Final = re.compile(r"\d+(?:[.,:]\d+)*")
_WORD: Final = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)*")
_POSSESSIVE: Final = re.compile(r"['’]s$")
_MOST_SENTENCES: Final = 400
"""Sentences of an answer that are scored; a longer answer is judged by its beginning."""


@dataclass(frozen=True, slots=True)
class SentenceSupport:
    """One sentence of an answer: `score` from 0 to 1, and the figures and names that no source holds."""

    text: str
    score: float
    terms: int
    unknown_figures: tuple[str, ...]
    unknown_names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Support:
    """An answer's support: the mean of its sentences, each counted by its words; 0 for an answer that says nothing."""

    sentences: tuple[SentenceSupport, ...]

    @property
    def score(self) -> float:
        """From 0, nothing of it is in the sources, to 1."""
        terms = sum(sentence.terms for sentence in self.sentences)
        return sum(sentence.score * sentence.terms for sentence in self.sentences) / terms if terms else 0.0

    @property
    def unknown_figures(self) -> tuple[str, ...]:
        """Figures of the answer that no source holds, as written."""
        return tuple(figure for sentence in self.sentences for figure in sentence.unknown_figures)

    @property
    def unknown_names(self) -> tuple[str, ...]:
        """Capitalised words within the answer's sentences that no source holds."""
        return tuple(name for sentence in self.sentences for name in sentence.unknown_names)


class SourceWords:
    """The words of an answer's sources, read once."""

    def __init__(self, sources: Sequence[str]) -> None:
        self.text: Final = "\n".join(sources)
        terms = _list_terms(self.text)
        self.terms: Final = frozenset(terms)
        self.pairs: Final = frozenset(pairwise(terms))
        self.figures: Final = frozenset(_NUMBER.findall(self.text))

    @cached_property
    def words(self) -> frozenset[str]:
        """Every word, folded."""
        return frozenset(list_words(self.text))

    @cached_property
    def sentence_texts(self) -> list[str]:
        """The sources' sentences."""
        return [self.text[start:end] for start, end in split_sentences(self.text)]

    @cached_property
    def sentences(self) -> list[frozenset[int]]:
        """The sources' sentences as sets of terms."""
        return [frozenset(_list_terms(sentence)) for sentence in self.sentence_texts]


def score_support(answer: str, sources: Sequence[str]) -> Support:
    """Return how much of each sentence stands in the sources: its word pairs, and the words of one source sentence."""
    words = SourceWords(sources)
    spans = split_sentences(answer)[:_MOST_SENTENCES]
    return Support(tuple(one for start, end in spans if (one := _score_sentence(answer[start:end], words)) is not None))


def score_within(text: str, source: SourceWords) -> float:
    """Return the share of the text's word pairs that stand in the source; of its only word where it has one."""
    terms = _list_terms(text)
    if not terms:
        return 0.0
    pairs = list(pairwise(terms))
    return sum(pair in source.pairs for pair in pairs) / len(pairs) if pairs else float(terms[0] in source.terms)


async def score_likeness(answer: str, sources: Sequence[str], embedder: Embedder) -> float:
    """Return the mean, over the answer's sentences, of the cosine with the likest source sentence, at least 0."""
    said = [answer[start:end] for start, end in split_sentences(answer)[:_MOST_SENTENCES]]
    given = SourceWords(sources).sentence_texts
    if not said or not given:
        return 0.0
    rows = await embedder.embed([*said, *given])
    return float(np.maximum((rows[: len(said)] @ rows[len(said) :].T).max(axis=1), 0.0).mean())


def _score_sentence(text: str, source: SourceWords) -> SentenceSupport | None:
    terms = _list_terms(text)
    if not terms:
        return None
    shared = score_within(text, source)
    distinct = frozenset(terms)
    best = max((len(distinct & sentence) for sentence in source.sentences), default=0) / len(distinct)
    inner = _WORD.findall(text)[1:]  # the first word is capitalised anyway
    names = (word for word in inner if word[0].isupper() and len(word) > 1)
    return SentenceSupport(
        text,
        PAIR_WEIGHT * shared + (1 - PAIR_WEIGHT) * best,
        len(terms),
        tuple(figure for figure in _NUMBER.findall(text) if figure not in source.figures),
        tuple(name for name in names if not source.words.issuperset(list_words(_POSSESSIVE.sub("", name)))),
    )


def _list_terms(text: str) -> list[int]:
    return [index for word in list_words(text) if (index := term_index(word))]
