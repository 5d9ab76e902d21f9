"""Proposes claims from cue phrases, speakers' roles and dates."""

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from pipelines.evidence.dates import find_dates, format_date, resolve_date
from pipelines.evidence.records import ProposedClaim, SessionText, Turn
from pipelines.evidence.rules.answers import asks_for_day, find_answers, find_day, find_ratings
from pipelines.evidence.rules.claims import VERSION, Heard, add_quote, clean, place_in_time, quote, say
from pipelines.evidence.rules.clauses import OPEN, Sentence, list_clauses, list_sentences
from pipelines.evidence.rules.feedback import find_given, find_reported, find_returned, gives_feedback
from pipelines.evidence.rules.read import find_claim
from pipelines.evidence.rules.statement import find_subject, find_topic

RULES_VERSION: Final = VERSION
_ASKED: Final = 800
"""Characters at the end of a turn that hold what it asks."""
_DATED: Final = frozenset({"commitment", "progress", "decision", "goal"})
_BARE: Final = re.compile(
    r"(?:I(?:'ve)?\s+(?:did|done|haven't|didn't|lasted|managed|held|kept|put|gave)|done\b|finished\b|sorted\b|didn't\b|"
    r"I(?:'ve)?\s+(?:just\s+)?(?:changed|made up) my mind|I decided (?:it|that)\b|I'm out\b|"
    r"(?:it|that|they)'(?:s|re)\s+(?:all\s+)?(?:done|finished|sorted|settled))",
    re.IGNORECASE,
)
_SETTLED: Final = re.compile(
    r"(?:it's|that's|it\s+is)\s+(?:all\s+)?(?:settled|decided|agreed|final|official)\b", re.IGNORECASE
)
"""After it, what is to come has been decided."""
_FEARS: Final = re.compile(
    r"\b(?:scared|afraid|worried|frightened)\s+(?:that\s+)?(?:if|I'll|I\s+will|they'll|they\s+will|she'll|he'll|people\s+will)\b",
    re.IGNORECASE,
)
"""A feared outcome holds back; that it does so is inferred."""
_VERB: Final = re.compile(
    r"\b(?:I|you|we|he|she|it|they|is|are|was|were|am|do|did|does|have|has|had|will|would|can|could)\b|\w'(?:m|ve|ll|d|re|s)\b|\w\w\wed\b",
    re.IGNORECASE,
)
# what a coach promises counts only where something is to be sent, looked up or arranged after the session
_COACH_ACTS: Final = re.compile(
    r"I'll\s+(?:\w+ly\s+)?(?:send|email|e-mail|text|share|book|check|find out|forward|schedule|call|"
    r"write up|prepare|bring)\b",
    re.IGNORECASE,
)


def propose_by_rules(text: SessionText) -> list[ProposedClaim]:
    """Return the claims that cue phrases, questions with their answers, and days give, in the order of the text.

    Polarity is by type: a commitment, decision or progress to do, or not to do; the tone of a feeling; whether a belief
    denies. Only the speaker's own words make a claim: questions, conditions, irony and what is quoted of others don't.
    """
    said_on = text.held_at.date() if text.held_at else None
    found: list[ProposedClaim] = []
    asked = ""
    invited = False
    parsed = [(turn, list_sentences(turn)) for turn in text.turns]
    for place, (turn, sentences) in enumerate(parsed):
        before = parsed[place - 1] if place else None
        other = before if before and before[0].speaker != turn.speaker else None
        if other:
            asked = other[0].text[-_ASKED:]
        heard = Heard(
            text=text,
            said_on=said_on,
            asked=asked,
            asked_own=asked if other else "",
            asked_by=other[0].speaker if other else None,
            asked_at=other[0].index if other else None,
        )
        if text.find_role(turn) == "coach":
            found += find_given(sentences, heard, is_invited=invited)
            found += _find_coach_promises(sentences, heard)
            invited = gives_feedback(turn.text)
            continue
        claims = _find_own(sentences, heard)
        if claims:
            claims[-1] = _date(claims[-1], sentences, parsed[place + 1 : place + 3], heard)
        found += claims
    return clean(found)


def _find_own(sentences: Sequence[Sentence], heard: Heard) -> list[ProposedClaim]:
    """Return what a speaker claims in one turn of their own."""
    hypothetical = bool(
        re.search(r"\b(?:if|suppose|imagine)\b[^?]*\?\s*$", heard.asked_own, re.IGNORECASE)
    ) and not re.search(r"\bwhat(?:'s| is| will be) different\b|\bhow will\b", heard.asked_own, re.IGNORECASE)
    found: list[ProposedClaim] = []
    for place, sentence in enumerate(sentences):
        for clause in list_clauses(sentence):
            near = " ".join(one.plain for one in sentences[max(0, place - 2) : place])
            before = sentences[place - 1].words if place else ""
            claim = find_claim(clause, replace(heard, before=before, near=near))
            if claim is None or (
                hypothetical
                and claim.claim_type == "commitment"
                and re.match(r"(?:then|well)\b", sentence.words, re.IGNORECASE)
            ):
                continue
            found.append(_lean_on_neighbours(claim, clause.plain, sentences, place, heard))
            if claim.claim_type == "commitment" and place and _SETTLED.match(sentences[place - 1].plain):
                found[-1] = replace(found[-1], claim_type="decision")
            if claim.claim_type == "emotion" and _FEARS.search(clause.plain):
                found.append(replace(claim, claim_type="obstacle", modality="inferred"))
    found += find_answers(sentences, heard, has_promised=any(one.claim_type == "commitment" for one in found))
    ratings = list(find_ratings(sentences, heard))
    rated = " ".join(one.quotes[0][0].exact for one in ratings)
    found = [
        one
        for one in found
        if one.claim_type != "progress" or one.polarity != "neutral" or one.quotes[0][0].exact not in rated
    ]
    found += ratings
    found += find_reported(sentences, heard)
    if heard.text.find_role(sentences[0].turn if sentences else heard.text.turns[0]) == "client":
        found += find_returned(sentences, heard)
    return _drop_doubles(found)


def _lean_on_neighbours(
    claim: ProposedClaim, plain: str, sentences: Sequence[Sentence], place: int, heard: Heard
) -> ProposedClaim:
    """Let words that say too little by themselves ("I did it.") stand together with the sentence beside them."""
    bare = _BARE.match(plain) and len(plain.split()) <= 9
    after = sentences[place + 1] if place + 1 < len(sentences) else None
    if claim.claim_type in _DATED and after and heard.said_on and not find_dates(plain, heard.said_on):
        found = find_dates(after.plain, heard.said_on, past=claim.claim_type == "progress")
        if (
            found
            and found[0].start <= 3
            and len(after.plain.split()) <= 12
            and not re.search(r"\b(?:I|we)'?\b", after.plain)
        ):
            days = resolve_date(after.plain, heard.said_on, past=claim.claim_type == "progress")
            first, last = place_in_time(claim.claim_type, heard.said_on, *days)
            claim = replace(add_quote(claim, quote(after)), valid_from=first, valid_to=last)
    if (
        after
        and not after.is_question
        and (
            (bare and re.match(r"I\S*\s+(?:\w+\s+)?(?:changed|made\s+up)\s+my\s+mind\b[^,]*$", plain))
            or (
                claim.claim_type == "obstacle"
                and re.match(r"(?:what|the)\b", plain, re.IGNORECASE)
                and len(plain.split()) <= 9
            )
        )
    ):
        claim = add_quote(claim, quote(after))
    if (
        re.match(r"I said I'?(?:'d| would)\b", plain)
        and after
        and re.match(r"(?:and |but )?I (?:haven't|didn't|never did)\b", after.plain)
    ):
        claim = add_quote(claim, quote(after))
    if bare and place and len(claim.quotes) == 1:
        previous = sentences[place - 1]
        opening = OPEN.match(previous.plain)
        said = previous.plain[opening.end() if opening else 0 :]
        # "The laptop at nine. I lasted four days.", "I'm not leaving nursing. I decided it in July"
        fragment = not _VERB.search(said) and 1 < len(said.split()) <= 5
        if fragment or re.match(r"I decided (?:it|that)\b", plain):
            claim = replace(
                add_quote(claim, quote(previous)),
                statement=say(str(claim.holder), f"{previous.words} {claim.quotes[0][0].exact}"),
                subject=find_topic(said) if fragment else find_subject(re.sub(r"^I\S*\s+", "", said)) or claim.subject,
            )
    return claim


def _date(
    claim: ProposedClaim,
    sentences: Sequence[Sentence],
    following: Sequence[tuple[Turn, Sequence[Sentence]]],
    heard: Heard,
) -> ProposedClaim:
    """Let the day that is named when the other asks for it count: "Next Friday being?" "The twenty-third."."""
    own = sentences[0].turn.speaker
    if claim.claim_type not in {"commitment", "goal"} or len(following) < 2 or heard.said_on is None:
        return claim
    (asking, asked), (answering, answers) = following[0], following[1]
    if asking.speaker == own or answering.speaker != own or not asked or not asks_for_day(asking.text):
        return claim
    day = find_day(answers, heard)
    if day is None:
        return claim
    _, latest = resolve_date(day.exact, heard.said_on)
    if latest is None or latest < heard.said_on:
        return claim
    statement = claim.statement
    if claim.valid_to and format_date(claim.valid_to) in statement:
        statement = statement.replace(format_date(claim.valid_to), format_date(latest))
    elif claim.valid_to is None and statement.endswith("."):
        statement = f"{statement[:-1]} ({format_date(latest)})."
    return replace(add_quote(claim, day), statement=statement, valid_to=latest)


def _find_coach_promises(sentences: Sequence[Sentence], heard: Heard) -> list[ProposedClaim]:
    promised = (
        find_claim(clause, heard)
        for sentence in sentences
        if "I'll" in sentence.plain
        for clause in list_clauses(sentence)
        if _COACH_ACTS.match(clause.plain)
    )
    return [claim for claim in promised if claim and claim.claim_type == "commitment"]


def _drop_doubles(claims: Sequence[ProposedClaim]) -> list[ProposedClaim]:
    """Keep one claim of a type for the same words."""
    kept: dict[tuple[str, str], ProposedClaim] = {}
    for claim in claims:
        kept.setdefault((claim.claim_type, claim.quotes[0][0].exact.strip(" .!").lower()), claim)
    return list(kept.values())
