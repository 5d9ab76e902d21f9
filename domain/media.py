"""Files people upload: what they are and where they lie; the bytes are the object store's."""

import re
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Select, delete, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from core.errors import Conflict, Invalid, NotFound
from db.models import MediaAsset
from db.session import Principal
from domain.posts import TENANT, name_id

FILE_TYPES: Final = (
    "image/jpeg", "image/png", "image/webp", "image/gif", "video/mp4", "video/webm", "audio/mpeg", "audio/mp4",
    "audio/x-wav", "application/pdf",
)  # fmt: skip
"""What may be uploaded: formats that no browser runs as a page."""


class MediaNotFound(NotFound):
    """There is no such file that you may see; list your files to find their ids."""


class MediaInUse(Conflict):
    """This file is shown somewhere; take it out of the posts, projects and articles that show it first."""


class FileTypeRefused(Invalid):
    """Files of this type are not taken; convert it to an image, a video, a recording or a PDF."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FileFacts:
    """What is known of a file when it comes in; its type is read from its bytes, not believed."""

    filename: str
    file_type: str
    file_size_bytes: int
    usage_type: str | None = None


async def register_asset(
    session: AsyncSession, *, uploader: Principal, facts: FileFacts, provider: str, key: str | None = None,
    named: tuple[UUID, str] | None = None,
) -> MediaAsset:  # fmt: skip
    """Note a file of the person's and choose where its bytes lie; the same idempotency key returns the same row.

    The place in the store says nothing of the file's name or its owner. `named` is what `name_asset` said, where the
    bytes were written before: without a key it names another file each time. Raises `FileTypeRefused`.
    """
    asset_id, place = named or name_asset(uploader, facts, key)
    await session.execute(
        insert(MediaAsset)
        .values(
            tenant_id=TENANT, id=asset_id, uploaded_by=uploader.user_id, filename=facts.filename,
            file_type=facts.file_type, file_size_bytes=facts.file_size_bytes, storage_provider=provider,
            storage_key=place, usage_type=facts.usage_type,
        )
        .on_conflict_do_nothing(index_elements=(MediaAsset.tenant_id, MediaAsset.id))
    )  # fmt: skip
    return await get_asset(session, asset_id)


def name_asset(uploader: Principal, facts: FileFacts, key: str | None) -> tuple[UUID, str]:
    """Return the file's id, one for an idempotency key, and where its bytes lie; raises `FileTypeRefused`."""
    if facts.file_type not in FILE_TYPES:
        raise FileTypeRefused
    asset_id = name_id(uploader, "media", key)
    ending = re.sub(r"[^a-z0-9]", "", facts.file_type.rpartition("/")[2])
    return asset_id, f"media/{uploader.tenant_id}/{asset_id}.{ending}"


async def get_asset(session: AsyncSession, asset_id: UUID) -> MediaAsset:
    """Return the file's row, to its uploader and administrators; raises `MediaNotFound`."""
    row: MediaAsset | None = await session.scalar(
        select(MediaAsset).where(MediaAsset.id == asset_id), execution_options={"populate_existing": True}
    )
    if row is None:
        raise MediaNotFound
    return row


def select_assets(
    *, usage_type: str | None = None, status: str | None = None, unused: bool | None = None
) -> Select[Any]:
    """Return files; order it by `(uploaded_at, id)`."""
    query = select(MediaAsset)
    if usage_type is not None:
        query = query.where(MediaAsset.usage_type == usage_type)
    if status is not None:
        query = query.where(MediaAsset.processing_status == status)
    if unused is not None:
        query = query.where(MediaAsset.usage_count == 0 if unused else MediaAsset.usage_count > 0)
    return query


async def note_processing(session: AsyncSession, *, asset_id: UUID, status: str, **found: Any) -> None:  # noqa: ANN401  # columns of the row
    """Note how far the pipelines are with the file, and what they found out; raises `MediaNotFound`."""
    changed = await session.scalar(
        update(MediaAsset)
        .where(MediaAsset.id == asset_id)
        .values(processing_status=status, **found)
        .returning(MediaAsset.id)
        .execution_options(synchronize_session=False)
    )
    if changed is None:
        raise MediaNotFound


async def delete_asset(session: AsyncSession, asset_id: UUID) -> str:
    """Delete the row of a file that nothing shows and return its storage key; raises `MediaNotFound`, `MediaInUse`."""
    key: str | None = await session.scalar(
        delete(MediaAsset)
        .where(MediaAsset.id == asset_id)
        .returning(MediaAsset.storage_key)
        .execution_options(synchronize_session=False)
    )
    if key is None:
        await get_asset(session, asset_id)
        raise MediaInUse
    return key
