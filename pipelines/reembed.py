"""Moving a tenant to another embedding model while the old one goes on serving."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from decimal import Decimal
from uuid import UUID

import numpy as np
import orjson
from sqlalchemy import delete, func, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from core.errors import NotFound
from core.logging import get_logger
from db.models import ChunkEmbedding, EmbeddingsRegistry
from db.session import Principal, tenant_session
from domain.identity import bound_tenant
from domain.prices import load_prices
from pipelines.index import embed_allowed
from rag.embedding import Embedder
from rag.embedding.counting import is_paid
from rag.spending import check_fits, price_embedding

BATCH_CHUNKS = 512
DELETED_AT_ONCE = 20_000

OnProgress = Callable[[int, int], Awaitable[None]]

log = get_logger("pipelines.reembed")

MISSING = """
SELECT c.id, coalesce(c.metadata->>'embedded_text', c.text) AS words, c.client_id FROM rag.document_chunks c
JOIN rag.chunk_embeddings old ON old.tenant_id = c.tenant_id AND old.registry_id = :serving AND old.chunk_id = c.id
WHERE NOT EXISTS (
    SELECT FROM rag.chunk_embeddings new
    WHERE new.tenant_id = c.tenant_id AND new.registry_id = :building AND new.chunk_id = c.id
) LIMIT :most
"""

# tokens as `rag.embedding.openai_compatible.estimate_tokens` counts them
LEFT = text(
    """
    SELECT count(*) AS chunks,
           coalesce(sum(octet_length(coalesce(c.metadata->>'embedded_text', c.text)) / 3 + 1), 0)::bigint AS tokens
    FROM rag.document_chunks c
    WHERE NOT EXISTS (
        SELECT FROM rag.chunk_embeddings e
        JOIN rag.embeddings_registry r ON r.tenant_id = e.tenant_id AND r.id = e.registry_id
        WHERE e.tenant_id = c.tenant_id AND e.chunk_id = c.id AND r.model_name = :model
    )
    """
)

# Everything but the vector is taken over, so a search finds the same rows in the same places.
TAKE_OVER = """
INSERT INTO rag.chunk_embeddings ({columns}, registry_id, embedding)
SELECT {columns}, :building, r.embedding
FROM json_to_recordset(CAST(:rows AS json)) AS r(id uuid, embedding halfvec)
JOIN rag.chunk_embeddings old ON old.registry_id = :serving AND old.chunk_id = r.id
ON CONFLICT DO NOTHING
""".format(
    columns=", ".join(
        column.name for column in ChunkEmbedding.__table__.c if column.name not in ("registry_id", "embedding")
    )
)


class NothingEmbedded(NotFound):
    """This organisation has nothing embedded yet; ingest something first."""


@dataclass(frozen=True, slots=True)
class ReembedReport:
    """What was done: chunks embedded by this run, and the models before and after."""

    chunks: int
    before: str
    after: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReembedForecast:
    """What is still to be embedded, and what that takes of a service; nothing where the model is the embedded one.

    `cost_usd` is None where the model's price is not known.
    """

    chunks: int
    tokens: int = 0
    cost_usd: Decimal | None = Decimal(0)


async def forecast_reembedding(tenant_id: UUID, embedder: Embedder) -> ReembedForecast:
    """Return what moving the tenant to this model will take; reads the chunks' lengths, and no word of them."""
    async with tenant_session(Principal(tenant_id, "system")) as session:
        row = (await session.execute(LEFT, {"model": embedder.name})).one()
        if not is_paid(embedder):
            return ReembedForecast(chunks=row.chunks)
        cost = price_embedding(embedder, row.tokens, await load_prices(session))
    return ReembedForecast(chunks=row.chunks, tokens=row.tokens, cost_usd=cost)


async def check_reembedding(tenant_id: UUID, embedder: Embedder) -> ReembedForecast:
    """Return the forecast where it fits into what the tenant may use; raises `QuotaExceeded` where it does not."""
    expected = await forecast_reembedding(tenant_id, embedder)
    if is_paid(embedder) and expected.chunks:
        async with tenant_session(Principal(tenant_id, "system")) as session:
            await check_fits(session, tokens=expected.tokens, usd=expected.cost_usd, model=embedder.model)
    return expected


async def reembed_chunks(
    tenant_id: UUID, embedder: Embedder, *, batch: int = BATCH_CHUNKS, on_progress: OnProgress | None = None
) -> ReembedReport:
    """Embed every chunk with this model beside the one that serves, then let it serve instead.

    Killed at any point, it goes on from there when run again. Chunks that are ingested meanwhile are caught up with
    before the switch, which no reader and no writer sees half done. The old vectors stay until
    `delete_retired_vectors`. Where a service is paid, nothing begins that does not fit into the tenant's limits, and it
    stops hard where they are reached, to go on another day. Raises `NothingEmbedded`, `QuotaExceeded`.
    """
    system = Principal(tenant_id, "system")
    async with tenant_session(system) as session:
        r = EmbeddingsRegistry
        serving = (await session.execute(select(r.id, r.model_name).where(r.status == "active"))).one_or_none()
        if serving is None:
            raise NothingEmbedded
        if serving.model_name == embedder.name:
            return ReembedReport(0, embedder.name, embedder.name)
        building = await _open_registry(session, embedder)
        total = await session.scalar(
            select(func.count()).select_from(ChunkEmbedding).where(ChunkEmbedding.registry_id == serving.id)
        )
        done = await session.scalar(
            select(func.count()).select_from(ChunkEmbedding).where(ChunkEmbedding.registry_id == building)
        )
    await check_reembedding(tenant_id, embedder)
    embedded, ids = 0, {"serving": serving.id, "building": building}
    while True:
        async with tenant_session(system) as session:
            missing = (await session.execute(text(MISSING), {**ids, "most": batch})).all()
        if missing:
            await _embed_page(system, embedder, ids, [(row.id, row.words, row.client_id) for row in missing])
            embedded += len(missing)
            if on_progress is not None:
                await on_progress((done or 0) + embedded, max(total or 0, (done or 0) + embedded))
        elif await _switch(system, ids):
            log.info("model switched", before=serving.model_name, after=embedder.name, chunks=embedded)
            return ReembedReport(embedded, serving.model_name, embedder.name)


async def delete_retired_vectors(tenant_id: UUID) -> int:
    """Delete the vectors of models that no longer serve, and return how many; safe to kill and repeat."""
    system, deleted = Principal(tenant_id, "system"), 0
    retired = select(EmbeddingsRegistry.id).where(EmbeddingsRegistry.status == "retired")
    while True:
        async with tenant_session(system) as session:
            page = select(ChunkEmbedding.registry_id, ChunkEmbedding.chunk_id).where(
                ChunkEmbedding.registry_id.in_(retired)
            ).limit(DELETED_AT_ONCE)  # fmt: skip
            gone = await session.execute(
                delete(ChunkEmbedding)
                .where(func.row(ChunkEmbedding.registry_id, ChunkEmbedding.chunk_id).in_(page))
                .returning(ChunkEmbedding.chunk_id),
                execution_options={"synchronize_session": False},
            )
            count = len(gone.all())
            deleted += count
            if count == 0:
                await session.execute(delete(EmbeddingsRegistry).where(EmbeddingsRegistry.status == "retired"))
                return deleted


async def _open_registry(session: AsyncSession, embedder: Embedder) -> UUID:
    r = EmbeddingsRegistry
    values = {
        "tenant_id": await bound_tenant(session), "model_name": embedder.name, "dimensions": embedder.dimensions,
        "status": "building",
    }  # fmt: skip
    # A model that served before is taken up again with the vectors it still has.
    taken = insert(r).values(values).on_conflict_do_update(
        index_elements=["tenant_id", "model_name"], set_={"status": "building", "activated_at": None}
    ).returning(r.id)  # fmt: skip
    return UUID(str(await session.scalar(taken)))


async def _embed_page(
    system: Principal, embedder: Embedder, ids: dict[str, UUID], missing: list[tuple[UUID, str, UUID | None]]
) -> None:
    words, about = [one[1] for one in missing], [one[2] for one in missing]
    vectors = np.asarray(await embed_allowed(system, embedder, words, about), np.float16)
    rows = [
        {"id": one[0], "embedding": None if np.isnan(vectors[place, 0]) else vectors[place]}
        for place, one in enumerate(missing)
    ]
    payload = orjson.dumps(rows, option=orjson.OPT_SERIALIZE_NUMPY).decode()
    async with tenant_session(system) as session:
        await session.execute(text(TAKE_OVER), {**ids, "rows": payload})


async def _switch(system: Principal, ids: dict[str, UUID]) -> bool:
    """Let the new model serve if nothing is missing; whoever writes the index waits meanwhile (see `lock_index`)."""
    r = EmbeddingsRegistry
    async with tenant_session(system) as session:
        await session.execute(select(r.id).where(r.id == ids["serving"]).with_for_update())
        if (await session.execute(text(MISSING), {**ids, "most": 1})).first() is not None:
            return False
        # Two statements, one transaction: the index that allows one active model checks row by row.
        await session.execute(update(r).where(r.id == ids["serving"]).values(status="retired"))
        await session.execute(update(r).where(r.id == ids["building"]).values(status="active", activated_at=func.now()))
        return True
