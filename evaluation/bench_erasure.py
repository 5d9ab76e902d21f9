"""How long it takes to erase one client or their whole organisation from a large store, and that nothing is left."""

import asyncio
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Literal
from uuid import UUID, uuid4

import psycopg
from sqlalchemy import func, insert

from core.settings import Settings
from db import migrate
from db.locate import owner_url
from db.models import DeletionRequest
from db.provision import provision, to_libpq_url
from db.session import Principal, app_engine, close_store, tenant_session
from domain import coaching, identity
from domain.platform import found_tenant
from pipelines.index import ensure_registry
from pipelines.privacy.canary import look_everywhere
from pipelines.privacy.erase import erase_subject
from pipelines.privacy.plant import plant
from pipelines.privacy.plant_rows import Cast
from pipelines.privacy.verify import verify_receipt
from rag.fakes import HashEmbedder

DATABASE: Final = "regenesis_bench_erasure"
CHUNKS_A_SESSION: Final = 200
TERMS: Final = 20_000

Told = Callable[[str], None]

_FILL: Final = (
    """INSERT INTO ingestion.ingested_objects (tenant_id, id, data_source_id, key, size_bytes, kind, ingestion_status,
        visibility, client_id, coach_id)
    SELECT %(tenant)s, md5('object' || n)::uuid, %(source)s, 'filler/' || n, 1, 'transcript', 'indexed',
        'client_visible', %(peer)s, %(coach)s FROM generate_series(1, %(sessions)s) AS n""",
    """INSERT INTO rag.transcripts (tenant_id, id, object_id, title, format, held_at, segment_count, content_hash,
        visibility, client_id, coach_id)
    SELECT %(tenant)s, md5('transcript' || n)::uuid, md5('object' || n)::uuid, 'Session ' || n, 'vtt', now(), 1,
        md5(n::text) || md5(n::text), 'client_visible', %(peer)s, %(coach)s
    FROM generate_series(1, %(sessions)s) AS n""",
    """INSERT INTO rag.transcript_segments (tenant_id, id, transcript_id, segment_index, speaker, speaker_id,
        char_start, char_end, text, visibility, client_id, coach_id)
    SELECT %(tenant)s, md5('segment' || n)::uuid, md5('transcript' || 1 + n / %(each)s)::uuid, n %% %(each)s, 'Client',
        %(peer)s, 100 * (n %% %(each)s), 100 * (n %% %(each)s) + 99, rpad('Filler number ' || n, 99, ' afternoon'),
        'client_visible', %(peer)s, %(coach)s FROM generate_series(0, %(chunks)s - 1) AS n""",
    """INSERT INTO rag.document_chunks (tenant_id, id, object_id, transcript_id, chunk_index, char_start, char_end,
        text, segment_first, segment_last, word_count, visibility, client_id, coach_id)
    SELECT %(tenant)s, md5('chunk' || n)::uuid, md5('object' || 1 + n / %(each)s)::uuid,
        md5('transcript' || 1 + n / %(each)s)::uuid, n %% %(each)s, 100 * (n %% %(each)s), 100 * (n %% %(each)s) + 99,
        rpad('Filler number ' || n, 99, ' afternoon'), n %% %(each)s, n %% %(each)s, 7, 'client_visible', %(peer)s,
        %(coach)s FROM generate_series(0, %(chunks)s - 1) AS n""",
    """INSERT INTO rag.search_metadata (tenant_id, chunk_id, terms, keywords, tags)
    SELECT %(tenant)s, md5('chunk' || n)::uuid,
        ARRAY(SELECT DISTINCT 1 + ((n::bigint * 31 + i * 7919) %% %(terms)s)::int FROM generate_series(1, 12) AS i),
        ARRAY['filler'], ARRAY[]::text[] FROM generate_series(0, %(chunks)s - 1) AS n""",
    """INSERT INTO rag.chunk_embeddings (tenant_id, registry_id, chunk_id, source_id, source_kind, chunk_index, held_at,
        speakers, speaker_ids, embedding, lexical, visibility, client_id, coach_id)
    SELECT %(tenant)s, %(registry)s, md5('chunk' || n)::uuid, md5('transcript' || 1 + n / %(each)s)::uuid, 'transcript',
        n %% %(each)s, now(), ARRAY['Client'], ARRAY[%(peer)s::uuid], e.vector, l.words, 'client_visible', %(peer)s,
        %(coach)s
    FROM (SELECT embedding AS vector FROM rag.chunk_embeddings WHERE tenant_id = %(tenant)s LIMIT 1) AS e,
        (SELECT lexical AS words FROM rag.chunk_embeddings WHERE tenant_id = %(tenant)s LIMIT 1) AS l,
        generate_series(0, %(chunks)s - 1) AS n""",
    """INSERT INTO rag.term_frequencies (tenant_id, term, chunks)
    SELECT %(tenant)s, term, count(*) FROM rag.search_metadata s, unnest(s.terms) AS term
    WHERE s.tenant_id = %(tenant)s AND s.keywords = ARRAY['filler'] GROUP BY term
    ON CONFLICT (tenant_id, term) DO UPDATE SET chunks = term_frequencies.chunks + excluded.chunks""",
    """INSERT INTO rag.term_frequencies (tenant_id, term, chunks) VALUES (%(tenant)s, 0, %(chunks)s)
    ON CONFLICT (tenant_id, term) DO UPDATE SET chunks = term_frequencies.chunks + excluded.chunks""",
    "SELECT platform.add_used(%(tenant)s, 'storage', %(sessions)s)",
)
"""Another client's sessions, in numbers; triggers sleep meanwhile, and the last three statements count for them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ErasureBench:
    """What erasing it took in a store of so many chunks, and what was seen of the planted words before and after."""

    subject: str
    chunks: int
    sessions: int
    canaries: int
    build_seconds: float
    erase_seconds: float
    step_seconds: dict[str, float]
    before: dict[str, int]
    after: dict[str, int]
    taken: dict[str, int]
    receipt_holds: bool

    def to_json(self) -> dict[str, Any]:
        """Return it for programs."""
        return asdict(self)


async def bench_erasure(
    settings: Settings,
    *,
    subject: Literal["person", "tenant"] = "person",
    chunks: int = 1_000_000,
    canaries: int = 1_000,
    told: Told = lambda _: None,
) -> ErasureBench:
    """Fill a database of its own, plant canaries in one client's data, erase that client, look everywhere, drop it.

    With the subject `tenant`, erase all of their organisation instead.
    """
    with tempfile.TemporaryDirectory(prefix="regenesis-bench-") as folder:
        settings = settings.model_copy(
            update={
                "db": settings.db.model_copy(update={"name": DATABASE}),
                "storage": settings.storage.model_copy(update={"url": Path(folder).as_uri()}),
            }
        )
        target = owner_url(settings)
        _drop(settings)
        migrate.upgrade(provision(to_libpq_url(target.set(database="postgres")), DATABASE))
        await close_store()
        app_engine(settings)
        try:
            return await _measure(settings, subject, chunks, canaries, told)
        finally:
            await close_store()
            _drop(settings)


def _drop(settings: Settings) -> None:
    target = owner_url(settings).set(database="postgres")
    with psycopg.connect(to_libpq_url(target), autocommit=True) as connection:
        connection.execute(f"DROP DATABASE IF EXISTS {DATABASE} WITH (FORCE)")


async def _measure(settings: Settings, subject: str, chunks: int, canaries: int, told: Told) -> ErasureBench:
    started, embedder = time.perf_counter(), HashEmbedder()
    cast = await _found()
    told("planting canaries")
    planted = await plant(settings, cast, embedder, canaries=canaries)
    system = Principal(cast.tenant_id, "system")
    async with tenant_session(system) as session:
        registry = await ensure_registry(session, embedder)
    told(f"adding {chunks:,} chunks")
    await asyncio.to_thread(_fill, settings, cast, registry, chunks, told)
    built = time.perf_counter() - started
    told("looking for canaries")
    before = await look_everywhere(settings, planted.words)
    async with tenant_session(system) as session:
        request = await session.scalar(
            insert(DeletionRequest)
            .values(
                tenant_id=cast.tenant_id, user_id=cast.client if subject == "person" else None, subject_kind=subject,
                subject_id=cast.client if subject == "person" else cast.tenant_id,
                status="verified", verified_at=func.now(),
            )
            .returning(DeletionRequest.id)
        )  # fmt: skip
    seconds: dict[str, float] = {}
    began = last = time.perf_counter()

    async def note(step: str, number: int, steps: int) -> None:
        nonlocal last
        now = time.perf_counter()
        seconds[step], last = round(now - last, 3), now
        told(f"{step} ({number} of {steps})")

    receipt = await erase_subject(
        cast.tenant_id, UUID(str(request)), embedder=embedder, settings=settings, on_step=note
    )
    taken = time.perf_counter() - began
    told("looking for what is left")
    after = await look_everywhere(settings, planted.words)
    verified = await verify_receipt(receipt.to_json(), settings=settings)
    return ErasureBench(
        subject=subject, chunks=chunks, sessions=len(planted.sources), canaries=len(planted.words),
        build_seconds=round(built, 1), erase_seconds=round(taken, 2), step_seconds=seconds,
        before=before.stores, after=after.stores,
        taken={name: facts["items"] for name, facts in receipt.stores.items() if facts["items"]},
        receipt_holds=verified.holds,
    )  # fmt: skip


async def _found() -> Cast:
    tenant_id = uuid4()
    await found_tenant(f"bench-{tenant_id.hex[:12]}", "Bench", tenant_id=tenant_id)
    ids = {}
    async with tenant_session(Principal(tenant_id, "system")) as session:
        for name, role in (("client", "client"), ("coach", "coach"), ("colleague", "coach"), ("peer", "client")):
            user = await identity.create_user(session, email=f"{name}@bench.example", full_name=name, role=role)
            ids[name] = user.id
        await coaching.start_engagement(session, coach_id=ids["coach"], client_id=ids["client"])
    return Cast(tenant_id=tenant_id, **ids)


def _fill(settings: Settings, cast: Cast, registry: UUID, chunks: int, told: Told) -> None:
    """Add the other client's chunks, in sessions of their own."""
    values = {
        "tenant": cast.tenant_id, "peer": cast.peer, "coach": cast.colleague, "registry": registry, "chunks": chunks,
        "each": CHUNKS_A_SESSION, "sessions": -(-chunks // CHUNKS_A_SESSION), "terms": TERMS, "source": uuid4(),
    }  # fmt: skip
    with psycopg.connect(to_libpq_url(owner_url(settings))) as connection:
        connection.execute("SET session_replication_role = replica")
        connection.execute("SET synchronous_commit = off")
        connection.execute(
            "INSERT INTO ingestion.data_sources (tenant_id, id, name, uri) VALUES (%(tenant)s, %(source)s, 'filler', "
            "'file:///filler')",
            values,
        )
        for statement in _FILL:
            told(statement.split("(", 1)[0].removeprefix("INSERT INTO ").strip())
            connection.execute(statement, values)
        connection.commit()
        connection.autocommit = True
        connection.execute("VACUUM (ANALYZE)")
