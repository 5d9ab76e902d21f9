"""Fills an empty database with the measured world, by COPY."""

import time
from collections.abc import Callable

import psycopg
from psycopg import sql

from db.counters import COUNTERS
from domain.analytics import VIEWS
from evaluation.store_tables import TENANT, Table, World, list_tables


def build_world(connection: psycopg.Connection, world: World, told: Callable[[str, int], None]) -> float:
    """Fill the migrated database and return the seconds it took; the connection must be a superuser's.

    Triggers sleep meanwhile, as they would count, audit and publish each of millions of rows; the counters are
    counted at the end. `told` hears of each table and its rows.
    """
    started = time.perf_counter()
    connection.execute("SET session_replication_role = replica")
    connection.execute("SET synchronous_commit = off")
    for table in list_tables(world):
        _copy(connection, table)
        told(table.name, table.rows)
    connection.execute("ANALYZE")
    connection.commit()
    for counter in COUNTERS:
        table_name, _, column = counter.column.rpartition(".")
        connection.execute(
            f"UPDATE {table_name} t SET {column} = ({counter.truth}) "
            f"WHERE tenant_id = %s AND {column} IS DISTINCT FROM ({counter.truth})",
            [TENANT],
        )
    connection.commit()
    connection.autocommit = True
    connection.execute("SET session_replication_role = DEFAULT")
    for view in VIEWS:
        connection.execute(sql.SQL("REFRESH MATERIALIZED VIEW {}").format(sql.Identifier("analytics", view)))
    connection.execute("VACUUM (ANALYZE)")
    connection.autocommit = False
    return time.perf_counter() - started


def _copy(connection: psycopg.Connection, table: Table) -> None:
    columns = dict(table.columns)
    if table.name != "platform.tenants":
        columns = {"tenant_id": lambda _: str(TENANT)} | columns
    command = sql.SQL("COPY {} ({}) FROM STDIN").format(
        sql.Identifier(*table.name.split(".")), sql.SQL(", ").join(map(sql.Identifier, columns))
    )
    values = list(columns.values())
    with connection.cursor() as cursor, cursor.copy(command) as copy:
        for number in range(table.rows):
            copy.write_row([value(number) for value in values])
