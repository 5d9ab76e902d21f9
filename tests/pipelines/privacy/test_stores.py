"""What is about a subject is found, in every table, by conditions that run."""

from uuid import uuid4

import pytest

from db.session import tenant_session
from pipelines.privacy.stores import STORES, count_store
from pipelines.privacy.subjects import SubjectMissing, collect_scope
from tests.factories.evidence_world import add_session, make_claim, write_claims
from tests.factories.people import Organisation
from tests.factories.sessions import require_id


async def test_every_condition_runs_for_every_kind(organisation: Organisation) -> None:
    stored, text = await add_session(organisation)
    await write_claims(organisation, text, make_claim(text, "The on-call rota keeps me awake"))
    person = require_id(organisation.client_a)
    for kind, subject in (("person", person), ("document", stored.source_id), ("tenant", organisation.tenant_id)):
        async with tenant_session(organisation.system, isolation="REPEATABLE READ") as session:
            found = dict[str, int]()
            scope = await collect_scope(session, kind, subject)  # type: ignore[arg-type]  # closed list
            for store in STORES:
                all_, left = (
                    await count_store(session, store, scope),
                    await count_store(session, store, scope, left=True),
                )
                assert left.rows <= all_.rows, store.name
                found[store.name] = all_.rows
        assert found["rag.transcripts"] == 1, kind
        assert found["rag.transcript_segments"] == 4, kind
        assert found["rag.document_chunks"] == found["rag.chunk_embeddings"] == found["rag.search_metadata"] > 0, kind
        assert (found["evidence.claims"], found["evidence.quotes"]) == (1, 1), kind


async def test_a_coach_is_found_by_their_turns_alone(organisation: Organisation) -> None:
    stored, _ = await add_session(organisation)
    async with tenant_session(organisation.system) as session:
        scope = await collect_scope(session, "person", require_id(organisation.coach_a))
        found = {store.name: (await count_store(session, store, scope)).rows for store in STORES}
    assert scope["spoken"] == (stored.source_id,)
    assert (found["rag.transcripts"], found["rag.transcript_segments"]) == (0, 2)


async def test_a_subject_of_another_organisation_is_missing(organisation: Organisation) -> None:
    async with tenant_session(organisation.system) as session:
        with pytest.raises(SubjectMissing):
            await collect_scope(session, "person", uuid4())
