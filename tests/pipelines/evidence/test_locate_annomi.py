"""Real counselling talk, quoted by a model that is known to invent: what is stored with the gate, and without."""

import json
import random
from collections import Counter
from itertools import groupby
from pathlib import Path

import pytest

from pipelines.evidence.locate import locate_quote
from pipelines.evidence.records import Candidate, Located, SessionText
from tests.pipelines.evidence.quote_damage import TRUE, Damaged, Kind, make_damaged
from tests.pipelines.evidence.spoken import make_session

KINDS: tuple[Kind, ...] = ("exact", "loose", "misattributed", "stitched", "edited", "invented")
OF_EACH = 150


@pytest.fixture(scope="module")
def sessions(shared_data: Path) -> list[SessionText]:
    lines = (shared_data / "annomi" / "turns.jsonl").read_text(encoding="utf-8").splitlines()
    rows = groupby((json.loads(line) for line in lines), key=lambda row: row["session_id"])
    made = [make_session(*((row["speaker"], row["text"]) for row in group)) for _, group in rows]
    assert len(made) == 86
    return made


def outcome(session: SessionText, damaged: Damaged) -> str:
    """Return what the gate made of a candidate: accepted, elsewhere, or the reason it was refused for."""
    found = locate_quote(damaged.candidate, session)
    if not isinstance(found, Located):
        return str(found.reason)
    assert session.text[found.char_start : found.char_end] == found.exact
    turns = session.turns[found.turn_first : found.turn_last + 1]
    assert {turn.speaker for turn in turns} == {found.speaker}
    if damaged.span is None:
        return "accepted"
    start, end = damaged.span
    here = found.char_start < end and start < found.char_end
    return "accepted" if here or session.text[start:end] == found.exact else "elsewhere"


def tabulate(sessions: list[SessionText], of_each: int, seed: int = 1) -> dict[Kind, Counter[str]]:
    """Return the outcomes of this many candidates of each kind."""
    chance = random.Random(seed)
    talks = [one for one in sessions if len(one.turns) > 10]
    table: dict[Kind, Counter[str]] = {}
    for kind in KINDS:
        table[kind] = Counter()
        while table[kind].total() < of_each:
            session = chance.choice(talks)
            damaged = make_damaged(kind, session, [one for one in talks if one is not session], chance)
            if damaged is not None:
                table[kind][outcome(session, damaged)] += 1
    return table


def test_every_whole_turn_is_found_where_it_is_said(sessions: list[SessionText]) -> None:
    for session in sessions:
        for turn in session.turns:
            said = Candidate(exact=turn.text, speaker=turn.speaker, turn_index=turn.index)
            if len(turn.text.split()) > 8:
                assert outcome(session, Damaged("exact", said, (turn.char_start, turn.char_end))) == "accepted"


def test_invented_words_are_kept_out_and_true_ones_let_in(sessions: list[SessionText]) -> None:
    table = tabulate(sessions, OF_EACH)
    assert table["exact"]["accepted"] == OF_EACH
    assert table["loose"]["accepted"] >= 0.97 * OF_EACH
    for kind in set(KINDS) - TRUE:
        assert table[kind]["accepted"] == 0, table
        assert table[kind][kind if kind != "invented" else "not_found"] >= 0.85 * OF_EACH, table
