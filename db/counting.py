"""Kept counts: the triggers that migrations attach where one table counts the rows of another.

They fire once a statement, see all its rows, and change each counted row by the difference, in the order of its key:
statements that meet on the same rows wait for each other and never deadlock. Only the counted row is locked.
"""

from collections.abc import Mapping

from alembic import op

Target = tuple[str, str, str, Mapping[str, str]]
"""The counted table, the column of it that is referenced, the column that refers to it, and condition by counter."""

_SOURCES = {
    "INSERT": (("added", 1),),
    "UPDATE": (("added", 1), ("gone", -1)),
    "DELETE": (("gone", -1),),
}
_REFERENCING = {
    "INSERT": "NEW TABLE AS added",
    "UPDATE": "NEW TABLE AS added OLD TABLE AS gone",
    "DELETE": "OLD TABLE AS gone",
}


def keep_counts(table: str, *targets: Target) -> None:
    """Count the rows of `table` in the targets' columns, from the next statement on.

    A condition reads the counting table's columns by their bare names. The table's owner needs a policy to change the
    counted rows.
    """
    schema, _, name = table.partition(".")
    branches = "ELS".join(
        f"IF TG_OP = '{event}' THEN\n{''.join(_write_loop(target, event) for target in targets)}" for event in _SOURCES
    )
    op.execute(
        f"CREATE FUNCTION {schema}.count_{name}() RETURNS trigger "
        "LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$\n"
        f"DECLARE\n    d record;\nBEGIN\n{branches}END IF;\nRETURN NULL;\nEND $$"
    )
    for event, referencing in _REFERENCING.items():
        op.execute(
            f"CREATE TRIGGER count_{event.lower()} AFTER {event} ON {table} REFERENCING {referencing} "
            f"FOR EACH STATEMENT EXECUTE FUNCTION {schema}.count_{name}()"
        )


def _write_loop(target: Target, event: str) -> str:
    counted, referenced, key, counters = target
    changes = " UNION ALL ".join(
        f"SELECT tenant_id, {key} AS counted, "
        + ", ".join(f"CASE WHEN {condition} THEN {step} ELSE 0 END AS {name}" for name, condition in counters.items())
        + f" FROM {source}"
        for source, step in _SOURCES[event]
    )
    sums = ", ".join(f"sum(s.{name}) AS {name}" for name in counters)
    differs = " OR ".join(f"sum(s.{name}) <> 0" for name in counters)
    updates = ", ".join(f"{name} = t.{name} + d.{name}" for name in counters)
    return (
        f"    FOR d IN SELECT s.tenant_id, s.counted, {sums} FROM ({changes}) s WHERE s.counted IS NOT NULL\n"
        f"        GROUP BY 1, 2 HAVING {differs} ORDER BY 2\n"
        f"    LOOP\n"
        f"        UPDATE {counted} t SET {updates} WHERE t.tenant_id = d.tenant_id AND t.{referenced} = d.counted;\n"
        f"    END LOOP;\n"
    )
