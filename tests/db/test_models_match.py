"""The database has what the models say also where Alembic does not look: checks, defaults, partial indexes."""

import re
from collections.abc import Iterator

import pytest
from sqlalchemy import CheckConstraint, Table, create_engine, text
from sqlalchemy.engine import Connection

import db.models  # noqa: F401  # fills the metadata
from core.settings import Settings
from db.base import Base
from db.locate import owner_url

TABLES = sorted(Base.metadata.tables.values(), key=lambda table: table.fullname)


@pytest.fixture(scope="module")
def connection(store: Settings) -> Iterator[Connection]:
    engine = create_engine(owner_url(store).set(drivername="postgresql+psycopg"))
    with engine.connect() as opened:
        yield opened
    engine.dispose()


def ask(connection: Connection, query: str) -> dict[str, dict[str, object]]:
    """Return name and value per table of a query for (table, name, value)."""
    found: dict[str, dict[str, object]] = {table.fullname: {} for table in TABLES}
    for table, name, value in connection.execute(text(query)):
        if table in found:
            found[table][name] = value
    return found


def list_checks(table: Table) -> dict[str, str]:
    return {
        str(check.name): str(check.sqltext)
        for check in table.constraints
        if isinstance(check, CheckConstraint) and check.name
    }


def list_values(condition: object) -> set[str]:
    return set(re.findall(r"'([a-z_]+)'", str(condition)))


def test_checks_are_the_same_and_hold_the_same_values(connection: Connection) -> None:
    stored = ask(
        connection,
        "SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint WHERE contype = 'c'",
    )
    for table in TABLES:
        modelled = list_checks(table)
        assert set(stored[table.fullname]) == set(modelled), table.fullname
        for name, condition in modelled.items():
            assert list_values(condition) == list_values(stored[table.fullname][name]), name


def test_defaults_are_the_same(connection: Connection) -> None:
    stored = ask(
        connection,
        "SELECT attrelid::regclass::text, attname, true FROM pg_attribute "
        "WHERE attnum > 0 AND NOT attisdropped AND (atthasdef OR attidentity <> '')",
    )
    for table in TABLES:
        modelled = {c.name for c in table.columns if hasattr(c.server_default, "arg") or c.computed is not None}
        assert set(stored[table.fullname]) == modelled, table.fullname


def test_indexes_are_partial_alike(connection: Connection) -> None:
    stored = ask(
        connection,
        "SELECT i.indrelid::regclass::text, c.relname, i.indpred IS NOT NULL "
        "FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid",
    )
    for table in TABLES:
        for index in table.indexes:
            partial = index.dialect_options["postgresql"]["where"] is not None
            assert stored[table.fullname][str(index.name)] == partial, index.name
