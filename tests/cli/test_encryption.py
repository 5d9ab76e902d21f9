"""`regenesis encryption`: what there is, rotating, wrapping anew, and destroying for good."""

import asyncio
import json
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import select, update
from typer.testing import CliRunner, Result

from cli.main import app
from core.crypto import DataKeyDestroyed
from core.settings import Settings, get_settings
from core.storage import open_store
from db.models import User
from db.session import Principal, close_store, tenant_session
from domain.keys import field_cipher, forget_keys
from domain.objects import tenant_store
from domain.platform import get_tenant_by_slug

PLACE = {"table": "identity.users", "column": "phone_number"}


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments)


def work(coroutine: Any) -> Any:
    async def closing() -> Any:
        try:
            return await coroutine
        finally:
            await close_store()

    return asyncio.run(closing())


@pytest.fixture
def slug(store: Settings) -> str:
    """An organisation with one encrypted number, an encrypted object, and one from before."""
    slug = f"cli-{uuid4().hex[:10]}"
    assert run("tenants", "create", slug, "A new organisation").exit_code == 0
    assert run("users", "add", f"jo@{slug}.example", "Jo", "--role", "client", "--tenant", slug).exit_code == 0

    async def fill() -> None:
        tenant = await get_tenant_by_slug(slug)
        async with tenant_session(Principal(tenant.id, "system")) as session:
            one = (await session.scalars(select(User.id))).one()
            sealed = (await field_cipher(session)).encrypt("+250", row_id=one, **PLACE)
            await session.execute(update(User).values(phone_number=sealed))
        await (await tenant_store(tenant.id)).write(f"tenants/{tenant.id}/a", b"words")
        settings = get_settings()
        await open_store(settings.storage_url, settings.storage).write(f"media/{tenant.id}/b", b"plain")

    work(fill())
    return slug


async def read_number(slug: str) -> str:
    tenant = await get_tenant_by_slug(slug)
    async with tenant_session(Principal(tenant.id, "system")) as session:
        row = (await session.execute(select(User.id, User.phone_number))).one()
        return (await field_cipher(session)).decrypt(row.phone_number or b"", row_id=row.id, **PLACE)


def test_status_rotation_and_destruction(slug: str) -> None:
    (before,) = json.loads(run("encryption", "status", "--tenant", slug, "--json").stdout)
    assert [(key["purpose"], key["version"], key["fields"], key["objects"]) for key in before["keys"]] == [
        ("fields", 1, 1, None), ("objects", 1, None, 1),
    ]  # fmt: skip
    assert (before["plain_objects"], before["odd"]) == (1, 0)
    assert before["keyring"].startswith("wrapped by local:")
    shown = run("encryption", "status", "--tenant", slug)
    assert "not encrypted" in shown.stdout

    result = run("encryption", "rotate", "--tenant", slug, "--destroy-old")
    assert result.exit_code == 0, result.stderr
    assert f"{slug}: fields: 1 encrypted anew with version 2, 1 older keys retired, 1 destroyed" in result.stdout
    assert f"{slug}: objects: 2 encrypted anew with version 2, 1 older keys retired" in result.stdout
    (after,) = json.loads(run("encryption", "status", "--tenant", slug, "--json").stdout)
    assert [(key["version"], key["fields"], key["objects"]) for key in after["keys"]] == [
        (1, 0, None), (2, 1, None), (1, None, 0), (2, None, 2),
    ]  # fmt: skip
    assert [key["destroyed_at"] is not None for key in after["keys"]] == [True, False, False, False]
    assert after["plain_objects"] == 0
    assert work(read_number(slug)) == "+250"

    result = run("encryption", "rewrap", "--tenant", slug)
    assert (result.exit_code, result.stdout) == (0, "0 entries of the keyring were wrapped anew.\n")

    assert CliRunner().invoke(app, ["encryption", "destroy", "--tenant", slug], input="n\n").exit_code == 1
    assert work(read_number(slug)) == "+250"
    result = run("encryption", "destroy", "--tenant", slug, "--yes")
    assert result.exit_code == 0, result.stderr
    assert result.stdout == f"Destroyed 3 keys of {slug}, and its entry in the keyring.\n"
    (gone,) = json.loads(run("encryption", "status", "--tenant", slug, "--json").stdout)
    assert all(key["destroyed_at"] for key in gone["keys"])
    assert gone["keyring"].startswith("destroyed ")
    forget_keys(work(get_tenant_by_slug(slug)).id)
    with pytest.raises(DataKeyDestroyed):
        work(read_number(slug))
    result = run("encryption", "rotate", "--tenant", slug)
    assert result.exit_code == 1
    assert "was destroyed" in result.stderr


def test_an_unknown_organisation_is_named(store: Settings) -> None:
    for command in ("status", "rotate", "rewrap"):
        result = run("encryption", command, "--tenant", "nobody-here")
        assert result.exit_code == 1
        assert "nobody-here" in result.stderr
