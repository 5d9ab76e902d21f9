"""Signing in: what is counted, what locks, what a second factor adds, and what the audit log says of it."""

import asyncio
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pyotp
import pytest
from argon2 import PasswordHasher
from sqlalchemy import func, select, update

from core.cache import Cache, MemoryCache
from core.crypto import MasterKeyWrong
from core.settings import AuthSettings
from db.models import AuditLog, RecoveryCode, User, UserRole
from db.session import Principal, tenant_session
from domain import auth, keys, passwords, totp
from domain.auth import CredentialsWrong, RoleNotHeld, SecondFactorRefused, SignInRefused
from domain.identity import Unauthenticated
from domain.passwords import PasswordIsPersonal, SignInsBusy
from domain.sessions import OpenSession, authenticate_session
from domain.totp import SecondFactorOff, SecondFactorOn, SecondFactorWrong
from tests.factories.codes import make_earlier_code
from tests.factories.people import Organisation, found_organisation
from tests.factories.sessions import require_id

PASSWORD = "lantern crab violin moss"
SETTINGS = AuthSettings()


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(auth, "REFUSAL_SECONDS", 0.0)


@pytest.fixture(scope="module")
async def hashed() -> str:
    return await passwords.hash_password(PASSWORD)


@pytest.fixture
async def coach(organisation: Organisation, hashed: str) -> Principal:
    """A coach who has a password."""
    await change_user(organisation, require_id(organisation.coach_a), password_hash=hashed)
    return organisation.coach_a


async def change_user(organisation: Organisation, user_id: UUID, **values: Any) -> None:
    async with tenant_session(organisation.system) as session:
        await session.execute(update(User).where(User.id == user_id).values(values))


async def read_user(organisation: Organisation, user_id: UUID | None) -> User:
    async with tenant_session(organisation.system) as session:
        return (await session.scalars(select(User).where(User.id == user_id))).one()


async def sign_in(home: Organisation, password: str = PASSWORD, **others: Any) -> tuple[OpenSession, bool]:
    given = {"organisation": home.slug, "email": f"coach_a@{home.slug}.example", "password": password, **others}
    return await auth.sign_in(settings=SETTINGS, **given)


async def list_actions(organisation: Organisation) -> list[str]:
    async with tenant_session(organisation.compliance) as session:
        rows = await session.scalars(
            select(AuditLog.action).where(AuditLog.action.startswith("user_lo")).order_by(AuditLog.sequence)
        )
        return list(rows)


async def authenticate(opened: OpenSession, cache: Cache | None = None) -> Principal:
    signed_in = await authenticate_session(opened.token, cache=cache or MemoryCache(), settings=SETTINGS)
    return signed_in.principal


async def enrol(coach: Principal) -> tuple[pyotp.TOTP, list[str]]:
    """Turn the coach's second factor on; the code of the step before this one is used up."""
    secret, uri = await auth.start_second_factor(coach, password=PASSWORD)
    assert uri.startswith("otpauth://totp/ReGenesis:")
    app = pyotp.TOTP(secret)
    opened, _ = await auth.sign_in(
        organisation=await find_slug(coach), email=await find_email(coach), password=PASSWORD, settings=SETTINGS
    )
    code = await make_earlier_code(app)
    codes = await auth.confirm_second_factor(coach, session_id=opened.id, code=code, cache=MemoryCache())
    return app, codes


async def find_email(person: Principal) -> str:
    async with tenant_session(person) as session:
        return str(await session.scalar(select(User.email).where(User.id == person.user_id)))


async def find_slug(person: Principal) -> str:
    return (await find_email(person)).partition("@")[2].removesuffix(".example")


async def test_a_right_password_opens_a_session(organisation: Organisation, coach: Principal) -> None:
    opened, is_challenge = await sign_in(organisation, email=f"  Coach_A@{organisation.slug}.EXAMPLE ")
    assert not is_challenge
    assert opened.token.startswith("rgs_")
    principal = await authenticate(opened)
    assert (principal.tenant_id, principal.user_id, principal.role) == (coach.tenant_id, coach.user_id, "coach")
    assert "admin" not in principal.scopes
    assert {"read", "write", "chat"} <= principal.scopes
    assert (await read_user(organisation, coach.user_id)).last_login_at is not None
    async with tenant_session(organisation.compliance) as session:
        row = (await session.scalars(select(AuditLog).where(AuditLog.action == "user_login"))).one()
    assert (row.actor_id, row.actor_role, row.entity_id) == (coach.user_id, "coach", coach.user_id)


async def test_every_refusal_is_the_same(organisation: Organisation, coach: Principal, hashed: str) -> None:
    await change_user(organisation, require_id(organisation.coach_b), password_hash=hashed, status="suspended")
    await change_user(
        organisation, require_id(organisation.client_a), password_hash=hashed,
        locked_until=datetime.now(UTC) + timedelta(hours=1),
    )  # fmt: skip
    async with tenant_session(organisation.system) as session:
        await session.execute(
            update(UserRole).where(UserRole.user_id == organisation.client_b.user_id).values(revoked_at=func.now())
        )
    other = await found_organisation()
    domain = f"{organisation.slug}.example"
    refused: list[dict[str, Any]] = [
        {"password": "wrong"}, {"password": ""}, {"password": "x" * 5000}, {"organisation": "nowhere"},
        {"organisation": other.slug}, {"email": f"nobody@{domain}"}, {"email": f"coach_b@{domain}"},
        {"email": f"client_a@{domain}"}, {"email": f"client_b@{domain}"}, {"email": f"client_c@{domain}"},
            {"email": ""},
    ]  # fmt: skip
    sentences = set()
    for case in refused:
        with pytest.raises(SignInRefused) as error:
            await sign_in(organisation, **case)
        sentences.add((error.value.message, error.value.code))
    assert len(sentences) == 1


async def test_no_refusal_leaves_early(
    organisation: Organisation, coach: Principal, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited: list[float] = []

    async def sleep(seconds: float) -> None:
        waited.append(seconds)

    monkeypatch.setattr(auth, "REFUSAL_SECONDS", 600.0)
    monkeypatch.setattr(auth, "asyncio", SimpleNamespace(sleep=sleep))  # not the function that servers sleep by too
    for case in ({"password": "wrong"}, {"organisation": "nowhere"}):
        with pytest.raises(SignInRefused):
            await sign_in(organisation, **case)
    assert len(waited) == 2
    assert min(waited) > 0


async def test_five_failures_lock_and_each_more_doubles(organisation: Organisation, coach: Principal) -> None:
    for failure in range(1, 5):
        with pytest.raises(SignInRefused):
            await sign_in(organisation, "wrong")
        user = await read_user(organisation, coach.user_id)
        assert (user.failed_login_attempts, user.locked_until) == (failure, None)
    minutes = []
    for _ in range(9):
        with pytest.raises(SignInRefused):
            await sign_in(organisation, "wrong")
        user = await read_user(organisation, coach.user_id)
        assert user.locked_until is not None
        minutes.append(round((user.locked_until - datetime.now(UTC)).total_seconds() / 60))
        with pytest.raises(SignInRefused):
            await sign_in(organisation)  # the right one
        await change_user(organisation, user.id, locked_until=datetime.now(UTC) - timedelta(seconds=1))
    assert minutes == [15, 30, 60, 120, 240, 480, 960, 1440, 1440]
    assert (await read_user(organisation, coach.user_id)).failed_login_attempts == 13
    await sign_in(organisation)
    user = await read_user(organisation, coach.user_id)
    assert (user.failed_login_attempts, user.locked_until) == (0, None)
    actions = await list_actions(organisation)
    assert actions.count("user_login_failed") == 13
    assert actions.count("user_locked") == 9
    assert actions[-1] == "user_login"


async def test_fifty_guesses_at_once_are_five(
    organisation: Organisation, coach: Principal, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked_at = []

    async def verify(stored: str | None, _: str) -> bool:
        looked_at.append(stored)
        await asyncio.sleep(0.05)
        return False

    monkeypatch.setattr(auth, "verify_password", verify)  # fifty real ones take seconds; the count is the store's
    results = await asyncio.gather(*(sign_in(organisation, "wrong") for _ in range(50)), return_exceptions=True)
    assert all(isinstance(result, SignInRefused) for result in results)
    assert sum(stored is not None for stored in looked_at) == 5
    assert len(looked_at) == 50
    assert (await read_user(organisation, coach.user_id)).failed_login_attempts == 5
    assert (await list_actions(organisation)).count("user_locked") == 1


async def test_nobody_is_locked_out_for_our_load_or_outage(
    organisation: Organisation, coach: Principal, monkeypatch: pytest.MonkeyPatch
) -> None:
    await enrol(coach)
    challenge = (await sign_in(organisation))[0].token
    monkeypatch.setattr(passwords, "_MOST_WAITING", 0)
    for _ in range(6):
        with pytest.raises(SignInsBusy):
            await sign_in(organisation)
        with pytest.raises(SignInsBusy):
            await auth.change_password(coach, session_id=None, old=PASSWORD, new=PASSWORD, cache=MemoryCache())

    def lose(*_: object) -> None:
        raise MasterKeyWrong

    keys._kept.clear()
    monkeypatch.setattr("core.crypto_keyring.find_master_key", lose)
    for _ in range(6):
        with pytest.raises(MasterKeyWrong):
            await auth.give_second_factor(challenge=challenge, code="123456", settings=SETTINGS)
    user = await read_user(organisation, coach.user_id)
    assert (user.failed_login_attempts, user.locked_until) == (0, None)


async def test_older_hashes_are_renewed(organisation: Organisation, coach: Principal) -> None:
    weak = PasswordHasher(time_cost=1, memory_cost=1024, parallelism=1).hash(PASSWORD)
    await change_user(organisation, require_id(coach), password_hash=weak)
    await sign_in(organisation)
    renewed = (await read_user(organisation, coach.user_id)).password_hash
    assert renewed is not None
    assert "m=65536" in renewed
    await sign_in(organisation)


async def test_another_role_must_be_held(organisation: Organisation, coach: Principal) -> None:
    with pytest.raises(RoleNotHeld):
        await sign_in(organisation, role="admin")
    assert (await read_user(organisation, coach.user_id)).failed_login_attempts == 0
    async with tenant_session(organisation.system) as session:
        session.add(UserRole(tenant_id=coach.tenant_id, user_id=coach.user_id, role_name="admin"))
    opened, _ = await sign_in(organisation, role="admin")
    principal = await authenticate(opened)
    assert principal.role == "admin"
    assert "admin" in principal.scopes
    assert (await authenticate((await sign_in(organisation))[0])).role == "coach"
    async with tenant_session(organisation.system) as session:
        await session.execute(update(UserRole).where(UserRole.role_name == "admin").values(revoked_at=func.now()))
    with pytest.raises(Unauthenticated):
        await authenticate(opened)


async def test_second_factor_is_asked_for_and_completes(organisation: Organisation, coach: Principal) -> None:
    app, _ = await enrol(coach)
    opened, is_challenge = await sign_in(organisation)
    assert is_challenge
    assert opened.token.startswith("rgc_")
    with pytest.raises(Unauthenticated):
        await authenticate(opened)
    code = app.now()
    session = await auth.give_second_factor(challenge=opened.token, code=code, settings=SETTINGS)
    assert (await authenticate(session)).user_id == coach.user_id
    for used in (opened.token, session.token, "rgc_unknown", ""):
        with pytest.raises(SecondFactorRefused):
            await auth.give_second_factor(challenge=used, code=code, settings=SETTINGS)
    user = await read_user(organisation, coach.user_id)
    assert user.two_factor_secret is not None
    assert app.secret.encode() not in user.two_factor_secret


async def test_a_code_counts_once_even_at_once(organisation: Organisation, coach: Principal) -> None:
    app, _ = await enrol(coach)
    challenges = [(await sign_in(organisation))[0].token for _ in range(4)]
    code = app.now()
    results = await asyncio.gather(
        *(auth.give_second_factor(challenge=one, code=code, settings=SETTINGS) for one in challenges),
        return_exceptions=True,
    )
    assert sum(isinstance(result, OpenSession) for result in results) == 1
    assert sum(isinstance(result, SecondFactorRefused) for result in results) == 3
    older = app.at(datetime.now(UTC), counter_offset=-1)
    assert older == code or not await _uses(coach, older)


async def _uses(coach: Principal, code: str) -> bool:
    async with tenant_session(coach.as_system()) as session:
        return await totp.use_code(session, user_id=require_id(coach), code=code)


async def test_wrong_codes_lock_though_the_password_is_right(organisation: Organisation, coach: Principal) -> None:
    app, _ = await enrol(coach)
    wrong = f"{(int(app.now()) + 1) % 1_000_000:06}"
    for _ in range(5):
        opened, _ = await sign_in(organisation)
        with pytest.raises(SecondFactorRefused):
            await auth.give_second_factor(challenge=opened.token, code=wrong, settings=SETTINGS)
    with pytest.raises(SignInRefused):
        await sign_in(organisation)
    with pytest.raises(SecondFactorRefused):
        await auth.give_second_factor(challenge=opened.token, code=app.now(), settings=SETTINGS)


async def test_recovery_codes_count_once_and_until_renewed(organisation: Organisation, coach: Principal) -> None:
    app, codes = await enrol(coach)
    assert len(set(codes)) == 10

    async def give(code: str) -> OpenSession:
        opened, _ = await sign_in(organisation)
        return await auth.give_second_factor(challenge=opened.token, code=code, settings=SETTINGS)

    await give(codes[0].upper().replace("-", " "))
    with pytest.raises(SecondFactorRefused):
        await give(codes[0])
    renewed = await auth.renew_recovery_codes(coach, code=codes[1])
    for gone in codes[1:3]:
        with pytest.raises(SecondFactorRefused):
            await give(gone)
    await give(renewed[0])
    async with tenant_session(organisation.system) as session:
        stored = list(await session.scalars(select(RecoveryCode.code_hash)))
    assert len(stored) == 10
    assert not {code.replace("-", "") for code in renewed} & set(stored)
    assert app.secret


async def test_second_factor_is_set_up_and_taken_off_by_its_owner_only(
    organisation: Organisation, coach: Principal
) -> None:
    with pytest.raises(CredentialsWrong):
        await auth.start_second_factor(coach, password="wrong")
    with pytest.raises(SecondFactorOff):
        await auth.confirm_second_factor(coach, session_id=coach.tenant_id, code="123456", cache=MemoryCache())
    secret, _ = await auth.start_second_factor(coach, password=PASSWORD)
    wrong = f"{(int(pyotp.TOTP(secret).now()) + 1) % 1_000_000:06}"
    with pytest.raises(SecondFactorWrong):
        await auth.confirm_second_factor(coach, session_id=coach.tenant_id, code=wrong, cache=MemoryCache())
    assert not (await sign_in(organisation))[1]  # not confirmed, so not asked for
    app, codes = await enrol(coach)
    with pytest.raises(SecondFactorOn):
        await auth.start_second_factor(coach, password=PASSWORD)
    for password, code in (("wrong", app.now()), (PASSWORD, "000000" if app.now() != "000000" else "000001")):
        with pytest.raises(CredentialsWrong):
            await auth.stop_second_factor(coach, password=password, code=code)
    await auth.stop_second_factor(coach, password=PASSWORD, code=codes[0])
    user = await read_user(organisation, coach.user_id)
    assert (user.two_factor_enabled, user.two_factor_secret) == (False, None)
    assert not (await sign_in(organisation))[1]


async def test_a_new_password_ends_the_other_sessions(organisation: Organisation, coach: Principal) -> None:
    cache = MemoryCache()
    here, there = (await sign_in(organisation))[0], (await sign_in(organisation))[0]
    for one in (here, there):
        await authenticate(one, cache)  # now cached
    with pytest.raises(CredentialsWrong):
        await auth.change_password(coach, session_id=here.id, old="wrong", new="another good phrase", cache=cache)
    with pytest.raises(PasswordIsPersonal):
        await auth.change_password(coach, session_id=here.id, old=PASSWORD, new="coach_a coach_a", cache=cache)
    await auth.change_password(coach, session_id=here.id, old=PASSWORD, new="another odd phrase", cache=cache)
    await authenticate(here, cache)
    with pytest.raises(Unauthenticated):
        await authenticate(there, cache)
    with pytest.raises(SignInRefused):
        await sign_in(organisation)
    await sign_in(organisation, "another odd phrase")


async def test_the_log_holds_no_words_of_a_sign_in(organisation: Organisation, coach: Principal) -> None:
    app, codes = await enrol(coach)
    opened, _ = await sign_in(organisation)
    await auth.give_second_factor(challenge=opened.token, code=codes[0], settings=SETTINGS)
    async with tenant_session(organisation.compliance) as session:
        log = str((await session.execute(select(func.jsonb_agg(func.to_jsonb(AuditLog.changes))))).all())
        log += str((await session.execute(select(AuditLog.metadata_, AuditLog.description))).all())
    for secret in (PASSWORD, "argon2", app.secret, opened.token, codes[0].replace("-", ""), "coach_a@"):
        assert secret not in log
