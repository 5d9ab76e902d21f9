"""The nightly scores, by a real Prefect server: what its pages show, whom a failure stops, what is told of drift."""

from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey
from prefect.client.schemas.sorting import ArtifactSort
from sqlalchemy import func, select

from core.errors import Unavailable
from db.models import RagEvaluation
from db.session import tenant_session
from domain.platform import TenantNotFound
from evaluation import nightly
from flows import score_answers as flow_file
from flows.score_answers import score_answers, score_one
from rag.fakes import HashEmbedder
from tests.evaluation.test_drift import plant, read_alerts
from tests.factories.answers import agree, store_answer
from tests.factories.people import Organisation, found_organisation
from tests.factories.sessions import EMBEDDER, store_session

pytestmark = pytest.mark.usefixtures("prefect_server")

PROMISE = "I will hand the pager to Tobias by Friday."


@pytest.fixture(autouse=True)
def embedder(monkeypatch: pytest.MonkeyPatch) -> None:
    async def load(_: object) -> HashEmbedder:
        return EMBEDDER

    monkeypatch.setattr(flow_file, "load_embedder", load)
    monkeypatch.setattr(score_one, "retry_delay_seconds", 0)


async def answer_allowed(organisation: Organisation) -> None:
    stored = await store_session(organisation, [("client", PROMISE)])
    await agree(organisation.coach_a)
    await agree(organisation.client_a)
    await store_answer(organisation.coach_a, (stored, PROMISE))


async def read_page(key: str, slug: str) -> str | None:
    """Return the newest page of this key that speaks of this organisation."""
    async with get_client() as client:
        found = await client.read_artifacts(
            artifact_filter=ArtifactFilter(key=ArtifactFilterKey(any_=[key])), sort=ArtifactSort.CREATED_DESC
        )
    return next((str(one.data) for one in found if slug in str(one.data)), None)


async def count_scored(organisation: Organisation) -> int:
    async with tenant_session(organisation.system) as session:
        return int(await session.scalar(select(func.count()).select_from(RagEvaluation)) or 0)


async def test_a_night_is_scored_once_and_its_page_has_no_words(organisation: Organisation) -> None:
    await answer_allowed(organisation)
    counts = await score_answers(organisation.tenant_id)
    assert (counts["scored"], counts["failed"], counts["drifted"]) == (1, 0, 0)
    assert (await score_answers(organisation.tenant_id))["scored"] == 0
    assert await count_scored(organisation) == 1
    page = await read_page("scored-answers", organisation.slug)
    assert page is not None
    assert "No judge: no budget is set" in page
    assert "| support | 1 | – | " in page
    assert "| 1 / 0 | too few |" in page
    assert not [word for word in ("pager", "Tobias", "promise", "client_a") if word in page]
    assert await read_page("evaluation-drift", organisation.slug) is None


async def test_one_that_fails_leaves_the_others_alone_and_the_run_fails(
    organisation: Organisation, monkeypatch: pytest.MonkeyPatch
) -> None:
    other, broken = await found_organisation(), await found_organisation()
    await answer_allowed(organisation)
    await answer_allowed(other)
    real, outages = nightly.score_window, [Unavailable(), Unavailable()]

    async def flaky(tenant_id: Any, *arguments: Any, **options: Any) -> Any:
        if tenant_id == broken.tenant_id:
            raise ValueError("a defect")
        if tenant_id == other.tenant_id and outages:
            raise outages.pop()
        return await real(tenant_id, *arguments, **options)

    monkeypatch.setattr(flow_file, "score_window", flaky)
    with pytest.raises(RuntimeError, match="The answers of 1 organisations were not scored"):
        await score_answers()
    assert (await count_scored(organisation), await count_scored(other), outages) == (1, 1, [])
    page = await read_page("scored-answers", broken.slug)
    assert page is not None
    assert f"- ✗ {broken.slug}: It broke (ValueError); the log says where." in page
    assert f"## {other.slug}" in page


async def test_drift_has_a_page_of_its_own_and_is_told_once(organisation: Organisation) -> None:
    await plant(organisation, now=datetime.now(UTC), shift={"support": 0.4})
    assert (await score_answers(organisation.tenant_id))["drifted"] == 1
    page = await read_page("evaluation-drift", organisation.slug)
    assert page is not None
    assert "| support | 1 | 0." in page
    assert "| drifted |" in page
    assert "Told just now: support." in page
    assert (await score_answers(organisation.tenant_id))["drifted"] == 1
    again = await read_page("evaluation-drift", organisation.slug)
    assert again is not None
    assert "it was told within the last week" in again
    assert len((await read_alerts(organisation))[0]) == 1


async def test_an_unknown_organisation_and_a_future_window_are_one_sentence(organisation: Organisation) -> None:
    with pytest.raises(TenantNotFound, match="There is no active organisation"):
        await score_answers(uuid4())
    with pytest.raises(RuntimeError, match="were not scored"):
        await score_answers(organisation.tenant_id, since=datetime(2999, 1, 1, tzinfo=UTC))
