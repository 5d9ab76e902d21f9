"""How the command line behaves whatever the command: exit codes, streams, one sentence per error."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer
from sqlalchemy.engine import make_url
from typer.testing import CliRunner

from cli.console import CommandGroup
from cli.main import app
from core.errors import Invalid
from core.settings import Settings
from db.locate import app_url


class SourTea(Invalid):
    """This tea is sour; use fresh milk."""


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the real command in a process of its own."""
    code = "from cli.main import main; main()"
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env={**os.environ, **environment},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_foreseen_error_is_one_sentence_on_stderr_and_exit_1() -> None:
    failing = typer.Typer(cls=CommandGroup)

    @failing.command()
    def brew() -> None:
        raise SourTea

    @failing.command()
    def other() -> None: ...

    result = CliRunner().invoke(failing, ["brew"])
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr == "This tea is sour; use fresh milk.\n"


@pytest.mark.parametrize(
    "arguments", [("nonsense",), ("search",), ("users", "add", "a@b.example", "A", "--role", "boss", "--tenant", "t")]
)
def test_wrong_usage_exits_2(arguments: tuple[str, ...]) -> None:
    assert CliRunner().invoke(app, arguments).exit_code == 2


def test_version_is_printed_alone() -> None:
    result = CliRunner().invoke(app, ["--version"])
    assert result.exit_code == 0
    assert result.stdout.count(".") == 2


def test_every_command_explains_itself() -> None:
    runner = CliRunner()
    root = typer.main.get_command(app)
    queue: list[tuple[tuple[str, ...], Any]] = [((), root)]
    seen = 0
    while queue:
        path, command = queue.pop()
        result = runner.invoke(app, [*path, "--help"])
        assert result.exit_code == 0, path
        assert command.help, path
        seen += 1
        queue += [((*path, name), child) for name, child in getattr(command, "commands", {}).items()]
    assert seen > 15


def test_unusable_setting_is_named(tmp_path: Path) -> None:
    result = run("tenants", "list", REGENESIS_HOME=str(tmp_path), REGENESIS_API__PORT="many")
    assert result.returncode == 1
    assert "REGENESIS_API__PORT" in result.stderr
    assert "Traceback" not in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1


def test_without_a_store_the_cure_is_named_and_nothing_is_created(tmp_path: Path) -> None:
    home = tmp_path / "home"
    result = run("search", "why", "--tenant", "t", "--user", "u@t.example", REGENESIS_HOME=str(home))
    assert result.returncode == 1
    assert "regenesis up" in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert not home.exists()


def test_unreachable_database_is_one_sentence(tmp_path: Path) -> None:
    url = "postgresql://app@127.0.0.1:9/nothing"
    result = run("tenants", "list", REGENESIS_HOME=str(tmp_path), REGENESIS_DB__URL=url)
    assert result.returncode == 1
    assert "does not answer" in result.stderr
    assert "Traceback" not in result.stderr


def test_database_without_tables_is_one_sentence(store: Settings, tmp_path: Path) -> None:
    url = make_url(app_url(store)).set(database="postgres").render_as_string(hide_password=False)
    result = run("tenants", "list", REGENESIS_HOME=str(tmp_path), REGENESIS_DB__URL=url)
    assert result.returncode == 1
    assert "regenesis db migrate" in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1


def test_json_is_json(store: Settings) -> None:
    result = CliRunner().invoke(app, ["tenants", "list", "--json"])
    assert result.exit_code == 0
    assert isinstance(json.loads(result.stdout), list)
