"""What must exist before the first migration: the database, its two roles and the vector extension."""

import psycopg
from psycopg import sql
from sqlalchemy.engine import URL, make_url

from core.errors import Invalid, Unavailable

OWNER = "regenesis_owner"
"""Owns every schema and table, can't sign in; migrations act as it. FORCE row-level security binds it too."""
APP = "regenesis_app"
"""What the product signs in as: owns nothing, is no superuser."""


class ServerUnreachable(Unavailable):
    """PostgreSQL does not answer; check REGENESIS_DB__URL and that the server is running."""


class VectorMissing(Invalid):
    """PostgreSQL has no vector extension; install pgvector 0.8 or newer on the server."""


def to_driver_url(url: str) -> URL:
    """Return the URL with the driver this product uses."""
    return make_url(url).set(drivername="postgresql+psycopg")


def to_libpq_url(url: str | URL) -> str:
    """Return the URL as PostgreSQL's own tools read it."""
    return make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)


def provision(admin_url: str, database: str) -> URL:
    """Create what is missing and return the URL of the database; safe to run again and at the same time.

    The admin must be allowed to create roles and databases. Raises `ServerUnreachable`, `VectorMissing`.
    """
    target = to_driver_url(admin_url).set(database=database)
    try:
        with psycopg.connect(to_libpq_url(admin_url), autocommit=True) as admin:
            # One at a time: CREATE ROLE and CREATE DATABASE have no IF NOT EXISTS.
            admin.execute("SELECT pg_advisory_lock(hashtext('regenesis.provision'))")
            for role, login in ((OWNER, "NOLOGIN"), (APP, "LOGIN")):
                if not admin.execute("SELECT FROM pg_roles WHERE rolname = %s", [role]).rowcount:
                    admin.execute(sql.SQL("CREATE ROLE {} {}").format(sql.Identifier(role), sql.SQL(login)))
            admin.execute(sql.SQL("GRANT {} TO CURRENT_USER").format(sql.Identifier(OWNER)))
            if not admin.execute("SELECT FROM pg_database WHERE datname = %s", [database]).rowcount:
                admin.execute(
                    sql.SQL("CREATE DATABASE {} OWNER {}").format(sql.Identifier(database), sql.Identifier(OWNER))
                )
        with psycopg.connect(to_libpq_url(target), autocommit=True) as admin:
            admin.execute("CREATE EXTENSION IF NOT EXISTS vector")
    except psycopg.errors.UndefinedFile as error:
        raise VectorMissing from error
    except psycopg.OperationalError as error:
        raise ServerUnreachable(
            f"PostgreSQL does not answer ({' '.join(str(error).split())[:200]}); "
            "check REGENESIS_DB__URL and that the server is running."
        ) from error
    return target
