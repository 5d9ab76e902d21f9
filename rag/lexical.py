"""BM25 as sparse vectors, so that word match and meaning are ranked by one statement inside the database.

The inner product of a passage's `document_vector` and a question's `query_vector` is the passage's BM25 score
(Robertson and Zaragoza, 2009, "The Probabilistic Relevance Framework"). A term is a Snowball English stem, hashed to
one of 2**29 dimensions; two stems that share one are summed, which of a million stems befalls one in five hundred.

The length that BM25 normalises by is a constant, not the collection's mean: a passage's vector then depends on its text
alone, so it need not be rewritten as the collection grows, and passages are cut to a similar length anyway.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from math import log
from threading import Lock
from typing import Final

import Stemmer
from pgvector import SparseVector

from db.models.rag import LEXICAL_DIMENSIONS

DIMENSIONS: Final = LEXICAL_DIMENSIONS
MAX_TERMS: Final = 16_000  # non-zero elements that pgvector stores in one sparsevec
K1: Final = 1.2
B: Final = 0.75
PIVOT_LENGTH: Final = 64  # terms in a passage of about 120 English words, once function words are dropped
DROP_FUNCTION_WORDS: Final = True
"""Their idf is near nothing, yet they would double every vector's size."""
LONGEST_WORD: Final = 64  # characters; what is longer is no word, and its beginning is enough to match it

# The commonest English function words. Words that can carry a question ("not", "never", "before", "who") are kept.
FUNCTION_WORDS: Final = frozenset(
    """
    a an and are as at be been but by did do does for from had has have he her his i i'm i've if in into is it it's its
    me my of on or our s she so than that that's the their them then there these they this those to us was we were will
    with would you your
    """.split()  # noqa: SIM905 - a list would take 60 lines
)

# a number with its separators, or a word with inner apostrophes; an underscore separates
_WORD: Final = re.compile(r"\d+(?:[.,]\d+)+|[^\W_]+(?:'[^\W_]+)*")
_stemmer: Final = Stemmer.Stemmer("english", 0)
_stemming: Final = Lock()  # a stemmer is not safe to share between threads


@dataclass(frozen=True, slots=True)
class TermWeights:
    """A sparse vector; `weights` maps a term's index, 1 to 2**29 as in a sparsevec's text, to its weight."""

    weights: Mapping[int, float]

    def to_text(self) -> str:
        """Return what PostgreSQL reads as a `sparsevec`."""
        elements = ",".join(f"{index}:{weight:.7g}" for index, weight in sorted(self.weights.items()))
        return f"{{{elements}}}/{DIMENSIONS}"

    def to_sparsevec(self) -> SparseVector:
        """Return what pgvector's drivers and SQLAlchemy types take, which count from 0."""
        return SparseVector({index - 1: weight for index, weight in self.weights.items()}, DIMENSIONS)


def document_vector(text: str, *, k1: float = K1, b: float = B, pivot_length: float = PIVOT_LENGTH) -> TermWeights:
    """Return the document side of BM25; of more than 16,000 distinct terms the lightest are left out."""
    counts = _count_terms(text)
    norm = k1 * (1 - b + b * counts.total() / pivot_length)
    return _keep_heaviest({index: tf * (k1 + 1) / (tf + norm) for index, tf in counts.items()})


def query_vector(text: str, document_frequencies: Mapping[int, int], documents: int) -> TermWeights:
    """Return the query side of BM25: a term's idf among so many documents, times its count in the query."""
    return _keep_heaviest(
        {
            index: count * inverse_document_frequency(document_frequencies.get(index, 0), documents)
            for index, count in _count_terms(text).items()
        }
    )


def term_indices(text: str) -> list[int]:
    """Return the distinct terms' indices in ascending order, as document frequencies are counted by."""
    return sorted(_count_terms(text))


def list_words(text: str) -> list[str]:
    """Return the text's words in order, folded in case, width and accents, before stemming."""
    return _WORD.findall(_fold(text))


def inverse_document_frequency(frequency: int, documents: int) -> float:
    """Return ln(1 + (n - df + .5) / (df + .5)), never negative; a frequency beyond n counts as n."""
    frequency = min(frequency, documents)  # counts of a collection that is being written may lag
    return log(1 + (documents - frequency + 0.5) / (frequency + 0.5))


def _count_terms(text: str) -> Counter[int]:
    counts = Counter(map(term_index, list_words(text)))
    del counts[0]
    return counts


@lru_cache(maxsize=2**17)
def term_index(word: str) -> int:
    """Return the index of the word's stem, or 0 for a word that is no term."""
    if DROP_FUNCTION_WORDS and word in FUNCTION_WORDS:
        return 0
    with _stemming:
        stem = _stemmer.stemWord(word.replace(",", "")[:LONGEST_WORD])  # 1,000 is 1000
    return int.from_bytes(blake2b(stem.encode(), digest_size=8).digest()) % DIMENSIONS + 1


def _fold(text: str) -> str:
    if not text.isascii():
        text = unicodedata.normalize("NFKD", text.replace("\u2019", "'"))
        for mark in filter(unicodedata.combining, set(text)):  # a text has few distinct letters, whatever its length
            text = text.replace(mark, "")
    return text.lower()


def _keep_heaviest(weights: dict[int, float]) -> TermWeights:
    if len(weights) > MAX_TERMS:
        weights = dict(sorted(weights.items(), key=lambda item: (-item[1], item[0]))[:MAX_TERMS])
    return TermWeights(weights)
