"""Cuts text into words that are equal whatever their case, punctuation and unicode form, and marks the idle ones."""

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

APOSTROPHES: Final = "'’‘`\u02bc\uff07\u00b4"
_HYPHENS: Final = "-\u2010\u2011\u2212"
"""Hyphens and the minus sign; dashes are pauses."""
_UNSEGMENTED: Final = re.compile(r"CJK UNIFIED|CJK COMPAT|HIRAGANA|KATAKANA|THAI|LAO|KHMER|MYANMAR|BOPOMOFO")
_SYMBOLS: Final = "%‰&@#°"


class _Classes(dict[int, str]):
    """A letter for each character.

    a apostrophe, m hyphen or minus, p mark inside numbers, w letter, d digit, n other number, s symbol that counts,
    c word by itself in a script without spaces, f not seen, blank for what only separates.
    """

    def __missing__(self, code: int) -> str:
        character, kind = chr(code), unicodedata.category(chr(code))
        if character in APOSTROPHES:
            found = "a"
        elif character in _HYPHENS:
            found = "m"
        elif character in ".,:/":
            found = "p"
        elif kind in {"Lo", "Lm", "Mn", "Mc"} and _UNSEGMENTED.match(unicodedata.name(character, "")):
            found = "c"
        elif kind[0] in "LM" or kind == "Nl":
            found = "w"
        elif kind == "Nd":
            found = "d"
        elif kind == "No":
            found = "n"
        elif kind == "Cf":
            found = "f"
        else:
            found = "s" if kind in {"Sc", "Sm"} or character in _SYMBOLS else " "
        self[code] = found
        return found


_CLASSES: Final = _Classes()
# A word may hold apostrophes before a letter, a number its separators and a leading sign: 3.5 is not 35, nor -5 a 5.
_WORD: Final = re.compile(r"(?:(?<![wdnfacm])m(?=d))?[wd](?:[wd]|f(?=f*[wd])|a(?=f*w)|(?<=d)p(?=d))*|[nsc]")
_THOUSANDS: Final = re.compile(r"-?\d{1,3}(?:,\d{3})+(?:\.\d+)?")
_FOLDED: Final = {ord(mark): "'" for mark in APOSTROPHES} | {ord(mark): "-" for mark in _HYPHENS}
_CLITICS: Final = frozenset({"m", "s", "re", "ve", "ll", "d", "t"})


def _list(words: str) -> frozenset[str]:
    return frozenset(words.split())


# Contractions that are no other word without their apostrophe; "were", "its", "well" and the like are left out.
_CONTRACTIONS: Final = {
    f"{verb}nt": f"{verb}n't"
    for verb in _list("do does did is are was were has have had would could should must need ca wo ai")
} | {"im": "i'm", "ive": "i've", "youre": "you're", "youve": "you've", "theyre": "they're", "theyve": "they've",
     "weve": "we've", "thats": "that's", "theres": "there's", "whats": "what's"}  # fmt: skip

HESITATIONS: Final = _list("um umm uh uhh uhm er erm ehm eh ah oh hm hmm hmmm mm mmm")
_ANSWERS: Final = frozenset({"huh", "hm", "hmm", "hum", "mm", "uh", "oh", "um"})
"""After a hesitation these make an answer: uh-huh is yes, uh-uh is no."""
_ASIDES: Final = (("you", "know"), ("i", "mean"), ("like",), ("well",))
"""Idle only where punctuation sets them off: "what you know is what I like" says something."""
_NOISES: Final = _list(
    "laughter laughs laughing laugh chuckles chuckle vocalsound nonvocalsound disfmarker pause cough coughs sigh "
    "sighs sniff breath silence music applause"
)
"""Notes in brackets that stand for no words; "inaudible", "gap" and "crosstalk" do, and are kept."""
_NEGATIONS: Final = frozenset({"not", "never", "nor", "neither", "without", "cannot", "none", "nothing", "nobody"})
_NUMBERS: Final = _list(
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen twenty thirty forty fifty sixty seventy eighty ninety hundred thousand million billion half "
    "quarter dozen first second third fourth fifth sixth seventh eighth ninth tenth"
)
_PAUSES: Final = frozenset(',.;:!?…—–-()[]{}"“”\u2010\u2011')
_LONGEST_REPEAT: Final = 3
"""Words: "I want to I want to go" is a stutter; a longer repeat is said twice on purpose."""


@dataclass(slots=True)
class Words:
    """The words of one text, in parallel lists; offsets in characters of that text."""

    keys: list[str]
    """What two words must share to be the same word."""
    starts: list[int]
    ends: list[int]
    idle: list[bool]
    """Hesitations, asides, noises and the earlier copies of a stutter: another may leave them out or put them in."""
    before: list[int]
    """How many words before an idle one belong with it: an aside or a copy is passed over whole or not at all, or else
    the "not" of "I'm not going, I'm not going" could be."""
    after: list[int]
    """And how many after it."""
    glued: list[bool]
    """One compound with the word before it: "non-smoker", never just "smoker"."""


def cut_words(text: str, *, claimed: bool = False) -> Words:
    """Cut a text into words and mark the idle ones.

    In `claimed` words an aside is idle only with pauses on both sides: what a claim adds is doubted more than what
    it leaves out, for its span still shows that.
    """
    keys: list[str] = []
    starts: list[int] = []
    ends: list[int] = []
    for match in _WORD.finditer(text.translate(_CLASSES)):
        start, end = match.span()
        key = fold_word(text[start:end])
        if keys and _completes(text, ends[-1], start, key):
            keys[-1] = fold_word(f"{keys[-1]}{'' if key[0] == 'n' else chr(39)}{key}")
            ends[-1] = end
        elif key:
            keys.append(key)
            starts.append(start)
            ends.append(end)
    spans = _find_idle(text, keys, starts, ends, claimed=claimed)
    idle = [span is not None for span in spans]
    before = [at - span[0] if span else 0 for at, span in enumerate(spans)]
    after = [span[1] - at if span else 0 for at, span in enumerate(spans)]
    glued = [False] * len(keys)
    for at in range(1, len(keys)):
        between = starts[at] - ends[at - 1]
        if between == 1 and text[ends[at - 1]] in _HYPHENS and not idle[at - 1]:
            glued[at] = True
    return Words(keys, starts, ends, idle, before, after, glued)


@lru_cache(maxsize=65_536)
def fold_word(word: str) -> str:
    """Return a word without its case, its unicode form and what can't be seen; a number keeps its value."""
    folded = unicodedata.normalize("NFKC", word.translate(_FOLDED)).casefold()
    folded = "".join(mark for mark in unicodedata.normalize("NFKC", folded) if unicodedata.category(mark) != "Cf")
    if _THOUSANDS.fullmatch(folded):
        return folded.replace(",", "")
    return _CONTRACTIONS.get(folded, folded)


@lru_cache(maxsize=65_536)
def drop_accents(key: str) -> str:
    """Return a folded word without its accents."""
    if key.isascii():
        return key
    return unicodedata.normalize("NFC", "".join(m for m in unicodedata.normalize("NFD", key) if not _is_accent(m)))


def fold_name(name: str) -> str:
    """Return a speaker's label or name as it is compared."""
    return " ".join(unicodedata.normalize("NFKC", name).casefold().split())


def _is_accent(mark: str) -> bool:
    return "\u0300" <= mark <= "\u036f"


def _completes(text: str, before: int, start: int, key: str) -> bool:
    """Whether a word is the rest of a contraction that was written apart: "it 's", "did n't"."""
    if key == "n't":
        return start > before and text[before:start].isspace()
    if key not in _CLITICS or text[start - 1] not in APOSTROPHES:
        return False
    return start - 1 > before and text[before : start - 1].isspace()


def _find_idle(
    text: str, keys: list[str], starts: list[int], ends: list[int], *, claimed: bool
) -> list[tuple[int, int] | None]:
    """Return for each idle word the first and last word of what is idle with it, None for the others."""
    idle: list[tuple[int, int] | None] = [None] * len(keys)
    for at, key in enumerate(keys):
        found = False
        if key in HESITATIONS:
            found = _hesitates(text, keys, starts, ends, at)
        elif key in _NOISES:
            before, after = text[starts[at] - 1 : starts[at]], text[ends[at] : ends[at] + 1]
            found = (before, after) in {("[", "]"), ("{", "}"), ("(", ")"), ("<", ">")}
        elif len(key) == 1 and key.isalpha() and at + 1 < len(keys):
            # "w-we": one letter, and then the word it begins
            found = starts[at + 1] - ends[at] == 1 and text[ends[at]] in _HYPHENS and _begins(key, keys[at + 1])
        if found:
            idle[at] = (at, at)
    for aside in _ASIDES:
        for at in _find_asides(text, keys, starts, ends, aside, claimed=claimed):
            idle[at : at + len(aside)] = [(at, at + len(aside) - 1)] * len(aside)
    _mark_repeats(keys, idle)
    return idle


def _begins(fragment: str, word: str) -> bool:
    return len(word) > len(fragment) and word.startswith(fragment)


def _hesitates(text: str, keys: list[str], starts: list[int], ends: list[int], at: int) -> bool:
    if keys[at] == "er" and text[starts[at] : ends[at]] == "ER" and not text.isupper():
        return False  # the emergency room
    if at and keys[at] == "mm" and counts(keys[at - 1]):
        return False  # millimetres
    after = keys[at + 1] if at + 1 < len(keys) else ""
    if after in _ANSWERS and (after in {"huh", "hum"} or text[ends[at] : starts[at + 1]] in _HYPHENS):
        return False
    if (keys[at] == "mm" and after in {"hm", "hmm"}) or (at and keys[at - 1] == "mm" and keys[at] in {"hm", "hmm"}):
        return False
    return not (at and keys[at - 1] in HESITATIONS and text[ends[at - 1] : starts[at]] in _HYPHENS)


def _find_asides(
    text: str, keys: list[str], starts: list[int], ends: list[int], aside: tuple[str, ...], *, claimed: bool
) -> Iterator[int]:
    size, at = len(aside), -1
    while aside[0] in keys[at + 1 :]:
        at = keys.index(aside[0], at + 1)
        if tuple(keys[at : at + size]) != aside:
            continue
        last = at + size - 1
        before = at == 0 or not _PAUSES.isdisjoint(text[ends[at - 1] : starts[at]])
        after = last + 1 == len(keys) or not _PAUSES.isdisjoint(text[ends[last] : starts[last + 1]])
        # "I did well, and": a pause after it makes no aside of it
        if (before and after) if claimed else (before or (after and aside != ("well",))):
            yield at


def _mark_repeats(keys: list[str], idle: list[tuple[int, int] | None]) -> None:
    """Mark all but the last copy of what is said again at once; numbers and single negations are never idle."""
    said: list[int] = []
    for at, key in enumerate(keys):
        if idle[at]:
            continue
        said.append(at)
        for size in range(1, _LONGEST_REPEAT + 1):
            if len(said) < 2 * size or keys[said[-size - 1]] != key:
                continue
            earlier, later = said[-2 * size : -size], said[-size:]
            if [keys[one] for one in earlier] == [keys[one] for one in later] and _may_repeat(keys, later):
                for one in earlier:
                    idle[one] = (earlier[0], earlier[-1])
                del said[-2 * size : -size]
                break


def _may_repeat(keys: list[str], at: list[int]) -> bool:
    if any(counts(keys[one]) for one in at):
        return False
    return len(at) > 1 or not negates(keys[at[0]])


def counts(key: str) -> bool:
    """Whether a folded word is a number or a symbol of one."""
    return key in _NUMBERS or not key[0].isalpha() or any(mark.isdigit() for mark in key)


def negates(key: str) -> bool:
    """Whether a folded word denies; "no" is left out, since "no, no" says no more than "no"."""
    return key in _NEGATIONS or key.endswith("n't")
