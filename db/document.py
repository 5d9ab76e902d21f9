"""Writes docs/tables.md and docs/diagrams from the models and the migrated database: `make docs`.

What a row means is the class docstring, who reads it is the policies' own condition: the pages can't say otherwise.
"""

import inspect
import re
from pathlib import Path

from sqlalchemy import Connection, Table, create_engine, text
from sqlalchemy.dialects import postgresql
from sqlalchemy.orm import Mapper

import db.models  # noqa: F401  # fills the registry
from db.base import SCHEMAS, Base

ROOT = Path(__file__).parent.parent
_POSTGRESQL = postgresql.dialect()  # type: ignore[no-untyped-call]  # SQLAlchemy leaves it untyped
PAGE = ROOT / "docs" / "tables.md"
DIAGRAMS = ROOT / "docs" / "diagrams"

RETENTION = {
    "chat.chat_messages": "with the conversation",
    "comms.notifications": "90 days",
    "comms.outbox": "90 days once delivered",
    "commerce.transactions": "7 years, then pseudonymous",
    "accounting.ledger_entries": "for ever",
    "community.messages": "12 months",
    "content.media_assets": "12 months unused",
    "governance.audit_logs": "3 years (money: 7), 12 months of them at hand",
    "governance.archives": "as their table's retention says; copies of money for ever",
    "governance.deletion_records": "for ever",
    "identity.sessions": "24 hours, 30 days at most",
    "identity.users": "30 days once deleted",
    "learning.programs": "30 days once deleted",
    "partners.partners": "30 days once deleted",
    "analytics.events": "12 months",
}
"""Seed 001 §10.1; everything else lives as long as what it belongs to, or the tenant's `retention_days`."""

_POLICIES = text(
    "SELECT schemaname || '.' || tablename AS name, cmd, qual, roles::text[] AS roles FROM pg_policies "
    "WHERE permissive = 'PERMISSIVE' AND cmd IN ('SELECT', 'ALL') AND schemaname = ANY (:schemas)"
)


def _describe(condition: str) -> str:
    """Return one policy's condition in words."""
    if "app.visibilities" in condition:
        return "visibility and audience"
    if condition == "true":
        return "everyone of the tenant"
    found = sorted(set(re.findall(r"'(client|coach|admin|executive|compliance|evaluator)'", condition)))
    words = [", ".join(found)] if found else []
    if "app.user_id" in condition:
        words.append("whom it belongs to")
    if "app.clients" in condition:
        words.append("coaches of the client")
    if "EXISTS" in condition and not words:
        words.append("who may read what it hangs on")
    return " and ".join(words) or "by rule"


def list_readers(connection: Connection) -> dict[str, str]:
    """Return, per table, who beside the pipelines may read its rows."""
    readers: dict[str, set[str]] = {}
    for row in connection.execute(_POLICIES, {"schemas": list(SCHEMAS)}):
        listed = readers.setdefault(row.name, set())
        if "regenesis_owner" not in row.roles and "= 'system'" not in row.qual:
            listed.add(_describe(row.qual))
    return {name: "; ".join(sorted(words)) or "the pipelines alone" for name, words in readers.items()}


def _keys(table: Table) -> str:
    names = [f"**{column.name}**" for column in table.primary_key]
    names += sorted(
        {column.name for key in table.foreign_keys for column in [key.parent]} - set(table.primary_key.columns.keys())
    )
    return ", ".join(names)


def _table_of(mapper: Mapper[object]) -> Table:
    if not isinstance(mapper.local_table, Table):
        raise TypeError(f"{mapper.class_} is no table")
    return mapper.local_table


def _row(mapper: Mapper[object], readers: dict[str, str]) -> str:
    table = _table_of(mapper)
    path = Path(inspect.getsourcefile(mapper.class_) or "").relative_to(ROOT)
    line = inspect.getsourcelines(mapper.class_)[1]
    meaning = " ".join((inspect.getdoc(mapper.class_) or "").split())
    seeds = ", ".join(dict.fromkeys(re.findall(r"00[0-4](?: §[\d.]+| store \d+)?", meaning))) or "ours"
    partition = table.dialect_options["postgresql"].get("partition_by")
    cells = (
        f"`{table.name}`",
        meaning.replace("|", "\\|") + (f" *Partitioned: {partition}.*" if partition else ""),
        _keys(table),
        readers.get(table.fullname, "global"),
        RETENTION.get(table.fullname, ""),
        seeds,
        f"[{path}:{line}](../{path}#L{line})",
    )
    return f"| {' | '.join(cells)} |"


def render_tables(connection: Connection) -> str:
    """Return the page: one section a schema, one line a table."""
    readers = list_readers(connection)
    rows = {_table_of(mapper).fullname: _row(mapper, readers) for mapper in Base.registry.mappers}
    lines = [
        "# Tables",
        "",
        "Generated from the models and the migrated database by `make docs`; what a row means is its class docstring.",
        "Bold: primary key; then the columns with foreign keys. *Read by*: whom row-level security lets read a row,",
        "beside the pipelines. *Kept* is empty where rows live as long as what they belong to. Each schema",
        "has a [diagram](diagrams).",
    ]
    for schema in SCHEMAS:
        lines += [
            "",
            f"## {schema}",
            "",
            "| table | one row is | keys | read by | kept | seed | model |",
            "|---|---|---|---|---|---|---|",
        ]
        lines += [rows[name] for name in sorted(rows) if name.startswith(f"{schema}.")]
    return "\n".join(lines) + "\n"


def render_diagram(schema: str) -> str:
    """Return the page with the schema's entities and how they refer to each other and to others."""
    tables = sorted((t for t in Base.metadata.tables.values() if t.schema == schema), key=lambda t: t.name)
    lines = [
        f"# {schema}",
        "",
        "Generated by `make docs`. Every key also holds `tenant_id`, left out here, as are columns that are no keys.",
        "",
        "```mermaid",
        "erDiagram",
    ]
    for table in tables:
        keys = {column.name for column in table.primary_key} - {"tenant_id"}
        others = {key.parent.name for key in table.foreign_keys} - keys - {"tenant_id"}
        columns = [f"{_kind(table, name)} {name} PK" for name in sorted(keys)]
        columns += [f"{_kind(table, name)} {name} FK" for name in sorted(others)]
        lines.append(f"    {table.name} {{ {' '.join(columns)} }}" if columns else f"    {table.name}")
    for table in tables:
        for key in sorted(table.foreign_key_constraints, key=lambda k: sorted(k.column_keys)):
            target, columns = key.referred_table, [name for name in key.column_keys if name != "tenant_id"]
            if not columns or target.fullname == "platform.tenants":
                continue
            optional = "|o" if any(table.columns[name].nullable for name in columns) else "||"
            other = target.name if target.schema == schema else f'"{target.fullname}"'
            lines.append(f"    {other} {optional}--o{{ {table.name} : {columns[0]}")
    return "\n".join([*lines, "```", ""])


def _kind(table: Table, column: str) -> str:
    return re.sub(r"\W.*", "", str(table.columns[column].type.compile(dialect=_POSTGRESQL))).lower()


def write_pages() -> None:
    """Write all pages."""
    from core.settings import get_settings
    from db import migrate
    from db.locate import owner_url

    url = owner_url(get_settings())
    migrate.upgrade(url)
    engine = create_engine(url.set(drivername="postgresql+psycopg"))
    with engine.connect() as connection:
        PAGE.write_text(render_tables(connection))
    engine.dispose()
    DIAGRAMS.mkdir(exist_ok=True)
    for schema in SCHEMAS:
        (DIAGRAMS / f"{schema}.md").write_text(render_diagram(schema))


if __name__ == "__main__":
    write_pages()
