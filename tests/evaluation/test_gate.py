"""The gate as a build uses it: `eval run SUITE --baseline FILE` exits 1 where the product got worse, else 0.

The product is real: a sample organisation with its material indexed, the embedded model, the whole command. Each
regression is planted in it as a slip of a developer's would be.
"""

import asyncio
import functools
import json
import re
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from typer.testing import CliRunner, Result

import cli
from cli.main import app
from core.settings import Settings, get_settings
from db.models import Transcript
from db.session import Principal, tenant_session
from domain.citations import CitationView, CitedSpan
from domain.identity import get_principal
from pipelines.evidence.build import build_client
from pipelines.ingest import ingest_source, load_embedder
from rag import answer, answer_store, prompts
from tests.evaluation.answer_server import MODEL, AnswerServer
from tests.rag.openai_server import serve_model
from tests.rag.test_answer_sample import found

pytestmark = pytest.mark.slow

SAMPLE = Path(cli.__file__).parent / "sample"
NAME = "fieldstone"
EVERY = 2  # nineteen of the suite's questions, of every client and kind of source


@pytest.fixture(scope="module")
async def suite(store: Settings, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Some of a sample organisation's questions, and the organisation indexed under a name of its own."""
    (organisation,) = (
        one for one in json.loads((SAMPLE / "organisations.json").read_text())["tenants"] if one["slug"] == NAME
    )
    slug = await found(organisation)
    tenant_id = (await get_principal(slug, organisation["users"][0]["email"])).tenant_id
    report = await ingest_source(tenant_id, str(SAMPLE / NAME), embedder=await load_embedder(store))
    assert not report.failed
    async with tenant_session(Principal(tenant_id, "system")) as session:
        clients = list(await session.scalars(select(Transcript.client_id).distinct()))
    for client_id in filter(None, clients):
        await build_client(tenant_id, client_id)

    folder = tmp_path_factory.mktemp("suite")
    said = yaml.safe_load((SAMPLE / "suites" / NAME / "suite.yaml").read_text()) | {"tenant": slug}
    (folder / "suite.yaml").write_text(json.dumps(said, default=str))
    lines = (SAMPLE / "suites" / NAME / "cases.jsonl").read_text(encoding="utf-8").splitlines()
    plain = [line for line in lines if json.loads(line)["slices"]["style"] == "question"]
    (folder / "cases.jsonl").write_text("\n".join(plain[::EVERY]), encoding="utf-8")
    return folder


async def call(suite: Path, *options: str) -> Result:
    """Run the command as a shell would; it runs a loop of its own."""
    return await asyncio.to_thread(lambda: CliRunner().invoke(app, ["eval", "run", str(suite), *options]))


async def hold(suite: Path, baseline: Path) -> Result:
    return await call(suite, "--baseline", str(baseline), "--anew")


@pytest.fixture(scope="module")
async def baseline(suite: Path) -> Path:
    """What the product answers as it is, without a model."""
    result = await call(suite, "--write-baseline", str(suite / "baseline.json"))
    assert result.exit_code == 0, result.output
    return suite / "baseline.json"


@pytest.fixture
async def modelled(suite: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Path]:
    """What it answers by a model, which answers the rest of the test too."""
    async with serve_model(AnswerServer()) as server:
        monkeypatch.setenv("REGENESIS_LLM__BASE_URL", server.url)
        monkeypatch.setenv("REGENESIS_LLM__MODEL", MODEL)
        get_settings.cache_clear()
        try:
            result = await call(suite, "--write-baseline", str(suite / "modelled.json"))
            assert result.exit_code == 0, result.output
            assert (
                len(server.requests) >= len(read_cases(suite / "modelled.json")) - 1
            )  # it was the model that answered
            yield suite / "modelled.json"
        finally:
            monkeypatch.undo()
            get_settings.cache_clear()


def read_cases(baseline: Path) -> list[dict[str, Any]]:
    cases: list[dict[str, Any]] = json.loads(baseline.read_text())["cases"]
    return cases


def assert_caught(result: Result, baseline: Path, *metrics: str) -> None:
    """Assert that the build fails, the metrics are named as worse, and the worst cases shown with both answers."""
    assert result.exit_code == 1, result.output
    said = result.output
    for metric in metrics:
        assert f"✗ {metric} got worse:" in said
    worst = re.findall(r"^(\S+) [a-z_]+ [\d.]+ → [\d.]+$", said, re.MULTILINE)
    assert len(worst) >= 3
    assert set(worst) <= {case["case_id"] for case in read_cases(baseline)}
    assert len(worst) == len(re.findall(r"^  before  \S", said, re.MULTILINE))
    assert len(worst) == len(re.findall(r"^  after   \S", said, re.MULTILINE))
    assert "No rule is broken" not in said


async def test_the_same_again_passes(suite: Path, baseline: Path) -> None:
    result = await hold(suite, baseline)
    assert result.exit_code == 0, result.output
    assert "✓ No rule is broken." in result.output
    assert "worse" not in "".join(line for line in result.output.splitlines() if "_ms" not in line)


async def test_too_few_passages_are_caught(suite: Path, baseline: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answer, "Assistant", functools.partial(answer.Assistant, top_k=1))
    assert_caught(await hold(suite, baseline), baseline, "context_recall")


async def test_dropped_citations_are_caught(suite: Path, baseline: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def show_none(_session: AsyncSession, spans: Sequence[CitedSpan]) -> list[CitationView | None]:
        return [None for _ in spans]

    monkeypatch.setattr(answer_store, "list_citation_views", show_none)
    assert_caught(await hold(suite, baseline), baseline, "citation_recall", "citation_precision")


async def test_a_worse_prompt_is_caught(suite: Path, modelled: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    same = await hold(suite, modelled)
    assert same.exit_code == 0, same.output
    rule = "If the passages do not answer the question"
    assert rule in prompts.ANSWER_SYSTEM
    timid = prompts.ANSWER_SYSTEM.replace(rule, "Unless you are certain that they answer the question")
    monkeypatch.setattr(prompts, "ANSWER_SYSTEM", timid)
    assert_caught(await hold(suite, modelled), modelled, "refusal_correct")
