"""What an erasure would take, counted as the erasure itself counts, without touching anything."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from core.settings import Settings, get_settings
from core.storage import open_store
from db.session import Principal, tenant_session
from domain.privacy import Hold, list_covering_holds
from pipelines.privacy.erase_archives import count_archived
from pipelines.privacy.erase_objects import count_objects, find_places
from pipelines.privacy.store import Treatment
from pipelines.privacy.stores import count_store, list_stores
from pipelines.privacy.subjects import SubjectKind, collect_scope


@dataclass(frozen=True, slots=True)
class Forecast:
    """Rows and objects about a subject by store, with what becomes of them, and the holds in the way."""

    counts: Mapping[str, tuple[Treatment, int]]
    holds: Sequence[Hold]

    def total(self, treatment: Treatment) -> int:
        """Return how many rows and objects are treated so."""
        return sum(count for how, count in self.counts.values() if how == treatment)


async def forecast_erasure(
    tenant_id: UUID, kind: SubjectKind, subject_id: UUID, *, settings: Settings | None = None
) -> Forecast:
    """Count what an erasure of the subject would take, stores without anything left out; raises `SubjectMissing`."""
    settings = settings or get_settings()
    system = Principal(tenant_id, "system")
    store = open_store(settings.storage_url, settings.storage)
    counts: dict[str, tuple[Treatment, int]] = {}
    async with tenant_session(system, isolation="REPEATABLE READ") as session:
        scope = await collect_scope(session, kind, subject_id)
        for one in list_stores(scope):
            how = one.with_tenant if kind == "tenant" else one.treatment
            counts[one.name] = (how, (await count_store(session, one, scope)).rows)
        for name, count in (await count_objects(store, await find_places(session, scope, store))).items():
            counts[name] = ("delete", count.rows)
        holds = await list_covering_holds(session, kind, subject_id)
    for name, count in (await count_archived(system, scope, settings)).items():
        counts[name] = ("delete", count.rows)
    return Forecast({name: found for name, found in counts.items() if found[1]}, holds)
