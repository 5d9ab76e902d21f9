"""How fast the store answers at the size seed 001 plans for, and what its guards cost."""

import asyncio
import json
import random
import re
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
import psycopg
from sqlalchemy import event
from sqlalchemy.engine import URL
from sqlalchemy.ext.asyncio import AsyncSession

from core.errors import Invalid
from core.settings import Settings
from db import migrate
from db.base import Base
from db.locate import app_url, owner_url
from db.provision import to_driver_url, to_libpq_url
from db.session import Principal, app_engine, close_store, tenant_session
from evaluation.store_patterns import PATTERNS, Pattern
from evaluation.store_tables import World
from evaluation.store_world import build_world

DATABASE: Final = "regenesis_bench_store"
CONNECTIONS: Final = (1, 8, 32)
SAMPLES: Final = 200
"""Different questions a pattern is measured with."""

BIG: Final = 10_000
"""Rows from which a table must not be read from end to end."""

_BIND: Final = "SELECT platform.bind_reader(%(tenant)s, %(user)s, %(role)s), set_config('app.context', '{}', true)"

Told = Callable[[str], None]


class SuperuserNeeded(Invalid):
    """Building the world needs a superuser, as triggers sleep meanwhile; name one in REGENESIS_DB__OWNER_URL."""


@dataclass(frozen=True, slots=True)
class Times:
    """Milliseconds of the statement alone, and at p95 of the whole transaction with its binding."""

    connections: int
    p50_ms: float
    p95_ms: float
    p99_ms: float
    bound_p95_ms: float
    per_second: float


@dataclass(frozen=True, slots=True)
class PatternReport:
    """One access pattern: its times, the cost of row-level security as a ratio of medians, and its plan."""

    name: str
    wanted_p95_ms: float | None
    times: list[Times]
    ratio_to_bare: float | None
    plan: list[str]
    big_scans: list[str]


@dataclass(frozen=True, slots=True)
class StoreReport:
    """Everything measured of one world."""

    users: int
    rows: dict[str, int]
    migrate_seconds: float
    build_seconds: float
    patterns: list[PatternReport]

    def to_json(self) -> dict[str, Any]:
        """Return it for programs."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Statement:
    """What a domain function sent to the database, and as whom: one statement for every pattern of reading."""

    principal: Principal
    parts: tuple[tuple[str, dict[str, Any]], ...]

    async def bind(self, connection: psycopg.AsyncConnection, *, guarded: bool = True) -> None:
        """Bind the connection as sessions do; or, unguarded, give a superuser the settings that statements read."""
        person = self.principal
        if guarded:
            values = {"tenant": person.tenant_id, "user": person.user_id, "role": person.role}
            await connection.execute(_BIND, values, prepare=True)
            return
        chosen = {"tenant_id": person.tenant_id, "user_id": person.user_id, "role": person.role, "context": "{}"}
        for name, value in chosen.items():
            await connection.execute("SELECT set_config(%s, %s, true)", [f"app.{name}", str(value)])


async def bench_store(
    settings: Settings, world: World, *, rounds: int = 5, keep: bool = False, told: Told = lambda _: None
) -> StoreReport:
    """Build the world in a database of its own, measure every pattern, and drop it unless it is to be kept.

    A kept world of the same size is used again. Raises `SuperuserNeeded`.
    """
    settings = settings.model_copy(update={"db": settings.db.model_copy(update={"name": DATABASE})})
    async with open_world(settings, world, keep=keep, told=told) as opened:
        statements = {
            pattern: [statement async for statement in capture(pattern, world, SAMPLES)] for pattern in PATTERNS
        }
        reports = []
        for pattern, asked in statements.items():
            told(f"measuring {pattern.name}")
            reports.append(await _measure(pattern, asked, opened, rounds))
        return StoreReport(
            world.users,
            opened.built.rows,
            round(opened.built.migrate_seconds, 2),
            round(opened.built.build_seconds, 1),
            reports,
        )


@dataclass(frozen=True, slots=True)
class Built:
    """What building took."""

    rows: dict[str, int]
    migrate_seconds: float
    build_seconds: float


@dataclass(frozen=True, slots=True)
class OpenWorld:
    """A database that holds a world: its addresses for a superuser and for the app, and what building it took."""

    admin: str
    app: str
    built: Built


@asynccontextmanager
async def open_world(
    settings: Settings, world: World, *, keep: bool, told: Told = lambda _: None
) -> AsyncIterator[OpenWorld]:
    """Yield a database that holds the world, with this loop's sessions going there."""
    target = owner_url(settings)
    built = await asyncio.to_thread(_build, target, world, told)
    await close_store()
    app_engine(settings)
    try:
        yield OpenWorld(to_libpq_url(target), to_libpq_url(to_driver_url(app_url(settings))), built)
    finally:
        await close_store()
        if not keep:
            _drop(target)


def _build(target: URL, world: World, told: Told) -> Built:
    with psycopg.connect(to_libpq_url(target)) as connection:
        if not connection.execute("SELECT rolsuper FROM pg_roles WHERE rolname = current_user").fetchone() == (True,):
            raise SuperuserNeeded
        known = connection.execute(
            "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = current_database()"
        ).fetchone()
    if known and known[0] and json.loads(known[0])["users"] == world.users:
        facts = json.loads(known[0])
        return Built(facts["rows"], facts["migrate_seconds"], facts["build_seconds"])
    _drop(target)
    started = time.perf_counter()
    migrate.upgrade(_create(target))
    migrated = time.perf_counter() - started
    rows: dict[str, int] = {}

    def hear(table: str, count: int) -> None:
        rows[table] = count
        told(f"{count:,} rows of {table}")

    with psycopg.connect(to_libpq_url(target)) as connection:
        seconds = build_world(connection, world, hear)
        built = Built(rows, migrated, seconds)
        note = json.dumps({"users": world.users, **asdict(built)}).replace("'", "''")
        connection.execute(f"COMMENT ON DATABASE {target.database} IS '{note}'")
    return built


def _create(target: URL) -> URL:
    from db.provision import provision

    return provision(to_libpq_url(target.set(database="postgres")), target.database or DATABASE)


def _drop(target: URL) -> None:
    with psycopg.connect(to_libpq_url(target.set(database="postgres")), autocommit=True) as connection:
        connection.execute(f"DROP DATABASE IF EXISTS {target.database} WITH (FORCE)")


async def capture(pattern: Pattern, world: World, samples: int) -> AsyncIterator[Statement]:
    """Yield what the pattern's function sends to the database, asked by different people for different things."""
    chance = random.Random(pattern.name)  # noqa: S311  # the same questions in every run
    for _ in range(samples):
        principal, ask = pattern.ask(world, chance)
        async with tenant_session(principal) as session:
            with _listen(session) as heard:
                await ask(session)
        if len(heard) != pattern.statements:
            raise AssertionError(f"{pattern.name} sent {len(heard)} statements instead of {pattern.statements}")
        yield Statement(principal, tuple(heard))


@contextmanager
def _listen(session: AsyncSession) -> Iterator[list[tuple[str, dict[str, Any]]]]:
    heard: list[tuple[str, dict[str, Any]]] = []
    connection = session.sync_session.connection()

    def hear(_conn: Any, _cursor: Any, sql: str, values: Any, *_rest: Any) -> None:  # noqa: ANN401  # SQLAlchemy's signature
        heard.append((sql, dict(values)))

    event.listen(connection, "before_cursor_execute", hear)
    try:
        yield heard
    finally:
        event.remove(connection, "before_cursor_execute", hear)


async def _measure(pattern: Pattern, statements: Sequence[Statement], opened: OpenWorld, rounds: int) -> PatternReport:
    guarded = [await _replay(statements, opened.app, number, rounds) for number in CONNECTIONS]
    ratio = None
    if pattern.comparable:
        # turn by turn, so that both meet the same machine
        bare = [
            Statement(one.principal, tuple((inline_tenant(sql, one.principal), values) for sql, values in one.parts))
            for one in statements
        ]
        pairs = [
            (await _replay(statements, opened.app, 1, 1), await _replay(bare, opened.admin, 1, 1, guarded=False))
            for _ in range(rounds)
        ]
        ratio = round(float(np.median([with_.p50_ms / without.p50_ms for with_, without in pairs])), 3)
    plan, scans = await explain(statements[0], opened.app)
    return PatternReport(pattern.name, pattern.wanted_p95_ms, guarded, ratio, plan, scans)


async def _replay(
    statements: Sequence[Statement], address: str, connections: int, rounds: int, *, guarded: bool = True
) -> Times:
    alone: list[float] = []
    whole: list[float] = []
    turns = iter(list(statements) * rounds)

    async def work() -> None:
        async with await psycopg.AsyncConnection.connect(address) as connection:
            for statement in turns:
                started = time.perf_counter()
                await statement.bind(connection, guarded=guarded)
                asked = time.perf_counter()
                for sql, values in statement.parts:
                    cursor = await connection.execute(sql, values, prepare=True)
                    await cursor.fetchall()
                alone.append(time.perf_counter() - asked)
                await connection.commit()
                whole.append(time.perf_counter() - started)

    started = time.perf_counter()
    await asyncio.gather(*(work() for _ in range(connections)))
    seconds = time.perf_counter() - started
    p50, p95, p99 = (round(float(value) * 1000, 3) for value in np.percentile(alone, (50, 95, 99)))
    return Times(
        connections, p50, p95, p99, round(float(np.percentile(whole, 95)) * 1000, 3), round(len(alone) / seconds, 1)
    )


def inline_tenant(sql: str, principal: Principal) -> str:
    """Return the statement with every table narrowed to the tenant by hand, for a reader whom no policy binds."""
    for table in Base.metadata.tables.values():
        narrowed = f"(SELECT * FROM {table.fullname} WHERE tenant_id = '{principal.tenant_id}')"
        name = re.escape(table.fullname)
        sql = re.sub(rf"\b(FROM|JOIN)\s+{name}\s+(?:AS\s+)?(?!WHERE|JOIN|LEFT|ON\b|ORDER|GROUP|LIMIT)([a-z_]\w*)",
                     rf"\1 {narrowed} AS \2", sql)  # fmt: skip
        sql = re.sub(rf"\b(FROM|JOIN)\s+{name}\b(?!\s+WHERE tenant_id = ')", rf"\1 {narrowed} AS {table.name}", sql)
        sql = re.sub(rf"\b{name}\.(\w+)", rf"{table.name}.\1", sql)
    return sql


async def explain(statement: Statement, address: str) -> tuple[list[str], list[str]]:
    """Return the plan's nodes, outermost first, and the big tables it reads from end to end."""
    async with await psycopg.AsyncConnection.connect(address) as connection:
        await statement.bind(connection)
        sql, values = statement.parts[0]
        cursor = await connection.execute(f"EXPLAIN (FORMAT JSON, VERBOSE) {sql}", values)
        row = await cursor.fetchone()
        sizes: dict[str, float] = dict(
            await (
                await connection.execute(
                    "SELECT n.nspname || '.' || c.relname, c.reltuples FROM pg_class c "
                    "JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind IN ('r', 'p', 'm')"
                )
            ).fetchall()
        )
    nodes = [node for node in _walk(row[0][0]["Plan"]) if node["Node Type"] != "Result"] if row else []
    shown = [
        " ".join(filter(None, (node["Node Type"], node.get("Index Name"), _relation(node) and f"on {_relation(node)}")))
        for node in nodes
    ]
    scans = [
        name
        for node in nodes
        if node["Node Type"] == "Seq Scan" and (name := _relation(node)) and sizes.get(name, 0) > BIG
    ]
    return shown, scans


def _relation(node: dict[str, Any]) -> str | None:
    return f"{node['Schema']}.{node['Relation Name']}" if "Relation Name" in node else None


def _walk(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    for child in node.get("Plans", []):
        yield from _walk(child)
