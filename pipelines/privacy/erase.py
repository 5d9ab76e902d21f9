"""Erasing a person, a session, a document or a whole tenant, in steps that survive being killed, with a signed receipt.

What is there is counted and hashed in one snapshot before anything goes; then each step is one transaction, or can be
repeated. A run that finds steps done goes on with the next, and ends with the same receipt.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import delete, func, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from core.errors import Conflict, Unavailable
from core.logging import get_logger, log_context
from core.settings import Settings, get_settings
from core.signing import load_signing_key
from core.storage import ObjectStore, open_store
from db.holds import hold
from db.models import DeletionRequest, ErasureScope, ErasureStep
from db.session import Principal, tenant_session
from domain import keys
from domain.redaction import redact_entries
from pipelines.evidence.cohorts import build_cohorts
from pipelines.evidence.rederive import rederive_stale
from pipelines.ingest import load_embedder
from pipelines.privacy.erase_archives import count_archived, erase_archived
from pipelines.privacy.erase_objects import (
    count_objects,
    delete_foreign,
    find_places,
    places_of_receipt,
    purge_objects,
    remember_foreign,
)
from pipelines.privacy.erase_rows import PHASES, erase_phase
from pipelines.privacy.erase_turns import take_turns_out
from pipelines.privacy.holds import ErasureHeld, find_hold
from pipelines.privacy.receipts import (
    Receipt,
    copy_receipt,
    find_receipt,
    name_object,
    receipts_store,
    store_receipt,
    write_receipt,
)
from pipelines.privacy.stores import Count, count_store, list_stores
from pipelines.privacy.subjects import Scope, collect_scope
from rag.embedding import Embedder

ROUNDS: Final = 3
"""How often rows that came while it ran are erased before the run gives up."""

BEFORE: Final = ("stop", "foreign", "objects", "turns")
AFTER: Final = ("archives", "evidence", "log", "recount")
STEPS: Final = ("collect", *BEFORE, *(name for name, _ in PHASES), *AFTER, "sign")

OnStep = Callable[[str, int, int], Awaitable[None]]

log = get_logger("pipelines.privacy")


class ErasureNotVerified(Conflict):
    """This erasure was not verified, or was refused; let compliance verify the request first."""


class ErasureBusy(Conflict):
    """Another erasure of this organisation is running; wait for it to finish, then start again."""


class ErasureIncomplete(Unavailable):
    """Rows about the subject kept coming while it was erased; stop what writes them, then start the erasure again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Run:
    """What every step of one erasure knows."""

    system: Principal
    request_id: UUID
    scope: Scope
    settings: Settings
    store: ObjectStore
    embedder: Embedder | None
    delete_sources: bool
    receipt: Receipt | None


async def erase_subject(
    tenant_id: UUID,
    request_id: UUID,
    *,
    delete_sources: bool = False,
    embedder: Embedder | None = None,
    settings: Settings | None = None,
    receipt: Receipt | None = None,
    on_step: OnStep | None = None,
) -> Receipt:
    """Carry out a verified deletion request and return its receipt; of one that is completed, the receipt it has.

    Safe to kill at any point and to repeat. `delete_sources` deletes objects in the customer's own sources too.
    `receipt` is one signed before, which the run leaves in the place of a new one. Raises `ErasureNotVerified`,
    `ErasureHeld`, `ErasureBusy`, `ErasureIncomplete`, `SubjectMissing`.
    """
    settings = settings or get_settings()
    system = Principal(tenant_id, "system")
    with log_context(tenant_id=str(tenant_id), request_id=str(request_id)):
        async with hold(tenant_id, "erasure", busy=ErasureBusy(), wait_s=5):
            request = await _begin(system, request_id)
            if request.status == "completed":
                return await _show_again(system, request_id, settings)
            run = _Run(
                system=system, request_id=request_id, scope=await _collect(system, request, settings, receipt),
                settings=settings, store=open_store(settings.storage_url, settings.storage), embedder=embedder,
                delete_sources=delete_sources, receipt=receipt,
            )  # fmt: skip
            if on_step is not None:
                await on_step("collect", 1, len(STEPS))
            for number, step in enumerate(STEPS[1:], 2):
                await _take(run, step)
                if on_step is not None:
                    await on_step(step, number, len(STEPS))
            return await _show_again(system, request_id, settings)


async def _begin(system: Principal, request_id: UUID) -> DeletionRequest:
    """Return the request, running; raises `ErasureNotVerified`, and `ErasureHeld` after noting why."""
    async with tenant_session(system) as session:
        request = await session.scalar(select(DeletionRequest).where(DeletionRequest.id == request_id))
        if request is None or request.verified_at is None or request.status in ("requested", "refused"):
            raise ErasureNotVerified
        if request.status == "completed":
            return request
        began = await session.scalar(select(func.count()).where(ErasureScope.request_id == request_id))
        held = await find_hold(session, request, ())
        if held is not None:
            await _note_hold(session, request_id, held, is_running=bool(began))
        elif request.status != "running":
            await session.execute(
                update(DeletionRequest).where(DeletionRequest.id == request_id).values(status="running")
            )
    if held is not None:
        raise held
    return request


async def _note_hold(session: AsyncSession, request_id: UUID, held: ErasureHeld, *, is_running: bool) -> None:
    """Store why: a request that has not begun is refused, one that has waits as failed until the hold is released."""
    values: dict[str, Any] = {"status": "failed" if is_running else "refused", "refusal_reason": held.message}
    if not is_running:
        values["refused_at"] = func.now()
    await session.execute(update(DeletionRequest).where(DeletionRequest.id == request_id).values(values))


async def _check_hold(run: _Run) -> None:
    async with tenant_session(run.system) as session:
        request = await session.get_one(DeletionRequest, (run.system.tenant_id, run.request_id))
        held = await find_hold(session, request, tuple(run.scope.roots.values()))
        if held is not None:
            await _note_hold(session, run.request_id, held, is_running=True)
    if held is not None:
        raise held


async def _collect(system: Principal, request: DeletionRequest, settings: Settings, receipt: Receipt | None) -> Scope:
    """Return the scope as it was frozen; at first it is collected, and all stores counted, in one snapshot."""
    async with tenant_session(system, isolation="REPEATABLE READ") as session:
        await session.execute(text("SET LOCAL statement_timeout = 0"))
        kept = list(await session.scalars(select(ErasureScope).where(ErasureScope.request_id == request.id)))
        if kept:
            return Scope(
                tenant_id=system.tenant_id, kind=request.subject_kind, subject_id=request.subject_id,  # type: ignore[arg-type]  # a closed list in the database
                collected_at=kept[0].collected_at, roots={one.root: tuple(one.ids) for one in kept if one.ids},
            )  # fmt: skip
        scope = await _find_scope(session, request, receipt)
        held = await find_hold(session, request, tuple(scope.roots.values()))
        if held is None:
            await _freeze(session, system, request.id, scope, settings)
    if held is not None:
        async with tenant_session(system) as session:
            await _note_hold(session, request.id, held, is_running=False)
        raise held
    return scope


async def _find_scope(session: AsyncSession, request: DeletionRequest, receipt: Receipt | None) -> Scope:
    """Return what is there now, and with an earlier receipt also what was there then."""
    if receipt is None:
        return await collect_scope(session, request.subject_kind, request.subject_id)  # type: ignore[arg-type]  # a closed list in the database
    found = await collect_scope(session, receipt.subject_kind, receipt.subject_id, must_exist=False)
    roots = {
        root: tuple(sorted({*found[root], *receipt.scope.get(root, ())})) for root in (*found.roots, *receipt.scope)
    }
    return Scope(
        tenant_id=found.tenant_id, kind=found.kind, subject_id=found.subject_id, collected_at=found.collected_at,
        roots=roots,
    )  # fmt: skip


async def _freeze(session: AsyncSession, system: Principal, request_id: UUID, scope: Scope, settings: Settings) -> None:
    """Keep the scope and what every store holds of it; rows of steps without a store wait to be finished too."""
    store = open_store(settings.storage_url, settings.storage)
    counts: dict[str, tuple[str, Count]] = {}
    for one in list_stores(scope):
        treatment = one.with_tenant if scope.kind == "tenant" else one.treatment
        counts[one.name] = (treatment, await count_store(session, one, scope))
    for name, count in (await count_objects(store, await find_places(session, scope, store))).items():
        counts[name] = ("delete", count)
    for name, count in (await count_archived(system, scope, settings)).items():
        counts[name] = ("delete", count)
    key = {"tenant_id": system.tenant_id, "request_id": request_id}
    await session.execute(
        insert(ErasureScope),
        [
            key | {"root": root, "ids": list(ids), "collected_at": scope.collected_at}
            for root, ids in (scope.roots or {"persons": ()}).items()
        ],
    )
    steps = [{"store": name, "treatment": how, **_columns(count)} for name, (how, count) in counts.items()]
    steps += [{"store": f"step {step}", "treatment": "step", "items": None, "sha256": None} for step in STEPS[1:]]
    await session.execute(insert(ErasureStep), [key | step | {"ordinal": n} for n, step in enumerate(steps, 1)])


def _columns(count: Count) -> dict[str, Any]:
    return {"items": count.rows, "sha256": count.sha256}


async def _take(run: _Run, step: str) -> None:
    """Do one step unless it is done; rows go in the transaction that says so, what lies elsewhere before it."""
    async with tenant_session(run.system) as session:
        done = await session.scalar(select(ErasureStep.finished_at).where(*_is_step(run, step)))
    if done is not None:
        return
    began = datetime.now(UTC)
    if step != "sign":
        await _check_hold(run)
    outside = _OUTSIDE.get(step)
    if outside is not None:
        await outside(run)
    async with tenant_session(run.system) as session:
        inside = _INSIDE.get(step)
        if inside is not None:
            await inside(session, run)
        await session.execute(
            update(ErasureStep)
            .where(*_is_step(run, step))
            .values(started_at=began, finished_at=func.greatest(func.clock_timestamp(), began))
        )
    log.info("a step of an erasure is done", step=step, seconds=round((datetime.now(UTC) - began).total_seconds(), 3))


def _is_step(run: _Run, step: str) -> tuple[Any, ...]:
    return (ErasureStep.request_id == run.request_id, ErasureStep.store == f"step {step}")


async def _stop(session: AsyncSession, run: _Run) -> None:
    """Let nobody sign in as the subject, or into the organisation, from now on."""
    ids = list(run.scope["persons"])
    await session.execute(
        text(
            "UPDATE identity.users SET status = 'deleted', deleted_at = coalesce(deleted_at, now()) "
            "WHERE id = ANY (:ids)"
        ),
        {"ids": ids},
    )
    for table in ("identity.sessions", "identity.api_keys"):
        whole = "true" if run.scope.kind == "tenant" else "user_id = ANY (:ids)"
        await session.execute(text(f"DELETE FROM {table} WHERE {whole}"), {} if whole == "true" else {"ids": ids})
    if run.scope.kind == "tenant":
        await session.execute(text("UPDATE platform.tenants SET status = 'suspended' WHERE status = 'active'"))


async def _foreign(session: AsyncSession, run: _Run) -> None:
    objects = await remember_foreign(session, run.scope, run.store)
    if run.delete_sources:
        await delete_foreign(objects, run.settings)


async def _objects(run: _Run) -> None:
    async with tenant_session(run.system) as session:
        places = await find_places(session, run.scope, run.store)
    await purge_objects(run.store, places)
    await purge_objects(run.store, places_of_receipt(run.scope))


async def _turns(run: _Run) -> None:
    if run.scope["spoken"]:
        embedder = run.embedder or await load_embedder(run.settings)
        for transcript_id in run.scope["spoken"]:
            await take_turns_out(run.system, run.scope, transcript_id, embedder)


async def _archives(run: _Run) -> None:
    await erase_archived(run.system, run.scope, run.settings)


async def _evidence(run: _Run) -> None:
    """Derive anew, from what remains, what stood on the erased words for other people."""
    if run.scope.kind == "tenant":
        return
    if run.scope["clients"]:
        await rederive_stale(run.system.tenant_id, clients=run.scope["clients"])
    elif run.scope["patterns"]:
        await build_cohorts(run.system.tenant_id)


async def _redact_log(run: _Run) -> None:
    """Blank the subject's entries of the audit log, by the function that keeps its chain provable."""
    subject = next(iter(run.scope["persons"]), None)
    if subject is None and run.scope.kind != "tenant":
        return
    await redact_entries(run.system, subject=subject, request_id=run.request_id)


async def count_left(system: Principal, scope: Scope, settings: Settings) -> dict[str, int]:
    """Return how much every store still holds of the scope, zeroes included."""
    left: dict[str, int] = {}
    async with tenant_session(system) as session:
        await session.execute(text("SET LOCAL statement_timeout = 0"))
        for one in list_stores(scope, left=True):
            left[one.name] = (await count_store(session, one, scope, left=True)).rows
    store = open_store(settings.storage_url, settings.storage)
    for counted in (
        await count_objects(store, places_of_receipt(scope)),
        await count_archived(system, scope, settings),
    ):
        left |= {name: count.rows for name, count in counted.items()}
    return left


async def _recount(run: _Run) -> None:
    """Count until nothing is left, erasing what came meanwhile; raises `ErasureIncomplete` after some rounds."""
    for attempt in range(ROUNDS + 1):
        counted = await count_left(run.system, run.scope, run.settings)
        left = {name: rows for name, rows in counted.items() if rows}
        if not left:
            return
        if attempt == ROUNDS:
            named = ", ".join(f"{rows:,} in {name}" for name, rows in sorted(left.items()))
            raise ErasureIncomplete(f"Of what is to be erased there still is: {named}; start the erasure again.")
        await _objects(run)
        await _turns(run)
        for _, stores in PHASES:
            async with tenant_session(run.system) as session:
                await erase_phase(session, run.request_id, run.scope, stores)
        await _archives(run)
        await _redact_log(run)


async def _sign(run: _Run) -> None:
    """Sign what was there, once: in the database, then beside it; then the request is completed."""
    key = load_signing_key(run.settings)
    async with tenant_session(run.system) as session:
        receipt = await find_receipt(session, run.request_id)
        if receipt is None:
            receipt = run.receipt or write_receipt(
                key, run.scope, run.request_id, await _read_counts(session, run), datetime.now(UTC)
            )
            await store_receipt(session, receipt)
    await copy_receipt(receipts_store(run.settings), receipt)


async def _read_counts(session: AsyncSession, run: _Run) -> Mapping[str, Mapping[str, Any]]:
    s = ErasureStep
    rows = await session.scalars(select(s).where(s.request_id == run.request_id, s.items.is_not(None)))
    return {row.store: {"items": row.items, "sha256": row.sha256, "treatment": row.treatment} for row in rows}


async def _complete(session: AsyncSession, run: _Run) -> None:
    if run.scope.kind == "tenant":
        destroy = getattr(keys, "destroy_keys", None)
        if destroy is not None:
            await destroy(session)
    await session.execute(delete(ErasureScope).where(ErasureScope.request_id == run.request_id))
    await session.execute(
        update(DeletionRequest)
        .where(DeletionRequest.id == run.request_id)
        .values(status="completed", completed_at=func.clock_timestamp(), refusal_reason=None)
    )


async def _show_again(system: Principal, request_id: UUID, settings: Settings) -> Receipt:
    """Return the receipt of a completed request; its copy is written again where it is missing."""
    async with tenant_session(system) as session:
        receipt = await find_receipt(session, request_id)
    if receipt is None:
        raise ErasureNotVerified
    store = receipts_store(settings)
    if await store.find(name_object(receipt.tenant_id, receipt.request_id)) is None:
        await copy_receipt(store, receipt)
    return receipt


_OUTSIDE: Final[Mapping[str, Callable[[_Run], Awaitable[None]]]] = {
    "objects": _objects, "turns": _turns, "archives": _archives, "evidence": _evidence, "log": _redact_log,
    "recount": _recount, "sign": _sign,
}  # fmt: skip


def _phase(stores: Sequence[Any]) -> Callable[[AsyncSession, _Run], Awaitable[None]]:
    async def erase(session: AsyncSession, run: _Run) -> None:
        await erase_phase(session, run.request_id, run.scope, tuple(stores))

    return erase


_INSIDE: Final[Mapping[str, Callable[[AsyncSession, _Run], Awaitable[None]]]] = {
    "stop": _stop, "foreign": _foreign, "sign": _complete, **{name: _phase(stores) for name, stores in PHASES},
}  # fmt: skip
