"""Measures on AnnoMI whether the rules' claims fall where counsellors heard a client talk themself into change.

AnnoMI (Wu et al., ICASSP 2022) codes each client utterance as change talk, sustain talk or neutral. What a client
intends (commitments, goals, decisions) is change talk, and so are steps taken; nothing else the rules find counts.
Change talk is wider than claims ("Yeah.", "It's bad for my lungs."): recall says how much of it is put as one.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Literal
from uuid import NAMESPACE_URL, UUID, uuid5

import numpy as np

from core.errors import Invalid
from evaluation.retrieval_metrics import RESAMPLES, SEED, Interval
from pipelines.evidence.records import SessionText, Turn
from pipelines.evidence.rules import RULES_VERSION, propose_by_rules

Part = Literal["dev", "test"]
INTENTIONS: Final = frozenset({"commitment", "goal", "decision"})
CHANGE_TYPES: Final = INTENTIONS | {"progress"}
KEYWORDS: Final = (
    "want", "wish", "like to", "love to", "hope", "can", "could", "able", "possible", "need", "should", "have to",
    "got to", "must", "important", "because", "will", "i'll", "going to", "gonna", "ready", "willing", "prepared",
    "promise", "plan", "try", "trying", "tried", "started", "stopped", "quit", "cut down", "cut back",
)  # fmt: skip
"""The baseline: the words by which handbooks of motivational interviewing teach desire, ability, reason, need,
commitment, activation and taking steps (Miller and Rollnick 2013), looked for as they stand."""


class NotAnnomi(Invalid):
    """This folder has no turns.jsonl with AnnoMI's client talk; give the folder that holds it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Utterance:
    """One client utterance: what counsellors called it, and what each system says."""

    session_id: str
    part: Part
    is_change: bool
    is_sustain: bool
    by_intentions: bool
    by_rules: bool
    """By intentions or steps taken."""
    by_keywords: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """Precision, recall and F1 of change talk, with 95 % intervals over sessions, which are resampled whole.

    `on_sustain` is the part of sustain talk wrongly called change.
    """

    system: str
    part: str
    sessions: int
    utterances: int
    change: int
    precision: Interval
    recall: Interval
    f1: Interval
    on_sustain: float


@dataclass(frozen=True, slots=True, kw_only=True)
class AnnomiReport:
    """The scores of the rules and of the keywords on both halves, and how much the rules found."""

    rules_version: str
    claims: Mapping[str, int]
    scores: Sequence[Score]
    f1_gain: Mapping[str, Interval]
    """F1 of intentions and steps less the keywords', by half, on the same resampled sessions."""

    def to_json(self) -> dict[str, Any]:
        """Return it as plain data."""
        return asdict(self)


def evaluate_annomi(folder: Path) -> AnnomiReport:
    """Score the rules against counsellors' codes; sessions fall into dev and test by the hash of their id."""
    claims: dict[str, int] = {}
    utterances: list[Utterance] = []
    for session_id, rows in _read_sessions(folder).items():
        utterances += _judge(session_id, rows, claims)
    parts: tuple[Part, ...] = ("dev", "test")
    scores = []
    gains: dict[str, Interval] = {}
    for part in parts:
        own = [one for one in utterances if one.part == part]
        if not own:
            continue
        drawn = {}
        for system, says in _SYSTEMS.items():
            score, drawn[system] = _score(system, part, own, says)
            scores.append(score)
        gain = drawn["intentions and steps"] - drawn["keywords"]
        gains[part] = Interval(float(gain[0]), *map(float, np.quantile(gain[1:], (0.025, 0.975))))
    return AnnomiReport(rules_version=RULES_VERSION, claims=dict(sorted(claims.items())), scores=scores, f1_gain=gains)


_SYSTEMS: Final[Mapping[str, Callable[[Utterance], bool]]] = {
    "intentions": lambda one: one.by_intentions,
    "intentions and steps": lambda one: one.by_rules,
    "keywords": lambda one: one.by_keywords,
}


def list_sessions(folder: Path) -> list[SessionText]:
    """Return every session of the folder as evidence is taken from it."""
    return [build_text(session_id, rows) for session_id, rows in _read_sessions(folder).items()]


def choose_part(session_id: str) -> Part:
    """Return the half that a session belongs to, the same for ever."""
    return "dev" if hashlib.sha256(session_id.encode()).digest()[0] % 2 == 0 else "test"


def build_text(session_id: str, rows: Sequence[Mapping[str, Any]]) -> SessionText:
    """Return a session's turns as evidence is taken from them, client and therapist known."""
    people = {role: uuid5(NAMESPACE_URL, f"annomi:{session_id}:{role}") for role in ("client", "therapist")}
    turns = []
    position = 0
    for index, row in enumerate(rows):
        words = str(row["text"])
        speaker = str(row["speaker"])
        turns.append(
            Turn(
                index=index, text=words, char_start=position, char_end=position + len(words), speaker=speaker,
                speaker_id=people.get(speaker), started_s=row.get("t_start"),
            )
        )  # fmt: skip
        position += len(words) + 1
    return SessionText(
        transcript_id=uuid5(NAMESPACE_URL, f"annomi:{session_id}"),
        content_hash=hashlib.sha256("\n".join(turn.text for turn in turns).encode()).hexdigest(),
        turns=turns, client_id=people["client"], coach_id=people["therapist"], names=_name(people),
    )  # fmt: skip


def _name(people: Mapping[str, UUID]) -> dict[UUID, str]:
    return {person: f"The {role}" for role, person in people.items()}


def _read_sessions(folder: Path) -> dict[str, list[dict[str, Any]]]:
    sessions: dict[str, list[dict[str, Any]]] = {}
    try:
        for line in (folder / "turns.jsonl").read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            sessions.setdefault(row["session_id"], []).append(row)
            row["client_talk"], row["speaker"], row["text"], row["turn"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise NotAnnomi from error
    return {session_id: sorted(rows, key=lambda row: row["turn"]) for session_id, rows in sessions.items()}


def _judge(session_id: str, rows: Sequence[Mapping[str, Any]], claims: dict[str, int]) -> list[Utterance]:
    text = build_text(session_id, rows)
    found: dict[str, set[int | None]] = {"intended": set(), "taken": set()}
    for claim in propose_by_rules(text):
        claims[claim.claim_type] = claims.get(claim.claim_type, 0) + 1
        if claim.claim_type in CHANGE_TYPES and claim.polarity == "positive":
            kind = "intended" if claim.claim_type in INTENTIONS else "taken"
            found[kind] |= {candidate.turn_index for candidate, _ in claim.quotes}
    return [
        Utterance(
            session_id=session_id,
            part=choose_part(session_id),
            is_change=row["client_talk"] == "change",
            is_sustain=row["client_talk"] == "sustain",
            by_intentions=index in found["intended"],
            by_rules=index in found["intended"] | found["taken"],
            by_keywords=_has_keyword(str(row["text"])),
        )
        for index, row in enumerate(rows)
        if row["speaker"] == "client"
    ]


def _has_keyword(words: str) -> bool:
    folded = " ".join(words.lower().replace("’", "'").replace(",", " ").replace(".", " ").replace("-", " ").split())
    return any(f" {word} " in f" {folded} " for word in KEYWORDS)


def _score(
    system: str, part: str, utterances: Sequence[Utterance], says: Callable[[Utterance], bool]
) -> tuple[Score, "np.ndarray[Any, np.dtype[np.float64]]"]:
    """Return the score and every F1 drawn, the one of all sessions first."""
    sessions = sorted({one.session_id for one in utterances})
    place = {session: n for n, session in enumerate(sessions)}
    counts = np.zeros((len(sessions), 3))
    for one in utterances:
        said = says(one)
        counts[place[one.session_id]] += (
            said and one.is_change,
            said and not one.is_change,
            not said and one.is_change,
        )
    drawn = np.random.default_rng(SEED).integers(0, len(sessions), (RESAMPLES, len(sessions)))
    totals = np.vstack([counts.sum(axis=0), counts[drawn].sum(axis=1)])
    right, wrong, missed = totals.T
    measures = {
        "precision": right / np.maximum(right + wrong, 1),
        "recall": right / np.maximum(right + missed, 1),
        "f1": 2 * right / np.maximum(2 * right + wrong + missed, 1),
    }
    sustain = [one for one in utterances if one.is_sustain]
    intervals = {
        name: Interval(float(values[0]), *map(float, np.quantile(values[1:], (0.025, 0.975))))
        for name, values in measures.items()
    }
    score = Score(
        system=system, part=part, sessions=len(sessions), utterances=len(utterances),
        change=sum(one.is_change for one in utterances),
        on_sustain=sum(map(says, sustain)) / len(sustain) if sustain else 0.0, **intervals,
    )  # fmt: skip
    return score, measures["f1"]
