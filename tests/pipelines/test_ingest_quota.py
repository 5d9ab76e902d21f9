"""What lies beyond the quota is refused object by object, said so, kept, and taken in by a later run."""

from decimal import Decimal
from pathlib import Path
from uuid import uuid4

import pytest
from sqlalchemy import text

from db.session import tenant_session
from domain.quotas import BudgetExhausted, ModelPriceUnknown, TokensUsedUp
from domain.usage import current_flow_run, get_flow_usage
from pipelines.ingest import ingest_source
from pipelines.reembed import check_reembedding, forecast_reembedding, reembed_chunks
from rag.fakes import HashEmbedder
from tests.factories.people import Organisation
from tests.factories.usage import PaidEmbedder, limit, read_quotas, read_usage

WORDS = "Everyone here meets their coach every second week. "


def write(folder: Path, *names: str, times: int = 1) -> None:
    for name in names:
        (folder / f"{name}.md").write_text(f"# {name}\n\n{WORDS * times}\n")


async def run(organisation: Organisation, folder: Path, embedder: HashEmbedder | None = None) -> dict[str, str]:
    report = await ingest_source(organisation.tenant_id, str(folder), embedder=embedder or HashEmbedder())
    return {one.key.removesuffix(".md"): one.outcome for one in report.outcomes}


async def states(organisation: Organisation) -> dict[str, tuple[str, str | None, str | None]]:
    async with tenant_session(organisation.system) as session:
        rows = await session.execute(
            text(
                "SELECT o.key, o.ingestion_status, o.error, (SELECT a.error_code FROM ingestion.ingestion_attempts a "
                "WHERE a.object_id = o.id AND a.error_code IS NOT NULL LIMIT 1) AS code "
                "FROM ingestion.ingested_objects o"
            )
        )
        return {row.key.removesuffix(".md"): (row.ingestion_status, row.error, row.code) for row in rows}


async def test_files_beyond_the_days_number_wait(organisation: Organisation, tmp_path: Path) -> None:
    write(tmp_path, "a", "b", "c", "d")
    await limit(organisation, ingestions=3)
    outcomes = await run(organisation, tmp_path)
    assert sorted(outcomes.values()) == ["indexed", "indexed", "indexed", "refused"]
    (refused,) = [key for key, outcome in outcomes.items() if outcome == "refused"]
    status, error, code = (await states(organisation))[refused]
    assert (status, code) == ("refused", "IngestionsUsedUp")
    assert error is not None
    assert "3 files a day" in error
    quota = await read_quotas(organisation)
    assert (quota["ingestions"].used, quota["ingestions"].reserved) == (Decimal(3), Decimal(0))
    assert (await read_usage(organisation))["ingestion"].ingestions == 3
    assert list((await run(organisation, tmp_path)).values()).count("refused") == 1  # the same day
    await limit(organisation, ingestions=4)
    assert (await run(organisation, tmp_path))[refused] == "indexed"
    assert (await states(organisation))[refused][:2] == ("indexed", None)


async def test_files_that_do_not_fit_into_the_storage_wait(organisation: Organisation, tmp_path: Path) -> None:
    write(tmp_path, "a", "b", "c")
    size = (tmp_path / "a.md").stat().st_size
    await limit(organisation, storage=2 * size + size // 2)
    outcomes = await run(organisation, tmp_path)
    assert sorted(outcomes.values()) == ["indexed", "indexed", "refused"]
    assert (await read_quotas(organisation))["storage"].used == 2 * size
    assert (await read_usage(organisation))["ingestion"].stored_bytes == 2 * size


async def test_a_new_version_beyond_the_quota_leaves_the_old_one_searchable(
    organisation: Organisation, tmp_path: Path
) -> None:
    write(tmp_path, "a")
    await run(organisation, tmp_path)
    await limit(organisation, ingestions=1)
    write(tmp_path, "a", times=9)
    assert await run(organisation, tmp_path) == {"a": "refused"}
    assert (await states(organisation))["a"] == ("indexed", None, "IngestionsUsedUp")
    async with tenant_session(organisation.system) as session:
        assert await session.scalar(text("SELECT count(*) FROM rag.documents")) == 1
    await limit(organisation)
    assert await run(organisation, tmp_path) == {"a": "indexed"}


async def test_what_fails_or_did_not_change_gives_its_turn_back(organisation: Organisation, tmp_path: Path) -> None:
    await limit(organisation, ingestions=10, storage=10**6)
    write(tmp_path, "a")
    (tmp_path / "broken.docx").write_bytes(b"PK\x03\x04broken")
    assert sorted((await run(organisation, tmp_path)).values()) == ["failed", "indexed"]
    write(tmp_path, "a")  # touched, with the same bytes
    await run(organisation, tmp_path)
    quota = await read_quotas(organisation)
    assert (quota["ingestions"].used, quota["ingestions"].reserved, quota["storage"].reserved) == (1, 0, 0)


async def test_paid_embedding_is_counted_for_the_flow_run_and_stops_at_the_limit(
    organisation: Organisation, tmp_path: Path
) -> None:
    write(tmp_path, "a", "b")
    embedder, flow = PaidEmbedder(), uuid4()
    current_flow_run.set(flow)
    try:
        await run(organisation, tmp_path, embedder)
    finally:
        current_flow_run.set(None)
    async with tenant_session(organisation.admin) as session:
        rows = {row.feature: row for row in await get_flow_usage(session, flow)}
    assert rows["ingestion"].ingestions == 2
    assert rows["embedding"].input_tokens == embedder.asked > 0
    assert rows["embedding"].cost_usd == Decimal(embedder.asked) * Decimal("0.02") / 1_000_000
    await limit(organisation, tokens=1)
    write(tmp_path, "c")
    assert (await run(organisation, tmp_path, embedder))["c"] == "refused"
    assert (await states(organisation))["c"][2] == "TokensUsedUp"
    assert (await read_quotas(organisation))["tokens"].reserved == 0


async def test_embedding_anew_is_foretold_refused_and_stopped(organisation: Organisation, tmp_path: Path) -> None:
    write(tmp_path, *"abcdef", times=3)
    await run(organisation, tmp_path)
    paid = PaidEmbedder()
    expected = await forecast_reembedding(organisation.tenant_id, paid)
    assert (expected.chunks, expected.tokens > 100) == (6, True)
    assert expected.cost_usd == Decimal(expected.tokens) * Decimal("0.02") / 1_000_000
    free = await forecast_reembedding(organisation.tenant_id, HashEmbedder(64))
    assert (free.chunks, free.tokens, free.cost_usd) == (6, 0, Decimal(0))
    await limit(organisation, tokens=expected.tokens - 1)
    with pytest.raises(TokensUsedUp):
        await reembed_chunks(organisation.tenant_id, paid)
    await limit(organisation, usd=Decimal("0.0000001"))
    with pytest.raises(BudgetExhausted):
        await reembed_chunks(organisation.tenant_id, paid)
    with pytest.raises(ModelPriceUnknown):
        await check_reembedding(organisation.tenant_id, PaidEmbedder("house-embedder"))
    assert paid.asked == 0
    await limit(organisation, tokens=expected.tokens)

    async def narrow(done: int, _: int) -> None:
        if done == 2:  # somebody else uses up the day meanwhile
            await limit(organisation, tokens=1)

    with pytest.raises(TokensUsedUp):
        await reembed_chunks(organisation.tenant_id, paid, batch=2, on_progress=narrow)
    half = paid.asked
    assert 0 < half < expected.tokens
    await limit(organisation)
    report = await reembed_chunks(organisation.tenant_id, paid, batch=2)
    assert (report.chunks, paid.asked) == (4, expected.tokens)  # what was embedded is not paid twice
    assert (await read_usage(organisation))["embedding"].input_tokens == expected.tokens
