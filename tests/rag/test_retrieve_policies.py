"""Search finds exactly what its reader may see: random material, engagements and readers against the rules."""

import random
from uuid import UUID

from db.session import tenant_session
from rag.passages import Scope
from rag.retrieve import MOST_PASSAGES, retrieve
from tests.db.test_policies import may_read, random_material, reengage
from tests.factories.material import store_material
from tests.factories.people import found_organisation

ROUNDS = 5
MATERIALS = 80
assert MATERIALS <= MOST_PASSAGES


async def test_search_returns_what_is_allowed_and_all_of_it(store: object) -> None:
    rng = random.Random(20260412)
    organisations = [await found_organisation() for _ in range(2)]
    material = {o.tenant_id: [random_material(rng, o) for _ in range(MATERIALS)] for o in organisations}
    for organisation in organisations:
        async with tenant_session(organisation.system) as session:
            await store_material(session, organisation.tenant_id, material[organisation.tenant_id])
    every_id = {m.id for own in material.values() for m in own}

    probes = leaks = losses = 0
    for _ in range(ROUNDS):
        for organisation in organisations:
            clients_of = await reengage(rng, organisation)
            own = material[organisation.tenant_id]
            for reader in (*organisation.people.values(), organisation.system):
                allowed = {m.id for m in own if may_read(reader, m, clients_of)}
                client = rng.choice([m.client_id for m in own if m.client_id is not None])
                async with tenant_session(reader) as session:
                    everything = await retrieve(session, None, "word", top_k=MOST_PASSAGES)
                    of_client = await retrieve(
                        session, None, "word", top_k=MOST_PASSAGES, scope=Scope(client_ids=(client,))
                    )
                    # Asking for others' sources by id gives nothing more.
                    named = await retrieve(
                        session, None, "word", top_k=MOST_PASSAGES, scope=Scope(source_ids=tuple(every_id))
                    )
                for found, expected in (
                    (everything, allowed),
                    (of_client, {m.id for m in own if m.id in allowed and m.client_id == client}),
                    (named, allowed),
                ):
                    seen: set[UUID] = {chunk for passage in found.passages for chunk in passage.chunk_ids}
                    leaks += len(seen - expected)
                    losses += len(expected - seen)
                    assert found.chunks_in_scope == found.sources_in_scope == len(expected)
                    probes += len(every_id)
    assert (leaks, losses) == (0, 0)
    assert probes == ROUNDS * 2 * 10 * 3 * 2 * MATERIALS
