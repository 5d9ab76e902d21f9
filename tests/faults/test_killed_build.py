"""A build that is killed with signal 9 at any point is completed by the next one, with nothing lost or doubled."""

import pytest

from pipelines.evidence.rederive import rederive_stale
from tests.factories.people import Organisation
from tests.faults import killed_build
from tests.faults.killed_build import POINTS
from tests.faults.killing import run_and_die
from tests.pipelines.evidence.test_build import check, read_content, read_versions, store_sessions
from tests.pipelines.evidence.test_rederive import count_stale, withdraw


async def _count_levels(organisation: Organisation) -> dict[str, int]:
    found = await read_content(organisation)
    return {level: sum(row[0] == level for row in found) for level in {row[0] for row in found}}


@pytest.mark.parametrize("point", POINTS)
async def test_the_next_run_completes_what_a_killed_one_began(organisation: Organisation, point: str) -> None:
    stored = await store_sessions(organisation)
    await run_and_die(killed_build.main, str(organisation.tenant_id), point)
    await rederive_stale(organisation.tenant_id)
    await check(organisation)
    whole = await read_content(organisation)
    levels = await _count_levels(organisation)
    assert {"quote", "claim", "pattern", "insight"} <= levels.keys()
    before = await read_versions(organisation)
    await rederive_stale(organisation.tenant_id)
    assert await read_versions(organisation) == before
    await withdraw(organisation, stored[1])
    if point not in {"read", "half of a session", "session written"}:  # those sessions are not read again
        await run_and_die(killed_build.main, str(organisation.tenant_id), point)
    await rederive_stale(organisation.tenant_id)
    assert await count_stale(organisation) == 0
    assert await read_content(organisation) != whole
    await check(organisation)
