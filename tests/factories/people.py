"""Organisations with people in them."""

from dataclasses import dataclass
from uuid import UUID, uuid4

from db.session import Principal, tenant_session
from domain import coaching, identity
from domain.platform import found_tenant

NAMES = ("coach_a", "coach_b", "client_a", "client_b", "client_c", "admin", "executive", "compliance", "evaluator")


@dataclass(frozen=True)
class Organisation:
    """A tenant: coach_a works with client_a and client_b, coach_b with client_b and client_c."""

    tenant_id: UUID
    slug: str
    system: Principal
    coach_a: Principal
    coach_b: Principal
    client_a: Principal
    client_b: Principal
    client_c: Principal
    admin: Principal
    executive: Principal
    compliance: Principal
    evaluator: Principal

    @property
    def people(self) -> dict[str, Principal]:
        """Everyone but the system, by name."""
        return {name: getattr(self, name) for name in NAMES}


async def found_organisation() -> Organisation:
    """Found a tenant with a random slug."""
    tenant_id = uuid4()
    slug = f"org-{tenant_id.hex[:12]}"
    await found_tenant(slug, f"Organisation {slug}", tenant_id=tenant_id)
    system = Principal(tenant_id, "system")
    people: dict[str, Principal] = {}
    async with tenant_session(system) as session:
        for name in NAMES:
            role = name.partition("_")[0]
            user = await identity.create_user(session, email=f"{name}@{slug}.example", full_name=name, role=role)
            people[name] = Principal(tenant_id, role, user.id)  # type: ignore[arg-type]  # the names begin with the role
        for coach, client in (("a", "a"), ("a", "b"), ("b", "b"), ("b", "c")):
            coach_id, client_id = people[f"coach_{coach}"].user_id, people[f"client_{client}"].user_id
            assert coach_id is not None
            assert client_id is not None
            await coaching.start_engagement(session, coach_id=coach_id, client_id=client_id)
    return Organisation(tenant_id=tenant_id, slug=slug, system=system, **people)
