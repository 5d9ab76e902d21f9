"""The commands about time: what is kept how long, what would go, and whether the store agrees with itself."""

import asyncio
import json
from datetime import date
from typing import Any

from sqlalchemy import select
from typer.testing import CliRunner

from cli.main import app
from core.settings import Settings
from db.models import Notification
from db.session import tenant_session
from domain.objects import tenant_store
from tests.factories.months import keep_for, make_month, notify_in
from tests.factories.people import Organisation


async def invoke(*command: str, code: int = 0) -> Any:  # whatever it prints
    result = await asyncio.to_thread(CliRunner().invoke, app, [*command, "--json"])
    assert result.exit_code == code, result.output
    return json.loads(result.stdout)


async def test_show_names_policies_and_archives(organisation: Organisation, store: Settings) -> None:
    (shown,) = await invoke("retention", "show", "--tenant", organisation.slug)
    assert shown["organisation"] == organisation.slug
    assert {"data_type": "notifications", "action": "delete", "days": 90} in shown["policies"]
    plain = await asyncio.to_thread(CliRunner().invoke, app, ["retention", "show", "--tenant", organisation.slug])
    assert "material and conversations stay" in plain.stdout


async def test_run_counts_then_takes(organisation: Organisation, store: Settings) -> None:
    month = date(2015, 1, 1)
    make_month(store, "comms.notifications", month)
    notify_in(store, organisation, month)
    for option, left in (("--dry-run", 3), ("--tenant", 0)):
        more = (option,) if option == "--dry-run" else ()
        rows = await invoke("retention", "run", "--tenant", organisation.slug, *more)
        assert [row["gone"] for row in rows if row["noun"] == "notifications"] == [3]
        async with tenant_session(organisation.system) as session:
            assert len((await session.scalars(select(Notification.id))).all()) == left


async def test_archive_says_what_would_become_of_months(organisation: Organisation, store: Settings) -> None:
    month = date(2015, 2, 1)
    make_month(store, "comms.notifications", month)
    notify_in(store, organisation, month)
    await keep_for(organisation, "notifications", "delete", 36500)
    await keep_for(organisation, "notifications", "archive", 30)
    for option in ("--dry-run", None):
        lines = await invoke("db", "archive", "--tenant", organisation.slug, *([option] if option else []))
        mine = [(one["did"], one["rows"]) for one in lines if one["month"] == "2015-02"]
        assert mine[0] == ("archived", 3)


async def test_reconcile_looks_and_mends_when_asked(organisation: Organisation, store: Settings) -> None:
    agreed = await invoke("db", "reconcile", "--tenant", organisation.slug)
    assert {row["found"] for row in agreed} == {0}
    with store_is_old():
        objects = await tenant_store(organisation.tenant_id)
        await objects.write(f"tenants/{organisation.tenant_id}/originals/left/over", b"x")
        left = await invoke("db", "reconcile", "--tenant", organisation.slug, code=1)
        assert {row["kind"]: row["repaired"] for row in left if row["found"]} == {"objects without rows": 0}
        mended = await invoke("db", "reconcile", "--tenant", organisation.slug, "--repair")
        assert {row["kind"]: row["repaired"] for row in mended if row["found"]} == {"objects without rows": 1}


def store_is_old() -> Any:  # a context manager
    from datetime import timedelta
    from unittest.mock import patch

    import pipelines.reconcile as module

    return patch.object(module.reconcile_tenant, "__kwdefaults__", {"grace": timedelta(0)})
