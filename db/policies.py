"""Row-level security: the few shapes of policy there are, as the DDL that migrations run.

Every policy reads the bound reader through scalar sub-selects, so PostgreSQL evaluates the settings once a
statement, not once a row. `current_setting` without `missing_ok` raises on a connection that nobody
bound: forgetting to bind can't return rows.
"""

from alembic import op

APP = "regenesis_app"

TENANT = "tenant_id = (SELECT current_setting('app.tenant_id')::uuid)"
USER = "(SELECT nullif(current_setting('app.user_id'), '')::uuid)"
ROLE = "(SELECT current_setting('app.role'))"
CLIENTS = "(SELECT string_to_array(current_setting('app.clients'), ',')::uuid[])::uuid[]"
VISIBILITIES = "(SELECT string_to_array(current_setting('app.visibilities'), ','))::text[]"

SYSTEM = f"{ROLE} = 'system'"
AUDIENCE = f"(client_id IS NULL AND (coach_id IS NULL OR coach_id = {USER})) OR client_id = ANY ({CLIENTS})"
"""Whom content is about: the whole tenant, the reader's clients (or the client), or the coach alone."""


def quoted(condition: str) -> str:
    """Return the condition as it stands inside a string literal of SQL."""
    return condition.replace("'", "''")


def _policy(table: str, name: str, command: str, using: str, *, restrictive: bool = False, to: str = "public") -> None:
    kind = "RESTRICTIVE" if restrictive else "PERMISSIVE"
    clauses = {
        "SELECT": f"USING ({using})",
        "INSERT": f"WITH CHECK ({using})",
        "UPDATE": f"USING ({using}) WITH CHECK ({using})",
        "DELETE": f"USING ({using})",
        "ALL": f"USING ({using}) WITH CHECK ({using})",
    }
    op.execute(f"CREATE POLICY {name} ON {table} AS {kind} FOR {command} TO {to} {clauses[command]}")


def isolate_tenants(table: str, *, column: str = "tenant_id", to: str = "public") -> None:
    """Bind the table, its owner included, to the reader's tenant; the pipelines may do all inside it."""
    op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
    op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
    _policy(table, "tenant_isolation", "ALL", TENANT.replace("tenant_id =", f"{column} ="), restrictive=True, to=to)
    _policy(table, "system_all", "ALL", SYSTEM, to=to)


def guard_content(table: str) -> None:
    """Content: the pipelines write it; a reader sees what visibility and audience allow."""
    isolate_tenants(table)
    _policy(table, "reader", "SELECT", f"visibility = ANY ({VISIBILITIES}) AND ({AUDIENCE})")


def guard_shared(table: str) -> None:
    """Configuration: everyone of the tenant reads it; the pipelines and the tenant's admin write it."""
    isolate_tenants(table)
    _policy(table, "reader", "SELECT", "true")
    _policy(table, "admin_all", "ALL", f"{ROLE} = 'admin'")


def guard_internal(table: str) -> None:
    """Machinery: nobody but the pipelines."""
    isolate_tenants(table)


def guard_private(table: str, *, insert_only: bool = False) -> None:
    """Personal: only the person whose `user_id` it bears reads and writes it; null belongs to the pipelines."""
    isolate_tenants(table)
    for command in ("SELECT", "INSERT") if insert_only else ("ALL",):
        _policy(table, f"own_{command.lower()}", command, f"user_id = {USER}")


def allow(table: str, name: str, command: str, condition: str, *, to: str = "public") -> None:
    """Let whoever meets the condition do this (SELECT, INSERT, UPDATE, DELETE or ALL) inside their tenant."""
    _policy(table, name, command, condition, to=to)


def name_row(table: str) -> str:
    """Return the noun of one row, as the log names it: `coaching.coaching_sessions` → `coaching_session`."""
    plural = table.rpartition(".")[2]
    for ending, singular in (("ies", "y"), ("sses", "ss"), ("uses", "us"), ("xes", "x"), ("ches", "ch"), ("ss", "ss")):
        if plural.endswith(ending):
            return plural.removesuffix(ending) + singular
    return plural if plural == "user_settings" else plural.removesuffix("s")


def audit_changes(table: str, *recorded: str, of: str | None = None, inserts: bool = True) -> None:
    """Leave an audit row for every row inserted, changed or deleted, in the same transaction.

    The row says which columns changed. Values are kept of numbers, booleans, ids and moments; of text and days only
    where the column is among `recorded`, so that the log holds no personal words and outlives an erasure. With `of`
    (columns, separated by commas), an update counts only when it sets one of these: what triggers count is no one's
    act. `inserts=False` leaves out rows that come with another, watched one. Called again for a table that got columns
    since, it watches those too.
    """
    arrays = (recorded, [column.strip() for column in of.split(",")] if of else ())
    listed = ", ".join("ARRAY[" + ", ".join(f"'{column}'" for column in array) + "]::text[]" for array in arrays)
    op.execute(f"SELECT governance.watch_table('{table}', '{name_row(table)}', {listed}, {inserts})")


def view_audit(schema: str) -> None:
    """Give the schema its view of the audit log, in the columns of seed 003; it shows what its reader may see."""
    op.execute(
        f"CREATE VIEW {schema}.audit_log WITH (security_invoker = true) AS SELECT id, occurred_at, "
        "actor_role AS actor_type, coalesce(actor_id::text, actor_role) AS actor_id, "
        "CASE WHEN actor_role <> 'owner' THEN tenant_id::text END AS actor_brand_id, action AS event_type, "
        "entity_type, entity_id::text AS entity_id, tenant_id::text AS brand_id, request_id::text AS request_id, "
        "coalesce(metadata, '{}') || jsonb_strip_nulls(jsonb_build_object('changes', changes)) AS details "
        f"FROM governance.audit_logs WHERE entity_schema = '{schema}'"
    )
    grant(f"{schema}.audit_log", "SELECT")


def guard_reading(table: str, condition: str, *, to: str = "public") -> None:
    """Let the tenant's people read the rows for which the condition holds."""
    _policy(table, "reader", "SELECT", condition, to=to)


def guard_where(table: str, condition: str) -> None:
    """Readable where the condition holds; written by the pipelines."""
    isolate_tenants(table)
    guard_reading(table, condition)


def allow_owner_lookup(table: str) -> None:
    """Let the owner's narrow look-up functions read across tenants; the app's role can't."""
    _policy(table, "owner_lookup", "SELECT", "true", to="regenesis_owner")


def isolate_owner_writes(table: str) -> None:
    """Hold what the owner's triggers change to the bound tenant, on a table of which the owner may read all."""
    for command in ("INSERT", "UPDATE", "DELETE"):
        _policy(table, f"owner_{command.lower()}", command, TENANT, restrictive=True, to="regenesis_owner")


def grant(table: str, privileges: str = "SELECT, INSERT, UPDATE, DELETE") -> None:
    """Give the app's role what it needs on the table."""
    op.execute(f"GRANT {privileges} ON {table} TO {APP}")
