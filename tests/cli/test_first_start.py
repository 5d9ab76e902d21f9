"""The sample organisations are founded once, and their keys work, whatever happened in between."""

import stat
from pathlib import Path

from sqlalchemy import delete, func, select, update

from cli.first_start import (
    KEYS,
    PASSWORDS,
    SAMPLE,
    SUITES,
    find_sample_sign_ins,
    found_sample,
    get_sample_keys,
    read_sample,
)  # fmt: skip
from core.settings import AuthSettings, Settings
from db.models import ApiKey, Dataset, DatasetCase, Engagement, User
from db.session import Principal, tenant_session
from domain.auth import set_password, sign_in
from domain.identity import authenticate_key, get_principal, hash_key, revoke_api_key
from domain.platform import get_tenant_by_slug
from evaluation.datasets import load_stored_suite
from evaluation.suites import load_suite


def test_sample_is_complete() -> None:
    sample = read_sample()
    welcome = next(tenant for tenant in sample.tenants if tenant.slug == sample.welcome.tenant)
    assert sample.welcome.user in {person.email for person in welcome.users}
    for tenant in sample.tenants:
        addresses = {person.email for person in tenant.users}
        assert {"client", "coach", "admin", "executive", "compliance", "evaluator"} <= {
            person.role for person in tenant.users
        }
        assert {one.coach for one in tenant.engagements} | {one.client for one in tenant.engagements} <= addresses
        assert (tenant.folder / "manifest.jsonl").is_file()


async def test_founding_twice_changes_nothing(store: Settings) -> None:
    await found_sample()
    counts = await count_people()
    assert await found_sample() == 0
    assert await count_people() == counts
    for tenant in read_sample().tenants:
        assert (await get_tenant_by_slug(tenant.slug)).id == tenant.id
        assert counts[tenant.slug] == (len(tenant.users), len(tenant.engagements))


async def test_the_questions_whose_answers_are_known_can_be_run_at_once(store: Settings) -> None:
    await found_sample()
    for tenant in read_sample().tenants:
        async with tenant_session(Principal(tenant.id, "system")) as session:
            shipped = load_suite(SAMPLE / SUITES / tenant.slug)
            assert await session.scalar(select(func.count()).select_from(Dataset)) == 1
            stored = await load_stored_suite(session, shipped.name)
        assert {case.id for case in stored.loaded} == {case.id for case in shipped.loaded}
        assert (stored.asked_at, stored.tenant) == (shipped.asked_at, tenant.slug)


async def count_people() -> dict[str, tuple[int, int]]:
    counts = {}
    for tenant in read_sample().tenants:
        async with tenant_session(Principal(tenant.id, "system")) as session:
            people = await session.scalar(select(func.count()).select_from(User))
            engagements = await session.scalar(select(func.count()).select_from(Engagement))
            counts[tenant.slug] = (int(people or 0), int(engagements or 0))
    return counts


async def test_founding_that_was_cut_short_is_completed(store: Settings) -> None:
    """A kill between the tenant and its people leaves a tenant without people."""
    await found_sample()
    tenant = read_sample().tenants[-1]
    async with tenant_session(Principal(tenant.id, "system")) as session:
        for table in (DatasetCase, Dataset, Engagement):
            await session.execute(delete(table))
        for person in await session.scalars(select(User)):
            await session.delete(person)
    assert (await count_people())[tenant.slug] == (0, 0)
    await found_sample()
    assert (await count_people())[tenant.slug] == (len(tenant.users), len(tenant.engagements))


async def test_keys_are_kept_for_their_owner_and_shown_again(store: Settings, tmp_path: Path) -> None:
    await found_sample()
    keys = await get_sample_keys(tmp_path)
    assert [key.role for key in keys].count("coach") == 1
    assert {key.role for key in keys} == {"client", "coach", "admin", "executive", "compliance", "evaluator"}
    assert stat.S_IMODE((tmp_path / KEYS).stat().st_mode) == 0o600
    assert await get_sample_keys(tmp_path) == keys
    welcome = read_sample().welcome
    coach = next(key for key in keys if key.role == "coach")
    assert coach.email == welcome.user
    reader = await get_principal(welcome.tenant, welcome.user)
    assert (await authenticate_key(coach.key)).user_id == reader.user_id


async def test_revoked_key_is_replaced(store: Settings, tmp_path: Path) -> None:
    await found_sample()
    before = {key.email: key.key for key in await get_sample_keys(tmp_path)}
    coach = await get_principal(read_sample().welcome.tenant, read_sample().welcome.user)
    async with tenant_session(coach.as_system()) as session:
        key_id = await session.scalar(
            select(ApiKey.id).where(ApiKey.hashed_key == hash_key(before[read_sample().welcome.user]))
        )
        assert key_id is not None
        await revoke_api_key(session, key_id)
    after = {key.email: key.key for key in await get_sample_keys(tmp_path)}
    changed = {email for email in before if before[email] != after[email]}
    assert changed == {read_sample().welcome.user}


async def test_damaged_key_file_is_replaced(store: Settings, tmp_path: Path) -> None:
    await found_sample()
    (tmp_path / KEYS).write_text("{")
    assert len(await get_sample_keys(tmp_path)) == 6


async def forget_passwords() -> None:
    welcome = read_sample().welcome
    coach = await get_principal(welcome.tenant, welcome.user)
    async with tenant_session(coach.as_system()) as session:
        await session.execute(update(User).values(password_hash=None))


async def test_everyone_signs_in_with_what_is_shown(store: Settings, tmp_path: Path) -> None:
    await found_sample()
    await forget_passwords()
    every = await find_sample_sign_ins(tmp_path)
    assert [one.role for one in every] == ["coach", "client", "admin", "executive", "compliance", "evaluator"]
    assert await find_sample_sign_ins(tmp_path) == every
    shown = every[0]
    assert stat.S_IMODE((tmp_path / PASSWORDS).stat().st_mode) == 0o600
    opened, is_challenge = await sign_in(
        organisation=shown.organisation, email=shown.email, password=shown.password, settings=AuthSettings()
    )
    assert opened.token.startswith("rgs_")
    assert not is_challenge


async def test_a_password_of_their_own_is_never_replaced_or_shown(store: Settings, tmp_path: Path) -> None:
    await found_sample()
    await forget_passwords()
    assert await find_sample_sign_ins(tmp_path)
    welcome = read_sample().welcome
    coach = await get_principal(welcome.tenant, welcome.user)
    async with tenant_session(coach.as_system()) as session:
        assert coach.user_id is not None
        await set_password(session, user_id=coach.user_id, password="quiet otter seven maps")
    assert "coach" not in {one.role for one in await find_sample_sign_ins(tmp_path)}
    (tmp_path / PASSWORDS).write_text("{")
    assert await find_sample_sign_ins(tmp_path) == []
    await sign_in(
        organisation=welcome.tenant, email=welcome.user, password="quiet otter seven maps", settings=AuthSettings()
    )
