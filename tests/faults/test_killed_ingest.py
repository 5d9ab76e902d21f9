"""An ingest that is killed with signal 9 at any point is completed by the next one, with nothing lost or doubled."""

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from core.settings import get_settings
from core.storage import open_store
from db.session import tenant_session
from pipelines.ingest import ingest_source
from rag.fakes import HashEmbedder
from tests.factories.people import Organisation, found_organisation
from tests.faults import killed_ingest
from tests.faults.killed_ingest import POINTS
from tests.faults.killing import run_and_die

SESSION = """WEBVTT

00:01.000 --> 00:04.000
Ruth: How was week {0}?

00:05.000 --> 00:09.000
Amina: Week {0} was good.
"""
CONTENT = (
    "SELECT key, ingestion_status, pieces, checksum, error, visibility FROM ingestion.ingested_objects",
    "SELECT title, segment_count, content_hash FROM rag.transcripts",
    "SELECT segment_index, speaker, started_s, text FROM rag.transcript_segments",
    "SELECT title, content_hash, text FROM rag.documents",
    "SELECT chunk_index, char_start, char_end, text, word_count FROM rag.document_chunks",
    "SELECT terms FROM rag.search_metadata",
    "SELECT term, chunks FROM rag.term_frequencies",
    "SELECT source_kind, chunk_index, embedding::text, lexical::text FROM rag.chunk_embeddings",
    "SELECT count(*) FROM rag.embeddings_registry",
    "SELECT outcome FROM ingestion.ingestion_attempts WHERE outcome = 'running'",
)


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight files, as they are at the end."""
    folder = tmp_path_factory.mktemp("material")
    folder.chmod(0o755)
    for number in range(4):
        (folder / f"week-{number}.vtt").write_text(SESSION.format(number))
        (folder / f"page-{number}.md").write_text(f"# Page {number}\n\n" + f"Page {number} says much. " * 80)
    return folder


async def _read(organisation: Organisation) -> list[list[str]]:
    async with tenant_session(organisation.system) as session:
        return [sorted(map(str, (await session.execute(text(query))).all())) for query in CONTENT]


async def _originals(organisation: Organisation) -> int:
    store = open_store(get_settings().storage_url, get_settings().storage)
    return len([found async for found in store.list(f"tenants/{organisation.tenant_id}/originals/")])


@pytest.fixture(scope="module")
async def clean(store: object, material: Path) -> list[list[str]]:
    """What a run that nobody disturbs writes."""
    undisturbed = await found_organisation()
    await ingest_source(undisturbed.tenant_id, str(material), embedder=HashEmbedder(16))
    return await _read(undisturbed)


async def _run_and_die(organisation: Organisation, folder: Path, point: str) -> None:
    environment = {"REGENESIS_INGEST__BATCH_OBJECTS": "4"}
    await run_and_die(killed_ingest.main, str(organisation.tenant_id), str(folder), point, environment=environment)


@pytest.mark.parametrize("point", [point for point in POINTS if point != "vanished"])
async def test_the_next_run_completes_what_a_killed_one_began(
    organisation: Organisation, material: Path, clean: list[list[str]], point: str
) -> None:
    await _run_and_die(organisation, material, point)
    report = await ingest_source(organisation.tenant_id, str(material), embedder=HashEmbedder(16))
    assert report.failed == ()
    assert await _read(organisation) == clean
    assert await _originals(organisation) == 8
    again = await ingest_source(organisation.tenant_id, str(material), embedder=HashEmbedder(16))
    assert again.count("unchanged") == 8


async def test_a_killed_change_leaves_the_old_version_or_the_new(
    organisation: Organisation, tmp_path: Path, clean: list[list[str]], material: Path
) -> None:
    for path in _list_files(material):
        (tmp_path / path.name).write_text(path.read_text().replace("much", "little"))
    (tmp_path / "gone.md").write_text("Gone tomorrow.")
    await ingest_source(organisation.tenant_id, str(tmp_path), embedder=HashEmbedder(16))
    for path in _list_files(material):
        (tmp_path / path.name).write_text(path.read_text())
    (tmp_path / "gone.md").unlink()
    await _run_and_die(organisation, tmp_path, "vanished")
    assert len(await _page_words(organisation)) == 5
    await _run_and_die(organisation, tmp_path, "half of the rows")
    words = await _page_words(organisation)
    assert len(words) == 4
    assert all(("much" in page) != ("little" in page) for page in words)
    await ingest_source(organisation.tenant_id, str(tmp_path), embedder=HashEmbedder(16))
    now = await _read(organisation)
    assert [row for row in now[0] if "gone.md" not in row] == clean[0]
    assert now[1:] == clean[1:]


def _list_files(folder: Path) -> list[Path]:
    return sorted(folder.iterdir())


async def _page_words(organisation: Organisation) -> list[Any]:
    async with tenant_session(organisation.system) as session:
        return list(await session.scalars(text("SELECT text FROM rag.documents")))
