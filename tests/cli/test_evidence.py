"""`regenesis evidence` reads what is built as its reader may, proves it, and says in one sentence what is wrong."""

import asyncio
import json
from typing import Any

import pytest
from sqlalchemy import create_engine, text
from typer.testing import CliRunner, Result

from cli.main import app
from core.settings import Settings
from db.locate import owner_url
from pipelines.evidence.build import build_client
from tests.factories.people import Organisation
from tests.pipelines.evidence.test_build import client_of, store_sessions


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["evidence", *arguments])


@pytest.fixture
async def built(organisation: Organisation) -> Organisation:
    """An organisation with the evidence of three sessions that only coaches may read."""
    await store_sessions(organisation, visibility="coach_only")
    await build_client(organisation.tenant_id, client_of(organisation))
    return organisation


def show(organisation: Organisation, *options: str, user: str | None = None) -> Result:
    who = ["--tenant", organisation.slug, "--client", f"client_a@{organisation.slug}.example"]
    return run("show", *who, *(["--user", f"{user}@{organisation.slug}.example"] if user else []), *options)


def read(result: Result) -> Any:
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


def test_a_pattern_leads_down_to_the_words(built: Organisation) -> None:
    result = show(built)
    assert result.exit_code == 0, result.stderr
    lines = result.stdout.splitlines()
    assert lines[0].startswith("Amina Diallo")
    record = next(n for n, line in enumerate(lines) if line.startswith("COMMITMENT RECORD"))
    below = "\n".join(lines[record : record + 12])
    assert "sessions examined" in below
    assert "commitment kept" in below
    assert "“I'll send the budget draft to Helen by Friday.”  Amina Diallo · 0:10" in below


def test_levels_begin_where_they_are_asked_to(built: Organisation) -> None:
    claims = show(built, "--level", "l1").stdout
    assert "COMMITMENT RECORD" not in claims
    assert "13 January 2026  Session of 2026-01-13" in claims
    quotes = show(built, "--level", "l0").stdout
    assert "“I sent the budget draft to Helen on Thursday.”" in quotes
    assert "Amina Diallo committed" not in quotes


def test_json_holds_each_row_once(built: Organisation) -> None:
    found = read(show(built, "--json"))
    ids = [claim["id"] for claim in found["claims"]]
    assert len(ids) == len(set(ids)) == sum(found["summary"]["claims"].values())
    assert {link["id"] for pattern in found["patterns"] for link in pattern["claims"]} <= set(ids)
    words = read(show(built, "--level", "l0", "--json"))
    assert len(words["quotes"]) == found["summary"]["quotes"]
    assert "claims" not in words


def test_a_reader_sees_what_they_may(built: Organisation) -> None:
    assert read(show(built, "--json", user="coach_a"))["claims"]
    assert read(show(built, "--json", user="client_a"))["claims"] == []
    for stranger in ("coach_b", "client_b", "admin"):
        result = show(built, user=stranger)
        assert (result.exit_code, result.stdout) == (1, "")
        assert "no such client whose evidence you may see" in result.stderr


def test_a_pack_is_printed_with_its_hash_and_coverage(built: Organisation) -> None:
    who = ["--tenant", built.slug, "--user", f"coach_a@{built.slug}.example"]
    made = read(run("pack", *who, "--client", f"client_a@{built.slug}.example", "--json"))
    assert made["coverage"]["sessions_in_scope"] == 3
    again = run("pack", *who, "--id", made["id"])
    assert again.exit_code == 0, again.stderr
    assert made["content_hash"] in again.stdout
    assert "commitment kept" in again.stdout


def test_all_invariants_hold_and_a_broken_one_is_counted(built: Organisation, store: Settings) -> None:
    who = ("verify", "--tenant", built.slug)
    found = read(run(*who, "--json"))
    assert found["broken"] == 0
    assert sum(one["checked"] for one in found["invariants"]) > 10
    assert run(*who).exit_code == 0
    engine = create_engine(owner_url(store))
    edit = "UPDATE evidence.quotes SET exact = 'x' || substr(exact, 2) WHERE tenant_id = :tenant"
    with engine.begin() as connection:  # as a hand on the database would, its guards off
        connection.execute(text("SET LOCAL session_replication_role = replica"))
        assert connection.execute(text(edit), {"tenant": built.tenant_id}).rowcount
    engine.dispose()
    result = run(*who)
    assert result.exit_code == 1
    assert "break an invariant" in result.stderr
    assert "✗" in result.stdout
    heal = asyncio.run(_rebuild(built))
    assert heal >= 3
    assert run(*who).exit_code == 0


async def _rebuild(organisation: Organisation) -> int:
    from db.session import close_store

    try:
        return (await build_client(organisation.tenant_id, client_of(organisation), force=True)).changed
    finally:
        await close_store()


@pytest.mark.parametrize(
    "arguments",
    [("build", "--tenant", "t"), ("build", "--tenant", "t", "--client", "a@b.example", "--all"),
     ("pack", "--tenant", "t", "--user", "a@b.example"), ("show", "--tenant", "t", "--client", "a", "--level", "l3")],
)  # fmt: skip
def test_wrong_usage_exits_2(arguments: tuple[str, ...]) -> None:
    assert run(*arguments).exit_code == 2


def test_an_unknown_client_is_one_sentence(built: Organisation) -> None:
    result = run("show", "--tenant", built.slug, "--client", "nobody@x.example")
    assert (result.exit_code, len(result.stderr.strip().splitlines())) == (1, 1)
    assert "nobody@x.example" in result.stderr
