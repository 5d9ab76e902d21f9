"""`regenesis usage` prints what was used and what is left, for people and for programs."""

import asyncio
import json
from decimal import Decimal

from typer.testing import CliRunner, Result

from cli.main import app
from cli.usage import BAR, draw_bar
from db.session import close_store, tenant_session
from domain import usage
from domain.usage import Used
from tests.factories.people import Organisation
from tests.factories.usage import limit


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["usage", *arguments])


async def use(organisation: Organisation) -> None:
    async with tenant_session(organisation.system) as session:
        used = [
            Used(feature="chat", input_tokens=1200, output_tokens=30, cost_usd=Decimal("0.5")),
            Used(feature="ingestion", ingestions=3), Used(feature="evidence", cost_usd=None, unpriced=2),
        ]  # fmt: skip
        await usage.settle(session, used)
    await limit(organisation, tokens=2_000, storage=10)


async def test_usage_is_told_by_feature_with_bars(organisation: Organisation) -> None:
    await use(organisation)
    result = await asyncio.to_thread(run, "--tenant", organisation.slug, "--by", "feature")
    assert result.exit_code == 0, result.stderr
    lines = {line.split()[0]: line for line in result.stdout.splitlines() if line.strip()}
    assert "1,200" in lines["chat"]
    assert "█" * BAR in lines["chat"]
    assert "?" in lines["evidence"]
    assert "2 calls have no known price" in result.stdout
    found = json.loads((await asyncio.to_thread(run, "--tenant", organisation.slug, "--json")).stdout)
    assert (found["totals"]["cost_usd"], found["totals"]["ingestions"], len(found["rows"])) == ("0.5", 3, 1)
    await close_store()


async def test_quotas_are_told_with_what_is_left(organisation: Organisation) -> None:
    await use(organisation)
    result = await asyncio.to_thread(run, "quotas", "--tenant", organisation.slug)
    assert result.exit_code == 0, result.stderr
    assert "770" in result.stdout
    found = json.loads((await asyncio.to_thread(run, "quotas", "--tenant", organisation.slug, "--json")).stdout)
    assert {one["kind"]: one["left"] for one in found} == {
        "tokens": "770", "ingestions": None, "storage": "10", "usd": None,
    }  # fmt: skip
    await close_store()


async def test_wrong_use_is_told(organisation: Organisation) -> None:
    assert run().exit_code == 2
    assert run("--tenant", organisation.slug, "--from", "2026-02-02", "--until", "2026-01-01").exit_code == 2
    assert (await asyncio.to_thread(run, "--tenant", "nobody-here")).exit_code == 1


def test_bars_are_as_long_as_their_share() -> None:
    assert draw_bar(1.0) == "█" * BAR
    assert draw_bar(0.0) == ""
    assert draw_bar(0.5) == "█" * (BAR // 2)
    assert len(draw_bar(0.51)) == BAR // 2 + 1
