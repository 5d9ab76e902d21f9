"""What a newcomer needs to bring their own people: organisations, users, engagements and keys."""

import asyncio
import json
from uuid import uuid4

import pytest
from typer.testing import CliRunner, Result

from cli.main import app
from core.cache import MemoryCache
from core.settings import AuthSettings, Settings
from db.session import close_store
from domain import auth
from domain.identity import Unauthenticated, authenticate_key
from domain.sessions import authenticate_session


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments)


@pytest.fixture
def slug(store: Settings) -> str:
    slug = f"cli-{uuid4().hex[:10]}"
    assert run("tenants", "create", slug, "A new organisation").exit_code == 0
    for name, role in (("kim", "coach"), ("jo", "client")):
        result = run("users", "add", f"{name}@{slug}.example", name.title(), "--role", role, "--tenant", slug)
        assert result.exit_code == 0, result.stderr
    return slug


def authenticate(key: str) -> str:
    async def work() -> str:
        try:
            return (await authenticate_key(key)).role
        finally:
            await close_store()

    return asyncio.run(work())


def test_tenant_and_people_are_listed(slug: str) -> None:
    assert slug in [tenant["slug"] for tenant in json.loads(run("tenants", "list", "--json").stdout)]
    people = json.loads(run("users", "list", "--tenant", slug, "--json").stdout)
    assert [(one["email"], one["role"]) for one in people] == [
        (f"jo@{slug}.example", "client"),
        (f"kim@{slug}.example", "coach"),
    ]


def test_taken_names_are_refused(slug: str) -> None:
    again = run("tenants", "create", slug, "Another")
    assert again.exit_code == 1
    assert "already" in again.stderr
    again = run("users", "add", f"kim@{slug}.example", "Kim", "--role", "coach", "--tenant", slug)
    assert again.exit_code == 1
    assert "already" in again.stderr


@pytest.mark.parametrize("wrong", ["A", "-ab", "a b", "Ünïcode", "x" * 64, "a;b"])
def test_bad_slug_is_refused_in_one_sentence(store: Settings, wrong: str) -> None:
    result = run("tenants", "create", "--", wrong, "Name")
    assert result.exit_code == 1
    assert repr(wrong) in result.stderr


@pytest.mark.parametrize("wrong", ["kim", "@x.example", "kim@", "a@b@c.example", "kim@x", "k im@x.example"])
def test_bad_address_is_refused_in_one_sentence(slug: str, wrong: str) -> None:
    result = run("users", "add", wrong, "Kim", "--role", "coach", "--tenant", slug)
    assert result.exit_code == 1
    assert repr(wrong) in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1


def test_engagement_starts_and_ends(slug: str) -> None:
    pair = ("--coach", f"kim@{slug}.example", "--client", f"jo@{slug}.example", "--tenant", slug)
    assert run("engagements", "start", *pair, "--from", "2026-01-05").exit_code == 0
    (row,) = json.loads(run("engagements", "list", "--tenant", slug, "--json").stdout)
    assert row == {
        "coach": f"kim@{slug}.example",
        "client": f"jo@{slug}.example",
        "from": "2026-01-05T00:00:00+00:00",
        "until": None,
    }
    assert run("engagements", "end", *pair).exit_code == 0
    (row,) = json.loads(run("engagements", "list", "--tenant", slug, "--json").stdout)
    assert row["until"]
    assert run("engagements", "end", *pair).exit_code == 1


def test_key_is_issued_once_and_revoked(slug: str) -> None:
    issued = run("keys", "issue", "--tenant", slug, "--user", f"kim@{slug}.example", "--days", "1")
    key = issued.stdout.strip()
    assert key.startswith("rg_")
    assert authenticate(key) == "coach"
    listed = run("keys", "list", "--tenant", slug, "--json").stdout
    assert key not in listed
    (row,) = json.loads(listed)
    assert row["expires_at"]
    assert row["id"] in issued.stderr
    assert run("keys", "revoke", row["id"], "--tenant", slug).exit_code == 0
    with pytest.raises(Unauthenticated):
        authenticate(key)


def test_key_needs_a_known_user_and_scope(slug: str) -> None:
    unknown = run("keys", "issue", "--tenant", slug, "--user", "nobody@x.example")
    assert unknown.exit_code == 1
    assert "nobody@x.example" in unknown.stderr
    wrong = run("keys", "issue", "--tenant", slug, "--user", f"kim@{slug}.example", "--scope", "everything")
    assert wrong.exit_code == 1
    assert "'everything'" in wrong.stderr


def sign_in(slug: str, password: str) -> str:
    async def work() -> str:
        try:
            opened, _ = await auth.sign_in(
                organisation=slug, email=f"kim@{slug}.example", password=password, settings=AuthSettings()
            )
            signed_in = await authenticate_session(opened.token, cache=MemoryCache(), settings=AuthSettings())
            return signed_in.principal.role
        finally:
            await close_store()

    return asyncio.run(work())


def test_password_is_set_by_hand_or_made(slug: str) -> None:
    command = ("users", "password", f"kim@{slug}.example", "--tenant", slug)
    chosen = "quiet otter seven maps"
    typed = CliRunner().invoke(app, command, input=f"{chosen}\n{chosen}\n")
    assert typed.exit_code == 0, typed.stderr
    assert chosen not in typed.stdout
    assert sign_in(slug, chosen) == "coach"
    made = run(*command, "--generate", "--without-second-factor")
    password = made.stdout.strip()
    assert made.exit_code == 0
    assert len(password) >= 20
    assert sign_in(slug, password) == "coach"
    with pytest.raises(auth.SignInRefused):
        sign_in(slug, chosen)


def test_weak_password_and_unknown_person_are_refused_in_one_sentence(slug: str) -> None:
    weak = CliRunner().invoke(
        app, ("users", "password", f"kim@{slug}.example", "--tenant", slug), input="password1234\npassword1234\n"
    )
    assert weak.exit_code == 1
    assert "guess" in weak.stderr
    unknown = run("users", "password", "nobody@x.example", "--tenant", slug, "--generate")
    assert unknown.exit_code == 1
    assert "nobody@x.example" in unknown.stderr
    assert unknown.stdout == ""
