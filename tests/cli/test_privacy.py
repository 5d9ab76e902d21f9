"""What an operator does for people's rights: a copy of their data, an erasure with proof, a look at what waits."""

import asyncio
import json
import zipfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID, uuid4

import pytest
from sqlalchemy import func, select, text
from typer.testing import CliRunner, Result

from cli.main import app
from core.settings import Settings
from db.models import DeletionRequest, TranscriptSegment, User
from db.session import close_store, tenant_session
from domain.privacy import place_hold, release_hold, request_erasure
from tests.factories.people import Organisation, found_organisation
from tests.factories.sessions import require_id, store_session

TURNS = [("coach", "How was the week?"), ("client", "I handed over the pager.")]
T = TypeVar("T")


def run(*arguments: str, typed: str | None = None) -> Result:
    return CliRunner().invoke(app, ("privacy", *arguments), input=typed)


def do(work: Callable[[], Awaitable[T]]) -> T:
    async def closing() -> T:
        try:
            return await work()
        finally:
            await close_store()

    return asyncio.run(closing())


@pytest.fixture
def people(store: Settings) -> Organisation:
    async def found() -> Organisation:
        organisation = await found_organisation()
        await store_session(organisation, TURNS)
        return organisation

    return do(found)


def mail(organisation: Organisation, name: str) -> str:
    return f"{name}@{organisation.slug}.example"


def count(organisation: Organisation, table: Any) -> int:
    async def work() -> int:
        async with tenant_session(organisation.system) as session:
            return await session.scalar(select(func.count()).select_from(table)) or 0

    return do(work)


def erase(organisation: Organisation, *arguments: str, typed: str | None = None) -> Result:
    return run("erase", "--tenant", organisation.slug, *arguments, typed=typed)


def test_copy_is_written_for_its_owner_alone(people: Organisation, tmp_path: Path) -> None:
    target = tmp_path / "amina.zip"
    command = ("export", "--tenant", people.slug, "--user", mail(people, "client_a"), "--output", str(target))
    made = run(*command)
    assert made.exit_code == 0, made.stderr
    assert made.stdout.strip() == str(target)
    assert target.stat().st_mode & 0o077 == 0
    with zipfile.ZipFile(target) as zipped:
        assert b"I handed over the pager." in zipped.read("data/rag.transcript_segments.jsonl")
    again = run(*command)
    assert again.exit_code == 1
    assert "already" in again.stderr
    other = run(*command[:-1], str(tmp_path / "second.zip"), "--json")
    told = json.loads(other.stdout)
    assert told["size_bytes"] == (tmp_path / "second.zip").stat().st_size
    assert told["rows"] > 5
    nobody = run("export", "--tenant", people.slug, "--user", "nobody@x.example", "--output", str(tmp_path / "x"))
    assert nobody.exit_code == 1
    assert "nobody@x.example" in nobody.stderr
    nowhere = run(*command[:-1], str(tmp_path / "no" / "x.zip"))
    assert nowhere.exit_code == 1
    assert len(nowhere.stderr.strip().splitlines()) == 1


def test_nothing_goes_before_the_operator_says_so(people: Organisation) -> None:
    chosen = ("--user", mail(people, "client_a"))
    shown = erase(people, *chosen, "--json")
    assert shown.exit_code == 0, shown.stderr
    stores = json.loads(shown.stdout)["stores"]
    assert stores["rag.transcript_segments"] == {"treatment": "delete", "rows": 2}
    for typed in ("\n\n", "no\n", "yes\n"):
        asked = erase(people, *chosen, typed=typed)
        assert asked.exit_code == 1, asked.stdout
        assert "rag.transcript_segments" in asked.stdout
    assert count(people, TranscriptSegment) == 2
    assert count(people, DeletionRequest) == 0


def test_person_is_erased_and_the_receipt_proves_it(people: Organisation, tmp_path: Path) -> None:
    done = erase(people, "--user", mail(people, "client_a"), "--reason", "A letter came.", typed="erase\n")
    assert done.exit_code == 0, done.stderr
    address = done.stdout.strip().splitlines()[-1]
    assert address.startswith("file://")
    assert count(people, TranscriptSegment) == 0
    held = run("verify", address)
    assert held.exit_code == 0, held.stdout
    assert "the receipt holds" in held.stdout
    found = json.loads(run("verify", address.removeprefix("file://"), "--json").stdout)
    assert found["holds"]
    assert set(found["left"].values()) == {0}
    by_id = run("verify", found["receipt_id"], "--tenant", people.slug)
    assert by_id.exit_code == 0
    document = json.loads(Path(address.removeprefix("file://")).read_text())
    document["stores"]["rag.transcript_segments"]["items"] = 9
    forged = tmp_path / "forged.json"
    forged.write_text(json.dumps(document))
    refused = run("verify", str(forged))
    assert refused.exit_code == 1
    assert "NOT SIGNED HERE" in refused.stdout
    assert "FAILS" in refused.stdout
    for wrong in ("{}", "[]", "no json"):
        forged.write_text(wrong)
        assert run("verify", str(forged)).exit_code == 1
    for unknown in ((str(uuid4()), "--tenant", people.slug), (str(uuid4()),), ("no-such-file.json",)):
        missing = run("verify", *unknown)
        assert missing.exit_code == 1
        assert len(missing.stderr.strip().splitlines()) == 1, missing.stderr


def test_what_came_back_shows(people: Organisation) -> None:
    done = erase(people, "--user", mail(people, "client_a"), "--yes", "--json")
    assert done.exit_code == 0, done.stderr
    told = json.loads(done.stdout)

    async def bring_back() -> None:
        async with tenant_session(people.system) as session:
            session.add(
                User(tenant_id=people.tenant_id, id=people.client_a.user_id, email="back@x.example", full_name="Back",
                     role="client")
            )  # fmt: skip

    do(bring_back)
    found = run("verify", told["address"])
    assert found.exit_code == 1
    assert "identity.users\t1 left" in found.stdout


def test_exactly_one_thing_is_erased_at_a_time(people: Organisation) -> None:
    user = ("--user", mail(people, "client_a"))
    for wrong in ((), (*user, "--all"), (*user, "--session", str(uuid4())), ("--all", "--yes")):
        refused = erase(people, *wrong)
        assert refused.exit_code == 1, refused.stdout
        assert len(refused.stderr.strip().splitlines()) == 1
    for unknown in ("--session", "--document"):
        missing = erase(people, unknown, str(uuid4()), "--yes")
        assert missing.exit_code == 1
        assert "no such" in missing.stderr


def test_session_and_organisation_are_erased(people: Organisation) -> None:
    async def find() -> UUID:
        async with tenant_session(people.system) as session:
            return UUID(str(await session.scalar(text("SELECT id FROM coaching.coaching_sessions"))))

    meeting = do(find)
    assert erase(people, "--session", str(meeting), "--yes").exit_code == 0
    assert count(people, TranscriptSegment) == 0
    assert erase(people, "--all", typed="erase\n").exit_code == 1  # its name is asked for
    done = erase(people, "--all", typed=f"{people.slug}\n")
    assert done.exit_code == 0, done.stderr
    assert run("verify", done.stdout.strip().splitlines()[-1]).exit_code == 0
    assert erase(people, "--all", "--json").exit_code == 1  # nobody of this name is there any more


def test_hold_is_told_and_nothing_goes(people: Organisation) -> None:
    officer = people.compliance

    async def hold() -> UUID:
        async with tenant_session(officer) as session:
            placed = await place_hold(
                session, officer, kind="person", subject_id=require_id(people.client_a), reason="Case 17"
            )
            return placed.id

    async def release(hold_id: UUID) -> None:
        async with tenant_session(officer) as session:
            await release_hold(session, officer, hold_id)

    hold_id = do(hold)
    refused = erase(people, "--user", mail(people, "client_a"), "--yes")
    assert refused.exit_code == 1
    assert "Case 17" in refused.stderr
    listed = run("holds", "--tenant", people.slug)
    assert str(hold_id) in listed.stdout
    assert "open" in listed.stdout
    do(lambda: release(hold_id))
    assert run("holds", "--tenant", people.slug).stdout == ""
    (row,) = json.loads(run("holds", "--tenant", people.slug, "--released", "--json").stdout)
    assert (row["reason"], row["subject_kind"]) == ("Case 17", "person")
    assert row["released_at"]


def test_requests_are_listed_and_an_open_one_is_the_one_carried_out(people: Organisation) -> None:
    async def ask() -> UUID:
        person = people.client_a
        async with tenant_session(person) as session:
            return (await request_erasure(session, person, kind="person", subject_id=require_id(person))).id

    request_id = do(ask)
    (row,) = json.loads(run("requests", "--tenant", people.slug, "--json").stdout)
    assert (row["id"], row["status"], row["overdue"]) == (str(request_id), "requested", False)
    assert run("requests", "--tenant", people.slug, "--overdue").stdout == ""
    done = json.loads(erase(people, "--user", mail(people, "client_a"), "--yes", "--json").stdout)
    assert done["receipt"]["request_id"] == str(request_id)
    listed = run("requests", "--tenant", people.slug).stdout
    assert "completed" in listed
    assert "OVERDUE" not in listed
