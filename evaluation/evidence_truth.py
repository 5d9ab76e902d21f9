"""Measures evidence on transcripts whose commitments, changes and patterns are known: what was found, what was made up.

A folder holds `organisations.json`, a folder per organisation with its transcripts and `manifest.jsonl`, and
`truth.jsonl`, a fact a line with the exact words it stands on. Rules, gate, merging, settling and patterns run in
this process, without a database.
"""

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from time import perf_counter
from typing import Any, Final
from uuid import NAMESPACE_URL, UUID, uuid5

from pipelines.evidence.gate import admit
from pipelines.evidence.lifecycle import settle
from pipelines.evidence.merge import merge_duplicates
from pipelines.evidence.patterns import find_patterns
from pipelines.evidence.patterns_reports import complete_proposals
from pipelines.evidence.records import FoundPattern, ProposedClaim, SessionClaim, SessionText, Turn
from pipelines.evidence.rules import propose_by_rules
from pipelines.transcripts import parse_transcript

CLAIM_KINDS: Final = {
    "commitment": "commitment",
    "goal": "goal",
    "decision": "decision",
    "obstacle": "obstacle",
    "feedback": "feedback",
    "feeling": "emotion",
}
"""A fact's type and the type of claim that states it."""
OUTCOMES: Final = ("kept", "broken")
PATTERNS: Final = ("change", "contradiction", "recurrence", "trend")
NOT_TO_FIND: Final = ("private", "injection")
"""What no claim may be made of: the coach's own notes, and orders hidden in what somebody read out."""

Propose = Callable[[SessionText], Iterable[ProposedClaim]]
Span = tuple[str, int, int]
"""A file's name, and characters of its text."""


@dataclass(frozen=True, slots=True)
class KnownFact:
    """One fact of `truth.jsonl`; `spans` are the words it stands on, where they are a transcript's."""

    id: str
    type: str
    client: str
    spans: tuple[Span, ...]


@dataclass(frozen=True, slots=True)
class ClientEvidence:
    """All that was made of one client's sessions; `keys` names each transcript's file."""

    client: str
    keys: Mapping[UUID, str]
    claims: tuple[SessionClaim, ...]
    patterns: tuple[FoundPattern, ...]
    seconds: float


@dataclass(frozen=True, slots=True)
class TypeScore:
    """One type of fact: how many are known and found, and what was found that no known fact says.

    `others` are not all false: the known facts do not list every goal somebody names. They are there to be read.
    """

    type: str
    known: int
    found: int
    missed: tuple[str, ...]
    others: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TruthReport:
    """Scores by type, how many sessions and claims they come from, and the seconds of processor time."""

    scores: tuple[TypeScore, ...]
    sessions: int
    claims: int
    patterns: int
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """Return the report as plain data."""
        return asdict(self)

    def __str__(self) -> str:
        lines = [
            f"{self.sessions} sessions, {self.claims} claims, {self.patterns} patterns, {self.seconds:.2f} s",
            f"{'':14}{'known':>7}{'found':>7}{'others':>8}",
        ]
        lines += [f"{one.type:14}{one.known:7}{one.found:7}{len(one.others):8}" for one in self.scores]
        for one in self.scores:
            lines += [f"{one.type} missed: {missed}" for missed in one.missed]
            lines += [f"{one.type} besides: {other}" for other in one.others]
        return "\n".join(lines)


def propose_all(text: SessionText) -> list[ProposedClaim]:
    """Return what a build without a model proposes."""
    return complete_proposals(text, propose_by_rules(text))


def measure_truth(folder: Path, *, propose: Propose = propose_all) -> TruthReport:
    """Build all clients' evidence from the folder's transcripts and compare it with what is known."""
    sessions = load_sessions(folder)
    by_client: dict[str, list[tuple[str, SessionText]]] = defaultdict(list)
    for client, key, text in sessions:
        by_client[client].append((key, text))
    evidence = [build_evidence(client, texts, propose=propose) for client, texts in by_client.items()]
    return TruthReport(
        scores=tuple(score(load_facts(folder, sessions), evidence)),
        sessions=len(sessions),
        claims=sum(len(one.claims) for one in evidence),
        patterns=sum(len(one.patterns) for one in evidence),
        seconds=sum(one.seconds for one in evidence),
    )


def build_evidence(
    client: str, texts: Sequence[tuple[str, SessionText]], *, propose: Propose = propose_all
) -> ClientEvidence:
    """Return one client's claims and patterns, made as a build makes them."""
    began = perf_counter()
    claims = [one for _, text in texts for one in merge_duplicates(admit(text, propose(text)).claims)]
    changes = {change.claim_id: change for change in settle(claims)}
    settled = [
        replace(one, status=changes[one.claim_id].status, superseded_by=changes[one.claim_id].by_claim_id)
        if one.claim_id in changes
        else one
        for one in claims
    ]
    patterns = find_patterns(settled, sessions_in_scope=len(texts), sessions_examined=len(texts))
    keys = {text.transcript_id: key for key, text in texts}
    return ClientEvidence(client, keys, tuple(settled), tuple(patterns), perf_counter() - began)


def load_sessions(folder: Path) -> list[tuple[str, str, SessionText]]:
    """Return (client, file, text) of every transcript in the folder, in order of time for each client."""
    organisations = json.loads((folder / "organisations.json").read_text(encoding="utf-8"))["tenants"]
    found = []
    for organisation in organisations:
        names = {person["email"]: person["full_name"] for person in organisation["users"]}
        place = folder / organisation["slug"]
        for line in (place / "manifest.jsonl").read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            if row["kind"] == "transcript" and row.get("client"):
                found.append((row["client"], row["key"], _load_session(place, row, names)))
    return sorted(found, key=lambda one: (one[0], str(one[2].held_at)))


def _load_session(place: Path, row: Mapping[str, Any], names: Mapping[str, str]) -> SessionText:
    parsed = parse_transcript(row["key"], (place / row["key"]).read_bytes())
    ids = {email: uuid5(NAMESPACE_URL, email) for email in names}
    turns, position = [], 0
    for index, turn in enumerate(parsed.turns):
        speaker = row.get("speakers", {}).get(turn.speaker)
        end = position + len(turn.text)
        turns.append(
            Turn(
                index=index, text=turn.text, char_start=position, char_end=end, speaker=turn.speaker,
                speaker_id=ids.get(speaker), started_s=turn.start, ended_s=turn.end,
            )
        )  # fmt: skip
        position = end + 1
    return SessionText(
        transcript_id=uuid5(NAMESPACE_URL, f"{place.name}/{row['key']}"),
        content_hash=sha256("\n".join(turn.text for turn in turns).encode()).hexdigest(),
        turns=turns,
        visibility=row["visibility"],
        client_id=ids[row["client"]],
        coach_id=ids.get(row.get("coach", "")),
        held_at=datetime.fromisoformat(row["held_at"]),
        title=row.get("title", ""),
        names={ids[email]: name for email, name in names.items()},
    )


def load_facts(folder: Path, sessions: Sequence[tuple[str, str, SessionText]]) -> list[KnownFact]:
    """Return the facts about clients, with their words' places."""
    texts = {(client, key): text.text for client, key, text in sessions}
    facts = []
    for line in (folder / "truth.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        if not row.get("client"):
            continue
        spans = []
        for quote in row["quotes"]:
            if (text := texts.get((row["client"], quote["key"]))) is not None:
                start = text.index(quote["exact"])
                spans.append((quote["key"], start, start + len(quote["exact"])))
        facts.append(KnownFact(row["id"], row["type"], row["client"], tuple(spans)))
    return facts


def score(facts: Sequence[KnownFact], evidence: Sequence[ClientEvidence]) -> list[TypeScore]:
    """Return how many facts of each type are found, and what else is."""
    scores = [_score_claims(name, kind, facts, evidence) for name, kind in CLAIM_KINDS.items()]
    scores += [_score_outcomes(name, facts, evidence) for name in OUTCOMES]
    scores += [_score_patterns(name, facts, evidence) for name in PATTERNS]
    return scores + [_score_hidden(name, facts, evidence) for name in NOT_TO_FIND]


def _list_spans(claim: SessionClaim, keys: Mapping[UUID, str]) -> list[Span]:
    return [(keys[claim.transcript_id], quote.char_start, quote.char_end) for quote, _ in claim.quotes]


def _touches(left: Iterable[Span], right: Iterable[Span]) -> bool:
    wanted = list(right)
    return any(a[0] == b[0] and a[1] < b[2] and b[1] < a[2] for a in left for b in wanted)


def _tell(claim: SessionClaim, one: ClientEvidence) -> str:
    return f"{one.keys[claim.transcript_id]} | {claim.quotes[0][0].exact}"


def _score_claims(name: str, kind: str, facts: Sequence[KnownFact], evidence: Sequence[ClientEvidence]) -> TypeScore:
    """A fact is found by a claim of its type that stands on some of its words."""
    known = [fact for fact in facts if fact.type == name]
    # words that another fact names as a promise are one, though they are listed as kept or broken
    same = [fact for fact in facts if fact.type in (name, *(OUTCOMES if name == "commitment" else ()))]
    found, others = set(), []
    for one in evidence:
        for claim in (claim for claim in one.claims if claim.claim_type == kind):
            spans = _list_spans(claim, one.keys)
            about = [fact for fact in same if fact.client == one.client and _touches(spans, fact.spans)]
            found |= {fact.id for fact in about}
            if not about:
                others.append(_tell(claim, one))
    return _sum_up(name, known, found, others)


def _score_outcomes(name: str, facts: Sequence[KnownFact], evidence: Sequence[ClientEvidence]) -> TypeScore:
    """A commitment is found kept where the promise and the words that settle it are both the fact's."""
    known = [fact for fact in facts if fact.type == name]
    found, others = set(), []
    for one in evidence:
        by_id = {claim.claim_id: claim for claim in one.claims}
        for claim in (claim for claim in one.claims if claim.status == name and claim.superseded_by):
            answer = by_id[claim.superseded_by] if claim.superseded_by else claim
            about = [
                fact.id
                for fact in known
                if fact.client == one.client
                and _touches(_list_spans(claim, one.keys), fact.spans)
                and _touches(_list_spans(answer, one.keys), fact.spans)
            ]
            found |= set(about)
            if not about:
                others.append(f"{_tell(claim, one)} -> {_tell(answer, one)}")
    return _sum_up(name, known, found, others)


def _score_patterns(name: str, facts: Sequence[KnownFact], evidence: Sequence[ClientEvidence]) -> TypeScore:
    """A pattern is found where its claims stand on the fact's words in two sessions at least."""
    known = [fact for fact in facts if fact.type == name]
    found, others = set(), []
    for one in evidence:
        by_id = {claim.claim_id: claim for claim in one.claims}
        for pattern in (pattern for pattern in one.patterns if pattern.kind == name):
            # a contradiction's two sides are its supporting claims and those that counter them
            ids = (*pattern.supporting, *(pattern.counter if name in ("change", "contradiction") else ()))
            spans = [span for claim_id in ids for span in _list_spans(by_id[claim_id], one.keys)]
            about = {
                fact.id
                for fact in known
                if fact.client == one.client and len({span[0] for span in fact.spans if _touches([span], spans)}) >= 2
            }
            found |= about
            if not about:
                words = " / ".join(_tell(by_id[claim_id], one) for claim_id in ids[:4])
                others.append(f"{pattern.statement} [{words}]")
    return _sum_up(name, known, found, others)


def _score_hidden(name: str, facts: Sequence[KnownFact], evidence: Sequence[ClientEvidence]) -> TypeScore:
    """Nothing may stand on these words; what does is listed."""
    known = [fact for fact in facts if fact.type == name]
    others = [
        _tell(claim, one)
        for one in evidence
        for claim in one.claims
        if any(_touches(_list_spans(claim, one.keys), f.spans) for f in known if f.client == one.client)
    ]
    return TypeScore(name, len(known), 0, (), tuple(others))


def _sum_up(name: str, known: Sequence[KnownFact], found: set[str], others: Sequence[str]) -> TypeScore:
    missed = tuple(fact.id for fact in known if fact.id not in found)
    return TypeScore(name, len(known), len(known) - len(missed), missed, tuple(others))
