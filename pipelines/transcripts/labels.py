"""Telling a speaker's label from a sentence that happens to hold a colon."""

import re
from collections import Counter
from collections.abc import Sequence

# A colon with white space or nothing behind it: neither a clock nor an address is cut.
_LABEL = re.compile(r"[ \t]*([^\s:][^:\n\t]{0,119}):(?:[ \t]+(.*)|)$")
_MAX_WORDS = 6
_SENTENCE = re.compile(r"[!?;…]|[^.\s]{4,}\.(?:\s|$)")  # "Dr." is no end of a sentence
_CODE = re.compile(r"^[\"'`#*&-]|[{}<>=\[\]`\\]|[0-9]{4}-[0-9]{2}")  # also the date of a log's line
_ADDITION = re.compile(r"\(.*\)")  # a name's organisation or pronouns
_ROLE = re.compile(
    r"(?:unknown |unidentified )?(?:speaker|participant|person|guest|caller|user|spk|spkr)[ _#-]?(?:[0-9]{1,3}|[a-z])?"
    r"|(?:t|c|th|cl)[0-9]{0,2}|therapist|client|coach|coachee|counsell?or|patient|doctor|dr|clinician|practitioner|provider|nurse"
    r"|interviewer|interviewee|moderator|host|facilitator|mentor|mentee|trainer|trainee|teacher|student|supervisor"
    r"|manager|employee|assistant|me|you|operator|agent|customer|respondent|researcher",
    re.IGNORECASE,
)
# What opens lines of letters, forms, notes, question lists and logs.
_NEVER = frozenset(
    re.findall(
        r"\S+",
        """
        date title author subject from to cc bcc note notes example examples summary tip tips warning important address
        phone email e-mail age price location time description source url link http https info debug error trace
        fatal critical warn q a question answer definition result results status version id type key value category
        step agenda attendees participants duration topic language kind copyright ps p.s nb pros cons todo action tags
        actions goal goals aim aims conclusion abstract keywords ingredients method contact fax tel website references
        figure table
        """,
    )
)


def split_label(line: str) -> tuple[str, str] | None:
    """Return what stands before and after the colon of a line that may open with a speaker, else None."""
    match = _LABEL.match(line)
    return (match[1].strip(), (match[2] or "").strip()) if match else None


def is_role(label: str) -> bool:
    """Whether the label names a part in a conversation, such as Coach or SPEAKER_01."""
    return _ROLE.fullmatch(label) is not None


def is_name_like(label: str) -> bool:
    """Whether the label may be a person's: a few words, no sentence, not a word that opens forms or logs."""
    name = _ADDITION.sub("", label).strip() or label
    return (
        len(name.split()) <= _MAX_WORDS
        and _SENTENCE.search(name) is None
        and _CODE.search(name) is None
        and ":" not in name
        and ("," not in name or (name.count(",") == 1 and _is_titled(name)))
        and name.casefold() not in _NEVER
        and any(letter.isalnum() for letter in name)
    )


def choose_speakers(openings: Sequence[str]) -> frozenset[str]:
    """Return the labels among these first lines of timed turns that are speakers.

    Where half of them open with something like a name, all such are; else only roles and names that come three times.
    """
    candidates = [found[0] for found in map(split_label, openings) if found and is_name_like(found[0])]
    counts = Counter(candidates)
    if 2 * len(candidates) >= len(openings):
        return frozenset(counts)
    return frozenset(label for label, times in counts.items() if is_role(label) or (times >= 3 and _is_titled(label)))


def is_dialogue(labels: Sequence[str], line_count: int, *, is_expected: bool) -> bool:
    """Whether these labels, in order, out of so many lines make a conversation rather than a form or a glossary.

    `is_expected` (the file is named like a transcript) asks for less.
    """
    speakers = [label for label in labels if is_name_like(label)]
    distinct = set(speakers)
    if len(speakers) < 2 or len(speakers) < 0.9 * len(labels) or not all(name[0].isalpha() for name in distinct):
        return False
    if all(map(is_role, distinct)):
        return 5 * len(speakers) >= line_count
    if len(distinct) < 2 or 2 * len(speakers) < line_count:
        return False
    if is_expected:
        return True
    return len(speakers) >= 4 and 2 * len(speakers) >= 3 * len(distinct) and not _is_form(speakers, len(distinct))


def _is_form(labels: Sequence[str], period: int) -> bool:
    """Whether three or more labels come round in the same order every time, as fields of records do."""
    return period > 2 and all(label == labels[index % period] for index, label in enumerate(labels))


def _is_titled(label: str) -> bool:
    return all(word[0].isupper() or not word[0].isalpha() for word in label.split())
