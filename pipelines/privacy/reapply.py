"""After a restore from an older backup: erasing again what was erased since, before anybody is let in."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from core.errors import Unavailable
from core.logging import get_logger
from core.settings import Settings, get_settings
from core.signing import load_signing_key
from db.session import Principal, tenant_session
from pipelines.privacy.erase import erase_subject
from pipelines.privacy.receipts import Receipt, list_copies, receipts_store
from rag.embedding import Embedder

log = get_logger("pipelines.privacy")


class ReceiptForged(Unavailable):
    """A receipt in the object store was not signed by this installation; look at it before the service opens."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reapplied:
    """What became of the receipts since the backup: erased again, of organisations that the backup does not hold."""

    erased: tuple[UUID, ...]
    skipped: tuple[UUID, ...]


async def reapply_erasures(
    since: datetime, *, settings: Settings | None = None, embedder: Embedder | None = None
) -> Reapplied:
    """Erase again, in all organisations, what receipts completed at or after this moment say; receipts stay the same.

    Safe to kill and to repeat. Raises `ReceiptForged`, so that nothing opens on a receipt that nobody signed, and what
    `erase_subject` raises.
    """
    settings = settings or get_settings()
    ours = load_signing_key(settings).public
    erased, skipped = list[UUID](), list[UUID]()
    async for receipt in list_copies(receipts_store(settings)):
        if not receipt.is_signed or receipt.public_key != ours:
            raise ReceiptForged(
                f"The receipt {receipt.id} was not signed by this installation; look at it before the service opens."
            )
        if receipt.completed_at < since:
            continue
        async with tenant_session(Principal(receipt.tenant_id, "system")) as session:
            is_there = await _ask_again(session, receipt)
        if not is_there:
            skipped.append(receipt.id)
            continue
        await erase_subject(
            receipt.tenant_id, receipt.request_id, settings=settings, embedder=embedder, receipt=receipt
        )
        erased.append(receipt.id)
        log.info("an erasure was done again", tenant_id=str(receipt.tenant_id), receipt_id=str(receipt.id))
    return Reapplied(erased=tuple(erased), skipped=tuple(skipped))


async def _ask_again(session: AsyncSession, receipt: Receipt) -> bool:
    """Put the receipt's request back, verified as it was; False where its organisation is not in this database."""
    if not await session.scalar(text("SELECT true FROM platform.tenants WHERE id = :id"), {"id": receipt.tenant_id}):
        return False
    values = {
        "tenant": receipt.tenant_id, "id": receipt.request_id, "kind": receipt.subject_kind,
        "subject": receipt.subject_id,
    }  # fmt: skip
    await session.execute(
        text("DELETE FROM governance.erasure_scopes WHERE request_id = :id"), {"id": receipt.request_id}
    )
    await session.execute(
        text("DELETE FROM governance.erasure_steps WHERE request_id = :id"), {"id": receipt.request_id}
    )
    await session.execute(
        text("""
        INSERT INTO governance.deletion_requests (tenant_id, id, subject_kind, subject_id, status, verified_at)
        VALUES (:tenant, :id, :kind, :subject, 'verified', now())
        ON CONFLICT (tenant_id, id) DO UPDATE SET status = 'verified', verified_at = now(), completed_at = NULL,
            refused_at = NULL, refusal_reason = NULL"""),
        values,
    )
    return True
