"""Saying the same thing twice in one session makes one claim with two quotes."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from pipelines.evidence.merge_stems import Wording, is_negated, list_stems, read_claim
from pipelines.evidence.records import Located, QuoteRole, SessionClaim

SAME_WORDS: Final = 0.75
"""Part of the shorter claim's content words that the other has too, from which they say the same."""
_STRENGTH: Final = {"stated": 0, "reported": 1, "inferred": 2}


def merge_duplicates(claims: Sequence[SessionClaim]) -> list[SessionClaim]:
    """Return one session's claims in order of their first words, those of one meaning as one with all quotes.

    The earliest keeps its id, statement and method: of those stated outright, where there is one, and of those whose
    words say something by themselves.
    Two are the same when type, holder and polarity agree and they stand on the same words, or on nearly the same ones
    elsewhere without a date that differs. Merging twice changes nothing.
    """
    kept: list[tuple[SessionClaim, Wording]] = []
    for claim in sorted(
        claims, key=lambda one: (_STRENGTH[one.modality], _is_bare(one), _place(one), str(one.claim_id))
    ):
        wording = read_claim(claim)
        for index, (other, others) in enumerate(kept):
            if _is_same(claim, wording, other, others):
                kept[index] = (_join(other, claim), others)
                break
        else:
            kept.append((claim, wording))
    return sorted((claim for claim, _ in kept), key=_place)


def _is_bare(claim: SessionClaim) -> bool:
    """Tell whether the main quote says nothing without what was asked: "Yes, I will"."""
    return not list_stems(claim.quotes[0][0].exact)


def _place(claim: SessionClaim) -> tuple[int, int]:
    return claim.quotes[0][0].char_start, claim.quotes[0][0].char_end


def _is_same(one: SessionClaim, words: Wording, other: SessionClaim, others: Wording) -> bool:
    if (one.claim_type, one.transcript_id, one.holder_id) != (other.claim_type, other.transcript_id, other.holder_id):
        return False
    if one.holder_id is None and one.holder != other.holder:
        return False
    if {one.polarity, other.polarity} == {"positive", "negative"}:
        return False
    return _overlaps(one, other) or _repeats(one, words, other, others)


def _overlaps(one: SessionClaim, other: SessionClaim) -> bool:
    """Tell whether the main quotes share half of the shorter one: two readings of one sentence."""
    left, right = one.quotes[0][0], other.quotes[0][0]
    common = min(left.char_end, right.char_end) - max(left.char_start, right.char_start)
    return 2 * common >= min(left.char_end - left.char_start, right.char_end - right.char_start)


def _repeats(one: SessionClaim, words: Wording, other: SessionClaim, others: Wording) -> bool:
    shorter = min(len(words.told), len(others.told))
    if shorter < 2 or len(words.told & others.told) < SAME_WORDS * shorter:
        return False
    if is_negated(words.own) != is_negated(others.own) or words.names != others.names:
        return False
    dates = (one.valid_from, one.valid_to), (other.valid_from, other.valid_to)
    return all(left is None or right is None or left == right for left, right in zip(*dates, strict=True))


def _join(first: SessionClaim, second: SessionClaim) -> SessionClaim:
    """Return the first with the second's quotes, and what it says that the first leaves open."""
    quotes: dict[tuple[int, int], tuple[Located, QuoteRole]] = {}
    for located, role in (*first.quotes, *second.quotes):
        quotes.setdefault((located.char_start, located.char_end), (located, role))
    begins, ends = first.valid_from or second.valid_from, first.valid_to or second.valid_to
    if begins and ends and begins > ends:  # two readings of one date; the first's stands
        begins, ends = first.valid_from, first.valid_to
    return replace(
        first,
        quotes=tuple(quotes.values()),
        subject=first.subject or second.subject,
        valid_from=begins,
        valid_to=ends,
        polarity=second.polarity if first.polarity == "neutral" else first.polarity,
    )
