"""The store takes every pattern that is found, each kind of it, and every invariant holds over them."""

from collections.abc import Sequence

import pytest
from sqlalchemy import text

from db.session import tenant_session
from pipelines.evidence import build as building
from pipelines.evidence.build import build_client
from pipelines.evidence.patterns_reports import complete_proposals
from pipelines.evidence.records import ProposedClaim, SessionText
from pipelines.evidence.rules import propose_by_rules
from pipelines.evidence.verify import verify_evidence
from tests.factories.people import Organisation
from tests.factories.sessions import name_people, require_id, store_session
from tests.pipelines.evidence.told_sessions import IVO_SESSIONS, NORA_SESSIONS


def propose(told: SessionText) -> list[ProposedClaim]:
    return complete_proposals(told, propose_by_rules(told))


@pytest.mark.parametrize(
    ("sessions", "kinds"),
    [
        (NORA_SESSIONS, {"change", "contradiction", "trend", "recurrence", "commitment_record"}),
        (IVO_SESSIONS, {"change", "commitment_record"}),
    ],
    ids=["nora", "ivo"],
)
async def test_every_pattern_found_is_stored_and_holds(
    organisation: Organisation,
    monkeypatch: pytest.MonkeyPatch,
    sessions: Sequence[SessionText],
    kinds: set[str],
) -> None:
    monkeypatch.setattr(building, "propose_by_rules", propose)
    await name_people(organisation)
    for told in sessions:
        turns = [(told.find_role(turn) or "", turn.text) for turn in told.turns]
        assert told.held_at
        await store_session(organisation, turns, held_at=told.held_at)
    client_id = require_id(organisation.client_a)
    report = await build_client(organisation.tenant_id, client_id)
    assert report.failed == ()
    async with tenant_session(organisation.system) as session:
        stored = (await session.execute(text("SELECT kind, statement FROM evidence.patterns"))).tuples().all()
    assert {kind for kind, _ in stored} >= kinds
    assert [one for one in await verify_evidence(organisation.tenant_id) if one.broken] == []
    assert (await build_client(organisation.tenant_id, client_id)).changed == 0
