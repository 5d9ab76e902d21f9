"""Proving a receipt: that it was signed here, and that today nothing is left of what it says was erased."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from core.settings import Settings, get_settings
from core.signing import load_signing_key
from db.session import Principal, tenant_session
from pipelines.privacy.erase import count_left
from pipelines.privacy.receipts import Receipt, ReceiptNotFound, find_receipt, read_receipt


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """What a look at a receipt and at all stores found; `left` counts by store, with the zeroes."""

    receipt: Receipt
    is_signed: bool
    """Whether the document is as it was signed."""
    is_ours: bool
    """Whether this installation's key signed it."""
    left: Mapping[str, int]

    @property
    def holds(self) -> bool:
        """Whether the receipt is true: signed here, and nothing is left anywhere."""
        return self.is_signed and self.is_ours and not any(self.left.values())

    def to_json(self) -> dict[str, Any]:
        """Return the finding by name."""
        return {
            "receipt_id": str(self.receipt.id), "request_id": str(self.receipt.request_id),
            "tenant_id": str(self.receipt.tenant_id), "holds": self.holds, "is_signed": self.is_signed,
            "is_ours": self.is_ours, "left": dict(self.left),
        }  # fmt: skip


async def verify_receipt(
    document_or_id: Mapping[str, Any] | UUID, *, tenant_id: UUID | None = None, settings: Settings | None = None
) -> Verification:
    """Check a receipt's signature and count what every store, archive and the object store hold of its scope today.

    An id, the receipt's or its request's, needs the tenant. Raises `ReceiptNotFound`, `ReceiptUnreadable`.
    """
    settings = settings or get_settings()
    if isinstance(document_or_id, UUID):
        receipt = await _load(document_or_id, tenant_id)
    else:
        receipt = read_receipt(document_or_id)
    scope = receipt.to_scope()
    left = await count_left(Principal(receipt.tenant_id, "system"), scope, settings)
    return Verification(
        receipt=receipt, is_signed=receipt.is_signed, is_ours=receipt.public_key == load_signing_key(settings).public,
        left=left,
    )  # fmt: skip


async def _load(id_: UUID, tenant_id: UUID | None) -> Receipt:
    if tenant_id is None:
        raise ReceiptNotFound(
            "A receipt is looked for in its organisation; name the organisation, or give the document."
        )
    async with tenant_session(Principal(tenant_id, "system")) as session:
        receipt = await find_receipt(session, id_)
    if receipt is None:
        raise ReceiptNotFound
    return receipt
