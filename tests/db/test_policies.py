"""What comes back is exactly what the rules of visibility and audience allow, for every reader and table.

The oracle below restates the rules in Python, from the product's table of roles, without looking at the policies.
"""

import random
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

from sqlalchemy import delete, func, insert, select, update

from db.base import VISIBILITIES
from db.models import Engagement, IngestedObject
from db.session import Principal, tenant_session
from tests.factories.material import CONTENT_TABLES, Material, store_material
from tests.factories.people import Organisation, found_organisation

READABLE = {
    "client": {"client_visible"},
    "coach": {"client_visible", "coach_only"},
    "admin": {"client_visible", "admin_aggregate"},
    "executive": {"admin_aggregate"},
    "compliance": set(),
    "evaluator": set(),
    "system": set(VISIBILITIES),
}


def may_read(reader: Principal, material: Material, clients_of: dict[UUID, set[UUID]]) -> bool:
    """Tell whether the product allows it."""
    if reader.role == "system":
        return True
    if material.visibility not in READABLE[reader.role]:
        return False
    assert reader.user_id is not None
    if material.client_id is not None:
        if reader.role == "client":
            return material.client_id == reader.user_id
        return reader.role == "coach" and material.client_id in clients_of.get(reader.user_id, set())
    return material.coach_id is None or material.coach_id == reader.user_id


def random_material(rng: random.Random, organisation: Organisation) -> Material:
    clients = [organisation.client_a, organisation.client_b, organisation.client_c]
    coaches = [organisation.coach_a, organisation.coach_b]
    return Material(
        id=uuid4(),
        kind=rng.choice(("transcript", "document")),
        visibility=rng.choice(VISIBILITIES),
        client_id=rng.choice([None, *(client.user_id for client in clients)]),
        coach_id=rng.choice([None, *(coach.user_id for coach in coaches)]),
    )


async def reengage(rng: random.Random, organisation: Organisation) -> dict[UUID, set[UUID]]:
    """Replace all engagements by random ones, past, running and future, and return who reads whom now."""
    now = datetime.now(UTC)
    clients_of: dict[UUID, set[UUID]] = {}
    rows = []
    for coach in (organisation.coach_a, organisation.coach_b):
        for client in (organisation.client_a, organisation.client_b, organisation.client_c):
            assert coach.user_id is not None
            assert client.user_id is not None
            started, ended, runs = rng.choice(
                [
                    (now - timedelta(days=9), None, True),
                    (now - timedelta(days=9), now + timedelta(days=9), True),
                    (now - timedelta(days=9), now - timedelta(seconds=1), False),
                    (now + timedelta(days=1), None, False),
                ]
            )
            if rng.random() < 0.7:
                rows.append(
                    {"tenant_id": organisation.tenant_id, "coach_id": coach.user_id, "client_id": client.user_id,
                     "started_at": started, "ended_at": ended}
                )  # fmt: skip
                if runs:
                    clients_of.setdefault(coach.user_id, set()).add(client.user_id)
    async with tenant_session(organisation.system) as session:
        await session.execute(delete(Engagement))
        if rows:
            await session.execute(insert(Engagement), rows)
    return clients_of


async def test_every_reader_sees_exactly_what_is_allowed(store: object) -> None:
    rng = random.Random(20260301)
    organisations = [await found_organisation() for _ in range(2)]
    material = {o.tenant_id: [random_material(rng, o) for _ in range(60)] for o in organisations}
    for organisation in organisations:
        async with tenant_session(organisation.system) as session:
            await store_material(session, organisation.tenant_id, material[organisation.tenant_id])

    probes = 0
    for _ in range(6):
        for organisation in organisations:
            clients_of = await reengage(rng, organisation)
            own = material[organisation.tenant_id]
            # Some sources change hands: everything below must follow in the same transaction.
            async with tenant_session(organisation.system) as session:
                for position in rng.sample(range(len(own)), 10):
                    old, new = own[position], random_material(rng, organisation)
                    own[position] = Material(old.id, old.kind, new.visibility, new.client_id, new.coach_id)
                    await session.execute(
                        update(IngestedObject)
                        .where(IngestedObject.id == old.id)
                        .values(visibility=new.visibility, client_id=new.client_id, coach_id=new.coach_id)
                    )
            for name, reader in {**organisation.people, "system": organisation.system}.items():
                allowed = {m.id for m in own if may_read(reader, m, clients_of)}
                kinds = {m.id: m.kind for m in own}
                async with tenant_session(reader) as session:
                    for table, column in CONTENT_TABLES.items():
                        seen = set(await session.scalars(select(column)))
                        kind = {"transcript": "transcript", "segment": "transcript", "document": "document"}.get(table)
                        expected = {i for i in allowed if kind is None or kinds[i] == kind}
                        assert seen == expected, f"{name} reads {table}: {len(seen - expected)} leaked"
                        probes += len(own)
    assert probes == 6 * 2 * 10 * len(CONTENT_TABLES) * 60


async def test_counts_do_not_tell_what_is_hidden(store: object) -> None:
    organisation = await found_organisation()
    secret = Material(uuid4(), "document", "system_internal", None, None)
    async with tenant_session(organisation.system) as session:
        await store_material(session, organisation.tenant_id, [secret])
    async with tenant_session(organisation.admin) as session:
        for column in CONTENT_TABLES.values():
            assert await session.scalar(select(func.count()).select_from(column.class_)) == 0
