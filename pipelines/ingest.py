"""From a source to something that can be searched, safely again and again."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from time import perf_counter
from uuid import UUID, uuid4

from core.logging import get_logger, log_context
from core.settings import Settings, get_settings
from db.session import Principal, tenant_session
from domain import ingestion
from domain.identity import UserNotFound
from domain.objects import tenant_store
from pipelines.chunk import CHUNKER_VERSION
from pipelines.index import INDEX_VERSION, ensure_registry, lock_index, withdraw_objects
from pipelines.ingest_batch import ingest_batch, is_unchanged
from pipelines.ingest_plan import Plan, Seen, make_plan
from pipelines.ingest_stages import IngestRun, ObjectOutcome, ObjectTask
from pipelines.read import ReadLimits
from pipelines.sidecar import Sidecar, parse_manifests
from pipelines.sources import list_source, open_source
from rag.embedding import Embedder, build_embedder

READER_VERSION = "1"
"""Raise it when the same bytes are read into other turns or blocks."""
PIPELINE_VERSION = f"reader {READER_VERSION}, chunker {CHUNKER_VERSION}, index {INDEX_VERSION}"
"""What an object was indexed by. The embedding model is not part of it: `ensure_registry` refuses another than the
tenant's, and `reembed_chunks` replaces it without reading anything again."""

BATCHES_AT_ONCE = 2  # one reads and writes while the other's chunks are embedded
PAGE = 5_000

RunBatch = Callable[[IngestRun, Sequence[ObjectTask]], Awaitable[list[ObjectOutcome]]]
OnProgress = Callable[[int, int], Awaitable[None]]

log = get_logger("pipelines.ingest")


@dataclass(frozen=True, slots=True, kw_only=True)
class IngestReport:
    """What one run did, an outcome an object, by key; `stage_seconds` add up the objects' own times."""

    source: str
    run_id: str
    seconds: float
    outcomes: tuple[ObjectOutcome, ...]
    stage_seconds: Mapping[str, float] = field(default_factory=dict)

    def count(self, outcome: str) -> int:
        """Return how many objects ended so."""
        return sum(one.outcome == outcome for one in self.outcomes)

    @property
    def failed(self) -> tuple[ObjectOutcome, ...]:
        """What failed."""
        return tuple(one for one in self.outcomes if one.outcome == "failed")

    @property
    def refused(self) -> tuple[ObjectOutcome, ...]:
        """What did not fit into the tenant's quotas; the next run takes it up."""
        return tuple(one for one in self.outcomes if one.outcome == "refused")

    @property
    def pieces(self) -> int:
        """How many chunks were written."""
        return sum(one.pieces for one in self.outcomes if one.outcome == "indexed")

    def summarize(self) -> str:
        """Return the counts in one line."""
        names = ("indexed", "unchanged", "vanished", "erased", "refused", "failed")
        counts = ((self.count(name), name) for name in names)
        said = ", ".join(f"{count:,} {name}" for count, name in counts if count) or "nothing to do"
        return f"{said}; {self.pieces:,} chunks in {self.seconds:.1f} s"


async def ingest_source(
    tenant_id: UUID,
    address: str,
    *,
    said: Sidecar | None = None,
    run_id: str | None = None,
    embedder: Embedder | None = None,
    settings: Settings | None = None,
    run_batch: RunBatch = ingest_batch,
    on_progress: OnProgress | None = None,
    wait_s: float = 300,
) -> IngestReport:
    """Make every new or changed object of the source searchable, and take what has vanished out of search.

    `said` fills what the manifest leaves open; an object about which this run says nothing at all keeps what was
    said before. Safe to repeat and to kill at any point: an object is written whole or not at all, and only what
    changed is read again. One object's failure never stops the others. Raises `SourceBusy` where another run
    keeps the source longer than `wait_s`, `SourceMissing`, `NothingThere`, `OtherModelActive`, `UserNotFound` for
    an unknown address in `said`, and the errors of the object store.
    """
    began = perf_counter()
    settings = settings or get_settings()
    run_id = run_id or str(uuid4())
    source = await open_source(address, settings, tenant_id)
    with log_context(run_id=run_id, tenant_id=str(tenant_id), source=source.uri):
        async with ingestion.hold_source(tenant_id, source.uri, wait_s=wait_s):
            listing = await list_source(source)
            seen = Seen(source, listing, parse_manifests(listing.manifests), said or Sidecar())
            run = await _open_run(tenant_id, run_id, seen, embedder or await load_embedder(settings), settings)
            plan = await make_plan(run, seen, settings.ingest.batch_objects)
            await _withdraw_vanished(run, plan)
            try:
                done = await _run_batches(run, plan, run_batch, on_progress)
            except asyncio.CancelledError:
                await asyncio.shield(_close_running(run, "Cancelled"))
                raise
    outcomes = sorted((*plan.settled, *done), key=lambda one: one.key)
    report = IngestReport(
        source=source.uri, run_id=run_id, seconds=round(perf_counter() - began, 3), outcomes=tuple(outcomes),
        stage_seconds={stage: round(seconds, 3) for stage, seconds in run.stage_seconds.items()},
    )  # fmt: skip
    log.info("source ingested", source=source.uri, run_id=run_id, summary=report.summarize())
    return report


async def is_up_to_date(tenant_id: UUID, address: str, embedder: Embedder, settings: Settings | None = None) -> bool:
    """Tell from the listing alone, reading no object, that a run over the source would change nothing.

    Raises what listing the source raises, and `OtherModelActive`.
    """
    source = await open_source(address, settings or get_settings(), tenant_id)
    listing = await list_source(source)
    seen = Seen(source, listing, parse_manifests(listing.manifests), Sidecar())
    async with tenant_session(Principal(tenant_id, "system")) as session:
        await ensure_registry(session, embedder)
        known = await ingestion.list_known(session, await ingestion.ensure_source(session, source.uri))
        erased = await ingestion.list_erased(session, source.uri, listing.objects.keys())
    there = {key for key, one in known.items() if one.status != "vanished"} - erased
    return there == listing.objects.keys() - erased and all(
        is_unchanged(seen.make_task(key, known[key]), known[key], PIPELINE_VERSION) for key in there
    )


async def _open_run(tenant_id: UUID, run_id: str, seen: Seen, embedder: Embedder, settings: Settings) -> IngestRun:
    async with tenant_session(Principal(tenant_id, "system")) as session:
        people = await ingestion.map_emails(session, seen.said.people)
        source_id = await ingestion.ensure_source(session, seen.source.uri)
        registry_id = await ensure_registry(session, embedder)
        closed = await ingestion.close_interrupted(session, source_id)
    if closed:
        log.warning("an earlier run died over this source; its open tries are closed", tries=closed)
    for email in sorted(seen.said.people - people.keys()):
        raise UserNotFound(f"There is no user {email} in this organisation; check the address or add the user.")
    limits = settings.ingest
    return IngestRun(
        tenant_id=tenant_id,
        run_id=run_id,
        source=seen.source.store,
        source_id=source_id,
        originals=await tenant_store(tenant_id, settings),
        embedder=embedder,
        registry_id=registry_id,
        pipeline_version=PIPELINE_VERSION,
        limits=ReadLimits(limits.max_object_bytes, limits.max_object_seconds, limits.max_object_memory_bytes),
    )


async def load_embedder(settings: Settings) -> Embedder:
    """Return the embedder of the settings, loaded off the event loop and shared in this process."""
    chosen = settings.embedding
    return await asyncio.to_thread(
        build_embedder,
        chosen.provider,
        cache_dir=settings.home / "models",
        precision=chosen.precision,
        model=chosen.model,
        base_url=chosen.base_url,
        api_key=chosen.api_key.get_secret_value() if chosen.api_key else None,
        dimensions=chosen.dimensions,
        threads=chosen.threads,
    )


async def _withdraw_vanished(run: IngestRun, plan: Plan) -> None:
    ids = list(plan.vanished)
    for first in range(0, len(ids), PAGE):
        page = ids[first : first + PAGE]
        async with tenant_session(run.system) as session:
            await lock_index(session, run.registry_id)
            await withdraw_objects(session, page)
            await ingestion.vanish_objects(session, page)


async def _run_batches(
    run: IngestRun, plan: Plan, run_batch: RunBatch, on_progress: OnProgress | None
) -> list[ObjectOutcome]:
    """Run suspects one by one, so that a death names its cause, then the rest, two batches at a time."""
    done: list[ObjectOutcome] = []

    async def take(batch: Sequence[ObjectTask]) -> None:
        done.extend(await run_batch(run, batch))
        if on_progress is not None:
            await on_progress(len(done), plan.objects)

    async def take_all(waiting: deque[tuple[ObjectTask, ...]]) -> None:
        while waiting:
            await take(waiting.popleft())

    for task in plan.suspects:
        await take([task])
    waiting = deque(plan.batches)
    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(BATCHES_AT_ONCE):
                group.create_task(take_all(waiting))
    except ExceptionGroup as several:  # the store went away under both batches: one sentence will do
        raise several.exceptions[0] from several
    return done


async def _close_running(run: IngestRun, code: str) -> None:
    async with tenant_session(run.system) as session:
        await ingestion.close_interrupted(session, run.source_id, error_code=code)
