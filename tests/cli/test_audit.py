"""`regenesis audit`: who did and who read what, from the command line, which is noted as well."""

import asyncio
import json
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from typer.testing import CliRunner

from cli.main import app
from core.settings import Settings
from db.locate import owner_url
from db.provision import to_libpq_url
from db.session import tenant_session
from domain.reading import record_reading
from tests.factories.people import Organisation
from tests.factories.sessions import require_id


def call(*arguments: str, expected: int = 0) -> Any:
    result = CliRunner().invoke(app, ["audit", *arguments])
    assert result.exit_code == expected, result.output
    return result


def ask(*arguments: str) -> Any:
    return json.loads(call(*arguments, "--json").stdout)


async def in_thread(work: Any, *arguments: str) -> Any:
    """Run a command, which has a loop of its own, beside this one."""
    return await asyncio.to_thread(work, *arguments)


async def test_who_read_it(organisation: Organisation) -> None:
    transcript, client = uuid4(), require_id(organisation.client_a)
    for person in (organisation.coach_a, organisation.client_a):
        async with tenant_session(person) as session:
            await record_reading(session, "transcript_read", {"transcript": [transcript], "client": [client]})
    tenant = ("--tenant", organisation.slug)
    rows = await in_thread(ask, "who-read", "transcript", str(transcript), *tenant)
    emails = [f"{name}@{organisation.slug}.example" for name in ("client_a", "coach_a")]
    assert [row["actor"] for row in rows] == emails, "the newest first, also what waited for its place"
    assert {row["surface"] for row in rows} == {"library"}
    assert rows[0]["read"] == {"transcript": [str(transcript)], "client": [str(client)]}
    assert await in_thread(ask, "who-read", "client", emails[0], *tenant) == rows
    (one,) = await in_thread(ask, "who-read", "client", emails[0], "--actor", emails[1], *tenant)
    assert one["actor"] == emails[1]
    assert await in_thread(ask, "who-read", "quote", str(uuid4()), *tenant) == []
    shown = (await in_thread(call, "who-read", "client", str(client), *tenant)).stdout
    assert emails[0] in shown
    assert "1 client, 1 transcript" in shown
    assert "transcript_read" in shown
    listed = await in_thread(ask, "list", "--action", "audit_log_read", "--limit", "2", *tenant)
    assert [row["action"] for row in listed] == ["audit_log_read"] * 2
    assert await in_thread(ask, "list", "--until", "2020-01-01", *tenant) == []
    assert len(await in_thread(ask, "list", "--from", "2020-01-01", "--severity", "info", "--limit", "3", *tenant)) == 3


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("who-read", "chunk", str(uuid4())), "Nothing called 'chunk' is read"),
        (("who-read", "poem", str(uuid4())), "Nothing called 'poem' is read"),
        (("who-read", "transcript", "the one of May"), "'the one of May' is no transcript's id"),
        (("who-read", "client", "nobody@example.org"), "There is no user 'nobody@example.org'"),
        (("list", "--actor", "nobody@example.org"), "There is no user 'nobody@example.org'"),
    ],
)
def test_what_can_not_be_asked_is_one_sentence(
    organisation: Organisation, arguments: tuple[str, ...], sentence: str
) -> None:
    result = call(*arguments, "--tenant", organisation.slug, expected=1)
    assert sentence in result.stderr
    assert "Traceback" not in result.output


async def test_chain_is_recomputed_and_told(organisation: Organisation, store: Settings) -> None:
    async with tenant_session(organisation.coach_a) as session:
        await record_reading(session, "transcript_read", {"transcript": [uuid4()]})
    found = await in_thread(ask, "chain", "--tenant", organisation.slug)
    assert (found["verified"], found["fault"], found["dropped_until"]) == (True, None, 0)
    assert found["checked"] == found["length"] > 20
    said = (await in_thread(call, "chain", "--tenant", organisation.slug)).stdout
    assert f"{found['length']:,} of {found['length']:,} entries hold." in said
    assert found["hash"] in said
    with psycopg.connect(to_libpq_url(owner_url(store)), autocommit=True) as connection:
        where = "WHERE tenant_id = %s AND sequence = 3"
        connection.execute("SET session_replication_role = replica")
        connection.execute("ALTER TABLE governance.audit_logs DISABLE TRIGGER keep")
        role = connection.execute(f"SELECT actor_role FROM governance.audit_logs {where}", [organisation.tenant_id])
        before = role.fetchone()
        assert before is not None
        change = f"UPDATE governance.audit_logs SET actor_role = %s {where}"
        connection.execute(change, ["nobody", organisation.tenant_id])
        try:
            result = await asyncio.to_thread(call, "chain", "--tenant", organisation.slug, expected=1)
        finally:
            connection.execute(change, [*before, organisation.tenant_id])
            connection.execute("ALTER TABLE governance.audit_logs ENABLE ALWAYS TRIGGER keep")
    assert "Entry 3 was altered" in result.stderr


async def test_commands_that_serve_words_are_noted(organisation: Organisation) -> None:
    from tests.factories.evidence_world import build_world

    await build_world(organisation)
    tenant, coach = ("--tenant", organisation.slug), f"coach_a@{organisation.slug}.example"
    client = f"client_a@{organisation.slug}.example"
    commands = {
        "evidence_read": ("evidence", "show", "--client", client, "--user", coach, *tenant),
        "pack_read": ("evidence", "pack", "--client", client, "--user", coach, *tenant),
        "passages_retrieved": ("search", "the on-call rota", "--user", coach, *tenant),
    }
    for action, command in commands.items():
        result = await asyncio.to_thread(CliRunner().invoke, app, list(command))
        assert result.exit_code == 0, (command, result.output)
        (row,) = await in_thread(ask, "list", "--action", action, "--actor", coach, *tenant)
        assert (row["surface"], row["actor_role"]) == ("cli", "coach"), action
    admin = f"admin@{organisation.slug}.example"
    why = ["search", "the on-call rota", "--user", coach, "--why", admin, *tenant]
    result = await asyncio.to_thread(CliRunner().invoke, app, [*why, "--json"])
    counts = json.loads(result.stdout)
    assert counts["searchable"] == counts["visible"] + counts["by_permission"] > 0
    result = await asyncio.to_thread(CliRunner().invoke, app, why)
    assert "passages of the organisation" in result.stdout
    assert counts["verdict"][:40] in result.stdout
    assert "rota" not in result.stdout
    (row, _) = await in_thread(ask, "list", "--action", "search_traced", "--actor", admin, *tenant)
    assert row["actor_role"] == "admin"
    result = await asyncio.to_thread(CliRunner().invoke, app, [*why[:-3], coach, *tenant])
    assert (result.exit_code, result.stdout) == (1, "")
    result = await asyncio.to_thread(CliRunner().invoke, app, ["evidence", "show", "--client", client, *tenant])
    assert result.exit_code == 0
    newest = (await in_thread(ask, "list", "--action", "evidence_read", *tenant))[0]
    assert (newest["surface"], newest["actor_role"], newest["actor"]) == ("cli", "system", None)
