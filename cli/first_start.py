"""The sample organisations: founded on the first start, so that a newcomer has something to ask about."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import NAMESPACE_URL, UUID, uuid5

from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import select

from db.models import User
from db.session import Principal, Role, tenant_session
from domain.auth import set_password
from domain.coaching import start_engagement
from domain.consents import record_consent
from domain.identity import Unauthenticated, authenticate_key, create_user, find_user_id, issue_api_key
from domain.passwords import make_password, verify_password
from domain.platform import found_tenant, list_tenants

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession

SAMPLE = Path(__file__).parent / "sample"
SUITES = "suites"
KEYS = "sample-keys.json"
PASSWORDS = "sample-passwords.json"


class Person(BaseModel):
    """One user of a sample organisation."""

    email: str
    full_name: str
    roles: list[Role] = Field(min_length=1)
    agrees_to: list[str] = []

    @property
    def role(self) -> Role:
        """Their one role here."""
        return self.roles[0]


class SampleEngagement(BaseModel):
    """Who coaches whom, from when, until when."""

    coach: str
    client: str
    since: datetime = Field(alias="from")
    until: datetime | None = None


class SampleTenant(BaseModel):
    """One sample organisation."""

    slug: str
    name: str
    users: list[Person]
    engagements: list[SampleEngagement]

    @property
    def id(self) -> UUID:
        """The same id on every machine, so that founding twice meets itself."""
        return uuid5(NAMESPACE_URL, f"regenesis:sample:{self.slug}")

    @property
    def folder(self) -> Path:
        """Where its material lies."""
        return SAMPLE / self.slug


class Welcome(BaseModel):
    """The question asked first, by whom, where."""

    tenant: str
    user: str
    question: str


class Sample(BaseModel):
    """`cli/sample/organisations.json`."""

    model_config = ConfigDict(extra="forbid")

    welcome: Welcome
    tenants: list[SampleTenant]


@dataclass(frozen=True, slots=True)
class SampleKey:
    """One API key to try things with."""

    role: str
    email: str
    key: str


@dataclass(frozen=True, slots=True)
class SampleSignIn:
    """Who may sign in with what."""

    organisation: str
    role: str
    email: str
    password: str


@cache
def read_sample() -> Sample:
    """Return the sample organisations as described."""
    return Sample.model_validate_json((SAMPLE / "organisations.json").read_bytes())


async def is_wanted() -> bool:
    """Tell whether the sample belongs into this store: it is there already, or nothing else is."""
    present = {tenant.slug for tenant in await list_tenants()}
    return not present or read_sample().welcome.tenant in present


async def found_sample() -> int:
    """Found what is missing of the sample organisations and return how many were founded."""
    present = {tenant.slug for tenant in await list_tenants()}
    missing = [tenant for tenant in read_sample().tenants if tenant.slug not in present]
    for tenant in missing:
        await found_tenant(tenant.slug, tenant.name, tenant_id=tenant.id)
    for tenant in read_sample().tenants:
        async with tenant_session(Principal(tenant.id, "system")) as session:
            await _add_people(session, tenant)
    return len(missing)


async def _add_people(session: "AsyncSession", tenant: SampleTenant) -> None:
    """Add the people, what they agree to, engagements and questions in one transaction; all are there or none.

    The questions are those whose answers are known, so that a run of them can be started at once.
    """
    from evaluation.datasets import store_suite
    from evaluation.suites import load_suite

    ids: dict[str, UUID] = {}
    for person in tenant.users:
        found = await find_user_id(session, person.email)
        if found is not None:
            return
        user = await create_user(session, email=person.email, full_name=person.full_name, role=person.role)
        ids[person.email] = user.id
        for purpose in person.agrees_to:
            await record_consent(session, user_id=user.id, purpose=purpose, version="1", source="import")
    for one in tenant.engagements:
        await start_engagement(
            session,
            coach_id=ids[one.coach],
            client_id=ids[one.client],
            started_at=_as_utc(one.since),
            ended_at=_as_utc(one.until) if one.until else None,
        )
    askers = {one.email: Principal(tenant.id, one.role, ids[one.email]) for one in tenant.users}
    await store_suite(session, load_suite(SAMPLE / SUITES / tenant.slug), askers)


def _as_utc(moment: datetime) -> datetime:
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


async def get_sample_keys(home: Path) -> list[SampleKey]:
    """Return one valid API key per role of the welcome organisation, issuing those that are missing.

    They are kept in the home, for its owner only, so that a later start can show them again.
    """
    tenant, people = _choose_people()
    kept = {key.email: key for key in _read_keys(home)}
    keys = []
    for person in people:
        key = kept.get(person.email)
        if key is None or not await _is_valid(key.key):
            async with tenant_session(Principal(tenant.id, "system")) as session:
                user_id = await find_user_id(session, person.email)
                if user_id is None:
                    continue  # someone removed this person; a removed person needs no key
                _, secret = await issue_api_key(session, user_id=user_id, name="sample")
            key = SampleKey(person.role, person.email, secret)
        keys.append(key)
    _write_keys(home, keys)
    return keys


async def find_sample_sign_ins(home: Path) -> list[SampleSignIn]:
    """Return what one person a role of the welcome organisation signs in with, made on the first start.

    Who changed their password is left out. All are kept in the home, for its owner only, so that a later start can
    show them again.
    """
    tenant, people = _choose_people()
    kept = _read_passwords(home)
    found = []
    async with tenant_session(Principal(tenant.id, "system")) as session:
        emails = [person.email for person in people]
        users = {user.email: user for user in await session.scalars(select(User).where(User.email.in_(emails)))}
        new = {one: make_password() for one in emails if one in users and users[one].password_hash is None}
        if new:
            kept |= new
            # kept before they are set: a start cut short in between makes others
            _write_private(home / PASSWORDS, kept)
            for email, password in new.items():
                await set_password(session, user_id=users[email].id, password=password)
    for person in people:
        user, known = users.get(person.email), kept.get(person.email)
        if user is None or known is None:
            continue
        if person.email in new or await verify_password(user.password_hash, known):
            found.append(SampleSignIn(tenant.slug, person.role, person.email, known))
    return found


def _choose_people() -> tuple[SampleTenant, list[Person]]:
    """Return the welcome organisation and its first person of each role, of whose the one who asks."""
    sample = read_sample()
    tenant = next(one for one in sample.tenants if one.slug == sample.welcome.tenant)
    people: dict[str, Person] = {}
    for person in sorted(tenant.users, key=lambda one: one.email != sample.welcome.user):
        people.setdefault(person.role, person)
    return tenant, list(people.values())


def _read_passwords(home: Path) -> dict[str, str]:
    try:
        kept = json.loads((home / PASSWORDS).read_text())
    except (OSError, ValueError):
        return {}
    return {str(email): str(password) for email, password in kept.items()} if isinstance(kept, dict) else {}


async def _is_valid(key: str) -> bool:
    try:
        await authenticate_key(key)
    except Unauthenticated:
        return False
    return True


def _read_keys(home: Path) -> list[SampleKey]:
    try:
        return [SampleKey(**entry) for entry in json.loads((home / KEYS).read_text())]
    except (OSError, ValueError, TypeError):
        return []


def _write_keys(home: Path, keys: list[SampleKey]) -> None:
    _write_private(home / KEYS, [{"role": key.role, "email": key.email, "key": key.key} for key in keys])


def _write_private(path: Path, content: object) -> None:
    path.touch(mode=0o600)
    path.chmod(0o600)
    path.write_text(json.dumps(content, indent=2))
