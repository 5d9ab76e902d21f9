"""Uploading material and seeing what becomes of it."""

import json
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Annotated, Any, Final
from uuid import UUID, uuid4, uuid5

from fastapi import APIRouter, Form, Query, status
from sqlalchemy import select, tuple_
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from api.deps import IdempotencyKey, PrincipalDep, SessionDep, SettingsDep, needs
from api.errors import list_problem_responses
from api.flow_server import start_flow
from api.pagination import PLACE, CursorQuery, LimitQuery, read_cursor, write_cursor
from api.schemas.ingestion import (
    AttemptOut,
    IngestionDetail,
    IngestionOut,
    IngestionPage,
    ObjectStatus,
    UploadForm,
)
from core.errors import Forbidden, Invalid, NotFound
from core.settings import Settings
from core.storage import check_key
from db.models import DataSource, IngestedObject, IngestionAttempt
from db.session import Principal, tenant_session
from domain import quotas
from domain.chat import KeyReused
from domain.ingestion import ensure_source
from domain.objects import tenant_store
from domain.readers import find_person

router = APIRouter(prefix="/v1/ingestions", tags=["ingestion"], dependencies=[needs("ingest")])

INGEST: Final = "ingest-sources"
MAX_ATTEMPTS_SHOWN: Final = 100


class IngestionNotFound(NotFound):
    """There is no such ingested object that you may see; list them to see their ids."""


class UploadForbidden(Forbidden):
    """Only coaches and administrators add material; ask one of them."""


class UploadTooLarge(Invalid):
    """This file is larger than allowed; split it and upload its parts."""


@dataclass(frozen=True, slots=True)
class _Upload:
    """A file with who may read it."""

    name: str
    content: bytes
    said: dict[str, Any]
    visibility: str
    client_id: UUID | None
    coach_id: UUID | None


@router.post(
    "", status_code=status.HTTP_202_ACCEPTED, operation_id="createIngestion",
    responses=list_problem_responses(409, 413, 429),
)  # fmt: skip
async def create_ingestion(
    form: Annotated[UploadForm, Form(media_type="multipart/form-data")],
    principal: PrincipalDep,
    settings: SettingsDep,
    key: IdempotencyKey = None,
) -> IngestionDetail:
    """Upload a file and start indexing it.

    A coach's file is about one of their clients or for themself alone; what nobody says is read by coaches only.
    """
    async with tenant_session(principal) as session:
        upload = await _check_upload(session, principal, form, settings)
    upload_id = uuid5(principal.user_id, f"upload:{key}") if principal.user_id and key else uuid4()
    object_id = uuid5(upload_id, "object")
    await _reserve(principal, object_id, upload)
    source = await _store(settings, principal.tenant_id, upload_id, upload)
    async with tenant_session(principal.as_system(), asked_by=principal) as session:
        object_id = await _record(session, source, upload, object_id, f"{_folder(principal.tenant_id, upload_id)}/")
    run_id = await start_flow(settings, INGEST, _describe(principal, source), key=f"upload-{upload_id}")
    # An administrator may add what coaches alone read: what becomes of it they see no more, what they sent they know.
    async with tenant_session(principal.as_system(), asked_by=principal) as session:
        return await _show(session, object_id, flow_run_id=run_id)


@router.get("", operation_id="listIngestions", responses=list_problem_responses())
async def list_ingestions(
    session: SessionDep,
    limit: LimitQuery = 50,
    cursor: CursorQuery = None,
    wanted: Annotated[ObjectStatus | None, Query(alias="status", description="only these")] = None,
) -> IngestionPage:
    """List what was ingested that you may see, the newest first."""
    query = select(IngestedObject).order_by(IngestedObject.created_at.desc(), IngestedObject.id.desc()).limit(limit + 1)
    if wanted is not None:
        query = query.where(IngestedObject.ingestion_status == wanted)
    if (place := read_cursor(cursor, PLACE)) is not None:
        query = query.where(tuple_(IngestedObject.created_at, IngestedObject.id) < place)
    rows = (await session.scalars(query)).all()
    page = rows[:limit]
    following = write_cursor((page[-1].created_at, page[-1].id)) if len(rows) > limit else None
    return IngestionPage(items=[IngestionOut.model_validate(row) for row in page], next_cursor=following)


@router.get("/{object_id}", operation_id="getIngestion", responses=list_problem_responses(404))
async def get_ingestion(object_id: UUID, session: SessionDep) -> IngestionDetail:
    """Read what happened to one object at each stage."""
    return await _show(session, object_id)


@router.post(
    "/{object_id}/retry", status_code=status.HTTP_202_ACCEPTED, operation_id="retryIngestion",
    responses=list_problem_responses(404),
)  # fmt: skip
async def retry_ingestion(
    object_id: UUID, principal: PrincipalDep, settings: SettingsDep, key: IdempotencyKey = None
) -> IngestionDetail:
    """Run the object's source again; what is unchanged and indexed is left alone."""
    _require_uploader(principal)
    async with tenant_session(principal) as session:
        shown = await _show(session, object_id)
        source = await session.scalar(
            select(DataSource.uri)
            .join(IngestedObject, IngestedObject.data_source_id == DataSource.id)
            .where(IngestedObject.id == object_id)
        )
    if source is None:
        raise IngestionNotFound
    run_key = f"retry-{object_id}-{key}" if key else None
    run_id = await start_flow(settings, INGEST, _describe(principal, source), key=run_key)
    return shown.model_copy(update={"flow_run_id": run_id})


def _describe(principal: Principal, source: str) -> dict[str, str]:
    return {"tenant_id": str(principal.tenant_id), "source": source}


def _require_uploader(principal: Principal) -> None:
    if principal.role not in {"coach", "admin"}:
        raise UploadForbidden


async def _check_upload(session: AsyncSession, principal: Principal, form: UploadForm, settings: Settings) -> _Upload:
    """Return the upload as it may be stored; raises where the caller may not share it so."""
    _require_uploader(principal)
    name = PurePosixPath((form.file.filename or "upload").replace("\\", "/")).name
    check_key(name)
    content = await form.file.read(settings.api.max_upload_bytes + 1)
    if len(content) > settings.api.max_upload_bytes:
        raise UploadTooLarge(
            f"{name} is larger than {settings.api.max_upload_bytes:,} bytes; split it and upload its parts."
        )
    if principal.role == "coach" and form.visibility == "admin_aggregate":
        raise UploadForbidden("Only administrators add aggregates; choose coach_only or client_visible.")
    client = await find_person(session, form.client, "client")
    coach = await find_person(session, form.coach, "coach")
    if principal.role == "coach":
        if coach is not None and coach[0] != principal.user_id:
            raise UploadForbidden("A coach adds material in their own name; leave coach out.")
        coach = await find_person(session, None, "coach", user_id=principal.user_id)
    said = form.model_dump(mode="json", exclude_none=True, exclude={"file", "client", "coach"})
    said |= {"key": name, "visibility": form.visibility or "coach_only"}
    said |= {role: person[1] for role, person in (("client", client), ("coach", coach)) if person}
    return _Upload(name, content, said, said["visibility"], client[0] if client else None, coach[0] if coach else None)


async def _reserve(principal: Principal, object_id: UUID, upload: _Upload) -> None:
    """Set a turn and the file's bytes aside before any is written; raises `IngestionsUsedUp`, `StorageFull`."""
    async with tenant_session(principal.as_system(), asked_by=principal) as session:
        if await session.scalar(select(IngestedObject.id).where(IngestedObject.id == object_id)) is not None:
            return  # sent again
        refused = await quotas.reserve_objects(session, {object_id: len(upload.content)}, lapse=quotas.UPLOAD_LAPSE)
    if refused:
        raise refused[object_id]


def _folder(tenant_id: UUID, upload_id: UUID) -> str:
    return f"tenants/{tenant_id}/uploads/{upload_id}"


async def _store(settings: Settings, tenant_id: UUID, upload_id: UUID, upload: _Upload) -> str:
    """Write the file and what is said about it into the object store; return the address they are listed at."""
    store = await tenant_store(tenant_id, settings)
    folder = _folder(tenant_id, upload_id)
    manifest = json.dumps(upload.said, ensure_ascii=False).encode() + b"\n"
    key = f"{folder}/{upload.name}"
    if await store.find(f"{folder}/manifest.jsonl") is not None:
        stored = await store.read(f"{folder}/manifest.jsonl", max_bytes=1_000_000)
        if stored != manifest or await store.read(key, max_bytes=settings.api.max_upload_bytes) != upload.content:
            raise KeyReused
    else:
        await store.write(key, upload.content)
        await store.write(f"{folder}/manifest.jsonl", manifest)  # last: it says that the file is whole
    return f"{store.url}/{folder}"


async def _record(session: AsyncSession, source: str, upload: _Upload, object_id: UUID, folder: str) -> UUID:
    """Remember the object, readable from now on by those who will read what comes of it; its bytes count as stored."""
    source_id = await ensure_source(session, source)
    tenant_id = await session.scalar(select(DataSource.tenant_id).where(DataSource.id == source_id))
    await session.execute(
        insert(IngestedObject)
        .values(
            tenant_id=tenant_id, id=object_id, data_source_id=source_id, key=upload.name,
            size_bytes=len(upload.content), storage_key=folder + upload.name,
            title=upload.said.get("title"), kind=upload.said.get("kind"), visibility=upload.visibility,
            client_id=upload.client_id, coach_id=upload.coach_id,
        )
        .on_conflict_do_nothing()
    )  # fmt: skip
    await quotas.hand_over_upload(session, object_id)
    found = await session.scalar(
        select(IngestedObject.id).where(IngestedObject.data_source_id == source_id, IngestedObject.key == upload.name)
    )
    return UUID(str(found))


async def _show(session: AsyncSession, object_id: UUID, *, flow_run_id: UUID | None = None) -> IngestionDetail:
    row = await session.scalar(select(IngestedObject).where(IngestedObject.id == object_id))
    if row is None:
        raise IngestionNotFound
    attempts = await session.scalars(
        select(IngestionAttempt)
        .where(IngestionAttempt.object_id == object_id)
        .order_by(IngestionAttempt.started_at.desc())
        .limit(MAX_ATTEMPTS_SHOWN)
    )
    shown = IngestionOut.model_validate(row)
    return IngestionDetail(
        **shown.model_dump(), attempts=[AttemptOut.model_validate(attempt) for attempt in attempts],
        flow_run_id=flow_run_id,
    )  # fmt: skip
