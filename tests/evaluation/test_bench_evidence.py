"""The measurement of evidence: made and public sessions are built whole, and nothing of it stays behind."""

import json
from pathlib import Path

import pytest
from sqlalchemy import text

from core.settings import Settings
from db.session import unbound_session
from evaluation.bench_evidence import bench_evidence
from evaluation.evidence_sessions import WORDS_PER_SESSION, NoSessions, make_sessions


def test_made_sessions_have_the_length_of_real_ones_and_are_the_same_each_time() -> None:
    sessions = make_sessions(12)
    words = [sum(len(said.split()) for _, _, said in one.turns) for one in sessions]
    assert WORDS_PER_SESSION <= sum(words) / len(words) <= 1.2 * WORDS_PER_SESSION
    assert make_sessions(12) == sessions
    assert len({one.held_at for one in sessions}) == 12


async def test_made_sessions_are_measured_and_nothing_stays(store: Settings) -> None:
    told: list[str] = []
    report = await bench_evidence(sessions=4, note=told.append)
    assert (report.sessions, report.failed, report.broken) == (4, 0, {})
    assert (report.again.rows_changed, report.rebuilt.rows_changed) == (0, 0)
    assert report.added is not None
    assert 0 < report.added.rows_changed < report.first.rows_changed
    assert report.claims["commitment"] >= 8
    assert report.quotes >= sum(report.claims.values()) / 2
    assert sum(report.checked.values()) > report.quotes
    assert told
    async with unbound_session() as session:
        slugs = await session.scalars(text("SELECT slug FROM platform.list_tenants()"))
        assert not [slug for slug in slugs if slug.startswith("evaluation-")]


async def test_public_sessions_are_measured(store: Settings, tmp_path: Path) -> None:
    (tmp_path / "annomi").mkdir()
    (tmp_path / "qmsum").mkdir()
    sessions = [{"session_id": f"s-{n}", "topic": "tea"} for n in range(2)]
    turns = [
        {"session_id": f"s-{n}", "speaker": speaker, "t_start": at, "text": words}
        for n in range(2)
        for speaker, at, words in (("therapist", 0, "What do you want?"), ("client", 5, "I want to drink less tea."))
    ]
    (tmp_path / "annomi/sessions.jsonl").write_text("\n".join(map(json.dumps, sessions)))
    (tmp_path / "annomi/turns.jsonl").write_text("\n".join(map(json.dumps, turns)))
    meeting = {"meeting": "m", "speaker": "Lead", "text": "We will meet again on Friday."}
    (tmp_path / "qmsum/turns.jsonl").write_text(json.dumps(meeting))
    report = await bench_evidence(public=tmp_path, note=lambda _: None)
    assert (report.sessions, report.failed, report.added, report.broken) == (3, 0, None, {})
    assert report.claims["goal"] == 2


async def test_a_folder_without_sessions_is_named(store: Settings, tmp_path: Path) -> None:
    with pytest.raises(NoSessions, match="annomi"):
        await bench_evidence(public=tmp_path, note=lambda _: None)
