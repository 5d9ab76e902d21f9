"""How `regenesis privacy erase` and `verify` do what they say."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

from cli.console import get_console
from cli.operator import get_user_id

if TYPE_CHECKING:
    from pipelines.privacy.forecast import Forecast
    from pipelines.privacy.receipts import Receipt
    from pipelines.privacy.subjects import SubjectKind
    from pipelines.privacy.verify import Verification


async def name_subject(
    tenant_slug: str, *, user: str | None, session_id: UUID | None, document_id: UUID | None
) -> "tuple[UUID, SubjectKind, UUID]":
    """Return the tenant and what of it was chosen, all of it where nothing else is."""
    from db.session import Principal, tenant_session
    from domain.platform import get_tenant_by_slug

    tenant = await get_tenant_by_slug(tenant_slug)
    if user is not None:
        async with tenant_session(Principal(tenant.id, "system")) as session:
            return tenant.id, "person", await get_user_id(session, user)
    if session_id is not None:
        return tenant.id, "session", session_id
    if document_id is not None:
        return tenant.id, "document", document_id
    return tenant.id, "tenant", tenant.id


def show_forecast(forecast: "Forecast", kind: str, subject_id: UUID) -> dict[str, Any]:
    """Return the forecast as JSON has it."""
    return {
        "subject_kind": kind, "subject_id": subject_id,
        "stores": {name: {"treatment": how, "rows": count} for name, (how, count) in forecast.counts.items()},
        "holds": [
            {"id": one.id, "subject_kind": one.subject_kind, "subject_id": one.subject_id, "reason": one.reason}
            for one in forecast.holds
        ],
    }  # fmt: skip


async def erase_chosen(
    tenant_id: UUID, kind: "SubjectKind", subject_id: UUID, *, reason: str | None
) -> "tuple[Receipt, str]":
    """Verify a request in the operator's name, carry it out, and return the receipt and where its copy lies.

    A request that is open already is the one that is carried out.
    """
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from core.settings import get_settings
    from db.session import Principal, tenant_session
    from domain.privacy import request_erasure, verify_as_operator
    from pipelines.privacy.erase import erase_subject
    from pipelines.privacy.receipts import name_object

    operator = Principal(tenant_id, "system")
    async with tenant_session(operator) as session:
        request = await request_erasure(session, operator, kind=kind, subject_id=subject_id, reason=reason)
        await verify_as_operator(session, request.id)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=get_console(stderr=True), transient=True) as progress:
        bar = progress.add_task("collect", total=None)

        async def show(step: str, number: int, total: int) -> None:
            progress.update(bar, description=step, completed=number, total=total)

        receipt = await erase_subject(tenant_id, request.id, on_step=show)
    return receipt, f"{get_settings().storage_url.rstrip('/')}/{name_object(tenant_id, request.id)}"


async def check_receipt(given: str, tenant_slug: str | None) -> "Verification":
    """Verify the receipt in the file, or of the id; raises `ReceiptNotFound`, `ReceiptUnreadable`."""
    from domain.platform import get_tenant_by_slug
    from pipelines.privacy.receipts import ReceiptNotFound
    from pipelines.privacy.verify import verify_receipt

    document = _read_file(Path(given.removeprefix("file://")))
    if document is not None:
        return await verify_receipt(document)
    try:
        receipt_id = UUID(given)
    except ValueError as error:
        raise ReceiptNotFound(f"{given!r} is neither a receipt's file nor an id; check the path.") from error
    tenant = await get_tenant_by_slug(tenant_slug) if tenant_slug is not None else None
    return await verify_receipt(receipt_id, tenant_id=tenant.id if tenant else None)


def _read_file(path: Path) -> dict[str, Any] | None:
    """Return what the file holds, None where there is no file; raises `ReceiptUnreadable`."""
    from pipelines.privacy.receipts import ReceiptUnreadable

    if not path.is_file():
        return None
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ReceiptUnreadable from error
    if not isinstance(document, dict):
        raise ReceiptUnreadable
    return document
