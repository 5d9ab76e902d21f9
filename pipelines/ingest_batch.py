"""One batch of objects through the stages read, parse, chunk, embed and index."""

import asyncio
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import PurePosixPath
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from core.storage_encrypted import EncryptedStore, measure_least
from db.session import tenant_session
from domain import coaching, ingestion, usage
from domain.decisions import NAMED, lock_decisions
from domain.ingestion import KnownObject, StageEnd
from domain.quotas import reserve_objects
from domain.speakers import fold_label
from domain.usage import Used
from pipelines.chunk import TranscriptText, chunk_document, chunk_transcript
from pipelines.corrections import correct_source
from pipelines.index import About, embed_allowed, index_document, index_transcript, lock_index
from pipelines.ingest_stages import IngestRun, ObjectOutcome, ObjectTask, Stages, Work
from pipelines.isolation import WORKERS
from pipelines.parsed import EmptySource, ParsedDocument, ParsedTranscript
from pipelines.read import check_size, read_source
from pipelines.sidecar import BadSidecar, choose_visibility

READERS = 8  # objects of a batch read from their source at once
WRITERS = 2  # one waits for the disk while the other holds the tenant's index


def is_unchanged(task: ObjectTask, known: KnownObject | None, pipeline_version: str) -> bool:
    """Tell from the listing alone that indexing the object again would change nothing."""
    return (
        known is not None
        and (known.size, known.version) == (task.stored.size, task.stored.version)
        # what retention took out stays out for as long as its source has the same bytes
        and (known.status == "expired" or is_same_pipeline(task, known, pipeline_version))
    )


def is_same_pipeline(task: ObjectTask, known: KnownObject, pipeline_version: str) -> bool:
    """Tell that the object is indexed by this pipeline with just what is said about it now."""
    return (
        task.refused is None
        and known.status == "indexed"
        and known.pipeline_version == pipeline_version
        and known.sidecar_hash == task.said.fingerprint()
    )


async def ingest_batch(run: IngestRun, batch: Sequence[ObjectTask]) -> list[ObjectOutcome]:
    """Take the objects through every stage and return what became of each, in order.

    An object that fails leaves the others alone, and one beyond the tenant's quotas waits for a later run. Objects that
    are indexed already, by an earlier try of the same batch, are not touched.
    """
    async with tenant_session(run.system) as session:
        known = await ingestion.list_known(session, run.source_id, [task.stored.key for task in batch])
    every = [Work(task, known[task.stored.key]) for task in batch]
    for work in every:
        if is_unchanged(work.task, work.known, run.pipeline_version):
            work.outcome = _unchanged(work)
    stages = Stages(run)
    await _hold_to_quotas(run, stages, [work for work in every if work.outcome is None])
    await stages.pass_each("read", every, lambda work: _read(run, work), width=READERS)
    await stages.pass_each("parse", every, lambda work: _parse(run, work), width=WORKERS)
    await stages.pass_each("chunk", every, lambda work: _chunk(run, work), width=1)
    await stages.pass_together("embed", every, lambda works: _embed(run, works))
    await stages.pass_each("index", every, lambda work: _index(run, work), width=WRITERS)
    return await stages.close(every)


async def _hold_to_quotas(run: IngestRun, stages: Stages, works: Sequence[Work]) -> None:
    """Set a turn and its bytes aside for each object, the first of the batch first, and refuse the rest."""
    sizes = {work.known.id: max(work.task.stored.size - _count_held(work.known), 0) for work in works}
    async with tenant_session(run.system) as session:
        refused = await reserve_objects(session, sizes)
    if refused:
        await stages.refuse({work.known.id: work for work in works}, refused)


def _count_held(known: KnownObject) -> int:
    """Return the object's bytes that count as stored already."""
    return known.size if known.storage_key is not None or known.status == "indexed" else 0


def _unchanged(work: Work) -> ObjectOutcome:
    return ObjectOutcome(key=work.key, outcome="unchanged")


async def _read(run: IngestRun, work: Work) -> None:
    task = work.task
    if task.refused is not None:
        raise BadSidecar(task.refused)
    unknown = sorted(email for email in task.said.people if email not in run.people)
    if unknown:
        raise BadSidecar(
            f"{task.place} names {unknown[0]}, who is no user of this organisation; "
            "correct the address or add the user."
        )
    is_sealed = isinstance(run.source, EncryptedStore)
    size = measure_least(task.stored.size) if is_sealed else task.stored.size
    check_size(task.stored.key, size, run.limits)
    work.content = await run.source.read(task.stored.key, max_bytes=run.limits.size_bytes)
    work.checksum = hashlib.sha256(work.content).hexdigest()
    if work.checksum == work.known.checksum and is_same_pipeline(task, work.known, run.pipeline_version):
        async with tenant_session(run.system) as session:
            stored = task.stored
            await ingestion.touch_object(session, work.known.id, size=stored.size, version=stored.version)
            await usage.settle(session, finished=[work.known.id])
        work.outcome = _unchanged(work)


async def _parse(run: IngestRun, work: Work) -> None:
    name = PurePosixPath(work.key).name
    work.parsed = await read_source(name, work.content, kind=work.task.said.kind, limits=run.limits)


async def _chunk(run: IngestRun, work: Work) -> None:
    parsed, held_at = work.parsed, work.task.said.held_at
    if isinstance(parsed, ParsedTranscript):
        work.source = await asyncio.to_thread(chunk_transcript, parsed.turns, title=_name(work), held_at=held_at)
        await _correct(run, work, work.source)
    elif parsed is not None:
        work.source = await asyncio.to_thread(chunk_document, parsed)
    if not work.pieces:
        raise EmptySource(f"{work.key} holds no words; check that the right file was exported and upload it again.")


async def _correct(run: IngestRun, work: Work, source: TranscriptText) -> None:
    """Let the turns say again what they were corrected to, so that reading the source anew brings no error back."""
    if work.known.pipeline_version is None:
        return
    async with tenant_session(run.system) as session:
        corrected = await correct_source(session, work.known.id, source, _describe(run, work))
    if corrected is not None:
        turns, work.corrected = corrected
        held_at = work.task.said.held_at
        work.source = await asyncio.to_thread(chunk_transcript, turns, title=_name(work), held_at=held_at)


async def _embed(run: IngestRun, works: Sequence[Work]) -> None:
    """Embed all objects' chunks in one call: the embedder then keeps every core busy to the end."""
    texts: list[str] = []
    about: list[UUID | None] = []
    for work in works:
        chunks = work.source.chunks if work.source else ()
        texts += [chunk.embedded_text for chunk in chunks]
        about += [_describe(run, work).client_id] * len(chunks)
    vectors = await embed_allowed(run.system, run.embedder, texts, about)
    first = 0
    for work in works:
        last = first + work.pieces
        work.vectors = vectors[first:last]
        first = last


async def _index(run: IngestRun, work: Work) -> None:
    """Write the object, all that it is found by and the end of this stage in one transaction.

    Its original bytes are kept before that under a key that names them, so a repeated try writes nothing new.
    """
    known, said = work.known, work.task.said
    folder = f"tenants/{run.tenant_id}/originals/{known.id}/"
    kept = None if work.corrected else folder + work.checksum
    if kept is not None and known.storage_key != kept:
        await run.originals.write(kept, work.content)
    about = work.corrected or _describe(run, work)
    async with tenant_session(run.system) as session:
        await lock_index(session, run.registry_id)
        # Somebody may have decided since the plan was made; a narrowed source must not open again.
        readers, named = await lock_decisions(session, known.id)
        if readers is not None:
            about = replace(
                about, visibility=readers.visibility, client_id=readers.client_id, coach_id=readers.coach_id
            )
        if named and named != said.named:
            said = said.model_copy(update={NAMED: named})
            about = replace(about, speaker_ids=await _name_speakers(session, about.speaker_ids, named))
        if said.session and said.held_at and about.client_id and about.coach_id:
            about = replace(about, coaching_session_id=await coaching.record_session(
                session, external_id=said.session, coach_id=about.coach_id, client_id=about.client_id,
                held_at=said.held_at, topic=said.title,
            ))  # fmt: skip
        await ingestion.settle_object(
            session, known.id, size_bytes=work.task.stored.size, version=work.task.stored.version,
            checksum=work.checksum, storage_key=kept, sidecar_hash=said.fingerprint(),
            pipeline_version=run.pipeline_version, kind=work.kind, title=about.title, held_at=about.held_at,
            coaching_session_id=about.coaching_session_id, pieces=work.pieces, **about.audience,
        )  # fmt: skip
        await _write(session, run, work, about)
        end = StageEnd(known.id, work.started_at, datetime.now(UTC), work.pieces)
        await ingestion.finish_stage(session, run.run_id, "index", [end])
        taken = Used(feature="ingestion", ingestions=1, stored_bytes=work.task.stored.size)
        await usage.settle(session, [taken], finished=[known.id])
    if known.storage_key != kept:  # an earlier version, or what a killed write left
        async for old in run.originals.list(folder):
            if old.key != kept:
                await run.originals.delete(old.key)
    work.outcome = ObjectOutcome(
        key=work.key, outcome="indexed", kind=work.kind, visibility=about.visibility, pieces=work.pieces,
        notes=tuple(_list_notes(work, about)),
    )  # fmt: skip


async def _name_speakers(
    session: AsyncSession, speaker_ids: Mapping[str, UUID], named: Mapping[str, str | None]
) -> dict[str, UUID]:
    """Return who speaks under each label, those named last as they were named."""
    settled = {fold_label(label) for label in named}
    people = await ingestion.map_emails(session, [email for email in named.values() if email])
    kept = {label: user_id for label, user_id in speaker_ids.items() if fold_label(label) not in settled}
    return kept | {label: people[email] for label, email in named.items() if email in people}


async def _write(session: AsyncSession, run: IngestRun, work: Work, about: About) -> None:
    parsed, source, vectors = work.parsed, work.source, work.vectors
    if parsed is None or source is None or vectors is None:
        raise ValueError("an object is indexed after it was parsed, chunked and embedded")
    if isinstance(source, TranscriptText):
        await index_transcript(session, run.registry_id, about, source, vectors, format=parsed.format)
    elif isinstance(parsed, ParsedDocument):
        await index_document(
            session, run.registry_id, about, source, vectors, format=parsed.format, page_count=parsed.page_count
        )


def _describe(run: IngestRun, work: Work) -> About:
    said = work.task.said
    return About(
        object_id=work.known.id,
        title=_name(work),
        visibility=choose_visibility(work.kind, said),
        client_id=run.people.get(said.client or ""),
        coach_id=run.people.get(said.coach or ""),
        held_at=said.held_at,
        speaker_ids={label: run.people[email] for label, email in said.voices.items()},
    )


def _name(work: Work) -> str:
    """Return the title: what is said, else what the document says itself, else the name of the file."""
    own = work.parsed.title if isinstance(work.parsed, ParsedDocument) else None
    return work.task.said.title or own or PurePosixPath(work.key).stem


def _list_notes(work: Work, about: About) -> Iterator[str]:
    """Say what the person who ingests this should know although it worked."""
    if work.parsed is not None:
        yield from work.parsed.warnings
    if about.visibility == "system_internal" and work.task.said.visibility is None:
        yield "No person may read this, as nobody said whose session it is: name its client in manifest.jsonl."
    if isinstance(work.source, TranscriptText):
        heard = {fold_label(segment.speaker or "") for segment in work.source.segments}
        silent = sorted(label for label in work.task.said.speakers or {} if fold_label(label) not in heard)
        if silent:
            yield f"Nobody in this transcript is called {', '.join(silent)}; correct the speakers in manifest.jsonl."
