"""Settings come from the environment, and a wrong one is named."""

import os
from pathlib import Path

import pytest

from core.settings import Settings, UnusableHome, UnusableSetting, ensure_home, get_settings


@pytest.fixture(autouse=True)
def _fresh_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    # get_settings caches for the process; these tests read other environments through an uncached call.
    monkeypatch.setattr("core.settings.get_settings", get_settings.__wrapped__)


def test_groups_come_from_double_underscores(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("REGENESIS_HOME", str(tmp_path))
    monkeypatch.setenv("REGENESIS_API__PORT", "9001")
    monkeypatch.setenv("REGENESIS_LLM__API_KEY", "secret-key")
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:4999/api")
    settings = Settings()
    assert settings.api.port == 9001
    assert settings.prefect_api_url == "http://127.0.0.1:4999/api"
    assert settings.storage_url == (tmp_path / "objects").as_uri()
    assert "secret-key" not in repr(settings)


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("REGENESIS_API__PORT", "seventy"),
        ("REGENESIS_STORAGE__URL", "ftp://somewhere"),
        ("REGENESIS_CACHE__URL", "disk"),
        ("REGENESIS_EMBEDDING__PROVIDER", "magic"),
    ],
)
def test_wrong_setting_is_named(monkeypatch: pytest.MonkeyPatch, variable: str, value: str) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(UnusableSetting, match=variable):
        get_settings.__wrapped__()


def test_home_that_can_not_be_written_is_one_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    monkeypatch.setenv("REGENESIS_HOME", str(blocked / "home"))
    with pytest.raises(UnusableHome, match="set REGENESIS_HOME"):
        ensure_home(Settings())


@pytest.mark.skipif(os.name != "posix", reason="folder modes are POSIX")
def test_root_keeps_postgres_out_of_a_private_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    private = tmp_path / "private"
    private.mkdir(mode=0o700)
    monkeypatch.setenv("REGENESIS_HOME", str(private))
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    folder = Settings().postgres_folder
    assert not folder.is_relative_to(private)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert Settings().postgres_folder == private / "postgres"


def test_the_assistants_model_judges_unless_another_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REGENESIS_LLM__MODEL", "writer")
    assert Settings().judging_model.model == "writer"
    monkeypatch.setenv("REGENESIS_JUDGE__MODEL", "judge")
    monkeypatch.setenv("REGENESIS_JUDGE__BASE_URL", "http://judge.example/v1")
    chosen = Settings().judging_model
    assert (chosen.model, chosen.base_url) == ("judge", "http://judge.example/v1")
