"""Cuts a turn into clauses that may carry a claim, with what stands around them."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from pipelines.evidence.records import Turn
from rag.synthesize import split_sentences

_QUOTED: Final = re.compile(r"“[^”“]{0,2000}”|\"[^\"]*\"")
_FILLERS: Final = re.compile(
    r"(?:,\s?)?\b(?:um+|uh+|erm?|hmm*|mm+)\b[,.…]*|,\s+(?:you know|I mean|like)(?=,)|"
    r"\[(?:[a-z][^\]]{0,40})\]|(?<=\w)-(?=\s|$)|(?<![\w-])-(?=\w)",
    re.IGNORECASE,
)
_STUTTER: Final = re.compile(r"\b(I(?:'(?:m|ll|ve|d))?|I was|to|the|my|it's|and|we)(?:[\s,-]+\1\b)+", re.IGNORECASE)
_RESTART: Final = re.compile(r"\b(I(?:'\w+)?(?:\s+[\w']+){1,3})[\s,.-]+(?=\1\b)", re.IGNORECASE)
_BOUNDARY: Final = re.compile(
    r"[;:]\s+|\s?(?:—|–|--)\s?|\s-\s"
    r"|,\s+(?:and|but|so|because|'cause|then|or)\s+(?=(?:then\s+)?(?:I|we|you|he|she|it|they|there|that's|it's)\b)"
    r"|,\s+(?=(?:I|we)\b)|,?\s+(?:and|but|so|because|'cause)\s+(?=(?:I|we)(?:'|\s))",
    re.IGNORECASE,
)
OPEN: Final = re.compile(
    r"(?:(?:well|so|okay|ok|yeah|yes|yep|yup|no|nope|and|but|oh|ah|um|then|now|because|'cause|actually|honestly|anyway|"
    r"I mean|you know|like|right|all right|alright|sure|see|look|also|plus|ha|huh|wow|god|gosh|frankly|absolutely|"
    r"definitely|exactly|of course|the thing is|I guess|I suppose|I think|I'd say|to be honest|basically|obviously|"
    r"hopefully|good|fine|thanks|thank you)\b(?:[\s,.:;…!]+|$))+",
    re.IGNORECASE,
)
_ADVERBIAL: Final = (
    r"(?:on|in|at|by|from|since|until|till|this|next|last|tomorrow|tonight|today|yesterday|every|all|during|over|with|"
    r"for|after|before|when|once|as soon as|the|mondays?|tuesdays?|wednesdays?|thursdays?|fridays?|saturdays?|sundays?|"
    r"sometimes|usually|normally|maybe|perhaps|instead|some days|most days|\w+ nights?)"
)
# "Since the first of April I haven't …": what stands before the subject says when, and has no verb of its own
_LEAD: Final = re.compile(
    rf"{_ADVERBIAL}\b(?:(?!\b(?:is|are|was|what|that|which|who|if|because|how|where|says?|said|thing|way|reason)\b)"
    r"[^.?!;]){0,90}?[\s,]+(?=(?:I|we)(?:'|\s))",
    re.IGNORECASE,
)
_TEMPORAL: Final = re.compile(rf"(?:{_ADVERBIAL})\b", re.IGNORECASE)
_IF: Final = re.compile(
    r"\b(?:(?<!as )(?<!even )(?<!what )if|unless|suppose|supposing|imagine|provided|assuming|as long as)\b",
    re.IGNORECASE,
)
_ASKS_IF: Final = re.compile(
    r"\b(?:ask\w*|see\w*|know\w*|wonder\w*|check\w*|decid\w*|find out)\b[^.?!]{0,30}$", re.IGNORECASE
)
_AFTER_NO: Final = re.compile(r"(?:(?<=\b[Nn]o\.)|(?<='[tsmd]\.))\s+(?=[A-Z\"“])")
_FINITE: Final = re.compile(r"\b(?:is|was|were|are|had|has)\b|\w's\b", re.IGNORECASE)
_SUBORDINATE: Final = re.compile(
    r"(?:when|once|before|as soon as|the next time|next time|every time|the first time)\b", re.IGNORECASE
)
_SAYS: Final = re.compile(
    r"\b(?:said|says|say|saying|told (?:\w+)|goes|asked|thinks?|thought|was like|were like|heard|reads?|wrote)\W*$",
    re.IGNORECASE,
)
_SARCASM: Final = re.compile(
    r"(?:^|[.!]\s*)(?:oh,? sure|yeah,? right|sure,? because|as if|oh,? great|oh yeah,? (?:sure|because)|like hell)\b|"
    r"\byeah,? right\b|\bas if\s+I'll\b|\bwhen (?:hell|pigs)\b",
    re.IGNORECASE,
)


LONGEST_SENTENCE: Final = 1_200
"""Characters: some 200 words; people's sentences end before."""


@dataclass(frozen=True, slots=True)
class Sentence:
    """One sentence of one turn; offsets count into the turn's text and into its `shape` alike."""

    turn: Turn
    shape: str
    """The turn's text, as long, without what says nothing of the speaker: words quoted of others, fillers."""
    start: int
    end: int
    number: int

    @property
    def words(self) -> str:
        """As they were said."""
        return self.turn.text[self.start : self.end]

    @property
    def plain(self) -> str:
        """Its shape."""
        return self.shape[self.start : self.end]

    @property
    def is_question(self) -> bool:
        """Whether it asks."""
        return self.plain.rstrip().endswith("?")


@dataclass(frozen=True, slots=True)
class Clause:
    """A part of a sentence with a subject of its own: `start` after words that merely open, `core` at the subject."""

    sentence: Sentence
    start: int
    core: int
    end: int
    follows_if: bool

    @property
    def is_conditional(self) -> bool:
        """Whether an "if" before or inside it makes it depend on something; "ask if she's hiring" does not."""
        found = _IF.search(self.sentence.shape, self.start, self.end)
        return self.follows_if or bool(found and not _ASKS_IF.search(self.sentence.shape, self.start, found.start()))

    @property
    def words(self) -> str:
        """As they were said, from `start`."""
        return self.sentence.turn.text[self.start : self.end].rstrip(" ,;:—–-")

    @property
    def whole(self) -> str:
        """The shape from `start`: with what says when."""
        return self.sentence.shape[self.start : self.end].rstrip(" ,;:—–-")

    @property
    def plain(self) -> str:
        """The shape from the subject on."""
        return self.sentence.shape[self.core : self.end].rstrip(" ,;:—–-")


def blank_out(text: str) -> str:
    """Return the text, as long, with straight apostrophes, and blank where it is quoted, filled in or stuttered."""
    shape = text.replace("’", "'").replace("‘", "'")
    shape = _QUOTED.sub(_mask, shape)
    shape = _FILLERS.sub(lambda match: " " * len(match[0]), shape)
    shape = _RESTART.sub(lambda match: " " * len(match[0]), shape)
    # twice, because "I- I'll, I'll" hides one stutter in another
    return _STUTTER.sub(_keep_last, _STUTTER.sub(_keep_last, shape))


def _keep_last(match: re.Match[str]) -> str:
    return " " * (len(match[0]) - len(match[1])) + match[1]


def _mask(match: re.Match[str]) -> str:
    """Keep the marks and the end of the sentence inside them, so that it still ends there."""
    last = match[0][-2:-1]
    ending = last if last in {".", "!", "?"} and len(match[0]) > 2 else ""
    return match[0][0] + "_" * (len(match[0]) - 2 - len(ending)) + ending + match[0][-1]


def list_sentences(turn: Turn) -> list[Sentence]:
    """Return the turn's sentences; one quoted inside another does not end it."""
    shape = blank_out(turn.text)
    spans = [span for start, end in split_sentences(shape) for span in _part(shape, start, end)]
    return [Sentence(turn, shape, start, end, n) for n, (start, end) in enumerate(spans)]


def _part(shape: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Split after "no." and "don't.", which the splitter takes for "number" and an initial."""
    for boundary in _AFTER_NO.finditer(shape, start, end):
        yield from _shorten(shape, start, boundary.start())
        start = boundary.end()
    yield from _shorten(shape, start, end)


def _shorten(shape: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Cut what runs on without an end, so that the time a turn takes grows no faster than the turn."""
    while end - start > LONGEST_SENTENCE:
        cut = shape.rfind(" ", start + 1, start + LONGEST_SENTENCE)
        cut = cut if cut > start else start + LONGEST_SENTENCE
        yield start, cut
        start = cut
        while start < end and shape[start].isspace():
            start += 1
    if start < end:
        yield start, end


def list_clauses(sentence: Sentence) -> Iterator[Clause]:
    """Yield the clauses whose own subject may be the speaker, without those said by, or to, somebody else."""
    plain, shape = sentence.plain, sentence.shape
    if _SARCASM.search(plain):
        return
    pieces = _join_leads(shape, _cut(plain, sentence.start))
    follows_if = False
    for place, (start, end) in enumerate(pieces):
        head = _skip(shape, start, end)
        follows_if = follows_if or bool(_IF.match(shape, head))
        if place and _SAYS.search(shape, sentence.start, pieces[place - 1][1]):
            return  # "He'd say: …", and whatever follows in the same breath
        lead = _LEAD.match(shape, head, end)
        yield Clause(sentence, head, lead.end() if lead else head, end, follows_if)


def _skip(shape: str, start: int, end: int) -> int:
    opening = OPEN.match(shape, start, end)
    head = opening.end() if opening else start
    while head < end and not (shape[head].isalnum() or shape[head] in "\"“'£$"):
        head += 1
    return head


def _cut(plain: str, offset: int) -> list[tuple[int, int]]:
    pieces = []
    start = 0
    for boundary in _BOUNDARY.finditer(plain):
        # what was blanked out before the boundary is no part of the words
        pieces.append((offset + start, offset + start + len(plain[start : boundary.start()].rstrip())))
        start = boundary.end()
    pieces.append((offset + start, offset + start + len(plain[start:].rstrip())))
    return [(first, last) for first, last in pieces if last > first]


def _join_leads(shape: str, pieces: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Put "On the seventh of March, just past Newark," back before the "I asked" that it belongs to."""
    joined: list[tuple[int, int]] = []
    for start, end in pieces:
        if joined:
            first, last = joined[-1]
            head = _skip(shape, first, last)
            is_lead = _TEMPORAL.match(shape, head, last) and shape[last : last + 1] == ","
            if (
                is_lead
                and not re.search(r"\b(?:I|we)(?:'|\s)", shape[head:last])
                and not _IF.search(shape, head, last)
                and (_SUBORDINATE.match(shape, head) or not _FINITE.search(shape, head, last))
            ):
                joined[-1] = (first, end)
                continue
        joined.append((start, end))
    return joined
