"""Holds what seeds 001 and 002 name against the models: `python -m tests.db.seed_coverage` prints the count.

`seeds/*.json` lists the seeds' tables as facts: columns with type and default, keys, checks (`column: value|value`, or
the columns a condition speaks of) and indexes (`columns [gin] [where columns]`). `seeds/rulings.toml` says where the
models depart on purpose, and why: `renamed` columns, and what is `ruled` otherwise.
"""

import json
import re
import tomllib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import CheckConstraint, Column, Index, Table, UniqueConstraint
from sqlalchemy.dialects import postgresql

import db.models  # noqa: F401  # fills the metadata
from db.base import Base

_POSTGRESQL = postgresql.dialect()  # type: ignore[no-untyped-call]  # SQLAlchemy leaves it untyped
FOLDER = Path(__file__).parent / "seeds"
FAMILIES = {
    "UUID": {"UUID"},
    "TEXT": {"TEXT", "VARCHAR"},
    "VARCHAR": {"TEXT", "VARCHAR"},
    "INT": {"INTEGER", "SMALLINT", "BIGINT"},
    "BIGINT": {"BIGINT"},
    "DECIMAL": {"NUMERIC"},
    "FLOAT": {"DOUBLE", "FLOAT", "NUMERIC"},
    "BOOLEAN": {"BOOLEAN"},
    "TIMESTAMPTZ": {"TIMESTAMP"},
    "TIMESTAMP": {"TIMESTAMP"},
    "DATE": {"DATE"},
    "TIME": {"TIME"},
    "JSONB": {"JSONB"},
    "INET": {"INET"},
    "TEXT[]": {"TEXT[]"},
}
SAME_DEFAULTS = {
    "NOW()": ("now()", "clock_timestamp()"),
    "gen_random_uuid()": ("uuidv7()", "gen_random_uuid()"),
    "TRUE": ("true",),
    "FALSE": ("false",),
}


@dataclass(frozen=True)
class Finding:
    """One thing a seed names: where, which kind, and what the models have otherwise (None: the same)."""

    seed: str
    kind: str
    name: str
    gap: str | None


@dataclass(frozen=True)
class Rulings:
    """Where the models depart on purpose."""

    tables: dict[str, str]
    renamed: dict[str, str]
    ruled: dict[str, str]


def read_rulings() -> Rulings:
    """Return the stated rulings."""
    found = tomllib.loads((FOLDER / "rulings.toml").read_text())
    return Rulings(found["tables"], found["renamed"], found["ruled"])


def list_findings() -> Iterator[Finding]:
    """Yield everything the seeds name, in their order."""
    rulings = read_rulings()
    for seed in ("001", "002"):
        for name, facts in json.loads((FOLDER / f"seed_{seed}.json").read_text()).items():
            yield from _compare(f"{seed}.{name}", name, facts, rulings)


def _compare(where: str, name: str, facts: dict[str, Any], rulings: Rulings) -> Iterator[Finding]:
    table = find_table(rulings.tables.get(name, name))
    if table is None:
        yield Finding(where, "table", where, "no such table")
        return
    yield Finding(where, "table", where, None)

    def ours(column: str) -> str:
        if f"{where}.{column}" in rulings.renamed:
            return rulings.renamed[f"{where}.{column}"]
        return "id" if column == facts["primary_key"] and "id" in table.columns else column

    def map_columns(listed: str) -> list[str]:
        return [ours(part.strip()) for part in listed.split(",") if part.strip()]

    for fact in facts["columns"].split("; "):
        column, _, rest = fact.partition(" ")
        yield Finding(where, "column", f"{where}.{column}", _column_gap(table.columns.get(ours(column)), rest))
    for column, target in facts.get("foreign_keys", {}).items():
        yield Finding(where, "reference", f"{where}.{column} ->", _reference_gap(table, ours(column), target, rulings))
    for listed in facts.get("unique", []):
        gap = None if _is_unique(table, map_columns(listed)) else "not unique"
        yield Finding(where, "unique", f"{where} unique ({listed})", gap)
    for fact in facts.get("checks", []):
        listed, _, values = fact.partition(": ")
        gap = _check_gap(table, map_columns(listed), values.split("|") if values else [])
        yield Finding(where, "check", f"{where} check ({listed})", gap)
    for fact in facts.get("indexes", []):
        columns, _, _ = fact.partition(" where ")
        gin = columns.endswith(" gin")
        gap = None if _is_indexed(table, map_columns(columns.removesuffix(" gin")), gin=gin) else "no such index"
        yield Finding(where, "index", f"{where} index ({fact})", gap)


def find_table(name: str) -> Table | None:
    """Return the table of this name, in whichever schema, or of this full name."""
    found = [table for table in Base.metadata.tables.values() if name in (table.name, table.fullname)]
    return found[0] if len(found) == 1 else None


def _column_gap(column: Column[Any] | None, fact: str) -> str | None:
    if column is None:
        return "no such column"
    wanted = fact.partition(" ")[0]
    actual = str(column.type.compile(dialect=_POSTGRESQL))
    if not _same_type(wanted, actual):
        return f"{actual} instead of {wanted}"
    if "not null" in fact and column.nullable:
        return "may be null"
    default = re.search(r"default (.+)$", fact)
    if default is not None and not _same_default(column, default.group(1)):
        return f"default {_default(column)} instead of {default.group(1)}"
    return None


def _same_type(wanted: str, actual: str) -> bool:
    kind, _, size = wanted.partition("(")
    if re.findall(r"^[A-Z]+(?:\[\])?", actual)[0] not in FAMILIES[kind]:
        return False
    # a text without a limit holds whatever a limited one would
    return "(" not in actual or not size or actual.partition("(")[2].replace(" ", "") == size


def _default(column: Column[Any]) -> str | None:
    if column.server_default is None:
        return None
    argument = column.server_default.arg  # type: ignore[attr-defined]  # every default of ours has one
    return str(getattr(argument, "text", argument)).strip()


def _same_default(column: Column[Any], wanted: str) -> bool:
    actual = (_default(column) or "").lower()
    literal = wanted.partition("::")[0].strip("'")
    allowed = SAME_DEFAULTS.get(wanted, (literal, f"'{literal}'"))
    return actual.partition("::")[0].replace(" ", "") in {value.lower().replace(" ", "") for value in allowed}


def _reference_gap(table: Table, column: str, target: str, rulings: Rulings) -> str | None:
    wanted, _, rule = target.partition(" ")
    name = rulings.tables.get(wanted, wanted)
    for key in table.foreign_key_constraints:
        if column in key.column_keys and key.referred_table.name == name.rsplit(".", 1)[-1]:
            actual = (key.ondelete or "").partition(" (")[0]
            same = actual == rule or {actual, rule} == {"", "RESTRICT"}
            return None if same else f"on delete {actual or 'refuse'}"
    return "no such reference"


def _is_unique(table: Table, columns: list[str]) -> bool:
    wanted = {"tenant_id", *columns} if "tenant_id" in table.columns else set(columns)
    keys = [{column.name for column in table.primary_key}]
    keys += [{c.name for c in key.columns} for key in table.constraints if isinstance(key, UniqueConstraint)]
    keys += [{c.name for c in index.columns} for index in table.indexes if index.unique]
    return wanted in keys


def _check_gap(table: Table, columns: list[str], values: list[str]) -> str | None:
    gaps: list[list[str]] = []
    for check in (item for item in table.constraints if isinstance(item, CheckConstraint)):
        text = str(check.sqltext)
        if not all(re.search(rf"\b{column}\b", text) for column in columns):
            continue
        if not values:
            return None
        actual = set(re.findall(r"'([^']*)'", text))
        if actual and " IN " in text:
            gaps.append(sorted(set(values) - actual))
    least = min(gaps, key=len, default=None)
    if least is None:
        return "no such check"
    return f"without {', '.join(least)}" if least else None


def _is_indexed(table: Table, columns: list[str], *, gin: bool) -> bool:
    if gin:
        return any(
            index.dialect_options["postgresql"]["using"] == "gin" and set(columns) <= _words(index)
            for index in table.indexes
        )
    lead = ["tenant_id"] if "tenant_id" in table.columns and columns != ["tenant_id"] else []
    wanted = [*lead, *columns]
    orders = [[column.name for column in table.primary_key]]
    orders += [[c.name for c in key.columns] for key in table.constraints if isinstance(key, UniqueConstraint)]
    orders += [_order(index) for index in table.indexes]
    return any(order[: len(wanted)] == wanted for order in orders)


def _words(index: Index) -> set[str]:
    return set(re.findall(r"\w+", " ".join(str(part) for part in index.expressions)))


def _order(index: Index) -> list[str]:
    return [re.findall(r"\w+", str(part).rsplit(".", 1)[-1])[0] for part in index.expressions]


def count_findings() -> Counter[tuple[str, str]]:
    """Return how many things of each kind are present, ruled otherwise, or missing."""
    ruled = read_rulings().ruled
    return Counter(
        (item.kind, "present" if item.gap is None else "ruled" if item.name in ruled else "missing")
        for item in list_findings()
    )


if __name__ == "__main__":
    counts = count_findings()
    for kind in ("table", "column", "reference", "unique", "check", "index"):
        print(kind.ljust(10), *(f"{state} {counts[kind, state]:4}" for state in ("present", "ruled", "missing")))  # noqa: T201  # its purpose
    known = read_rulings().ruled
    for item in list_findings():
        if item.gap is not None and item.name not in known:
            print(item.name, "|", item.gap)  # noqa: T201  # its purpose
