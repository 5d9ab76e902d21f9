"""One table's rows about a subject, and what becomes of them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

import db.models  # noqa: F401  # fills the metadata
from db.base import Base
from pipelines.privacy.subjects import Scope

Treatment = Literal["delete", "blank", "keep"]
"""Rows about the subject go; stay with `blank` written into these columns; or stay, as `reason` says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Store:
    """One table's rows about a subject; conditions are SQL on its alias `t`, bound by `Scope.values`.

    `about` is empty where no row is about anybody. `left` narrows it, of blanked rows, to those that are not blanked.
    """

    table: str
    part: str = ""
    about: str = ""
    treatment: Treatment = "delete"
    blank: Mapping[str, str] = field(default_factory=dict)
    left: str = ""
    kept: Mapping[str, str] = field(default_factory=dict)
    """Columns with words that stay in a kept row, each with the reason."""
    reason: str = ""
    with_tenant: Treatment = "delete"
    """What becomes of all rows when the whole tenant is erased."""
    by: Literal["app", "function", "cascade"] = "app"
    """Who does it: the app's role, a function of migration 0027, or the deletion of what the rows hang on."""

    @property
    def name(self) -> str:
        """The name in receipts: the table's, and its part."""
        return f"{self.table}:{self.part}" if self.part else self.table

    def condition(self, scope: Scope, *, left: bool = False) -> str | None:
        """Return which rows are about the subject, or are left to be erased; None where none can be."""
        if scope.kind == "tenant":
            # The table's first entry speaks for all of its rows.
            if self.part or self.with_tenant == "keep":
                return None
            return self._narrow() if left and self.with_tenant == "blank" else "true"
        if not self.about or (left and self.treatment == "keep"):
            return None
        return f"({self.about}) AND ({self._narrow()})" if left and self.treatment == "blank" else self.about

    def _narrow(self) -> str:
        return self.left or " OR ".join(f"t.{column} IS DISTINCT FROM {value}" for column, value in self.blank.items())

    def key(self) -> str:
        """Return the SQL of one row's key in this tenant, as it is hashed."""
        columns = [column.name for column in Base.metadata.tables[self.table].primary_key if column.name != "tenant_id"]
        named = {"created_at", "occurred_at", "date", "user_id"} if len(columns) > 1 and "id" in columns else set()
        return "concat_ws('/', " + ", ".join(f"t.{one}" for one in columns or ["tenant_id"] if one not in named) + ")"


CODES: Final = "one of a closed list, or a number or code without a person"


def names(*columns: str, root: str = "persons") -> str:
    """Return the condition that one of the columns names one of the scope's ids."""
    return " OR ".join(f"t.{column} = ANY (:{root})" for column in columns)


def hangs_on(column: str, table: str, condition: str) -> str:
    """Return the condition that the column names a row of the table, `o`, for which the other holds."""
    return f"t.{column} IN (SELECT o.id FROM {table} o WHERE {condition})"


def nobodys(table: str, reason: str, *, with_tenant: Treatment = "delete") -> Store:
    """Return the entry of a table whose rows are about nobody."""
    return Store(table=table, treatment="keep", reason=reason, with_tenant=with_tenant)
