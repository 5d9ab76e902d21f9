"""Lets proposed claims in whose quotes stand in the session, word for word, and says what became of the others.

Whoever proposes, a rule or a model, meets the same gate. A claim may stand on the words of several speakers (a request
and the answer to it), but is *stated* only where its holder speaks in a supporting quote.
"""

import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Final, get_args
from uuid import UUID, uuid5

from pipelines.evidence.locate import locate_quote
from pipelines.evidence.locate_index import QuoteIndex
from pipelines.evidence.locate_words import fold_name
from pipelines.evidence.records import (
    ClaimStatus,
    ClaimType,
    Extraction,
    Located,
    Modality,
    Polarity,
    ProposedClaim,
    QuoteRole,
    Rejected,
    SessionClaim,
    SessionText,
)

LONGEST_STATEMENT: Final = 2_000
"""Characters, as evidence.claims holds them."""
_LONGEST_LABEL: Final = 300
"""Characters of a holder or a subject: a few words, never a text."""
INNER: Final = frozenset({"belief", "emotion", "goal"})
"""Claims about what is inside a person: nobody else can state them."""

_Quotes = list[tuple[Located, QuoteRole]]


def admit(text: SessionText, proposed: Iterable[ProposedClaim]) -> Extraction:
    """Locate every quote of every proposed claim; return the claims that stand, and count the others by reason.

    Claims that can't be stored are dropped as `unknown_value`, `statement`, `label`, `validity` or `support_score`,
    those left without a supporting quote as `unsupported`, and repeated ones as `duplicate`. Ids depend on the words
    and the method only: the same proposals over the same text give the same claims.
    """
    index = QuoteIndex.of(text)
    extraction = Extraction()
    made: dict[tuple[UUID, str], SessionClaim] = {}
    for one in proposed:
        fault = _find_fault(one)
        quotes = [] if fault else _locate(one, index, extraction.rejected)
        if not fault and (not quotes or quotes[0][1] != "supporting"):
            fault = "unsupported"
        if not fault:
            claim = _make_claim(text, one, quotes)
            key = (claim.claim_id, claim.statement)
            fault = "duplicate" if key in made else None
            made.setdefault(key, claim)
        if fault:
            extraction.dropped[fault] += 1
    extraction.claims = _tell_apart(made)
    return extraction


def _tell_apart(made: Mapping[tuple[UUID, str], SessionClaim]) -> list[SessionClaim]:
    """Give an id of its own to each claim of one kind on one span: "I'll call Helen and write to Piotr" holds two.

    The first by its statement keeps the span's id, so that the order of proposals does not matter.
    """
    first: dict[UUID, str] = {}
    for claim_id, statement in made:
        first[claim_id] = min(statement, first.get(claim_id, statement))
    return [
        claim if first[claim_id] == statement else replace(claim, claim_id=uuid5(claim_id, statement))
        for (claim_id, statement), claim in made.items()
    ]


def _find_fault(one: ProposedClaim) -> str | None:
    """Return why a claim could not be stored whatever it stands on, as the store's own checks would refuse it."""
    values = [
        (one.claim_type, ClaimType),
        (one.modality, Modality),
        (one.polarity, Polarity),
        (one.status, ClaimStatus),
        *((role, QuoteRole) for _, role in one.quotes),
    ]
    statement, labels = one.statement, [label for label in (one.holder, one.subject) if label]
    faults = {
        "unknown_value": any(value not in get_args(known) for value, known in values),
        "statement": not statement.strip() or len(statement) > LONGEST_STATEMENT or not _is_clean(statement),
        "label": any(len(label) > _LONGEST_LABEL or not _is_clean(label) for label in labels),
        "validity": bool(one.valid_from and one.valid_to and one.valid_to < one.valid_from),
        "support_score": one.support_score is not None and not 0 <= one.support_score <= 1,  # nor NaN
    }
    return next((fault for fault, found in faults.items() if found), None)


def _is_clean(words: str) -> bool:
    """Whether there is neither a control character nor half of a surrogate pair, which no store takes."""
    return all(unicodedata.category(mark) not in {"Cc", "Cs"} for mark in words)


def _locate(one: ProposedClaim, index: QuoteIndex, rejected: list[Rejected]) -> _Quotes:
    """Return each place once, supporting ones first; what supports does not oppose as well."""
    places: dict[tuple[int, int], tuple[Located, QuoteRole]] = {}
    for candidate, role in sorted(one.quotes, key=lambda quote: quote[1] != "supporting"):
        found = locate_quote(candidate, index)
        if isinstance(found, Rejected):
            rejected.append(found)
        else:
            places.setdefault((found.char_start, found.char_end), (found, role))
    return list(places.values())


def _make_claim(text: SessionText, one: ProposedClaim, quotes: _Quotes) -> SessionClaim:
    holder, holder_id = _find_holder(text, one.holder)
    main, method = quotes[0][0], one.method
    place = f"{one.claim_type}:{text.content_hash}:{main.char_start}:{main.char_end}"
    return SessionClaim(
        claim_id=uuid5(text.transcript_id, f"{place}:{method.name}:{method.model_name or ''}"),
        claim_type=one.claim_type,
        statement=one.statement.strip(),
        modality=_settle_modality(text, one, holder, holder_id, quotes),
        quotes=quotes,
        method=method,
        transcript_id=text.transcript_id,
        held_at=text.held_at,
        holder=holder,
        holder_id=holder_id,
        subject=(one.subject or "").strip() or None,
        polarity=one.polarity,
        valid_from=one.valid_from,
        valid_to=one.valid_to,
        support_score=one.support_score,
        scorer=one.scorer,
        status=one.status,
    )


def _find_holder(text: SessionText, name: str | None) -> tuple[str | None, UUID | None]:
    """Return a holder's full name and id, where exactly one known person of the session goes by this name."""
    if name is None or not name.strip():
        return None, None
    folded = fold_name(name)
    known = {person for person, full_name in text.names.items() if fold_name(full_name) == folded}
    known |= {turn.speaker_id for turn in text.turns if turn.speaker_id and fold_name(turn.speaker or "") == folded}
    if len(known) != 1:
        return name.strip(), None
    person = known.pop()
    return text.names.get(person, name.strip()), person


def _settle_modality(
    text: SessionText, one: ProposedClaim, holder: str | None, holder_id: UUID | None, quotes: _Quotes
) -> Modality:
    """Return the modality that the speakers of the supporting quotes bear out.

    What is inside the client is stated only in the client's own words, else inferred. Anything else that only others
    say of its holder is reported.
    """
    if one.modality != "stated":
        return one.modality
    supporting = [quote for quote, role in quotes if role == "supporting"]
    if one.claim_type in INNER:
        of_client = holder_id == text.client_id if holder_id and text.client_id else holder is None
        own = any(_speaks(quote, text.client_id if of_client else holder_id, holder) for quote in supporting)
        return "stated" if own else "inferred"
    own = holder is None or any(_speaks(quote, holder_id, holder) for quote in supporting)
    return "stated" if own else "reported"


def _speaks(quote: Located, person: UUID | None, name: str | None) -> bool:
    """Whether a quote is in the mouth of a person, known by id or else by the label of the transcript."""
    if person is not None:
        return quote.speaker_id == person
    return name is not None and quote.speaker is not None and fold_name(quote.speaker) == fold_name(name)
