"""`regenesis db backup`, `backups`, `restore` and `drill` as people and programs run them."""

import base64
import json
import secrets
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from core.settings import Settings
from tests.cli.test_main import run
from tests.factories.backups import BackupWorld, new_database, open_backup_world

pytestmark = [pytest.mark.whole_store, pytest.mark.slow]


@pytest.fixture(scope="module")
async def world(store: Settings) -> AsyncIterator[BackupWorld]:
    with tempfile.TemporaryDirectory(prefix="regenesis-backups-") as folder:
        async with open_backup_world(store, Path(folder)) as opened:
            yield opened


def environment(world: BackupWorld) -> dict[str, str]:
    return {
        "REGENESIS_DB__NAME": world.settings.db.name, "REGENESIS_STORAGE__URL": world.settings.storage_url,
        "REGENESIS_BACKUP__URL": world.settings.backup_url,
    }  # fmt: skip


async def test_back_up_list_drill_restore(world: BackupWorld, tmp_path: Path) -> None:
    given = environment(world)
    assert "none yet" in run("doctor", **given).stdout
    made = run("db", "backup", "--json", **given)
    assert made.returncode == 0, made.stderr
    backup = json.loads(made.stdout)
    assert json.loads(run("db", "backups", "--json", **given).stdout) == [backup["id"]]
    assert "never drilled" in run("doctor", **given).stdout

    elsewhere = run("db", "backup", "--to", str(tmp_path / "copies"), **given)
    assert elsewhere.returncode == 0, elsewhere.stderr
    assert "2 objects (listed)" in elsewhere.stdout

    drilled = run("db", "drill", backup["id"], "--json", **given)
    assert drilled.returncode == 0, drilled.stderr
    report = json.loads(drilled.stdout)
    assert report["passed"]
    assert report["rows"] == backup["rows"]
    assert "last drill" in run("doctor", **given).stdout

    refused = run("db", "restore", backup["id"], **given)
    assert refused.returncode == 1
    assert refused.stderr.strip().endswith("or replace it with --replace.")
    with new_database(world.settings) as target:
        restored = run("db", "restore", backup["id"], "--into", target, **given)
        assert restored.returncode == 0, restored.stderr
        assert f"Restored {backup['rows']:,} rows of the backup {backup['id']}" in restored.stdout
        nothing = run("db", "restore", "--finish", "--into", target, **given)
        assert nothing.stderr.strip().startswith("No restore of this database is unfinished")


async def test_each_failure_is_one_sentence(world: BackupWorld, tmp_path: Path) -> None:
    given = environment(world) | {"REGENESIS_BACKUP__URL": tmp_path.as_uri()}
    none = run("db", "drill", **given)
    assert (none.returncode, none.stderr.count("\n")) == (1, 1)
    assert "There is no whole backup in" in none.stderr
    assert run("db", "backup", **given).returncode == 0
    key = base64.b64encode(secrets.token_bytes(32)).decode()
    other = run("db", "drill", **given, REGENESIS_CRYPTO__MASTER_KEY=key)
    assert (other.returncode, other.stderr.count("\n")) == (1, 1)
    assert "was sealed under the master key local:" in other.stderr
    unwritable = run("db", "backup", "--to", "gopher://nowhere", **given)
    assert (unwritable.returncode, unwritable.stderr.count("\n")) == (1, 1)
