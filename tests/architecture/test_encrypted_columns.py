"""One registry says which columns hold ciphertext, in the models and in the database alike, and nothing is left out."""

from sqlalchemy import LargeBinary, text

import db.models  # noqa: F401  # fills the metadata
from core.settings import Settings
from db.base import Base
from db.session import unbound_session

NO_CIPHERTEXT = {
    "content.content_approvals.content_hash": "a hash",
    "governance.archives.sha256": "a hash",
    "governance.audit_anchors.hash": "a hash",
    "governance.audit_anchors.previous_hash": "a hash",
    "governance.audit_heads.hash": "a hash",
    "governance.audit_logs.hash": "a hash",
    "governance.audit_logs.previous_hash": "a hash",
    "governance.data_exports.sha256": "a hash",
    "governance.deletion_records.signature": "a signature",
    "ingestion.erased_keys.key_hash": "a hash",
    "ingestion.erased_keys.source_hash": "a hash",
    "platform.encryption_keys.wrapped_key": "wrapped by the keyring, which rewraps it",
}
"""The columns of bytes that are no ciphertext of a tenant's `fields` key, and what they are instead."""


def list_bytes() -> dict[str, str | None]:
    return {
        f"{table.fullname}.{column.name}": column.comment
        for table in Base.metadata.tables.values()
        for column in table.columns
        if isinstance(column.type, LargeBinary)
    }


def test_every_column_of_bytes_is_encrypted_or_says_what_it_is() -> None:
    """Declare an encrypted column by `db.base.encrypted`, and comment it in its migration; list others here."""
    unsaid = {name for name, comment in list_bytes().items() if not (comment or "").startswith("encrypted, bound to ")}
    assert unsaid == set(NO_CIPHERTEXT)


async def test_the_database_has_the_same_registry(store: Settings) -> None:
    async with unbound_session() as session:
        rows = (await session.execute(text("SELECT * FROM platform.list_encrypted_columns()"))).all()
    found = {f"{row.table_name}.{row.column_name}": f"encrypted, bound to {row.bound_to}" for row in rows}
    assert found == {name: comment for name, comment in list_bytes().items() if name not in NO_CIPHERTEXT}
    for row in rows:
        assert row.bound_to in Base.metadata.tables[row.table_name].columns
