"""Proposes what later sessions are compared by and no cue phrase begins: answers, habits, what held over a time.

An answer to what was asked about an earlier promise ("Done, on the Thursday") has its subject in the question; a habit
is told in the simple present ("I write instead of talking"); what lasted names its beginning ("since Easter").
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from pipelines.evidence.lifecycle_signs import is_change_of_mind, is_past, is_recalled, list_clauses
from pipelines.evidence.merge_stems import is_empty, is_negated, stem
from pipelines.evidence.patterns_figures import drop_others
from pipelines.evidence.patterns_measures import propose_measures
from pipelines.evidence.records import Candidate, ClaimType, Method, Polarity, ProposedClaim, SessionText, Turn
from rag.lexical import list_words
from rag.synthesize import split_sentences

REPORTS_VERSION: Final = "1"
ANSWERS: Final = 3
"""Sentences at the beginning of a turn that may answer what was asked."""
SHORT: Final = 6
"""Words of a sentence that only carries the one before it on."""
MOST_WORDS: Final = 60
"""Of a sentence; a longer one is a story."""
_METHOD: Final = Method(name=f"reports/{REPORTS_VERSION}")
_MONTH: Final = (
    r"(?:the\s+(?:\w+\s+of\s+)?)?(?:January|February|March|April|May|June|July|August|September|October|November|"
    r"December|Easter|Christmas|New Year|Ramadan|Diwali|Thanksgiving|[Ss]pring|[Ss]ummer|[Aa]utumn|[Ww]inter|\d{4}|"
    r"beginning|start)\b"
)
_LASTING: Final = re.compile(
    rf"\b(?i:since|all through|throughout|ever since|until|till)\s+{_MONTH}|\bnot in {_MONTH}|"
    rf"\b(?:runs?|ran|running) out in {_MONTH}|\bfrom the (?:start|beginning)\b"
)
_SELF: Final = re.compile(r"\b(?:I|we|me|us|my|our)(?:[’']\w+)?\b", re.IGNORECASE)
_HABIT: Final = re.compile(
    r"(?:^|[,;:—–]\s*|\b(?:and|but|so|because|that)\s+)I(?:\s+(?:still|always|just|often|usually|mostly|never|only|do|"
    r"really|kind of|sort of))*\s+(?P<verb>[a-z]+)\b(?![’'])",
)
_CONTINUED: Final = re.compile(
    r"\b(?:I[’']m|me)\b[^.;]{0,40}?\b(?:still |always |always \w+ing |\bon the \w+ |in \w+ |back )?(?P<verb>\w+ing)\b"
    r"[^.;]{0,40}\b(?:every|each|all|still|again)\b|\b(?:I[’']m|I am) (?:still|always) \w+ing\b|\band waiting\b|"
    r"\bI was waiting\b|\bI (?:keep|kept) (?:on )?\w+ing\b"
)
# verbs of state, of the talk itself, and what is said in passing; none of them tells a habit
_STATIVE: Final = frozenset(
    """
    am have has know think want need feel guess mean like love hate hope wish believe see hear understand remember
    suppose can will would could should must do don't did promise say tell agree doubt imagine trust prefer recognise
    recognize realise realize notice remain seem look sound own owe care mind get got had was were been went made said
    told took came saw thought knew felt found gave left kept put let cut hit set cost read quit stand
    """.split()  # noqa: SIM905 - a list would take 50 lines
)
_FUTURE: Final = re.compile(
    r"\b(?:I|we)[’'](?:ll|d)\b|\b(?:will|won[’']t|would|if|going to|gonna|might|maybe|perhaps)\b", re.IGNORECASE
)
_SUBJECT: Final = re.compile(r"(?:(?:and|so|yes|yeah|then) )?I\b", re.IGNORECASE)
_ELLIPTIC: Final = re.compile(
    r"^(?:(?:Yes|Yeah|Yep|No|Nope|Well|So|And|Oh|Okay)\W+)*"
    r"(?:Done|Finished|Sent|Signed|Paid|Called|Told|Asked|Wrote|Gave|Went|Did|Didn[’']t|Never|Not yet)\b"
)
_BY_OTHERS: Final = re.compile(
    r"^(?:Which|And|So|Yes,?|Yep,?)?\s*(?:he|she|they|it)\s+(?:does|do|did|has|have)\b[^?]{0,30}$", re.IGNORECASE
)
_STANDS_FOR: Final = re.compile(r"\b(?:her|him|them|it|there)\b")
_SINCE_THEN: Final = re.compile(rf"^It[’']s been \w+ since {_MONTH}")
_RUN_OUT: Final = re.compile(r"\b(?:runs?|ran|running) out\b", re.IGNORECASE)
_CARRIES_ON: Final = re.compile(
    r"^(?:Which|Since|On the|In|The \w+teenth|The \w+th|And (?:he|she|they) (?:does|did)|From|By|Instead|Twice|Once|"
    r"Every)\b"
)


@dataclass(frozen=True, slots=True)
class _Sentence:
    turn: Turn
    number: int
    words: str
    own: str
    asked: str
    before: str


def complete_proposals(text: SessionText, proposed: Iterable[ProposedClaim]) -> list[ProposedClaim]:
    """Return what was proposed and, behind it, the reports and figures in sentences of which nothing was proposed."""
    known = list(proposed)
    said = {(one.turn_index, one.exact) for claim in known for one, _ in claim.quotes}
    taken: dict[int | None, list[str]] = {}
    for index, exact in said:
        taken.setdefault(index, []).append(exact)
    figures = propose_measures(text)
    reports = [claim for claim in propose_reports(text) if not _is_taken(claim, taken)]
    told = {(claim.quotes[0][0].turn_index, claim.quotes[0][0].exact) for claim in figures}
    reports = [one for one in reports if (one.quotes[0][0].turn_index, one.quotes[0][0].exact) not in told]
    return known + figures + reports


def _is_taken(claim: ProposedClaim, taken: dict[int | None, list[str]]) -> bool:
    words = claim.quotes[0][0].exact
    held = [exact for exact in taken.get(claim.quotes[0][0].turn_index, []) if exact in words]
    if claim.claim_type == "decision":  # a rule may have taken "I've changed my mind" and left out to what
        return any(len(exact) > len(words) - SHORT for exact in held)
    # or left out of its part of the sentence what ties it to another session
    ties = [tie for tie in (_LASTING.search, is_recalled) if tie(words) and not any(tie(exact) for exact in held)]
    return bool(held) and not ties


def propose_reports(text: SessionText) -> list[ProposedClaim]:
    """Return the client's answers, habits and lasting states, in the order of the text."""
    found = []
    asked = ""
    for turn in text.turns:
        role = text.find_role(turn)
        if role == "client":
            found += _read_turn(text, turn, asked)
        elif role == "coach":
            asked = turn.text
    return found


def _read_turn(text: SessionText, turn: Turn, asked: str) -> list[ProposedClaim]:
    found = []
    before = ""
    spans = split_sentences(turn.text)
    carried = 0  # sentences that the one before them has taken along
    for number, (start, end) in enumerate(spans):
        words = turn.text[start:end]
        if carried:
            carried, before = carried - 1, words
            continue
        sentence = _Sentence(turn, number, words, drop_others(words), asked if number < ANSWERS else "", before)
        more = _list_more(turn, spans[number + 1 : number + 3])
        claim = None if words.endswith("?") or len(words.split()) > MOST_WORDS else _read(text, sentence, more)
        if claim:
            found.append(claim)
            carried = len(more)
        before = words
    return found


def _list_more(turn: Turn, spans: Sequence[tuple[int, int]]) -> list[str]:
    """Return the next sentences that carry this one on: "On the eighteenth.", "Which she does."."""
    more = []
    for start, end in spans:
        words = turn.text[start:end]
        if not (_CARRIES_ON.match(words) and len(words.split()) <= SHORT) and not _SINCE_THEN.match(words):
            break
        more.append(words)
    return more


def _read(text: SessionText, sentence: _Sentence, more: Sequence[str]) -> ProposedClaim | None:
    own = sentence.own
    if is_change_of_mind(own) and _SELF.search(own):
        return _make(text, sentence, "decision", more)
    if _LASTING.search(own) and not _FUTURE.search(own):
        return _make(text, sentence, "progress" if _SELF.search(own) else "belief", more)
    if _is_answer(sentence, more):
        return _make(text, sentence, "progress", more)
    habit = _HABIT.search(own)
    if (habit and _is_habit(habit["verb"]) and not _FUTURE.search(own)) or _CONTINUED.search(own):
        return _make(text, sentence, "progress", more)
    return None


def _is_answer(sentence: _Sentence, more: Sequence[str]) -> bool:
    own = sentence.own
    if not sentence.asked:
        return False
    if any(_BY_OTHERS.match(one) for one in more):
        return True
    if is_recalled(own) and any(is_past(clause) for clause in list_clauses(sentence.words)):
        return True
    if sentence.number == 0 and len(own.split()) <= 2 and not _ELLIPTIC.match(own):
        return False
    named = _name(sentence.asked, 12)
    return bool(named) and (bool(_ELLIPTIC.match(own)) or _is_told(own))


def _is_told(own: str) -> bool:
    """Tell whether the speaker reports an act of theirs: "I told him", "I hung up on her"."""
    return any(
        re.match(r"(?:and |so |yes |yeah )?I\b", clause, re.IGNORECASE)
        and is_past(clause)
        and not _FUTURE.search(clause)
        for clause in list_clauses(own)
    ) and not re.search(r"\bI (?:thought|was|felt|had been|heard|knew|wanted|forgot that)\b", own)


def _is_habit(verb: str) -> bool:
    return verb not in _STATIVE and not verb.endswith("ed") and stem(verb) not in _STATIVE and len(verb) > 2


def _make(text: SessionText, sentence: _Sentence, claim_type: ClaimType, more: Sequence[str]) -> ProposedClaim:
    turn = sentence.turn
    name = (text.names.get(turn.speaker_id) if turn.speaker_id else None) or turn.speaker or "The client"
    subject = _name(f"{sentence.own}", 6)
    context = _name(sentence.before, 3)
    if context is None or " " not in context:  # "Yes.", "The chapter." leave it to the question
        context = _name(f"{context or ''} {_last_sentence(sentence.asked)}", 4)
    if context and (subject is None or len(subject.split()) < 3 or _STANDS_FOR.search(sentence.own)):
        subject = " ".join(dict.fromkeys(f"{context} {subject or ''}".split()))
    said = [sentence.words, *more]
    shown = " ".join(" ".join(said).split()).replace("“", "‘").replace("”", "’").replace('"', "'")
    main = next((one for one in list_clauses(sentence.words) if _LASTING.search(one)), sentence.own)
    polarity: Polarity = "negative" if is_negated(main) or _RUN_OUT.search(main) else "neutral"
    return ProposedClaim(
        claim_type=claim_type,
        statement=f"{name} said: “{shown[:1_800]}”",
        modality="stated",
        quotes=tuple((Candidate(exact=one, speaker=turn.speaker, turn_index=turn.index), "supporting") for one in said),
        method=_METHOD,
        holder=name,
        subject=subject,
        polarity=polarity,
        valid_from=text.held_at.date() if text.held_at and claim_type == "decision" else None,
    )


def _last_sentence(asked: str) -> str:
    spans = split_sentences(asked)
    return " ".join(asked[start:end] for start, end in spans[-2:])


def _name(words: str, most: int) -> str | None:
    """Return the content words in their order, at most so many."""
    named = list(dict.fromkeys(word for word in list_words(words) if not is_empty(word)))
    return " ".join(named[:most]) or None
