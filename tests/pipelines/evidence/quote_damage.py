"""What a careless or an inventive model does to quotes, each kind on purpose, so that what a gate lets by is known."""

import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from pipelines.evidence.records import Candidate, SessionText, Turn

Kind = Literal["exact", "loose", "misattributed", "stitched", "edited", "invented"]
TRUE: Final = frozenset({"exact", "loose"})
HESITATIONS: Final = ("um", "uh", "er", "hmm")
ASIDES: Final = (", you know, ", ", I mean, ", ", like, ")
MORE_IDLE: Final = (
    "oh",
    "ah",
    "mm",
    "hm",
    "eh",
    "you know",
    "i mean",
    "like",
    "well",
    "laughter",
    "chuckles",
    "laughs",
)
NEGATIONS: Final = ("not", "never", "don't", "won't", "can't", "didn't", "isn't", "no", "without", "nothing")
NUMBERS: Final = (
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "first",
    "second",
    "half",
)
PRONOUNS: Final = {
    "i": "you",
    "you": "I",
    "he": "she",
    "she": "he",
    "we": "they",
    "they": "we",
    "my": "your",
    "me": "him",
}
_PUNCTUATION: Final = str.maketrans("", "", ',.;:!?"“”…')


@dataclass(frozen=True, slots=True)
class Damaged:
    """One candidate, what was done to it, and the span it was taken from, where there is one."""

    kind: Kind
    candidate: Candidate
    span: tuple[int, int] | None


def plain(words: str) -> str:
    """Return only the letters and digits, each word between blanks: a measure that shares no code with the gate."""
    found = re.findall(r"[^\W_]+", words.lower().replace("’", "'").replace("'", ""))
    return f" {' '.join(found)} "


def bare(words: str, longest: int = 3) -> str:
    """Return only what must be there: no hesitations, asides, noises, nor up to `longest` words said twice at once."""
    found = plain(words)
    for idle in (*HESITATIONS, *MORE_IDLE):
        while f" {idle} " in found:
            found = found.replace(f" {idle} ", " ")
    repeated = re.compile(rf" (\S+(?: \S+){{0,{longest - 1}}})(?= \1 )")
    while longest and (once := repeated.sub("", found)) != found:
        found = once
    return found


def stands_in(words: str, said: str) -> bool:
    """Whether words, or what must be there of them, are said after all; knows less of idle words than the gate."""
    return plain(words) in plain(said) or any(bare(words, size) in bare(said, size) for size in range(4))


def pick_span(text: SessionText, chance: random.Random, least: int = 4, most: int = 25) -> tuple[Turn, int, int]:
    """Return a turn and a span of whole words of it, offsets in the session's text."""
    while True:
        turn = chance.choice(text.turns)
        words = list(re.finditer(r"\S+", turn.text))
        if len(words) < least:
            continue
        size = chance.randint(least, min(most, len(words)))
        first = chance.randint(0, len(words) - size)
        start, end = words[first].start(), words[first + size - 1].end()
        if len(plain(turn.text[start:end]).split()) >= least:
            return turn, turn.char_start + start, turn.char_start + end


def damage_loosely(exact: str, chance: random.Random) -> str:
    """Change what may differ: case, punctuation, quotation marks, white space, hesitations, asides, stutters."""
    words = exact.split()
    for _ in range(chance.randint(1, 3)):
        at = chance.randint(1, len(words) - 1)
        chosen = chance.randrange(4)
        if plain(" ".join(words[at - 1 : at + 1])).strip() in {"you know", "i mean"}:
            continue  # nobody hesitates inside an aside, nor sets half of one off
        if chosen == 0:
            words.insert(at, chance.choice(HESITATIONS))
        elif chosen == 1 and re.fullmatch(r"[a-z]+", words[at]) and words[at] not in {*NEGATIONS, *NUMBERS}:
            words.insert(at, words[at])
        elif chosen == 2:
            words[at] = words[at].translate(_PUNCTUATION) or words[at]
        else:
            words[at - 1] = words[at - 1].rstrip(",.;:") + chance.choice(ASIDES).rstrip()
    damaged = chance.choice((" ", "  ", "\n")).join(words)
    damaged = chance.choice((str.lower, str.upper, str, str))(damaged)
    return damaged.replace("'", "’") if chance.random() < 0.5 else damaged


def edit(exact: str, chance: random.Random, vocabulary: Sequence[str]) -> str:
    """Change one word that counts: a number, a negation, a pronoun, any other."""
    words = exact.split()
    numbers = [at for at, word in enumerate(words) if re.search(r"\d", word)]
    pronouns = [at for at, word in enumerate(words) if word.lower() in PRONOUNS]
    negations = [at for at, word in enumerate(words[1:-1], 1) if word.lower() in NEGATIONS]
    inside = chance.randint(1, len(words) - 2)
    ways: list[Callable[[], None]] = [
        lambda: words.insert(inside, chance.choice(NEGATIONS)),
        lambda: words.__setitem__(inside, chance.choice(vocabulary)),
        lambda: words.insert(inside, chance.choice(vocabulary)),
    ]
    if numbers:
        at = chance.choice(numbers)
        ways += [
            lambda: words.__setitem__(at, re.sub(r"\d", lambda one: str((int(one[0]) + 1) % 10), words[at], count=1))
        ] * 3
    if pronouns:
        at_one = chance.choice(pronouns)
        ways += [lambda: words.__setitem__(at_one, PRONOUNS[words[at_one].lower()])]
    if negations:
        ways += [lambda: words.__delitem__(chance.choice(negations))] * 3
    chance.choice(ways)()
    return " ".join(words)


def make_damaged(kind: Kind, text: SessionText, others: Sequence[SessionText], chance: random.Random) -> Damaged | None:
    """Return one candidate of a kind; None where chance made words that are in truth there, or not as the kind says."""
    turn, start, end = pick_span(text, chance)
    exact = text.text[start:end]
    said = {one.speaker: "" for one in text.turns}
    for one in text.turns:
        said[one.speaker] += one.text + " \n"
    if kind == "exact":
        return Damaged(kind, Candidate(exact=exact, speaker=turn.speaker), (start, end))
    if kind == "loose":
        return Damaged(kind, Candidate(exact=damage_loosely(exact, chance), speaker=turn.speaker), (start, end))
    if kind == "misattributed":
        other = next((name for name in said if name != turn.speaker), None)
        if other is None or stands_in(exact, said[other]):
            return None
        return Damaged(kind, Candidate(exact=exact, speaker=other), None)
    if kind == "stitched":
        _, from_, to = pick_span(text, chance)
        words = exact + chance.choice((" ", " … ", "... ", " [...] ")) + text.text[from_:to]
    elif kind == "edited":
        words = edit(exact, chance, sorted(set(re.findall(r"[a-z]{4,}", text.text))))
    else:
        _, from_, to = pick_span(other_text := chance.choice(others), chance, least=5)
        words = other_text.text[from_:to]
        if chance.random() < 0.5:  # the session's own words, never said in this order
            shuffled = exact.split()
            chance.shuffle(shuffled)
            words = " ".join(shuffled)
    if any(stands_in(words, spoken) for spoken in said.values()):
        return None
    return Damaged(kind, Candidate(exact=words, speaker=turn.speaker if chance.random() < 0.7 else None), None)
