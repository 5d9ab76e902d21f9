"""What a run will do about each object of a source, decided from the listing, the manifest and what is known."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from pydantic import ValidationError
from sqlalchemy.ext.asyncio import AsyncSession

from core.errors import NotFound
from db.session import tenant_session
from domain import ingestion
from domain.ingestion import KnownObject
from pipelines.index import lock_index, withdraw_objects
from pipelines.ingest_batch import is_unchanged
from pipelines.ingest_stages import IngestRun, ObjectOutcome, ObjectTask
from pipelines.sidecar import Manifest, Sidecar
from pipelines.sources import Listing, Source

BATCH_BYTES = 64_000_000
MAX_INTERRUPTIONS = 3


ERASED = "Whose words this file holds were erased, so it is not ingested again; remove it from the source."


class NothingThere(NotFound):
    """This source holds no objects; check the address."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A source as it is now: what it holds, what its manifests say, and what the run says about the rest."""

    source: Source
    listing: Listing
    manifest: Manifest
    said: Sidecar

    def make_task(self, key: str, known: KnownObject | None) -> ObjectTask:
        """Join what is said about an object: its line of the manifest, then the run, then what was said before."""
        refused = self.manifest.refused.get(key)
        line = self.manifest.said.get(key)
        if line is None and refused is None and self.manifest.unattributed:
            # The broken line may be about this very object; without it, its defaults could show it to everyone.
            refused = f"{self.manifest.unattributed[0]} Until then files without a line of their own wait."
        effective = (line or Sidecar()).over(self.said)
        if line is None and not self.said.to_json() and known is not None and known.sidecar:
            try:
                effective = Sidecar.model_validate(known.sidecar)
            except ValidationError:
                refused = f"What was said earlier about {key} can't be used any more; name it in manifest.jsonl."
        if known is not None:
            effective = effective.keep_decisions(known.sidecar)
        return ObjectTask(self.listing.objects[key], effective, self.manifest.places.get(key, "This run"), refused)

    def list_misnamed(self, known: Collection[str]) -> Iterator[ObjectOutcome]:
        """Report lines about files that never were there: a misspelt key leaves its file without what was meant."""
        if self.source.only is not None:
            return
        for key, place in self.manifest.places.items():
            if key not in self.listing.objects and key not in known:
                sentence = f"{place} is about {key}, which is not in the source; correct the key or remove the line."
                yield ObjectOutcome(key=key, outcome="failed", error=sentence, error_code="BadSidecar")


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run will do: objects to take through the stages, the rest with its outcome, what has vanished."""

    batches: tuple[tuple[ObjectTask, ...], ...]
    suspects: tuple[ObjectTask, ...]
    settled: tuple[ObjectOutcome, ...]
    vanished: Mapping[UUID, str]

    @property
    def objects(self) -> int:
        """How many objects go through the stages."""
        return len(self.suspects) + sum(map(len, self.batches))


async def make_plan(run: IngestRun, seen: Seen, batch_objects: int) -> Plan:
    """Decide about every object, and remember those that are new; raises `NothingThere`."""
    objects, only = seen.listing.objects, seen.source.only
    async with tenant_session(run.system) as session:
        known = await ingestion.list_known(session, run.source_id, None if only is None else [only])
        if not objects and not known:
            raise NothingThere(f"{seen.source.uri} holds no objects; check the address.")
        erased = await ingestion.list_erased(session, seen.source.uri, objects.keys())
        tasks = {key: seen.make_task(key, known.get(key)) for key in objects if key not in erased}
        work = {
            key: task for key, task in tasks.items() if not is_unchanged(task, known.get(key), run.pipeline_version)
        }
        await _remember(session, run, work, known)
        keys = {known[key].id: key for key in work if key in known}
        deaths = await ingestion.count_interruptions(session, keys.keys())
        hopeless = [object_id for object_id, count in deaths.items() if count >= MAX_INTERRUPTIONS]
        if hopeless:
            await lock_index(session, run.registry_id)
            await withdraw_objects(session, hopeless)
        for object_id in hopeless:
            await ingestion.fail_object(session, object_id, _name_death(keys[object_id]))
    dropped = {keys[object_id] for object_id in hopeless}
    suspected = {keys[object_id] for object_id in deaths} - dropped
    vanished = {o.id: key for key, o in known.items() if key not in objects and o.status != "vanished"}
    settled = [ObjectOutcome(key=key, outcome="unchanged") for key in tasks.keys() - work.keys()]
    settled += [ObjectOutcome(key=key, outcome="vanished") for key in vanished.values()]
    settled += [ObjectOutcome(key=key, outcome="erased", notes=(ERASED,)) for key in sorted(erased)]
    settled += [
        ObjectOutcome(key=key, outcome="failed", error=_name_death(key), error_code="RunDied") for key in dropped
    ]
    settled += seen.list_misnamed(known.keys())
    usual = [task for key, task in work.items() if key not in suspected | dropped]
    return Plan(
        batches=tuple(_cut(usual, batch_objects)),
        suspects=tuple(work[key] for key in sorted(suspected)),
        settled=tuple(settled),
        vanished=vanished,
    )


async def _remember(
    session: AsyncSession, run: IngestRun, work: Mapping[str, ObjectTask], known: Mapping[str, KnownObject]
) -> None:
    """Store new objects and what is said about each, which holds for later runs even where this one fails."""
    new = {key: task.stored.size for key, task in work.items() if key not in known}
    await ingestion.receive_objects(session, run.source_id, new)
    said = {key: task.said.to_json() for key, task in work.items() if task.refused is None}
    changed = {key: words for key, words in said.items() if words != (known[key].sidecar if key in known else {})}
    await ingestion.remember_said(session, run.source_id, changed)
    everyone = frozenset[str]().union(*(task.said.people for task in work.values()))
    run.people.update(await ingestion.map_emails(session, everyone))


def _name_death(key: str) -> str:
    return (
        f"Runs died {MAX_INTERRUPTIONS} times while {key} was handled, the last time alone; it may need "
        "more memory than there is: split it, or give the program more, and start again."
    )


def _cut(tasks: Sequence[ObjectTask], most: int) -> Iterator[tuple[ObjectTask, ...]]:
    """Cut into batches of so many objects that fit into memory together."""
    batch: list[ObjectTask] = []
    size = 0
    for task in tasks:
        if batch and (len(batch) == most or size + task.stored.size > BATCH_BYTES):
            yield tuple(batch)
            batch, size = [], 0
        batch.append(task)
        size += task.stored.size
    if batch:
        yield tuple(batch)
