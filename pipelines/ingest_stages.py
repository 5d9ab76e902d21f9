"""How a batch of objects goes through the stages: in step, each try noted, one object's failure its own."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from time import perf_counter
from typing import Literal
from uuid import UUID

from core.errors import AppError, Invalid, QuotaExceeded, Unavailable
from core.logging import get_logger
from core.storage import ObjectStore, StoredObject
from db.session import Principal, tenant_session
from domain import ingestion, usage
from domain.ingestion import KnownObject, Stage, StageEnd
from pipelines.chunk import DocumentText, TranscriptText
from pipelines.index import About, lock_index, withdraw_objects
from pipelines.parsed import ParsedDocument, ParsedTranscript
from pipelines.read import ReadLimits
from pipelines.sidecar import Sidecar
from rag.embedding import Embedder, Matrix

log = get_logger("pipelines.ingest")


class ObjectDefect(AppError):
    """This object met a defect of the product; report it with the run's id, the log has the details."""


@dataclass(frozen=True, slots=True)
class ObjectTask:
    """One object to ingest with what is said about it; `refused` says why that can't be used."""

    stored: StoredObject
    said: Sidecar
    place: str
    refused: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectOutcome:
    """What became of one object. `retryable`: something outside failed, so trying again may help.

    `refused` is for want of quota: the object is taken in by a later run, and what was indexed of it before stays.
    """

    key: str
    outcome: Literal["indexed", "unchanged", "failed", "vanished", "erased", "refused"]
    kind: str | None = None
    visibility: str | None = None
    pieces: int = 0
    seconds: float = 0.0
    error: str | None = None
    error_code: str | None = None
    retryable: bool = False
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class IngestRun:
    """What every object of a run shares."""

    tenant_id: UUID
    run_id: str
    source: ObjectStore
    source_id: UUID
    originals: ObjectStore
    embedder: Embedder
    registry_id: UUID
    pipeline_version: str
    limits: ReadLimits
    people: dict[str, UUID] = field(default_factory=dict)
    """User ids by the addresses that the objects' sidecars name; filled by the plan."""
    stage_seconds: dict[str, float] = field(default_factory=dict)
    """Filled as the run goes: seconds by stage, of all objects together."""

    @property
    def system(self) -> Principal:
        """Who writes."""
        return Principal(self.tenant_id, "system")


@dataclass(slots=True)
class Work:
    """One object on its way; a stage leaves its product here for the next."""

    task: ObjectTask
    known: KnownObject
    started_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    seconds: float = 0.0
    content: bytes = b""
    checksum: str = ""
    parsed: ParsedTranscript | ParsedDocument | None = None
    source: TranscriptText | DocumentText | None = None
    vectors: Matrix | None = None
    corrected: About | None = None
    """Where corrections of its turns were applied again: as whom its speakers are known. Its original is not kept."""
    outcome: ObjectOutcome | None = None
    """Set once the object needs no further stage."""

    @property
    def key(self) -> str:
        """The object's key."""
        return self.task.stored.key

    @property
    def kind(self) -> Literal["transcript", "document"]:
        """What its parser took it for."""
        return "transcript" if isinstance(self.parsed, ParsedTranscript) else "document"

    @property
    def pieces(self) -> int:
        """How many chunks it was cut into."""
        return len(self.source.chunks) if self.source else 0

    def fail(self, error: AppError) -> None:
        """End here with this error."""
        self.outcome = ObjectOutcome(
            key=self.key, outcome="refused" if isinstance(error, QuotaExceeded) else "failed", error=error.message,
            error_code=error.code, retryable=isinstance(error, Unavailable),
        )  # fmt: skip


class Stages:
    """Takes works through stages in step, so that noting a stage costs one transaction for all of them."""

    def __init__(self, run: IngestRun) -> None:
        self._run = run
        self._ended: tuple[Stage, list[StageEnd]] | None = None

    async def pass_each(
        self, stage: Stage, every: Sequence[Work], do: Callable[[Work], Awaitable[None]], *, width: int
    ) -> None:
        """Do the stage for each work that is still on its way, so many at once."""
        works = await self._begin(stage, every)
        turns = asyncio.Semaphore(width)

        async def take_turn(work: Work) -> StageEnd | None:
            async with turns:
                return await self._try(stage, work, do)

        ends = await asyncio.gather(*map(take_turn, works))
        self._ended = (stage, [end for end in ends if end is not None])

    async def pass_together(
        self, stage: Stage, every: Sequence[Work], do: Callable[[Sequence[Work]], Awaitable[None]]
    ) -> None:
        """Do the stage for all at once; where that fails for what is in them, one by one, to find whose fault it is."""
        works = await self._begin(stage, every)
        began, at = perf_counter(), datetime.now(UTC)
        try:
            if works:
                await do(works)
        except Invalid:
            ends = [await self._try(stage, work, lambda one: do([one])) for work in works]
            self._ended = (stage, [end for end in ends if end is not None])
            return
        except (Unavailable, QuotaExceeded) as error:
            for work in works:
                await self._fail(stage, work, error)
            return
        self._count(stage, perf_counter() - began)
        pieces = sum(work.pieces for work in works)
        for work in works:
            work.seconds += (perf_counter() - began) * work.pieces / pieces
        self._ended = (stage, [StageEnd(w.known.id, at, datetime.now(UTC), w.pieces) for w in works])

    async def close(self, every: Sequence[Work]) -> list[ObjectOutcome]:
        """Note the end of the last stage and return the outcomes."""
        await self._begin("index", ())
        return [replace(work.outcome, seconds=round(work.seconds, 4)) for work in every if work.outcome is not None]

    async def refuse(self, works: Mapping[UUID, Work], refused: Mapping[UUID, QuotaExceeded]) -> None:
        """End here what does not fit into the tenant's quotas, as tries of the first stage that never began."""
        at = datetime.now(UTC)
        ends = [StageEnd(one, at, at, error_code=why.code, error=why.message) for one, why in refused.items()]
        async with tenant_session(self._run.system) as session:
            await ingestion.begin_stage(session, self._run.run_id, "read", list(refused))
            await ingestion.finish_stage(session, self._run.run_id, "read", ends)
            for object_id, why in refused.items():
                await ingestion.refuse_object(session, object_id, why.message)
        for object_id, why in refused.items():
            works[object_id].fail(why)
            log.warning("object refused", key=works[object_id].key, error=why.message)

    async def _begin(self, stage: Stage, every: Sequence[Work]) -> list[Work]:
        works = [work for work in every if work.outcome is None]
        if self._ended is not None or works:
            async with tenant_session(self._run.system) as session:
                if self._ended is not None:
                    await ingestion.finish_stage(session, self._run.run_id, *self._ended)
                if works:
                    await ingestion.begin_stage(session, self._run.run_id, stage, [work.known.id for work in works])
        self._ended = None
        return works

    async def _try(self, stage: Stage, work: Work, do: Callable[[Work], Awaitable[None]]) -> StageEnd | None:
        work.started_at, began = datetime.now(UTC), perf_counter()
        error: AppError | None = None
        try:
            await do(work)
        except AppError as known:
            error = known
        except Exception as defect:  # one object's defect must not stop the others
            log.exception("object met a defect", key=work.key, stage=stage)
            error = ObjectDefect(
                f"{work.key} met a defect of the product ({type(defect).__name__}); report it with the id of this run."
            )
        seconds = perf_counter() - began
        work.seconds += seconds
        self._count(stage, seconds)
        if error is not None:
            await self._fail(stage, work, error)
            return None
        if stage == "index":  # it has noted its end in the transaction that wrote the object
            return None
        return StageEnd(work.known.id, work.started_at, datetime.now(UTC), work.pieces)

    async def _fail(self, stage: Stage, work: Work, error: AppError) -> None:
        """Note the failure; unless something outside failed, nothing of the object stays searchable.

        What is found must be what the source holds: words that somebody took out of a file do not live on because
        its new version can't be read.
        """
        run = self._run
        end = StageEnd(work.known.id, work.started_at, datetime.now(UTC), error_code=error.code, error=error.message)
        async with tenant_session(run.system) as session:
            await ingestion.finish_stage(session, run.run_id, stage, [end])
            if isinstance(error, QuotaExceeded):
                await ingestion.refuse_object(session, work.known.id, error.message)
            elif not isinstance(error, Unavailable):
                if work.known.status == "indexed":
                    await lock_index(session, run.registry_id)
                    await withdraw_objects(session, [work.known.id])
                await ingestion.fail_object(session, work.known.id, error.message)
            await usage.settle(session, finished=[work.known.id])
        log.warning("object failed", key=work.key, stage=stage, error=error.message)
        work.fail(error)

    def _count(self, stage: Stage, seconds: float) -> None:
        self._run.stage_seconds[stage] = self._run.stage_seconds.get(stage, 0.0) + seconds
