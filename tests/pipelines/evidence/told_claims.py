"""Claims made by hand, so that what is concluded from them can be tried without the rules that find them."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime
from itertools import count
from uuid import NAMESPACE_URL, UUID, uuid5

from pipelines.evidence.lifecycle import StatusChange, settle
from pipelines.evidence.records import ClaimType, Located, Method, Modality, Polarity, SessionClaim

CLIENT = "Vera Brandt"
_places: Iterator[int] = count(1)


def person(name: str) -> UUID:
    return uuid5(NAMESPACE_URL, name)


def say(
    claim_type: ClaimType,
    words: str,
    day: str | None,
    *more: str,
    subject: str | None = None,
    holder: str = CLIENT,
    polarity: Polarity = "neutral",
    modality: Modality = "stated",
    place: int | None = None,
    until: date | None = None,
    since: date | None = None,
) -> SessionClaim:
    """A claim somebody makes on a day (ISO; None: undated) in these words, later ones further down in the text."""
    start = place if place is not None else next(_places) * 1_000
    session = uuid5(NAMESPACE_URL, f"session {day}")
    quotes = []
    for exact in (words, *more):
        quotes.append(
            (
                Located(
                    exact=exact, char_start=start, char_end=start + len(exact), turn_first=0, turn_last=0,
                    speaker=holder, speaker_id=person(holder), started_s=None, ended_s=None,
                ),
                "supporting",
            )
        )  # fmt: skip
        start += len(exact) + 1
    return SessionClaim(
        claim_id=uuid5(session, f"{holder}:{claim_type}:{quotes[0][0].char_start}:{words}"),
        claim_type=claim_type,
        statement=f"{holder} said: “{words}”",
        modality=modality,
        quotes=tuple(quotes),  # type: ignore[arg-type]  # the roles are literals above
        method=Method(name="test"),
        transcript_id=session,
        held_at=datetime.fromisoformat(day).replace(tzinfo=UTC) if day else None,
        holder=holder,
        holder_id=person(holder),
        subject=subject,
        polarity=polarity,
        valid_from=since,
        valid_to=until,
    )


def apply(claims: Sequence[SessionClaim], changes: Sequence[StatusChange]) -> list[SessionClaim]:
    """The claims as the store holds them once the changes are written."""
    by_id = {change.claim_id: change for change in changes}
    return [
        replace(one, status=by_id[one.claim_id].status, superseded_by=by_id[one.claim_id].by_claim_id)
        if one.claim_id in by_id
        else one
        for one in claims
    ]


def settle_all(*claims: SessionClaim) -> list[SessionClaim]:
    return apply(claims, settle(claims))
