"""Adding many rows at once to an empty store costs the same for the last as for the first."""

from collections.abc import Iterator

import psycopg
import pytest
from sqlalchemy.engine import URL

from core.settings import Settings
from db import migrate
from db.embedded import start_embedded
from db.provision import provision, to_libpq_url

PEOPLE = 1000


@pytest.fixture
def fresh_database(settings: Settings) -> Iterator[URL]:
    admin = start_embedded(settings.postgres_folder)
    yield provision(admin, "bulk_plans")
    with psycopg.connect(admin, autocommit=True) as connection:
        connection.execute("DROP DATABASE bulk_plans WITH (FORCE)")


def test_many_people_of_one_transaction_are_each_found_by_key(fresh_database: URL) -> None:
    migrate.upgrade(fresh_database)
    with psycopg.connect(to_libpq_url(fresh_database)) as connection:
        connection.execute(
            "WITH tenant AS (INSERT INTO platform.tenants (slug, name) VALUES ('bulk', 'Bulk') RETURNING id) "
            "SELECT set_config('app.tenant_id', id::text, true) FROM tenant"
        )
        with connection.cursor() as cursor:
            cursor.executemany(
                "INSERT INTO identity.users (tenant_id, email, full_name, role) "
                "VALUES (current_setting('app.tenant_id')::uuid, %s, 'Someone', 'client')",
                [[f"person{number}@bulk.example"] for number in range(PEOPLE)],
            )
        read = connection.execute(
            "SELECT seq_tup_read + idx_tup_fetch FROM pg_stat_xact_user_tables WHERE relid = 'identity.users'::regclass"
        ).fetchone()
        connection.rollback()
    assert read is not None
    # Roles, settings and profile look for their person once each.
    assert 0 < read[0] <= 5 * PEOPLE
