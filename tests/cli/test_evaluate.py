"""`regenesis eval retrieval` on a suite of a few lines: figures on standard output, the ranking in a file."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cli.main import app
from core.settings import Settings

SAID = {
    "m1:1": "The delivery of the new boiler is planned for the ninth of May.",
    "m1:2": "Then we need a plumber who can stay until the evening.",
    "m2:1": "Our choir sings the requiem in the old brewery this winter.",
    "m2:2": "The altos still miss two voices for the last movement.",
}
ASKED = {"q1": ("m1", "When does the boiler arrive?", "m1:1"), "q2": ("m2", "Where does the choir sing?", "m2:1")}


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    folder = tmp_path / "small"
    folder.mkdir()
    turns = [
        {"id": id_, "meeting": id_[:2], "speaker": f"Speaker {id_[-1]}", "text": words} for id_, words in SAID.items()
    ]
    queries = [{"id": id_, "meeting": group, "query": text} for id_, (group, text, _) in ASKED.items()]
    (folder / "turns.jsonl").write_text("\n".join(map(json.dumps, turns)))
    (folder / "queries.jsonl").write_text("\n".join(map(json.dumps, queries)))
    judged = [f"{id_}\t{found}\t1" for id_, (_, _, found) in ASKED.items()]
    (folder / "qrels.tsv").write_text("\n".join(["query-id\tcorpus-id\tscore", *judged]))
    return folder


def test_figures_and_ranking(store: Settings, suite: Path, tmp_path: Path) -> None:
    ranking = tmp_path / "run.jsonl"
    arguments = ["eval", "retrieval", str(suite), "--scope", "pooled", "--against", "bm25", "--run", str(ranking)]
    result = CliRunner().invoke(app, [*arguments, "--json"])
    assert result.exit_code == 0, result.stderr
    report = json.loads(result.stdout)
    assert report["queries"] == 2
    assert [system["name"] for system in report["systems"]] == ["regenesis", "bm25"]
    assert report["systems"][0]["measures"]["er@1000"]["mean"] == 1.0
    lines = [json.loads(line) for line in ranking.read_text().splitlines()]
    assert [line["query_id"] for line in lines] == list(ASKED)
    assert lines[1]["passages"][0]["segments"][0].startswith("m2")
    shown = CliRunner().invoke(app, arguments)
    assert "regenesis" in shown.stdout
    assert "bm25" in shown.stdout
    slugs = CliRunner().invoke(app, ["tenants", "list"]).stdout
    assert "evaluation-" not in slugs


def test_unknown_peer_and_missing_suite_are_one_sentence(store: Settings, suite: Path, tmp_path: Path) -> None:
    for arguments in ([str(suite), "--against", "oracle"], [str(tmp_path / "nothing")]):
        result = CliRunner().invoke(app, ["eval", "retrieval", *arguments])
        assert result.exit_code == 1
        assert len(result.stderr.strip().splitlines()) == 1


def test_bench_embed_prints_its_figures(store: Settings) -> None:
    result = CliRunner().invoke(app, ["bench", "embed", "--chunks", "4", "--rounds", "1", "--json"])
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout)["chunks"] == 4
    assert CliRunner().invoke(app, ["bench", "retrieval", "--sizes", "many"]).exit_code == 1
