"""Usage, quotas and prices over HTTP: who reads, who sets, and what a refusal says."""

import asyncio
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from api.app import create_app
from core.settings import Settings
from core.storage_encrypted import measure_least
from db.session import tenant_session
from domain import usage
from domain.usage import Used
from pipelines.ingest import ingest_source
from rag import answer_models
from rag.answer import Assistant
from rag.fakes import ScriptedChat
from tests.api.conftest import Connect, FlowServer
from tests.api.test_chat import QUESTION, TURNS
from tests.api.test_ingestion import VTT, upload
from tests.factories.people import Organisation
from tests.factories.sessions import EMBEDDER, store_session
from tests.factories.usage import PaidEmbedder, limit, read_quotas, read_usage

PNG = bytes.fromhex("89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c489")


@pytest.fixture
def app(api_settings: Settings, flow_server: FlowServer) -> Any:
    return create_app(api_settings.model_copy(update={"prefect_api_url": flow_server.url}), Assistant(EMBEDDER))


async def call(connect: Connect, person: str, method: str, path: str, expected: int = 200, /, **body: Any) -> Any:
    reply = await connect(person).request(method, path, **body)
    assert reply.status_code == expected, (person, path, reply.text)
    return reply.json() if reply.content else None


def read_problem(reply: Any, code: str) -> dict[str, Any]:
    assert (reply.status_code, reply.headers["content-type"]) == (429, "application/problem+json"), reply.text
    problem: dict[str, Any] = reply.json()
    assert problem["code"] == code
    assert int(reply.headers["retry-after"]) >= 1
    return problem


async def test_administrators_and_executives_read_usage(organisation: Organisation, connect: Connect) -> None:
    async with tenant_session(organisation.system) as session:
        used = [
            Used(feature="chat", input_tokens=7, cost_usd=Decimal("0.5")),
            Used(feature="search", cost_usd=None, unpriced=1),
        ]
        await usage.settle(session, used)
    today = datetime.now(UTC).date()
    for name in organisation.people:
        reply = await connect(name).get("/v1/usage")
        assert reply.status_code == (200 if name in {"admin", "executive"} else 403), name
    found = await call(connect, "executive", "GET", "/v1/usage")
    assert (found["from"], found["until"]) == (str(today - timedelta(days=29)), str(today))
    (row,) = found["items"]
    assert (row["date"], row["feature"], row["input_tokens"], row["unpriced"]) == (str(today), None, 7, 1)
    assert (found["totals"]["cost_usd"], found["totals"]["unpriced"]) == ("0.5", 1)
    by_feature = await call(connect, "admin", "GET", "/v1/usage?group_by=feature")
    assert [(row["feature"], row["cost_usd"]) for row in by_feature["items"]] == [("chat", "0.5"), ("search", None)]
    narrowed = await call(connect, "admin", "GET", "/v1/usage?group_by=flow&feature=search")
    assert [(row["flow_run_id"], row["requests"]) for row in narrowed["items"]] == [(None, 1)]
    past = await call(connect, "admin", "GET", f"/v1/usage?until={today - timedelta(days=2)}")
    assert (past["items"], past["totals"]["cost_usd"]) == ([], None)
    for wrong in (f"from={today}&until={today - timedelta(days=1)}", "from=2020-01-01", f"until={date.max}"):
        assert (await connect("admin").get(f"/v1/usage?{wrong}")).status_code in {200, 422}, wrong
    await call(connect, "admin", "GET", "/v1/usage?from=2020-01-01", 422)


async def test_everyone_reads_quotas_and_administrators_set_them(organisation: Organisation, connect: Connect) -> None:
    body = {"max_tokens_per_day": 1000, "max_model_usd_month": "12.5"}
    for name in organisation.people:
        reply = await connect(name).put("/v1/quotas", json=body)
        assert reply.status_code == (200 if name == "admin" else 403), name
        found = {one["kind"]: one for one in (await call(connect, name, "GET", "/v1/quotas"))["items"]}
        assert list(found) == ["tokens", "ingestions", "storage", "usd"]
    assert (found["tokens"]["limit"], found["tokens"]["left"], found["storage"]["limit"]) == ("1000", "1000", None)
    assert found["usd"]["resets_at"].endswith("-01T00:00:00Z")
    await call(connect, "admin", "PUT", "/v1/quotas", 422, json={"max_tokens_per_day": -1})
    await call(connect, "admin", "PUT", "/v1/quotas", 422, json={"tokens": 1})


async def test_prices_are_the_administrators(organisation: Organisation, connect: Connect) -> None:
    body = {"model": "house-*", "input_usd": "0.25", "output_usd": "1"}
    for name in organisation.people:
        reply = await connect(name).post("/v1/prices", json=body)
        assert reply.status_code == (201 if name == "admin" else 403), name
        reads = await connect(name).get("/v1/prices")
        assert reads.status_code == (200 if name in {"admin", "executive"} else 403), name
    (stored,) = (await call(connect, "admin", "GET", "/v1/prices"))["items"]
    assert (stored["model"], stored["service"], stored["input_usd"]) == ("house-*", "*", "0.25")
    await call(connect, "admin", "DELETE", f"/v1/prices/{stored['id']}", 204)
    await call(connect, "admin", "DELETE", f"/v1/prices/{stored['id']}", 404)
    for wrong in ({"input_usd": "-1"}, {"model": ""}, {"valid_from": "2026-01-01T00:00:00"}, {"more": 1}):
        await call(connect, "admin", "POST", "/v1/prices", 422, json=body | wrong)


async def test_questions_beyond_the_limit_are_refused(
    organisation: Organisation, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def chosen(*_: object) -> list[answer_models.ModelChoice]:
        return [answer_models.ModelChoice(ScriptedChat([["Amina will hand over the pager [1]."]]), 200, None)]

    monkeypatch.setattr("rag.answer.list_models", chosen)
    await store_session(organisation, TURNS)
    await limit(organisation, tokens=1)
    body = {"model": "sasha", "messages": [{"role": "user", "content": QUESTION["content"]}]}
    await call(connect, "coach_a", "POST", "/v1/chat/completions", json=body)
    conversation = (await call(connect, "coach_a", "POST", "/v1/chat/sessions", 201, json={}))["id"]
    for path, sent in (
        ("/v1/chat/completions", body), ("/v1/chat/completions", body | {"stream": True}),
        (f"/v1/chat/sessions/{conversation}/messages", QUESTION),
    ):  # fmt: skip
        problem = read_problem(await connect("coach_a").post(path, json=sent), "TokensUsedUp")
        assert (problem["quota"], problem["limit"], problem["left"]) == ("tokens", 1.0, 0.0)
        assert problem["used"] > 1
        tomorrow = datetime.now(UTC).date() + timedelta(days=1)
        assert problem["resets_at"] == f"{tomorrow}T00:00:00Z"


async def test_searches_by_a_paid_model_count(
    organisation: Organisation, api_settings: Settings, connect: Connect, app: Any
) -> None:
    await call(connect, "coach_a", "POST", "/v1/search", json={"query": "pager"})
    assert await read_usage(organisation) == {}  # the embedded model costs nothing
    embedder = PaidEmbedder(dimensions=EMBEDDER.dimensions)
    app.state.assistant = Assistant(embedder)
    await call(connect, "coach_a", "POST", "/v1/search", json={"query": "pager"})
    found = (await read_usage(organisation))["search"]
    assert found.input_tokens == embedder.asked > 0
    await limit(organisation, tokens=1)
    read_problem(await connect("coach_a").post("/v1/search", json={"query": "another"}), "TokensUsedUp")


async def test_uploads_beyond_the_limits_are_refused_before_they_are_kept(
    app: Any, organisation: Organisation, connect: Connect, flow_server: FlowServer
) -> None:
    await limit(organisation, ingestions=2, storage=10_000)
    first = await upload(connect, "coach_a", headers={"Idempotency-Key": "one"})
    assert first.status_code == 202, first.text
    again = await upload(connect, "coach_a", headers={"Idempotency-Key": "one"})
    assert again.json()["id"] == first.json()["id"]
    quota = await read_quotas(organisation)
    assert (quota["ingestions"].reserved, quota["storage"].used, quota["storage"].reserved) == (1, len(VTT), 0)
    await limit(organisation, ingestions=1, storage=10_000)
    problem = read_problem(await upload(connect, "coach_a"), "IngestionsUsedUp")
    assert (problem["quota"], problem["limit"], problem["left"]) == ("ingestions", 1.0, 0.0)
    await limit(organisation, ingestions=9, storage=len(VTT) + 10)
    problem = read_problem(await upload(connect, "coach_a"), "StorageFull")
    assert (problem["left"], "resets_at" in problem) == (10.0, False)
    assert len(flow_server.by_key) == 1
    # its turn was kept: the flow takes it in though the day is used up for others
    await limit(organisation, ingestions=1, storage=len(VTT))
    source = flow_server.started[0]["parameters"]["source"]
    report = await ingest_source(organisation.tenant_id, source, embedder=EMBEDDER, settings=app.state.settings)
    assert [one.outcome for one in report.outcomes] == ["indexed"]
    quota = await read_quotas(organisation)
    assert (quota["ingestions"].used, quota["ingestions"].reserved) == (1, 0)
    assert measure_least(int(quota["storage"].used)) == len(VTT)  # it lies there encrypted


async def test_media_counts_as_storage(organisation: Organisation, connect: Connect) -> None:
    await limit(organisation, storage=len(PNG) + 1)
    kept = await call(connect, "coach_a", "POST", "/v1/media", 201, files={"file": ("a.png", PNG)})
    assert (await connect("coach_a").get(f"/v1/media/{kept['id']}/content")).content == PNG
    read_problem(await connect("coach_a").post("/v1/media", files={"file": ("b.png", PNG)}), "StorageFull")
    quota = (await read_quotas(organisation))["storage"]
    assert (quota.used, quota.reserved) == (len(PNG), 0)
    await call(connect, "coach_a", "DELETE", f"/v1/media/{kept['id']}", 204)
    assert (await read_quotas(organisation))["storage"].used == 0


async def test_uploads_side_by_side_do_not_pass_the_number_of_a_day(
    organisation: Organisation, connect: Connect, flow_server: FlowServer
) -> None:
    await limit(organisation, ingestions=5)
    client = connect("coach_a")

    async def send() -> int:
        return (await client.post("/v1/ingestions", files={"file": ("talk.vtt", VTT)})).status_code

    found = await asyncio.gather(*(send() for _ in range(30)))
    assert (found.count(202), found.count(429)) == (5, 25)
    assert len(flow_server.started) == 5
