"""People who may decide over other people's data."""

from db.session import Principal, tenant_session
from domain import identity
from tests.factories.people import Organisation


async def add_officer(organisation: Organisation, name: str = "officer_b") -> Principal:
    """Add a second compliance officer, since nobody verifies what they asked for."""
    async with tenant_session(organisation.system) as session:
        user = await identity.create_user(
            session, email=f"{name}@{organisation.slug}.example", full_name=name, role="compliance"
        )
        return Principal(organisation.tenant_id, "compliance", user.id)
