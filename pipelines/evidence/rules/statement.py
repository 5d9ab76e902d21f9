"""Turns first-person words into a sentence about their speaker, and finds what they are about."""

import re
from datetime import date
from typing import Final

from pipelines.evidence.dates import find_dates, format_date
from pipelines.evidence.rules.words import ACTS, BASES, PAST, listed

_SHIFTS: Final = {
    "i": "they", "i'm": "they're", "i've": "they've", "i'll": "they'll", "i'd": "they'd", "me": "them", "my": "their",
    "mine": "theirs", "myself": "themself", "am": "are",
}  # fmt: skip
# After the name: "Amina Diallo is", not "am"; the rest of English takes an s.
_AUXILIARIES: Final = {
    "'m": " is", "'ve": " has", "'ll": " will", "'d": " would", "am": "is", "have": "has", "haven't": "hasn't",
    "do": "does", "don't": "doesn't", "go": "goes", "was": "was", "wasn't": "wasn't", "had": "had", "hadn't": "hadn't",
    "did": "did", "didn't": "didn't", "can't": "can't", "cannot": "cannot", "couldn't": "couldn't", "could": "could",
    "would": "would", "wouldn't": "wouldn't", "will": "will", "won't": "won't", "should": "should", "must": "must",
    "can": "can", "might": "might", "cry": "cries", "worry": "worries", "try": "tries", "miss": "misses",
    "used": "used",
}  # fmt: skip
_ADVERB: Final = listed(
    "really just also still now then definitely actually only always literally finally already even too so never not "
    "kind sort of quite pretty totally completely probably honestly sometimes often mostly usually both ever"
)
_NEXT_SESSION: Final = re.compile(
    r"\b(?:before|until|by\s+the\s+time|when|the\s+next\s+time|next\s+time)\s+(?:you\s+and\s+I|we)\s+(?:next\s+)?(?:meet|speak|talk|see\s+each\s+other)(?:\s+(?:again|next))?",
    re.IGNORECASE,
)
_DANGLING: Final = re.compile(
    r"\b(?:about|because|and|but|or|so|to|the|a|an|my|of|with|say|that|like|is|was|for|at|I|I'm|if|where|it's|be|when)[\s,.…-]*(?:\b(?:okay|ok|right|yeah|well)\b[\s,.…-]*)?$",
    re.IGNORECASE,
)
"""What was broken off is quoted, not told again."""
_BEGUN_AGAIN: Final = re.compile(
    r"\bI(?:'ll|\s+will|'m\s+(?:gonna|going\s+to)|\s+want|\s+wanna|\s+don't\s+know)\b", re.IGNORECASE
)
"""Inside what is promised or wanted: a new start, or a doubt."""
_WORD: Final = re.compile(r"[A-Za-z]+(?:'[A-Za-z]+)?")
# Who "you" and "we" are, and what "it" is, only the conversation tells: such words are quoted, not rewritten.
_OPEN_ENDED: Final = re.compile(
    r"\b(?:you|your|yours|you're|you've|you'll|we|we're|we've|we'll|our|ours|us)\b|[_\"“]", re.IGNORECASE
)
_POINTING: Final = re.compile(
    r"\b(?:it|it's|he|he's|him|she|she's|her|they|they're|them)\b|\b(?:this|that|these|those|there|one)\b(?=\s*(?:[.,!?]|$|is\b|was\b|some\b|'s)|\w*'s)",
    re.IGNORECASE,
)
_FUNCTION: Final = listed(
    "a an the to of on in at by for from with about into over up off out down that my their our his her your its this "
    "some any all one every each it him them me us you and or but so not no just more very really then there here be "
    "is are was have has had do does did as if when what who how why where which myself also get go make take put give"
)
_ASKS: Final = listed(
    "you will would she he they did only i'd i i'm i've ll you'd you'll you've you're can could should like want "
    "said so yeah yes well okay ok mm hm ha oh ah good fine right sorry tell last heard might think see say "
    "saying says it's that's anything else something nothing"
)
_CUT: Final = re.compile(
    r"\s*(?:[,;:!?—–]|(?<!\bMr)(?<!\bMs)(?<!\bDr)(?<!\bMrs)\.|\b(?:because|so\s+that|before|after|when|if|unless|until|till|since|which|who|and\s+(?:I|then|not)|so\s+I|but)\b).*$",
    re.IGNORECASE | re.DOTALL,
)
_ASKING: Final = re.compile(
    r"^(?:(?:and|so|okay|well|now|then|but|right|good|first|let's\s+start\s+with|let\s+me\s+ask|last\s+time)\b[,:]?\s+)*"
    r"(?:(?:tell\s+me(?:\s+more)?|what|how|say\s+more|talk\s+to\s+me)\s+about|what\s+happened\s+(?:with|to)|how\s+did|how\s+was|how\s+is|how's|how\s+are|"
    r"what's|what\s+is|what\s+was|where\s+are\s+you\s+(?:on|with)|did\s+you|have\s+you|do\s+you|are\s+you|were\s+you|is\s+there|"
    r"you\s+(?:said|told\s+me|promised|wanted\s+to|were\s+going\s+to)(?:\s+(?:that|you'd|you\s+would))?|what\s+do\s+you|what\s+did\s+you|what)?\b\s*",
    re.IGNORECASE,
)


def shift(words: str) -> str | None:
    """Return the words with the speaker as "they"; None where somebody else's person would have to be guessed."""
    words = _NEXT_SESSION.sub("before the next session", words)
    if _OPEN_ENDED.search(words) or _DANGLING.search(words):
        return None
    return re.sub(r"\bI\s+was\b", "they were", _WORD.sub(_shift_word, words.replace("I am", "they are")))


def is_broken_off(words: str) -> bool:
    """Tell whether the words end where no sentence does."""
    return bool(_DANGLING.search(words))


def _shift_word(match: re.Match[str]) -> str:
    word = match[0]
    return _SHIFTS.get(word.lower(), word) if word != "Am" else word


def is_self_contained(words: str) -> bool:
    """Tell whether nothing in the first words points at something said before."""
    head = " ".join(words.split()[:5])
    pointing = _POINTING.search(head)
    # "ask Bea whether she wants": who is meant stands there
    named = pointing and re.match(r"(?:he|she|him|her|they|them)\b", pointing[0], re.IGNORECASE)
    return not pointing or bool(named and re.search(r"(?<!^)\b(?!I\b|I')[A-Z][a-z]+", head[: pointing.start()]))


def conjugate(words: str, *, past: bool = False) -> str | None:
    """Return what follows the subject "I" as it follows a name: "still do two hours" is "still does two hours"."""
    rest = shift(words)
    if rest is None:
        return None
    if contracted := re.match(r"'(?:m|ve|ll|d)\b", rest):
        return _AUXILIARIES[contracted[0]] + rest[contracted.end() :]
    for match in _WORD.finditer(rest):
        word = match[0].lower()
        if word in _ADVERB or re.match(r"\w{2,}ly$", word):
            continue
        if word in _AUXILIARIES:
            changed = _AUXILIARIES[word]
        elif (
            (word in BASES and (past or BASES[word] != word))
            or word in PAST
            or (word.endswith("ed") and word != "need")
        ):
            changed = word
        else:
            changed = word + ("es" if word.endswith(("s", "sh", "ch", "x", "o")) else "s")
        return f" {rest[: match.start()].lstrip()}{changed}{rest[match.end() :]}"
    return None


def fill(template: str, name: str, words: str) -> str | None:
    """Return the template with the holder's name and the words in third person; None where that is not to be had."""
    if _BEGUN_AGAIN.search(words):
        return None
    shifted = shift(words)
    if shifted is None or not is_self_contained(words):
        return None
    return template.format(name=name, vp=shifted, np=shifted)


def write_days(sentence: str, said_on: date | None, *, past: bool) -> str:
    """Return the sentence with each day named in it as weekday, day, month and year; spans of days stay as said."""
    if said_on is None:
        return sentence
    for found in reversed(find_dates(sentence, said_on, past=past)):
        days = {day for day in (found.earliest, found.latest) if day}
        said = sentence[found.day_start : found.end].lower()
        # "before the fourth" is by the third: the words say it better than the day before would
        if (
            not found.is_day
            or len(days) != 1
            or re.match(r"before|after|ahead", sentence[found.start :], re.IGNORECASE)
        ):
            continue
        part = re.search(r"(?<!the )\b(morning|afternoon|evening|night)$", said)
        lead = (
            "on "
            if found.start == found.day_start
            and not re.search(r"\b(?:on|for|to|is|it's)\s*$|[,(]\s*$", sentence[: found.start], re.IGNORECASE)
            else ""
        )
        sentence = (
            sentence[: found.day_start]
            + lead
            + format_date(days.pop())
            + (f", in the {part[1]}" if part and part[1] != "night" else "")
            + sentence[found.end :]
        )
    return sentence


def finish(sentence: str) -> str:
    """Return it as one sentence: white space closed up, one full stop at the end."""
    sentence = re.sub(r"\s+", " ", sentence).strip().rstrip(" .,;:!—–-")
    sentence = re.sub(r"\s+([,.;])", r"\1", sentence)[:1_990]
    return sentence if sentence.endswith("”") else sentence + "."


def find_subject(words: str, said_on: date | None = None, *, verb: bool = True) -> str | None:
    """Return the thing the words speak of, as said: "hand the release checklist over by Friday", the checklist."""
    plain = words.replace("’", "'").replace("_", "")
    if said_on:
        for found in reversed(find_dates(plain, said_on)):
            plain = plain[: found.start] + (", " if plain[: found.start].strip() else " ") + plain[found.end :].lstrip()
    plain = plain.lstrip(" ,")
    tokens = _CUT.sub("", plain).split() or plain.split()
    if verb and len(tokens) > 1 and tokens[0].lower().strip(",.") not in _FUNCTION:
        tokens = tokens[1:]
    while len(tokens) > 1 and tokens[0].lower().strip(",.'") in _FUNCTION:
        tokens = tokens[1:]
    while len(tokens) > 1 and tokens[-1].lower().strip(",.'") in _FUNCTION:
        tokens = tokens[:-1]
    subject = " ".join(tokens[:8]).strip(' ,.;:!?"“”—–-')
    telling = any(token.lower().strip(",.'") not in _FUNCTION | _ASKS for token in subject.split())
    return subject if telling else None


def find_topic(asked: str) -> str | None:
    """Return what a question or prompt is about: "Tell me about the approvers' list." is about the list."""
    sentences = [one.strip() for one in re.split(r"(?<=[.!?])\s+", asked.replace("’", "'")) if one.strip()]
    if not sentences:
        return None
    chosen = next(
        (one for one in sentences if one.endswith("?") or re.match(r"(?:and|so)?\s*tell me", one, re.IGNORECASE)),
        sentences[-1],
    )
    words = _ASKING.sub("", chosen).strip(" ?.!,")
    tokens = [word for word in words.split()[:12] if word]
    while tokens and tokens[0].lower().strip(",.'") in _FUNCTION | _ASKS:
        tokens = tokens[1:]
    if not any(len(token) > 2 and token.lower().strip(",.'") not in _FUNCTION | _ASKS for token in tokens):
        return None
    subject = " ".join(tokens[:10]).strip(' ,.;:!?"“”')
    return subject or None


def find_verb(words: str) -> str | None:
    """Return the base form of the verb that the words begin with, None for one that is no act."""
    match = _WORD.match(words)
    if match is None:
        return None
    word = match[0].lower()
    if word in ACTS:
        return word
    if word in BASES:
        return BASES[word]
    if word.endswith("ing"):
        stem = word[:-3]
        for base in (stem, stem + "e", stem[:-1] if stem[-1:] == stem[-2:-1] else stem, stem[:-1] + "ie"):
            if base in ACTS:
                return base
    return None
