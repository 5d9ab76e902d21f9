"""Real sessions at their real size: every turn arrives, and a second run changes nothing."""

import csv
import json
from collections import defaultdict
from pathlib import Path

from sqlalchemy import text

from db.session import tenant_session
from pipelines.ingest import ingest_source
from pipelines.sidecar import Sidecar
from rag.fakes import HashEmbedder
from tests.factories.people import Organisation


def _write_sessions(data: Path, folder: Path) -> int:
    """Write a table of turns a session and return how many turns there are."""
    sessions = defaultdict(list)
    for line in (data / "annomi/turns.jsonl").read_text().splitlines():
        turn = json.loads(line)
        sessions[turn["session_id"]].append([turn["speaker"], turn["timestamp"], turn["text"]])
    for name, turns in sessions.items():
        with (folder / f"{name}.csv").open("w", newline="") as file:
            csv.writer(file).writerows([["speaker", "timestamp", "text"], *turns])
    return sum(map(len, sessions.values()))


async def test_every_turn_of_86_sessions_is_stored_once(
    organisation: Organisation, tmp_path: Path, shared_data: Path
) -> None:
    turns = _write_sessions(shared_data, tmp_path)
    said = Sidecar(visibility="coach_only")
    report = await ingest_source(organisation.tenant_id, str(tmp_path), said=said, embedder=HashEmbedder())
    assert (report.count("indexed"), report.failed) == (86, ())
    async with tenant_session(organisation.system) as session:
        assert await session.scalar(text("SELECT count(*) FROM rag.transcript_segments")) == turns == 6432
        query = """SELECT count(*) FROM rag.transcript_segments s JOIN rag.document_chunks c
            ON c.transcript_id = s.transcript_id AND s.segment_index BETWEEN c.segment_first AND c.segment_last"""
        assert await session.scalar(text(query)) >= turns
        assert await session.scalar(text("SELECT count(*) FROM rag.chunk_embeddings")) == report.pieces
    again = await ingest_source(organisation.tenant_id, str(tmp_path), said=said, embedder=HashEmbedder())
    assert again.count("unchanged") == 86
