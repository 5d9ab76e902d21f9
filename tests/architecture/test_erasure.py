"""No table and no column escapes an erasure unseen."""

from collections.abc import Iterator

import psycopg
import pytest
from sqlalchemy import ARRAY, LargeBinary, String
from sqlalchemy.dialects.postgresql import INET, JSONB, TSVECTOR

import db.models  # noqa: F401  # fills the metadata
from core.settings import Settings
from db.base import Base
from db.locate import owner_url
from db.provision import APP, to_libpq_url
from pipelines.privacy.stores import STORES

WORDY = (String, LargeBinary, JSONB, INET, TSVECTOR)
TABLES = {name: table for name, table in Base.metadata.tables.items() if "tenant_id" in table.columns}


def may_hold_words(kind: object) -> bool:
    return isinstance(kind, WORDY) or (isinstance(kind, ARRAY) and isinstance(kind.item_type, String))


def test_every_table_of_a_tenant_is_a_store() -> None:
    assert sorted(TABLES.keys() - {store.table for store in STORES}) == []
    assert sorted({store.table for store in STORES} - TABLES.keys()) == ["platform.tenants"]


def test_stores_have_names_of_their_own() -> None:
    names = [store.name for store in STORES]
    assert len(names) == len(set(names))
    first = {store.table: store.part for store in reversed(STORES)}
    assert [table for table, part in first.items() if part] == []  # a part follows its table's first entry


def test_every_word_of_a_kept_row_is_blanked_or_explained() -> None:
    silent = [
        f"{store.name}.{column.name}"
        for store in STORES
        if store.about and store.treatment != "delete"
        for column in TABLES[store.table].columns
        if may_hold_words(column.type) and column.name not in store.blank and column.name not in store.kept
    ]
    assert silent == []


def test_a_store_that_is_kept_says_why() -> None:
    assert [store.name for store in STORES if store.treatment == "keep" and not store.reason] == []
    unknown = [
        f"{store.name}.{column}"
        for store in STORES
        if store.table in TABLES
        for column in (*store.blank, *store.kept)
        if column not in {one.name for one in TABLES[store.table].columns}
    ]
    assert unknown == []


def test_every_reference_to_a_person_is_seen() -> None:
    """A column that names a person is in the conditions of its table, or only says who did something to the row."""
    by = {
        "cancelled_by", "checked_in_by", "created_by", "decided_by", "editorial_reviewer_id", "brand_reviewer_id",
        "final_approver_id", "granted_by", "graded_by", "issued_by", "moderated_by", "placed_by", "rejected_by",
        "refused_by", "released_by", "requested_by", "reviewed_by", "submitted_by", "uploaded_by", "verified_by",
    }  # fmt: skip
    blind = []
    for name, table in TABLES.items():
        conditions = " ".join(store.about for store in STORES if store.table == name)
        for key in table.foreign_key_constraints:
            if key.referred_table.fullname != "identity.users":
                continue
            blind += [
                f"{name}.{column.name}"
                for column in key.columns
                if column.name not in {"tenant_id", *by} and f"t.{column.name}" not in conditions
            ]
    inherited = {"client_id", "coach_id", "speaker_id", "holder_id"}
    assert [one for one in blind if one.rpartition(".")[2] not in inherited] == EXPLAINED


EXPLAINED = ["events.events.organizer_id", "learning.programs.instructor_id"]
"""Who stands for the organisation's event or program: a pseudonym in a row of the organisation."""


@pytest.fixture(scope="module")
def owner(store: Settings) -> Iterator[psycopg.Connection]:
    with psycopg.connect(to_libpq_url(owner_url(store)), autocommit=True) as connection:
        yield connection


def test_the_app_may_delete_what_it_is_to_delete(owner: psycopg.Connection) -> None:
    def may(table: str, privilege: str) -> bool:
        row = owner.execute("SELECT has_table_privilege(%s, %s, %s)", [APP, table, privilege]).fetchone()
        return bool(row and row[0])

    mine = [store for store in STORES if store.by == "app"]
    assert [s.name for s in mine if s.treatment == "delete" and not may(s.table, "DELETE")] == []
    others = [store for store in STORES if store.by == "function" and store.treatment == "delete"]
    assert [s.name for s in others if may(s.table, "DELETE")] == []  # one that may needs no function
