"""The access patterns in a world of more than 10,000 people: one statement each, and no big table read end to end."""

from collections.abc import AsyncIterator

import psycopg
import pytest

from core.settings import Settings
from db.base import Base
from db.counters import COUNTERS
from db.session import close_store
from evaluation.bench_store import DATABASE, capture, explain, inline_tenant, open_world
from evaluation.store_patterns import PATTERNS, READS, Pattern
from evaluation.store_tables import TENANT, World

pytestmark = pytest.mark.slow

WORLD = World(11_000)


@pytest.fixture(scope="module")
async def world(settings: Settings) -> AsyncIterator[tuple[str, str]]:
    """The addresses of the world for its superuser and for the app; this loop's sessions go there meanwhile."""
    await close_store()
    chosen = settings.model_copy(update={"db": settings.db.model_copy(update={"name": DATABASE})})
    async with open_world(chosen, WORLD, keep=False) as opened:
        yield opened.admin, opened.app


@pytest.mark.parametrize("pattern", READS, ids=lambda pattern: pattern.name)
async def test_no_big_table_is_read_end_to_end(pattern: Pattern, world: tuple[str, str]) -> None:
    async for statement in capture(pattern, WORLD, 3):
        plan, scans = await explain(statement, world[1])
        assert plan
        assert not scans, plan


@pytest.mark.parametrize("pattern", READS, ids=lambda pattern: pattern.name)
async def test_policies_change_no_row_of_a_pattern(pattern: Pattern, world: tuple[str, str]) -> None:
    """The figures compare like with like: the bare statement returns what the guarded one does."""
    async for statement in capture(pattern, WORLD, 3):
        ((sql, values),) = statement.parts
        bare = inline_tenant(sql, statement.principal)
        assert bare != sql
        found = []
        for address, query, guarded in ((world[1], sql, True), (world[0], bare, False)):
            async with await psycopg.AsyncConnection.connect(address) as connection:
                await statement.bind(connection, guarded=guarded)
                found.append(await (await connection.execute(query, values)).fetchall())
        assert found[0] == found[1]
        assert found[0], f"{pattern.name} found nothing to measure"


async def test_writing_and_counting_patterns_can_be_asked(world: tuple[str, str]) -> None:
    for pattern in PATTERNS:
        assert [statement async for statement in capture(pattern, WORLD, 1)], pattern.name


async def test_the_world_is_consistent(world: tuple[str, str]) -> None:
    """Triggers slept while it was filled, so its keys and counters are asked for here."""
    with psycopg.connect(world[0]) as connection:
        for counter in COUNTERS:
            counted, _, column = counter.column.rpartition(".")
            wrong = connection.execute(
                f"SELECT count(*) FROM {counted} t "
                f"WHERE {column} IS DISTINCT FROM ({counter.truth}) AND tenant_id = %s",
                [TENANT],
            ).fetchone()
            assert wrong == (0,), counter.column
        for table in Base.metadata.tables.values():
            for key in table.foreign_key_constraints:
                pairs = " AND ".join(
                    f"p.{element.column.name} = c.{name}"
                    for name, element in zip(key.column_keys, key.elements, strict=True)
                )
                present = " AND ".join(f"c.{name} IS NOT NULL" for name in key.column_keys)
                orphans = connection.execute(
                    f"SELECT count(*) FROM {table.fullname} c WHERE {present} "
                    f"AND NOT EXISTS (SELECT FROM {key.referred_table.fullname} p WHERE {pairs})"
                ).fetchone()
                assert orphans == (0,), f"{table.fullname} {key.column_keys}"
