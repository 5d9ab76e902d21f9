"""Reads one clause: which cue it meets, and what claim that makes."""

import re
from dataclasses import replace
from typing import Final

from pipelines.evidence.records import Polarity, ProposedClaim
from pipelines.evidence.rules.claims import Heard, make_claim
from pipelines.evidence.rules.clauses import Clause
from pipelines.evidence.rules.cues import CUES, IN_SESSION, SPEECH, THINK, Cue
from pipelines.evidence.rules.needs import NEEDS, Met
from pipelines.evidence.rules.statement import find_subject, find_verb, is_broken_off
from pipelines.evidence.rules.words import FEELING_NOUNS, FEELING_VERBS, FEELINGS, VERDICTS

_HEDGED: Final = re.compile(
    r"\b(?:maybe|perhaps|might|possibly|I don't know (?:if|whether)|not sure (?:if|whether|that))\b", re.IGNORECASE
)
_MEANT: Final = re.compile(
    r"\b(?:did you|have you|said I'?(?:'d| would)|was going to|meant to|should have|supposed to)\b", re.IGNORECASE
)
"""What makes "I didn't." a report: it was asked for, or what was intended stands before it."""
_AND_DID_NOT: Final = re.compile(
    r",?\s*(?:and|but)\s+(?:then\s+)?(?:I|we)\s+(?:just\s+)?(?:didn't|haven't|did\s+not|never\s+did)\b", re.IGNORECASE
)
_FLIPPED: Final[dict[Polarity, Polarity]] = {"positive": "negative", "negative": "positive", "neutral": "neutral"}
_NEGATIVE: Final = re.compile(r"\b(?:not|don't|didn't|never|no|isn't|wasn't|can't|doesn't)\b", re.IGNORECASE)
_DECIDED_NOT: Final = re.compile(
    r"(?:to\s+)?(?:that\s+)?(?:(?:I|we)(?:'m|'re|\s+am|\s+are|\s+will)?\s+)?(?:not|against|won't)\b", re.IGNORECASE
)


def find_claim(clause: Clause, heard: Heard) -> ProposedClaim | None:
    """Return the claim that the clause makes by the first cue it meets, or None."""
    if clause.sentence.is_question:
        return None
    plain = clause.plain
    is_own = bool(re.match(r"(?:I|we)\b", plain, re.IGNORECASE))
    for cue in CUES if is_own else _OF_ANYONE:
        match = cue.pattern.match(plain)
        if match and (found := _read(cue, match, clause, heard)):
            return found
    return _find_opinion(clause, heard)


_OF_ANYONE: Final = tuple(cue for cue in CUES if cue.anyone)


def _read(cue: Cue, match: re.Match[str], clause: Clause, heard: Heard) -> ProposedClaim | None:
    given = match.groupdict()
    vp = next((given[name] for name in ("vp", "vp2", "np", "np2") if given.get(name)), "") or ""
    met = Met(vp=vp.strip(), verb=(given.get("verb") or "").lower(), clause=clause, heard=heard)
    if _is_barred(cue, met) or not all(NEEDS[need](met) for need in cue.needs):
        return None
    if cue.name == "said and did not":
        not_done = _AND_DID_NOT.search(clause.sentence.shape, clause.end, clause.sentence.end)
        if not_done is None and find_verb(met.vp) is None:
            return None
        clause = replace(clause, end=not_done.end()) if not_done else clause
    elif cue.name == "changed mind" and not given.get("np"):
        clause = replace(clause, end=clause.sentence.end)
    claim = make_claim(
        clause, heard, cue.claim_type, met.vp, polarity=_find_polarity(cue, met), modality=cue.modality, says=cue.says,
        past=cue.past,
    )  # fmt: skip
    if claim and cue.name == "next time":
        when = re.sub(
            r"^(?:the\s+)?next\s+time\s+", "", clause.sentence.shape[clause.start : clause.core], flags=re.IGNORECASE
        )
        return replace(claim, subject=find_subject(when, verb=False) or claim.subject)
    return claim


def _is_barred(cue: Cue, met: Met) -> bool:
    """Tell whether something around the words takes the claim back: a condition, doubt, or talk about the talk."""
    clause = met.clause
    match cue.claim_type:
        case "belief":
            return is_broken_off(clause.plain)
        case "emotion":
            return False
        case "commitment" | "goal":
            in_talk = not met.vp or (SPEECH.match(met.vp) and not re.match(r"say (?:yes|no)\b", met.vp))
            doubtful = cue.claim_type == "commitment" and (
                _HEDGED.search(clause.sentence.plain) or IN_SESSION.match(met.vp)
            )
            return bool(in_talk or doubtful or clause.is_conditional)
    if cue.name == "said yes" and clause.start > clause.sentence.start + 4:
        return True  # "she asked, and I said yes": the question was somebody's, and is gone
    return clause.is_conditional or (cue.name == "did not do it" and _is_empty_denial(met))


def _is_empty_denial(met: Met) -> bool:
    """Tell whether a bare "I didn't." denies nothing that was asked for or intended, or repeats what was read."""
    if len(met.clause.plain.split()) > 2:
        return False
    before = met.clause.sentence.shape[met.clause.sentence.start : met.clause.start]
    if re.search(r"said I'?d\b", f"{met.heard.before} {before}"):
        return True
    return not _MEANT.search(f"{met.heard.asked_own} {met.heard.near} {before}")


def _find_polarity(cue: Cue, met: Met) -> Polarity:
    if cue.polarity == "tone":
        tone = find_tone(met.vp)
        denied = re.match(r"I\s+(?:\w+\s+)?(?:don't|didn't|never)\b", met.clause.plain)
        return _FLIPPED[tone] if denied else tone
    if cue.claim_type == "decision" and _DECIDED_NOT.match(met.vp):
        return "negative"
    if cue.claim_type == "belief" and cue.polarity == "neutral":
        return "negative" if _NEGATIVE.search(met.clause.plain.split(",", 1)[0][:60]) else "neutral"
    return cue.polarity


def find_tone(words: str) -> Polarity:
    """Return the tone of the first word of feeling, turned round by a "not" before it."""
    for word in re.findall(r"[a-z'-]+", words.lower())[:8]:
        tone = FEELINGS.get(word) or VERDICTS.get(word) or FEELING_VERBS.get(word) or FEELING_NOUNS.get(word)
        if tone:
            found: Polarity = "positive" if tone == "positive" else "negative"
            return _FLIPPED[found] if re.match(r"(?:not|less|no)\b", words) else found
    return "neutral"


def _find_opinion(clause: Clause, heard: Heard) -> ProposedClaim | None:
    """Return what the speaker says they think."""
    shape = clause.sentence.shape
    opened = re.search(
        r"\bI\s+(?:just\s+|really\s+|do\s+|still\s+)*think,?\s+$", shape[clause.sentence.start : clause.core]
    )
    start = clause.sentence.start + opened.start() if opened else clause.core
    words = shape[start : clause.end].rstrip(" ,;:—–-")
    match = THINK.match(words)
    if not match or len(match["vp"].split()) < 4 or is_broken_off(words):
        return None
    if re.match(r"(?:it's|that's)\s+(?:fine|okay|good|it)\b", match["vp"]):
        return None
    opinion = replace(clause, start=start, core=start)
    polarity: Polarity = "negative" if _NEGATIVE.search(match["vp"][:50]) else "neutral"
    return make_claim(
        opinion, heard, "belief", match["vp"], polarity=polarity, modality="stated", says="{name} thinks that {vp}"
    )
