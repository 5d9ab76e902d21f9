"""What every table shares: names, the tenant key, and who a row is about."""

from datetime import datetime
from typing import Any, ClassVar
from uuid import UUID

from sqlalchemy import (
    CheckConstraint,
    DateTime,
    ForeignKey,
    ForeignKeyConstraint,
    LargeBinary,
    MetaData,
    Text,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, MappedColumn, declarative_mixin, mapped_column

SCHEMAS = (
    "platform", "identity", "coaching", "ingestion", "rag", "chat", "governance", "comms", "commerce", "accounting",
    "learning", "community", "content", "events", "partners", "evidence", "evaluation", "analytics",
)  # fmt: skip
"""Every PostgreSQL schema the product owns, in the order migrations create them."""

VISIBILITIES = ("client_visible", "coach_only", "admin_aggregate", "system_internal")

NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}


class Base(DeclarativeBase):
    """The root of all tables."""

    metadata = MetaData(naming_convention=NAMING)
    type_annotation_map: ClassVar[dict[Any, Any]] = {
        str: Text,
        datetime: DateTime(timezone=True),
        dict[str, Any]: JSONB,
        list[Any]: JSONB,
    }


def one_of(column: str, values: tuple[str, ...], name: str | None = None) -> CheckConstraint:
    """Return a check that holds a text column to a closed list."""
    listed = ", ".join(f"'{value}'" for value in values)
    return CheckConstraint(f"{column} IN ({listed})", name=name or column)


def encrypted(bound_to: str = "id") -> MappedColumn[Any]:
    """Return a column that holds ciphertexts of the tenant's `fields` key, each bound to the row by this column.

    The comment is the one registry of encrypted columns, here and in the database: rotation finds them by it.
    """
    return mapped_column(LargeBinary, comment=f"encrypted, bound to {bound_to}")


def tenant_fk(columns: str | tuple[str, ...], target: str, *, ondelete: str | None = None) -> ForeignKeyConstraint:
    """Return a foreign key that can't leave the tenant: `(tenant_id, x_id)` → `(tenant_id, id)`.

    `columns` are those beside tenant_id; `target` is `schema.table` or `schema.table(column, …)`.
    `SET NULL` empties the named columns only, never tenant_id.
    """
    own = (columns,) if isinstance(columns, str) else columns
    table, _, listed = target.removesuffix(")").partition("(")
    others = tuple(part.strip() for part in listed.split(",")) if listed else ("id",)
    if ondelete == "SET NULL":
        ondelete = f"SET NULL ({', '.join(own)})"
    return ForeignKeyConstraint(
        ("tenant_id", *own), [f"{table}.{column}" for column in ("tenant_id", *others)], ondelete=ondelete
    )


@declarative_mixin
class TenantScoped:
    """A row of one tenant: tenant_id comes first in its primary key."""

    tenant_id: Mapped[UUID] = mapped_column(
        ForeignKey("platform.tenants.id", ondelete="CASCADE"), primary_key=True, sort_order=-20
    )


@declarative_mixin
class TenantRow(TenantScoped):
    """A row of one tenant with an id of its own; ids sort by the time they were made (UUID version 7)."""

    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=text("uuidv7()"), sort_order=-10)


@declarative_mixin
class Audience:
    """Content: who may read it (`visibility`) and whom it is about (both null: the whole tenant)."""

    visibility: Mapped[str] = mapped_column(sort_order=80)
    client_id: Mapped[UUID | None] = mapped_column(sort_order=81)
    coach_id: Mapped[UUID | None] = mapped_column(sort_order=82)


def audience_args(*others: Any) -> tuple[Any, ...]:  # noqa: ANN401  # whatever __table_args__ takes
    """Return the table arguments of content: closed visibility, audience inside the tenant, and `others`."""
    return (
        one_of("visibility", VISIBILITIES),
        tenant_fk("client_id", "identity.users"),
        tenant_fk("coach_id", "identity.users"),
        *others,
    )


@declarative_mixin
class Timestamped:
    """A row that says when it was made and last changed."""

    created_at: Mapped[datetime] = mapped_column(server_default=func.now(), sort_order=90)
    updated_at: Mapped[datetime] = mapped_column(server_default=func.now(), onupdate=func.now(), sort_order=91)
