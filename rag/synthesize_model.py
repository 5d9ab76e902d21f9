"""Holds a model's words to the passages: a sentence that no cited passage supports never reaches the reader."""

import re
from collections.abc import Sequence
from typing import Final

import numpy as np

from rag.embedding.protocol import Embedder, Matrix
from rag.evidence_notes import Note
from rag.lexical import term_indices
from rag.prompts import NOT_FOUND
from rag.synthesize import AnswerSentence, Citation, Material, SourceSentence, cite, describe_source, split_sentences

MIN_SUPPORT: Final = 0.45
"""Mean of word overlap and likeness that a sentence needs in the passages it cites. On MTRAG's 159 answers rated by
people it drops every sentence moved to another question's passages, 15 % of those of answers rated below the best, and
2.5 % of those rated wholly faithful."""

MAX_ANSWER: Final = 12_000
"""Characters of a model's answer that are read."""

_CITED: Final = re.compile(r"\s*\[(\d{1,3}(?:\s*,\s*\d{1,3})*)\]")
_LEADING: Final = re.compile(r"^(?:\s*\[\d{1,3}(?:\s*,\s*\d{1,3})*\][.,;]?)+")
_BEGUN: Final = re.compile(r"\[[\d,\s]*")
_NUMBER: Final = re.compile(r"\d+(?:[.,:]\d+)*")
_ADDRESS: Final = re.compile(r"(?:https?://|www\.)\S+|\S+@\S+\.\S+|!?\[[^\]]*\]\([^)]*\)")
_INSTRUCTION: Final = re.compile(
    r"\b(?:ignore|disregard|forget|override)\b.{0,40}\b(?:instructions?|rules?|prompts?|above|previous|everything)\b|"
    r"\b(?:system prompt|you are now|from now on you|(?:reply|respond|answer) (?:only )?with|do not (?:tell|mention)|"
    r"(?:reveal|print|output|repeat|list) (?:all|your|the|every)\b.{0,30}"
    r"\b(?:prompt|instructions?|keys?|passwords?|clients?|names?))",
    re.IGNORECASE | re.DOTALL,
)
_REPORTS: Final = re.compile(
    r"[“”\"]|\b(?:said|says|read|reads|wrote|writes|mention|quote|told|tells|ask|message|mail|text|phish|instruct|claim|describe)",
    re.IGNORECASE,
)


class GroundedAnswer:
    """Takes a model's answer as it comes and gives back the sentences that stand; citations are renumbered from 1."""

    def __init__(self, material: Material, embedder: Embedder | None, notes: Sequence[Note] = ()) -> None:
        self._material = material
        self._notes = notes
        self._embedder = embedder
        self._vectors: dict[int, Matrix] = {}
        self._pending = ""
        self._read = 0
        self.sentences: list[AnswerSentence] = []
        self.citations: list[Citation] = []
        self.dropped = 0
        self.best_support = 0.0
        self.declined = False
        """The model said that the passages do not answer."""

    async def take(self, text: str) -> list[AnswerSentence]:
        """Return the sentences that this stretch of the answer completed and that stand."""
        text = text[: max(MAX_ANSWER - self._read, 0)]
        self._read += len(text)
        self._pending += text
        pieces, last = self._split()
        # the last piece may go on, and a number may follow the one before it
        self._pending = self._pending[last:]
        return [kept for piece in pieces[:-1] if (kept := await self._check(piece)) is not None]

    async def finish(self) -> list[AnswerSentence]:
        """Return what stands of the rest."""
        pieces, _ = self._split()
        self._pending = ""
        return [kept for piece in pieces if (kept := await self._check(piece)) is not None]

    def _split(self) -> tuple[list[str], int]:
        """Return the pending sentences, each with the numbers behind it, and where the last of them begins."""
        pieces: list[str] = []
        last = 0
        for start, end in split_sentences(self._pending):
            piece, skipped = self._pending[start:end], 0
            if pieces and (leading := _LEADING.match(piece)):
                pieces[-1] += leading[0]
                skipped = leading.end()
            if (rest := piece[skipped:]).strip() and not _BEGUN.fullmatch(rest.strip()):
                pieces.append(rest)
                last = start + skipped
        return pieces, last

    async def _check(self, piece: str) -> AnswerSentence | None:
        if NOT_FOUND in piece:
            self.declined = True
            return None
        numbers = {int(n) for cited in _CITED.findall(piece) for n in cited.split(",")}
        passages = sorted(n - 1 for n in numbers if 1 <= n <= len(self._material.passages))
        bare = " ".join(_CITED.sub("", piece).split()).strip()
        if not passages or not bare or _ADDRESS.search(bare):
            self.dropped += 1
            return None
        spans, support = await self._support(bare, passages)
        if support < MIN_SUPPORT or not self._has_figures(bare, passages) or self._obeys(bare, spans):
            self.dropped += 1
            return None
        self.best_support = max(self.best_support, support)
        ordinals = tuple(sorted(self._cite(number, start, end) for number, start, end in spans))
        # it may tell any of what was said to stand on its passages
        told = tuple(dict.fromkeys(id_ for note in self._list_notes(passages) for id_ in note.evidence))
        sentence = AnswerSentence(bare + " " + "".join(f"[{n}]" for n in ordinals), ordinals, told)
        self.sentences.append(sentence)
        return sentence

    def _cite(self, number: int, start: int, end: int) -> int:
        new = cite(self._material, number, start, end, ordinal=len(self.citations) + 1)
        for old in self.citations:
            if (old.source_id, old.char_start, old.char_end) == (new.source_id, new.char_start, new.char_end):
                return old.ordinal
        self.citations.append(new)
        return new.ordinal

    def _list_notes(self, passages: Sequence[int]) -> list[Note]:
        return [note for note in self._notes if set(note.passages) & set(passages)]

    def _has_figures(self, bare: str, passages: Sequence[int]) -> bool:
        """Tell whether every figure of the sentence stands in what it cites, its heading, or what was derived of it."""
        given = " ".join(
            f"{self._material.passages[n].text} {describe_source(self._material.passages[n])}" for n in passages
        )
        given += " ".join(["", *(note.text for note in self._list_notes(passages))])
        known = set(_NUMBER.findall(given))
        return all(figure in known for figure in _NUMBER.findall(bare))

    def _obeys(self, bare: str, spans: Sequence[tuple[int, int, int]]) -> bool:
        """Tell whether the sentence does what a source tells the reader to do, rather than reporting it."""
        for number, start, end in spans:
            passage = self._material.passages[number]
            near = passage.text[max(start - passage.char_start - 200, 0) : end - passage.char_start + 200]
            if _INSTRUCTION.search(near) and not _REPORTS.search(bare):
                return True
        return False

    async def _support(self, bare: str, passages: Sequence[int]) -> tuple[list[tuple[int, int, int]], float]:
        """Return the best span of each passage for the sentence, and how well all of them together support it."""
        terms = set(term_indices(bare))
        vector = (await self._embedder.embed([bare]))[0] if self._embedder else None
        spans: list[tuple[int, int, int]] = []
        covered: set[int] = set()
        likeness = 0.0
        for number in passages:
            sentences = [s for s in self._material.sentences if s.passage == number] or [self._whole(number)]
            likes = np.zeros(len(sentences), np.float32)
            if self._embedder is not None and vector is not None:
                if number not in self._vectors:
                    self._vectors[number] = await self._embedder.embed([s.text for s in sentences])
                likes = np.maximum(self._vectors[number] @ vector, 0.0)
            shares = [len(terms & set(term_indices(s.text))) / max(len(terms), 1) for s in sentences]
            best = max(range(len(sentences)), key=lambda n: shares[n] + float(likes[n]))
            spans.append((number, sentences[best].char_start, sentences[best].char_end))
            likeness = max(likeness, float(likes.max()))
            heading = describe_source(self._material.passages[number])
            names = " ".join({s.speaker for s in sentences if s.speaker})
            covered |= terms & set(term_indices(f"{self._material.passages[number].text} {heading} {names}"))
        lexical = len(covered) / max(len(terms), 1)
        return spans, (lexical + likeness) / 2 if self._embedder else lexical

    def _whole(self, number: int) -> SourceSentence:
        passage = self._material.passages[number]
        return SourceSentence(
            passage=number, text=passage.text, char_start=passage.char_start, char_end=passage.char_end
        )
