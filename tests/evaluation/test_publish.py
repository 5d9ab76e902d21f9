"""Reports are kept beside the organisation's other objects, once a format."""

from pathlib import Path
from urllib.parse import unquote, urlsplit
from uuid import uuid4

import orjson
import pytest
from sqlalchemy import select

from core.settings import Settings
from core.storage import open_store
from db.models import RagReport
from db.session import tenant_session
from evaluation.publish import list_runs, load_report, publish_report
from evaluation.store import ExperimentNotFound
from tests.evaluation.test_run import CASES, make_suite, people, run
from tests.factories.people import Organisation

__all__ = ["people"]


async def test_a_report_is_written_in_every_format_once(
    people: Organisation, settings: Settings, tmp_path: Path
) -> None:
    first = await run(people, make_suite())
    other = await run(people, make_suite(CASES[0]))
    store = open_store(tmp_path.as_uri(), settings.storage)
    async with tenant_session(people.system) as session:
        found = await load_report(session, first.experiment_id, baseline=first.results)
        for _ in range(2):
            addresses = await publish_report(session, store, found)
        kept = (await session.scalars(select(RagReport))).all()
        rows = await list_runs(session)
        assert [row.id for row in await list_runs(session, limit=1)] == [other.experiment_id]
    assert {(row.format, row.report_url) for row in kept} == set(addresses.items())
    assert len(kept) == 3
    assert [(row.id, row.answers, row.failed) for row in rows] == [
        (other.experiment_id, 1, 0), (first.experiment_id, 13, 0),
    ]  # fmt: skip
    files = {kind: Path(unquote(urlsplit(address).path)) for kind, address in addresses.items()}
    assert str(people.tenant_id) in str(files["html"])
    assert files["html"].read_text().startswith("<!doctype html>")
    assert files["markdown"].read_text().startswith("# small")
    assert len(orjson.loads(files["json"].read_bytes())["results"]) == 13


async def test_a_run_that_is_not_there_is_said_to_be(people: Organisation) -> None:
    async with tenant_session(people.system) as session:
        with pytest.raises(ExperimentNotFound):
            await load_report(session, uuid4())
