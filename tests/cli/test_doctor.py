"""The doctor finds what is broken and says what to do."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cli import checks
from cli.doctor import list_settings
from cli.main import app
from core.findings import Finding
from core.settings import Settings, get_settings
from tests.cli.ports import free_port
from tests.cli.test_main import run


def test_healthy_store_is_found_healthy(store: Settings) -> None:
    result = CliRunner().invoke(app, ["doctor", "--json"])
    report = json.loads(result.stdout)
    findings = {check["name"]: check for check in report["checks"]}
    assert result.exit_code == 0, findings
    for name in (
        "python", "home", "database", "database role", "row-level security", "object store", "master key", "cache",
        "embedder",
    ):  # fmt: skip
        assert findings[name]["status"] == "ok", findings[name]
    assert "384 dimensions" in findings["embedder"]["detail"]
    assert findings["flow server"]["status"] == "warn"
    assert findings["flow server"]["cure"]
    home = next(one for one in report["settings"] if one["variable"] == "REGENESIS_HOME")
    assert home == {"variable": "REGENESIS_HOME", "value": str(store.home), "source": "environment"}


def test_report_for_people_names_every_check_and_setting(store: Settings) -> None:
    result = CliRunner().invoke(app, ["doctor"])
    assert result.exit_code == 0
    for words in ("row-level security", "REGENESIS_DB__POOL_SIZE", "PREFECT_API_URL", "✓"):
        assert words in result.stdout


def test_secrets_are_masked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REGENESIS_LLM__API_KEY", "sk-very-secret")
    monkeypatch.setenv("REGENESIS_DB__URL", "postgresql://app:hunter2@127.0.0.1/x")
    monkeypatch.setenv("REGENESIS_CACHE__URL", "redis://:hunter3@127.0.0.1/0")
    monkeypatch.setenv("REGENESIS_CRYPTO__MASTER_KEY", "aHVudGVyNA==")
    listed = list_settings(Settings())
    for secret in ("hunter3", "aHVudGVyNA"):
        assert secret not in str(listed)
    assert "sk-very-secret" not in str(listed)
    assert "hunter2" not in str(listed)
    sources = {name: source for name, _, source in listed}
    assert sources["REGENESIS_LLM__API_KEY"] == "environment"
    assert sources["REGENESIS_LLM__MODEL"] == "default"


def test_unreachable_parts_fail_with_a_cure(tmp_path: Path) -> None:
    dead = f"http://127.0.0.1:{free_port()}"
    result = run(
        "doctor",
        "--json",
        REGENESIS_HOME=str(tmp_path),
        REGENESIS_DB__URL="postgresql://app@127.0.0.1:9/nothing",
        PREFECT_API_URL=f"{dead}/api",
        REGENESIS_LLM__BASE_URL=f"{dead}/v1",
        REGENESIS_LLM__MODEL="small",
        REGENESIS_CACHE__URL=dead.replace("http://", "redis://"),
        REGENESIS_STORAGE__URL="s3://nowhere",
        REGENESIS_STORAGE__ENDPOINT_URL=dead,
        AWS_ACCESS_KEY_ID="x",
        AWS_SECRET_ACCESS_KEY="x",
    )
    assert result.returncode == 1, result.stderr
    findings = {check["name"]: check for check in json.loads(result.stdout)["checks"]}
    for name in ("database", "object store", "flow server", "cache"):
        assert findings[name]["status"] == "fail", findings[name]
        assert findings[name]["cure"], findings[name]
    assert findings["language model"]["status"] == "warn", "answers fall back to quotes"
    assert "Traceback" not in result.stderr


async def test_a_check_that_breaks_is_a_finding() -> None:
    async def broken(_: Settings) -> Finding:
        raise RuntimeError("out of paper")

    finding = await checks.run_check("printer", broken, get_settings())
    assert finding.status == "fail"
    assert "out of paper" in finding.detail


async def test_a_check_that_hangs_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    import asyncio

    async def hanging(_: Settings) -> Finding:
        await asyncio.sleep(60)
        raise AssertionError

    monkeypatch.setattr(checks, "CHECK_SECONDS", 0.05)
    finding = await checks.run_check("well", hanging, get_settings())
    assert finding.status == "fail"


async def test_full_disk_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "TOO_FEW_BYTES", 10**18)
    monkeypatch.setattr(checks, "FEW_BYTES", 10**18)
    finding = await checks.check_disk(get_settings())
    assert finding.status == "fail"
    assert finding.cure
