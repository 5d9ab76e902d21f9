"""Ingestion as a whole: what is stored, what is left alone, who may read it, and what one failure leaves untouched."""

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text

from core.errors import Unavailable
from core.settings import StorageSettings, get_settings
from core.storage import open_store
from db.session import Principal, tenant_session
from domain import ingestion
from domain.identity import UserNotFound
from domain.ingestion import SourceBusy
from domain.objects import tenant_store
from pipelines import ingest_plan
from pipelines.ingest import IngestReport, ingest_source
from pipelines.ingest_batch import ingest_batch
from pipelines.ingest_plan import NothingThere
from pipelines.read import read_source
from pipelines.sidecar import Sidecar
from rag.embedding import Matrix
from rag.fakes import HashEmbedder
from tests.factories.people import Organisation

TABLES = (
    "ingestion.data_sources", "ingestion.ingested_objects", "ingestion.ingestion_attempts", "rag.transcripts",
    "rag.transcript_segments", "rag.documents", "rag.document_chunks", "rag.search_metadata", "rag.term_frequencies",
    "rag.chunk_embeddings", "rag.embeddings_registry", "coaching.coaching_sessions",
)  # fmt: skip
SESSION = """WEBVTT

00:01.000 --> 00:04.000
Ruth: What will you try this week?

00:05.000 --> 00:09.000
Amina: I will ask Joel before Friday.
"""
GUIDE = "# Guide\n\nEveryone here meets their coach every second week.\n"


class BrokenEmbedder(HashEmbedder):
    """Answers until told not to."""

    down = False

    async def embed(self, texts: Sequence[str]) -> Matrix:
        """Embed, or be unavailable."""
        if self.down:
            raise Unavailable("The embedding service does not answer; try again shortly.")
        return await super().embed(texts)


async def _ingest(organisation: Organisation, source: object, **options: Any) -> IngestReport:
    options.setdefault("embedder", HashEmbedder())
    return await ingest_source(organisation.tenant_id, str(source), **options)


async def _dump(organisation: Organisation) -> dict[str, list[Any]]:
    """Return every row's words with the transaction that wrote it."""
    async with tenant_session(organisation.system) as session:
        return {
            table: sorted(map(str, (await session.execute(text(f"SELECT xmin, t::text FROM {table} t"))).all()))
            for table in TABLES
        }


async def _scalars(organisation: Organisation, query: str, reader: Principal | None = None) -> list[Any]:
    async with tenant_session(reader or organisation.system) as session:
        return list(await session.scalars(text(query)))


def _write(folder: Path, **files: str) -> None:
    for name, words in files.items():
        (folder / name.replace("__", ".")).write_text(words)


def _say(folder: Path, *lines: dict[str, Any]) -> None:
    (folder / "manifest.jsonl").write_text("\n".join(map(json.dumps, lines)))


def _about_amina(organisation: Organisation, **more: Any) -> dict[str, Any]:
    domain = f"{organisation.slug}.example"
    return {
        "key": "amina.vtt", "client": f"client_a@{domain}", "coach": f"coach_a@{domain}",
        "held_at": "2026-03-02T10:00:00+00:00", "session": "amina-01", "title": "Amina's first session",
        "speakers": {"ruth ": f"coach_a@{domain}", "Amina": f"client_a@{domain}"}, **more,
    }  # fmt: skip


async def test_a_session_is_stored_with_all_that_is_said_about_it(organisation: Organisation, tmp_path: Path) -> None:
    _write(tmp_path, amina__vtt=SESSION)
    _say(tmp_path, _about_amina(organisation))
    report = await _ingest(organisation, tmp_path)
    assert [(one.key, one.outcome, one.visibility) for one in report.outcomes] == [
        ("amina.vtt", "indexed", "coach_only")
    ]
    async with tenant_session(organisation.system) as session:
        stored = (await session.execute(text("SELECT * FROM ingestion.ingested_objects"))).one()
        transcript = (await session.execute(text("SELECT * FROM rag.transcripts"))).one()
        segments = (await session.execute(text("SELECT * FROM rag.transcript_segments ORDER BY segment_index"))).all()
        vectors = (await session.execute(text("SELECT * FROM rag.chunk_embeddings"))).all()
        meeting = (await session.execute(text("SELECT * FROM coaching.coaching_sessions"))).one()
        attempts = (await session.execute(text("SELECT * FROM ingestion.ingestion_attempts ORDER BY started_at"))).all()
    assert (stored.ingestion_status, stored.pieces, stored.title) == ("indexed", 1, "Amina's first session")
    assert (stored.client_id, stored.coach_id) == (organisation.client_a.user_id, organisation.coach_a.user_id)
    assert (meeting.external_id, meeting.id) == ("amina-01", stored.coaching_session_id)
    assert transcript.coaching_session_id == meeting.id
    assert [(s.speaker, s.speaker_id) for s in segments] == [
        ("Ruth", organisation.coach_a.user_id), ("Amina", organisation.client_a.user_id),
    ]  # fmt: skip
    assert (segments[1].started_s, segments[1].ended_s, transcript.duration_s) == (5.0, 9.0, 9.0)
    assert vectors[0].speakers == ["Ruth", "Amina"]
    assert set(vectors[0].speaker_ids) == {organisation.coach_a.user_id, organisation.client_a.user_id}
    assert [(a.stage, a.outcome, a.run_id, a.attempt) for a in attempts] == [
        (stage, "succeeded", report.run_id, 1) for stage in ("read", "parse", "chunk", "embed", "index")
    ]
    assert attempts[-1].pieces == 1
    assert all(a.started_at <= a.finished_at for a in attempts)
    store = await tenant_store(organisation.tenant_id)
    assert await store.read(stored.storage_key, max_bytes=10_000) == SESSION.encode()


async def test_a_second_run_changes_not_one_row(organisation: Organisation, tmp_path: Path) -> None:
    _write(tmp_path, amina__vtt=SESSION, guide__md=GUIDE)
    _say(tmp_path, _about_amina(organisation))
    await _ingest(organisation, tmp_path)
    before = await _dump(organisation)
    report = await _ingest(organisation, tmp_path)
    assert (report.count("unchanged"), report.stage_seconds) == (2, {})
    assert await _dump(organisation) == before


async def test_the_same_bytes_under_a_new_time_are_not_indexed_again(
    organisation: Organisation, tmp_path: Path
) -> None:
    _write(tmp_path, guide__md=GUIDE)
    await _ingest(organisation, tmp_path)
    chunks = (await _dump(organisation))["rag.document_chunks"]
    _write(tmp_path, guide__md=GUIDE)
    assert (await _ingest(organisation, tmp_path)).outcomes[0].outcome == "unchanged"
    assert (await _dump(organisation))["rag.document_chunks"] == chunks
    assert (await _ingest(organisation, tmp_path)).stage_seconds == {}


async def test_a_change_replaces_what_was_found_and_keeps_one_original(
    organisation: Organisation, tmp_path: Path
) -> None:
    _write(tmp_path, guide__md=GUIDE, other__md="Another page.")
    await _ingest(organisation, tmp_path)
    (id_before,) = await _scalars(organisation, "SELECT id FROM rag.documents WHERE title = 'Guide'")
    _write(tmp_path, guide__md=GUIDE.replace("second", "third"))
    report = await _ingest(organisation, tmp_path)
    assert {one.key: one.outcome for one in report.outcomes} == {"guide.md": "indexed", "other.md": "unchanged"}
    (words,) = await _scalars(organisation, "SELECT text FROM rag.documents WHERE title = 'Guide'")
    assert "third week" in words
    assert await _scalars(organisation, "SELECT id FROM rag.documents WHERE title = 'Guide'") == [id_before]
    assert await _scalars(organisation, "SELECT chunks FROM rag.term_frequencies WHERE term = 0") == [2]
    store = open_store(get_settings().storage_url, get_settings().storage)
    kept = [found.key async for found in store.list(f"tenants/{organisation.tenant_id}/originals/")]
    assert len(kept) == 2


async def test_what_vanished_is_not_found_until_it_reappears(organisation: Organisation, tmp_path: Path) -> None:
    _write(tmp_path, amina__vtt=SESSION, guide__md=GUIDE)
    await _ingest(organisation, tmp_path)
    before = await _scalars(organisation, "SELECT id FROM rag.document_chunks ORDER BY id")
    (tmp_path / "amina.vtt").unlink()
    report = await _ingest(organisation, tmp_path)
    assert {one.key: one.outcome for one in report.outcomes} == {"amina.vtt": "vanished", "guide.md": "unchanged"}
    for table in ("rag.transcripts", "rag.transcript_segments"):
        assert await _scalars(organisation, f"SELECT count(*) FROM {table}") == [0]
    for table in ("rag.document_chunks", "rag.chunk_embeddings", "rag.search_metadata"):
        assert await _scalars(organisation, f"SELECT count(*) FROM {table}") == [1]
    status = "SELECT ingestion_status FROM ingestion.ingested_objects ORDER BY key"
    assert await _scalars(organisation, status) == ["vanished", "indexed"]
    assert (await _ingest(organisation, tmp_path)).count("vanished") == 0
    _write(tmp_path, amina__vtt=SESSION)
    assert (await _ingest(organisation, tmp_path)).count("indexed") == 1
    assert await _scalars(organisation, "SELECT id FROM rag.document_chunks ORDER BY id") == before
    (tmp_path / "amina.vtt").unlink()
    (tmp_path / "guide.md").unlink()
    assert (await _ingest(organisation, tmp_path)).count("vanished") == 2
    assert await _scalars(organisation, "SELECT count(*) FROM rag.term_frequencies") == [0]


async def test_one_bad_file_leaves_the_good_ones_alone(organisation: Organisation, tmp_path: Path) -> None:
    _write(tmp_path, amina__vtt=SESSION, guide__md=GUIDE, empty__txt="")
    (tmp_path / "broken.pdf").write_bytes(b"%PDF-1.4 no more")
    (tmp_path / "link.md").symlink_to("/etc/hostname")
    report = await _ingest(organisation, tmp_path)
    assert report.count("indexed") == 2
    failed = {one.key: one for one in report.failed}
    assert set(failed) == {"broken.pdf", "empty.txt", "link.md"}
    assert "leads out of its folder" in str(failed["link.md"].error)
    assert not any(one.retryable for one in failed.values())
    errors = dict(
        zip(
            await _scalars(organisation, "SELECT key FROM ingestion.ingested_objects WHERE error > '' ORDER BY key"),
            await _scalars(organisation, "SELECT error FROM ingestion.ingested_objects WHERE error > '' ORDER BY key"),
            strict=True,
        )
    )
    assert errors == {key: one.error for key, one in failed.items()}
    attempts = "SELECT stage || ' ' || error_code FROM ingestion.ingestion_attempts WHERE outcome = 'failed' ORDER BY 1"
    assert await _scalars(organisation, attempts) == ["parse DamagedSource", "read EmptySource", "read UnsafeKey"]


async def test_a_defect_in_one_object_is_reported_and_the_rest_goes_on(
    organisation: Organisation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _write(tmp_path, bad__md="# Bad\n\nwords", guide__md=GUIDE)

    async def fail(name: str, *args: Any, **options: Any) -> Any:
        if name == "bad.md":
            raise KeyError(name)
        return await read_source(name, *args, **options)

    monkeypatch.setattr("pipelines.ingest_batch.read_source", fail)
    report = await _ingest(organisation, tmp_path)
    assert [one.outcome for one in report.outcomes] == ["failed", "indexed"]
    assert report.outcomes[0].error_code == "ObjectDefect"


async def test_a_new_version_that_fails_takes_the_old_words_out_of_search(
    organisation: Organisation, tmp_path: Path
) -> None:
    _write(tmp_path, guide__md=GUIDE)
    await _ingest(organisation, tmp_path)
    _write(tmp_path, guide__md="")
    assert (await _ingest(organisation, tmp_path)).count("failed") == 1
    assert await _scalars(organisation, "SELECT count(*) FROM rag.document_chunks") == [0]
    _write(tmp_path, guide__md=GUIDE)
    assert (await _ingest(organisation, tmp_path)).count("indexed") == 1


async def test_an_outage_leaves_the_old_words_and_may_be_tried_again(
    organisation: Organisation, tmp_path: Path
) -> None:
    embedder = BrokenEmbedder()
    _write(tmp_path, guide__md=GUIDE)
    await _ingest(organisation, tmp_path, embedder=embedder)
    _write(tmp_path, guide__md=GUIDE + "\nMore.", new__md="New.")
    embedder.down = True
    report = await _ingest(organisation, tmp_path, embedder=embedder)
    assert [(one.outcome, one.retryable) for one in report.outcomes] == [("failed", True)] * 2
    assert await _scalars(organisation, "SELECT count(*) FROM rag.document_chunks") == [1]
    status = "SELECT ingestion_status FROM ingestion.ingested_objects ORDER BY key"
    assert await _scalars(organisation, status) == ["indexed", "received"]
    embedder.down = False
    assert (await _ingest(organisation, tmp_path, embedder=embedder)).count("indexed") == 2


async def test_without_a_word_a_session_is_nobodys_and_a_guide_everybodys(
    organisation: Organisation, tmp_path: Path
) -> None:
    _write(tmp_path, amina__vtt=SESSION, guide__md=GUIDE)
    report = await _ingest(organisation, tmp_path)
    assert {one.key: one.visibility for one in report.outcomes} == {
        "amina.vtt": "system_internal", "guide.md": "client_visible",
    }  # fmt: skip
    assert "name its client" in report.outcomes[0].notes[0]
    for reader in organisation.people.values():
        assert await _scalars(organisation, "SELECT count(*) FROM rag.transcript_segments", reader) == [0]
    assert await _scalars(organisation, "SELECT count(*) FROM rag.documents", organisation.client_c) == [1]


async def test_only_those_concerned_read_a_session(organisation: Organisation, tmp_path: Path) -> None:
    _write(tmp_path, amina__vtt=SESSION)
    _say(tmp_path, _about_amina(organisation, visibility="client_visible"))
    await _ingest(organisation, tmp_path)
    readers = {
        name: (await _scalars(organisation, "SELECT count(*) FROM rag.transcripts", reader))[0]
        for name, reader in organisation.people.items()
    }
    assert {name for name, count in readers.items() if count} == {"client_a", "coach_a"}


async def test_what_the_run_says_holds_where_the_manifest_says_nothing(
    organisation: Organisation, tmp_path: Path
) -> None:
    _write(tmp_path, amina__vtt=SESSION, note__md="A note.")
    domain = f"{organisation.slug}.example"
    _say(tmp_path, {"key": "note.md", "visibility": "client_visible", "client": f"client_b@{domain}"})
    said = Sidecar(client=f"client_a@{domain}", coach=f"coach_a@{domain}")
    await _ingest(organisation, tmp_path, said=said)
    rows = "SELECT concat_ws(' ', visibility, client_id, coach_id) FROM ingestion.ingested_objects ORDER BY key"
    expected = [
        f"coach_only {organisation.client_a.user_id} {organisation.coach_a.user_id}",
        f"client_visible {organisation.client_b.user_id} {organisation.coach_a.user_id}",
    ]
    assert await _scalars(organisation, rows) == expected
    # A run that says nothing keeps what was said; a private note does not become everybody's by being listed again.
    assert (await _ingest(organisation, tmp_path / "amina.vtt")).count("unchanged") == 1
    (tmp_path / "amina.vtt").write_text(SESSION + "\n")
    assert (await _ingest(organisation, tmp_path / "amina.vtt")).count("indexed") == 1
    assert (await _scalars(organisation, rows))[0] == expected[0]


async def test_what_was_said_about_a_file_that_failed_still_holds(organisation: Organisation, tmp_path: Path) -> None:
    _write(tmp_path, note__md="")
    client = f"client_a@{organisation.slug}.example"
    assert (await _ingest(organisation, tmp_path, said=Sidecar(client=client))).count("failed") == 1
    _write(tmp_path, note__md="A private note.")
    assert (await _ingest(organisation, tmp_path)).outcomes[0].visibility == "coach_only"
    assert await _scalars(organisation, "SELECT count(*) FROM rag.documents", organisation.client_c) == [0]


async def test_a_narrowed_sidecar_narrows_everything_below(organisation: Organisation, tmp_path: Path) -> None:
    _write(tmp_path, amina__vtt=SESSION)
    _say(tmp_path, _about_amina(organisation, visibility="client_visible"))
    await _ingest(organisation, tmp_path)
    _say(tmp_path, _about_amina(organisation, visibility="coach_only"))
    assert (await _ingest(organisation, tmp_path)).count("indexed") == 1
    for table in ("transcripts", "transcript_segments", "document_chunks", "chunk_embeddings"):
        query = f"SELECT DISTINCT visibility FROM rag.{table}"
        assert await _scalars(organisation, query) == ["coach_only"]
        assert await _scalars(organisation, query, organisation.client_a) == []


async def test_bad_lines_fail_their_own_objects(organisation: Organisation, tmp_path: Path) -> None:
    _write(tmp_path, a__md="One.", b__md="Two.", c__md="Three.", d__md="Four.")
    _say(
        tmp_path,
        {"key": "a.md", "colour": "red"},
        {"key": "b.md", "client": "nobody@nowhere.example"},
        {"key": "c.md", "title": "Fine"},
        {"key": "missing.md"},
    )
    report = await _ingest(organisation, tmp_path)
    failed = {one.key: str(one.error) for one in report.failed}
    assert "manifest.jsonl line 1 has the unknown field 'colour'" in failed["a.md"]
    assert "manifest.jsonl line 2 names nobody@nowhere.example, who is no user" in failed["b.md"]
    assert "line 4 is about missing.md, which is not in the source" in failed["missing.md"]
    assert {one.key for one in report.outcomes if one.outcome == "indexed"} == {"c.md", "d.md"}


async def test_a_line_about_nobody_knows_what_holds_back_files_without_a_line(
    organisation: Organisation, tmp_path: Path
) -> None:
    _write(tmp_path, a__md="One.", b__md="Two.")
    (tmp_path / "manifest.jsonl").write_text('{"key": "a.md"}\n{"kye": "b.md", "visibility": "coach_only"}')
    report = await _ingest(organisation, tmp_path)
    assert [(one.key, one.outcome) for one in report.outcomes] == [("a.md", "indexed"), ("b.md", "failed")]
    assert "manifest.jsonl line 2" in str(report.outcomes[1].error)


async def test_an_unknown_address_said_by_the_run_ends_it_before_anything_is_stored(
    organisation: Organisation, tmp_path: Path
) -> None:
    _write(tmp_path, a__md="One.")
    with pytest.raises(UserNotFound, match=r"no user x@y\.example"):
        await _ingest(organisation, tmp_path, said=Sidecar(client="x@y.example"))
    assert await _scalars(organisation, "SELECT count(*) FROM ingestion.ingested_objects") == [0]


async def test_an_empty_place_is_an_error_unless_it_was_known(organisation: Organisation, tmp_path: Path) -> None:
    with pytest.raises(NothingThere):
        await _ingest(organisation, tmp_path)


async def test_a_bucket_gives_the_same_rows_as_a_folder(
    organisation: Organisation, tmp_path: Path, s3_settings: StorageSettings
) -> None:
    from tests.factories.people import found_organisation

    other = await found_organisation()
    _write(tmp_path, amina__vtt=SESSION, guide__md=GUIDE)
    bucket = open_store(f"s3://material/{other.slug}", s3_settings)
    await bucket.write("amina.vtt", SESSION.encode())
    await bucket.write("guide.md", GUIDE.encode())
    settings = get_settings().model_copy(
        update={"storage": s3_settings.model_copy(update={"url": f"s3://material/kept-{other.slug}"})}
    )
    await _ingest(organisation, tmp_path)
    first = await _ingest(other, f"s3://material/{other.slug}", settings=settings)
    again = await _ingest(other, f"s3://material/{other.slug}/", settings=settings)
    assert (first.count("indexed"), again.count("unchanged"), again.stage_seconds) == (2, 2, {})
    for query in (
        "SELECT text FROM rag.document_chunks ORDER BY text",
        "SELECT embedding::text FROM rag.chunk_embeddings ORDER BY 1",
        "SELECT lexical::text FROM rag.chunk_embeddings ORDER BY 1",
    ):
        assert await _scalars(organisation, query) == await _scalars(other, query)
    originals = open_store(f"s3://material/kept-{other.slug}", s3_settings)
    assert len([found async for found in originals.list(f"tenants/{other.tenant_id}/originals/")]) == 2


async def test_two_runs_over_one_source_do_not_meet(organisation: Organisation, tmp_path: Path) -> None:
    _write(tmp_path, guide__md=GUIDE)
    async with ingestion.hold_source(organisation.tenant_id, tmp_path.as_uri()):
        with pytest.raises(SourceBusy):
            await _ingest(organisation, tmp_path, wait_s=0)
    both = await asyncio.gather(_ingest(organisation, tmp_path), _ingest(organisation, tmp_path))
    assert sorted(report.outcomes[0].outcome for report in both) == ["indexed", "unchanged"]


async def test_progress_counts_up_to_all_objects(
    organisation: Organisation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(7):
        (tmp_path / f"{number}.md").write_text(f"Page {number}.")
    seen: list[tuple[int, int]] = []

    async def note(done: int, total: int) -> None:
        seen.append((done, total))

    settings = get_settings()
    few = settings.model_copy(update={"ingest": settings.ingest.model_copy(update={"batch_objects": 2})})
    await _ingest(organisation, tmp_path, on_progress=note, settings=few)
    assert len(seen) == 4
    assert max(seen) == (7, 7)


async def _leave_running(organisation: Organisation, key: str) -> UUID:
    """Do what a run does before it is killed over this object."""
    async with tenant_session(organisation.system) as session:
        found = text("SELECT id FROM ingestion.ingested_objects WHERE key = :key")
        object_id = await session.scalar(found, {"key": key})
        await ingestion.begin_stage(session, "a dead run", "parse", [object_id])
    return UUID(str(object_id))


async def test_what_a_dead_run_left_is_closed_and_its_object_tried_alone(
    organisation: Organisation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _write(tmp_path, guide__md=GUIDE, other__md="Other.", third__md="Third.")
    await _ingest(organisation, tmp_path)
    for name in ("guide", "other", "third"):
        _write(tmp_path, **{f"{name}__md": f"Changed {name}."})
    suspect = await _leave_running(organisation, "other.md")
    batches: list[list[str]] = []

    async def watch(run: Any, batch: Sequence[Any]) -> Any:
        batches.append([task.stored.key for task in batch])
        return await ingest_batch(run, batch)

    report = await _ingest(organisation, tmp_path, run_batch=watch)
    assert report.count("indexed") == 3
    assert batches == [["other.md"], ["guide.md", "third.md"]]
    query = f"SELECT outcome FROM ingestion.ingestion_attempts WHERE run_id = 'a dead run' AND object_id = '{suspect}'"
    assert await _scalars(organisation, query) == ["interrupted"]


async def test_an_object_that_kills_runs_again_and_again_is_given_up_once(
    organisation: Organisation, tmp_path: Path
) -> None:
    _write(tmp_path, guide__md=GUIDE, other__md="Other.")
    await _ingest(organisation, tmp_path)
    _write(tmp_path, guide__md=GUIDE + "\nMore.")
    for _ in range(ingest_plan.MAX_INTERRUPTIONS):
        await _leave_running(organisation, "guide.md")
    report = await _ingest(organisation, tmp_path)
    assert {one.key: one.outcome for one in report.outcomes} == {"guide.md": "failed", "other.md": "unchanged"}
    assert "died 3 times while guide.md was handled" in str(report.failed[0].error)
    assert await _scalars(organisation, "SELECT count(*) FROM rag.document_chunks") == [1]
    assert (await _ingest(organisation, tmp_path)).count("indexed") == 1


async def test_a_cancelled_run_blames_no_object(organisation: Organisation, tmp_path: Path) -> None:
    _write(tmp_path, guide__md=GUIDE)
    started = asyncio.Event()

    class Slow(HashEmbedder):
        async def embed(self, texts: Sequence[str]) -> Matrix:
            started.set()
            await asyncio.sleep(60)
            return await super().embed(texts)

    running = asyncio.create_task(_ingest(organisation, tmp_path, embedder=Slow()))
    await started.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    query = "SELECT outcome || ' ' || error_code FROM ingestion.ingestion_attempts WHERE stage = 'embed'"
    assert await _scalars(organisation, query) == ["interrupted Cancelled"]
    async with tenant_session(organisation.system) as session:
        ids = list(await session.scalars(text("SELECT id FROM ingestion.ingested_objects")))
        assert await ingestion.count_interruptions(session, ids) == {}
    assert (await _ingest(organisation, tmp_path)).count("indexed") == 1


async def test_tenants_do_not_meet_over_one_folder(organisation: Organisation, tmp_path: Path) -> None:
    from tests.factories.people import found_organisation

    other = await found_organisation()
    _write(tmp_path, guide__md=GUIDE)
    await asyncio.gather(_ingest(organisation, tmp_path), _ingest(other, tmp_path))
    for mine in (organisation, other):
        async with tenant_session(mine.system) as session:
            for table in ("ingestion.ingested_objects", "rag.documents", "rag.document_chunks"):
                assert list(await session.scalars(text(f"SELECT tenant_id FROM {table}"))) == [mine.tenant_id]
