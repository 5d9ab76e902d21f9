"""Receipts of erasures: what was there by counts and hashes, signed, in the database and beside it."""

import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID, uuid5

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from core.errors import Invalid, NotFound
from core.settings import Settings
from core.signing import SigningKey, is_signed, name_key
from core.storage import ObjectStore, StoreMissing, check_key, open_store
from db.models import DeletionRecord
from pipelines.privacy.subjects import ROOTS, Scope, SubjectKind

VERSION: Final = 1
FOLDER: Final = "receipts"
MOST_BYTES: Final = 256_000_000


class ReceiptNotFound(NotFound):
    """There is no such receipt; list the receipts to see their ids."""


class ReceiptUnreadable(Invalid):
    """This is no receipt of an erasure; give the JSON document as it was written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """What an erasure took: ids, counts and hashes, never a word. `stores` holds of each items, sha256, treatment."""

    id: UUID
    tenant_id: UUID
    request_id: UUID
    subject_kind: SubjectKind
    subject_id: UUID
    collected_at: datetime
    completed_at: datetime
    scope: Mapping[str, tuple[UUID, ...]]
    stores: Mapping[str, Mapping[str, Any]]
    signing_key: str
    public_key: bytes
    signature: bytes

    def body(self) -> dict[str, Any]:
        """Return what is signed."""
        return {
            "version": VERSION, "id": str(self.id), "tenant_id": str(self.tenant_id),
            "request_id": str(self.request_id), "subject_kind": self.subject_kind, "subject_id": str(self.subject_id),
            "collected_at": _moment(self.collected_at), "completed_at": _moment(self.completed_at),
            "scope": {root: [str(one) for one in ids] for root, ids in self.scope.items()},
            "stores": {name: dict(facts) for name, facts in self.stores.items()},
            "signing_key": self.signing_key, "public_key": self.public_key.hex(),
        }  # fmt: skip

    def to_json(self) -> dict[str, Any]:
        """Return the document that is handed out."""
        return self.body() | {"signature": self.signature.hex()}

    @property
    def is_signed(self) -> bool:
        """Whether the signature is of this document, by the key that the document names."""
        return name_key(self.public_key) == self.signing_key and is_signed(self.body(), self.signature, self.public_key)

    def to_scope(self) -> Scope:
        """Return the scope by which it is looked for what is left."""
        return Scope(
            tenant_id=self.tenant_id, kind=self.subject_kind, subject_id=self.subject_id,
            collected_at=self.collected_at, roots=self.scope,
        )  # fmt: skip


def _moment(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat()


def name_receipt(request_id: UUID) -> UUID:
    """Return the id of the request's one receipt."""
    return uuid5(request_id, "receipt")


def write_receipt(
    key: SigningKey, scope: Scope, request_id: UUID, stores: Mapping[str, Mapping[str, Any]], completed_at: datetime
) -> Receipt:
    """Return the signed receipt."""
    unsigned = Receipt(
        id=name_receipt(request_id), tenant_id=scope.tenant_id, request_id=request_id, subject_kind=scope.kind,
        subject_id=scope.subject_id, collected_at=scope.collected_at, completed_at=completed_at,
        scope=dict(scope.roots), stores=stores, signing_key=key.id, public_key=key.public, signature=b"",
    )  # fmt: skip
    return read_receipt(unsigned.body() | {"signature": key.sign(unsigned.body()).hex()})


def read_receipt(document: Mapping[str, Any]) -> Receipt:
    """Return the receipt the document is; raises `ReceiptUnreadable`. Its signature is another question."""
    try:
        if document["version"] != VERSION or not document["scope"].keys() <= ROOTS.keys():
            raise ReceiptUnreadable
        return Receipt(
            id=UUID(document["id"]), tenant_id=UUID(document["tenant_id"]), request_id=UUID(document["request_id"]),
            subject_kind=document["subject_kind"], subject_id=UUID(document["subject_id"]),
            collected_at=datetime.fromisoformat(document["collected_at"]),
            completed_at=datetime.fromisoformat(document["completed_at"]),
            scope={root: tuple(map(UUID, ids)) for root, ids in document["scope"].items()},
            stores={str(name): dict(facts) for name, facts in document["stores"].items()},
            signing_key=str(document["signing_key"]), public_key=bytes.fromhex(document["public_key"]),
            signature=bytes.fromhex(document["signature"]),
        )  # fmt: skip
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ReceiptUnreadable from error


async def store_receipt(session: AsyncSession, receipt: Receipt) -> None:
    """Keep the receipt in the database; storing it again changes nothing."""
    document = receipt.to_json()
    values = {
        "tenant_id": receipt.tenant_id, "id": receipt.id, "request_id": receipt.request_id,
        "subject_kind": receipt.subject_kind, "subject_id": receipt.subject_id,
        "started_at": receipt.collected_at, "completed_at": receipt.completed_at,
        "signing_key": receipt.signing_key, "signature": receipt.signature,
        "stores": {name: document[name] for name in ("version", "scope", "stores", "public_key")},
    }  # fmt: skip
    await session.execute(insert(DeletionRecord).values(values).on_conflict_do_nothing())


async def find_receipt(session: AsyncSession, request_or_receipt: UUID) -> Receipt | None:
    """Return the receipt with this id, or of this request, in the bound tenant; None where there is none."""
    r = DeletionRecord
    row = await session.scalar(select(r).where((r.id == request_or_receipt) | (r.request_id == request_or_receipt)))
    return None if row is None or row.request_id is None else read_record(row)


def read_record(row: DeletionRecord) -> Receipt:
    """Return the receipt that the row keeps."""
    return read_receipt(
        {
            **row.stores, "id": str(row.id), "tenant_id": str(row.tenant_id), "request_id": str(row.request_id),
            "subject_kind": row.subject_kind, "subject_id": str(row.subject_id),
            "collected_at": _moment(row.started_at), "completed_at": _moment(row.completed_at),
            "signing_key": row.signing_key, "signature": row.signature.hex(),
        }
    )  # fmt: skip


def receipts_store(settings: Settings) -> ObjectStore:
    """Return where copies of receipts lie: readable without any tenant's key, and after a restore of the database."""
    return open_store(settings.storage_url, settings.storage)


def name_object(tenant_id: UUID, request_id: UUID) -> str:
    """Return the key of the receipt's copy."""
    return check_key(f"{FOLDER}/{tenant_id}/{request_id}.json")


async def copy_receipt(store: ObjectStore, receipt: Receipt) -> str:
    """Write the receipt's copy into the object store and return its key."""
    key = name_object(receipt.tenant_id, receipt.request_id)
    await store.write(key, json.dumps(receipt.to_json(), indent=2, sort_keys=True).encode() + b"\n")
    return key


async def list_copies(store: ObjectStore) -> AsyncIterator[Receipt]:
    """Iterate over the copies in the object store, of all tenants; what is none is left out."""
    try:
        keys = [stored.key async for stored in store.list(f"{FOLDER}/")]
    except StoreMissing:
        return
    for key in sorted(keys):
        try:
            yield read_receipt(json.loads(await store.read(key, max_bytes=MOST_BYTES)))
        except (ReceiptUnreadable, ValueError):
            continue
