"""Writes docs/tables.md from the models, so that the page can't go out of date: `python -m db.document`."""

import inspect
from pathlib import Path

from sqlalchemy import Table
from sqlalchemy.orm import Mapper

import db.models  # noqa: F401  # fills the registry
from db.base import SCHEMAS, Base

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "tables.md"


def _reader(table: Table) -> str:
    if "tenant_id" not in table.columns:
        return "global"
    return "visibility and audience" if "visibility" in table.columns else "tenant"


def _keys(table: Table) -> str:
    names = [f"**{column.name}**" for column in table.primary_key]
    names += sorted(
        {column.name for key in table.foreign_keys for column in [key.parent]} - set(table.primary_key.columns.keys())
    )
    return ", ".join(names)


def _row(mapper: Mapper[object]) -> tuple[str, str]:
    table = mapper.local_table
    if not isinstance(table, Table):
        raise TypeError(f"{mapper.class_} is no table")
    path = Path(inspect.getsourcefile(mapper.class_) or "").relative_to(ROOT)
    line = inspect.getsourcelines(mapper.class_)[1]
    meaning = " ".join((inspect.getdoc(mapper.class_) or "").split())
    partition = table.dialect_options["postgresql"].get("partition_by") or ""
    link = f"[{path}:{line}](../{path}#L{line})"
    return table.fullname, f"| `{table.name}` | {meaning} | {_keys(table)} | {_reader(table)} | {partition} | {link} |"


def render_tables() -> str:
    """Return the page: one section a schema, one line a table."""
    rows = dict(_row(mapper) for mapper in Base.registry.mappers)
    lines = [
        "# Tables",
        "",
        "Generated from the models by `make docs`; what a row means is its class docstring.",
        "Bold: primary key; then the columns with foreign keys. *Read by* says which rule decides who reads a row:",
        "`tenant` is the reader's own organisation with the table's own policy, `visibility and audience` is content.",
    ]
    for schema in SCHEMAS:
        lines += [
            "",
            f"## {schema}",
            "",
            "| table | one row is | keys | read by | partitioned | model |",
            "|---|---|---|---|---|---|",
        ]
        lines += [rows[name] for name in sorted(rows) if name.startswith(f"{schema}.")]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(render_tables())
