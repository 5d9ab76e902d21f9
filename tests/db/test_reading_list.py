"""Who read a thing is found by its index, however much else was read; the list goes with the months of its log."""

import json
from collections.abc import Iterator
from datetime import UTC, date, datetime
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from sqlalchemy import Select, select, text
from sqlalchemy.dialects import postgresql

from core.settings import Settings
from db.locate import owner_url
from db.models import AuditReading
from db.provision import to_libpq_url
from db.session import Principal, tenant_session, unbound_session
from domain.audit_entries import Filters, select_entries

ENTRIES = 20_000
FILL = """
    WITH entries AS (
        INSERT INTO governance.audit_logs (tenant_id, occurred_at, actor_id, actor_role, action, metadata, sequence, previous_hash, hash)
        SELECT %(tenant)s, now(), %(reader)s, 'coach', 'transcript_read', '{"surface": "api"}', n, '', ''
        FROM generate_series(1, %(entries)s) n RETURNING tenant_id, sequence, occurred_at)
    INSERT INTO governance.audit_readings (tenant_id, kind, target_id, sequence, occurred_at)
    SELECT e.tenant_id, k.kind, CASE WHEN e.sequence %% 1000 = 0 THEN k.rare ELSE uuidv7() END, e.sequence, e.occurred_at
    FROM entries e CROSS JOIN (VALUES ('transcript', %(rare)s::uuid), ('client', %(client)s::uuid)) AS k(kind, rare)
"""  # noqa: E501  # one statement


@pytest.fixture
def owner(store: Settings) -> Iterator[psycopg.Connection]:
    with psycopg.connect(to_libpq_url(owner_url(store)), autocommit=True) as connection:
        connection.execute("SET timezone = 'UTC'")
        yield connection


@pytest.fixture
def much(owner: psycopg.Connection) -> Iterator[tuple[UUID, UUID, UUID, UUID]]:
    """A tenant with many readings, the ids of what was read twenty times and of whom that was about, and the reader."""
    tenant, rare, client, reader = (uuid4() for _ in range(4))
    owner.execute(FILL, {"tenant": tenant, "rare": rare, "client": client, "reader": reader, "entries": ENTRIES})
    owner.execute("ANALYZE governance.audit_logs, governance.audit_readings")
    yield tenant, rare, client, reader
    owner.execute("SET session_replication_role = replica")
    for table in ("audit_logs", "audit_readings"):
        owner.execute(f"ALTER TABLE governance.{table} DISABLE TRIGGER keep")
        owner.execute(f"DELETE FROM governance.{table} WHERE tenant_id = %s", [tenant])  # our own names
        owner.execute(f"ALTER TABLE governance.{table} ENABLE ALWAYS TRIGGER keep")


def write_out(query: Select[Any]) -> str:
    """Return the query with its values in it, for `text`, which takes a colon for a parameter."""
    dialect = postgresql.dialect()  # type: ignore[no-untyped-call]  # SQLAlchemy leaves it untyped
    return str(query.compile(dialect=dialect, compile_kwargs={"literal_binds": True})).replace(":", r"\:")


def list_scans(plan: dict[str, Any]) -> Iterator[tuple[str, str, float]]:
    """Yield kind of scan, table, and the rows it gave or threw away."""
    if "Relation Name" in plan:
        rows = plan["Actual Rows"] + plan.get("Rows Removed by Filter", 0)
        yield plan["Node Type"], plan["Relation Name"], rows * plan["Actual Loops"]
    for inner in plan.get("Plans", ()):
        yield from list_scans(inner)


@pytest.mark.parametrize("case", ["a transcript", "a client", "both", "a client by a reader", "a client since"])
async def test_who_read_it_reads_no_table(much: tuple[UUID, UUID, UUID, UUID], case: str) -> None:
    tenant, rare, client, reader = much
    filters = {
        "a transcript": Filters(read_kind="transcript", read_id=rare), "a client": Filters(client_id=client),
        "both": Filters(read_kind="transcript", read_id=rare, client_id=client),
        "a client by a reader": Filters(client_id=client, actor_id=reader),
        "a client since": Filters(client_id=client, since=datetime(2020, 1, 1, tzinfo=UTC)),
    }[case]  # fmt: skip
    query, order = select_entries(filters)
    query = query.order_by(order.desc()).limit(51)
    async with tenant_session(Principal(tenant, "system")) as session:
        assert len(list(await session.scalars(query))) == ENTRIES // 1000
        explained = await session.scalar(text(f"EXPLAIN (ANALYZE, FORMAT JSON) {write_out(query)}"))
    assert isinstance(explained, list)
    scans = list(list_scans(explained[0]["Plan"]))
    assert {table.partition("_p2")[0] for _, table, _ in scans} == {"audit_logs", "audit_readings"} | {
        table for _, table, _ in scans if table.endswith("_default")
    }
    touched = sum(rows for _, _, rows in scans)
    assert touched < ENTRIES / 100, scans
    assert [table for kind, table, rows in scans if kind == "Seq Scan" and rows > 100] == []


async def test_a_month_of_the_list_goes_with_its_log(owner: psycopg.Connection) -> None:
    month, end = date(2021, 3, 1), date(2021, 4, 1)
    tenant, moment = uuid4(), datetime(2021, 3, 9, tzinfo=UTC)
    for table in ("audit_logs", "audit_readings"):
        owner.execute("SET ROLE regenesis_owner")
        owner.execute(
            f"CREATE TABLE governance.{table}_p2021_03 PARTITION OF governance.{table} "
            f"FOR VALUES FROM ('{month}') TO ('{end}')"
        )
    told = json.dumps({"surface": "api", "read": {"transcript": [str(uuid4())]}})
    owner.execute(
        "INSERT INTO governance.audit_pending (tenant_id, transaction_id, occurred_at, actor_role, action, metadata, "
        "waits) VALUES (%s, txid_current(), %s, 'coach', 'transcript_read', %s, false)",
        [tenant, moment, told],
    )

    async def prune() -> int:
        async with unbound_session() as session:
            return int(await session.scalar(text("SELECT governance.prune_readings()")) or 0)

    try:
        async with tenant_session(Principal(tenant, "system")) as session:
            assert len(list(await session.scalars(select(AuditReading)))) == 1
        assert await prune() == 0
        owner.execute("DROP TABLE governance.audit_logs_p2021_03")
        assert await prune() == 1
        assert await prune() == 0
        async with tenant_session(Principal(tenant, "system")) as session:
            assert list(await session.scalars(select(AuditReading))) == []
    finally:
        owner.execute("DROP TABLE IF EXISTS governance.audit_logs_p2021_03, governance.audit_readings_p2021_03")
        owner.execute("RESET ROLE")
        owner.execute("SET session_replication_role = replica")
        owner.execute("ALTER TABLE governance.audit_heads DISABLE TRIGGER keep")
        owner.execute("DELETE FROM governance.audit_heads WHERE tenant_id = %s", [tenant])
        owner.execute("ALTER TABLE governance.audit_heads ENABLE ALWAYS TRIGGER keep")
