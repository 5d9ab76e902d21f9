"""The score of claims against counsellors' codes is counted right, on sessions written for it."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cli.main import app
from evaluation.evidence_annomi import AnnomiReport, NotAnnomi, Score, choose_part, evaluate_annomi

DEV, TEST = (next(f"s-{n}" for n in range(50) if choose_part(f"s-{n}") == part) for part in ("dev", "test"))
SPOKEN = {
    DEV: [
        ("therapist", "What will you do?", "n/a"),
        ("client", "I'll call the clinic on Monday.", "change"),  # both find it
        ("client", "It would be better for my girls.", "change"),  # neither does
        ("client", "I want my evenings with the lads.", "sustain"),  # both are wrong
        ("client", "I can't stand the taste of it.", "neutral"),  # the keywords are wrong
        ("client", "Mm.", "neutral"),
    ],
    TEST: [("client", "I don't want to stop.", "sustain"), ("client", "I stopped smoking last week.", "change")],
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rows = [
        {"session_id": session, "turn": turn, "speaker": who, "text": words, "client_talk": code, "t_start": turn}
        for session, lines in SPOKEN.items()
        for turn, (who, words, code) in enumerate(lines)
    ]
    (tmp_path / "turns.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return tmp_path


def pick(report: AnnomiReport, part: str, system: str) -> Score:
    return next(one for one in report.scores if (one.part, one.system) == (part, system))


def test_counts_are_right(folder: Path) -> None:
    report = evaluate_annomi(folder)
    rules, keywords = pick(report, "dev", "intentions and steps"), pick(report, "dev", "keywords")
    assert (rules.utterances, rules.change) == (5, 2)
    assert (rules.precision.mean, rules.recall.mean, rules.on_sustain) == (0.5, 0.5, 1.0)
    assert (keywords.precision.mean, keywords.recall.mean) == (0.5, 0.5)
    assert report.f1_gain["dev"].mean == pytest.approx(rules.f1.mean - keywords.f1.mean)


def test_not_wanting_is_no_change_talk(folder: Path) -> None:
    report = evaluate_annomi(folder)
    assert pick(report, "test", "intentions").on_sustain == 0.0
    assert pick(report, "test", "keywords").on_sustain == 1.0
    assert report.claims["goal"] == 2


def test_other_folder_is_refused_with_the_cure(tmp_path: Path) -> None:
    with pytest.raises(NotAnnomi):
        evaluate_annomi(tmp_path)
    (tmp_path / "turns.jsonl").write_text('{"session_id": "a", "text": "b"}')
    result = CliRunner().invoke(app, ["eval", "evidence", str(tmp_path)])
    assert result.exit_code == 1
    assert "turns.jsonl" in result.stderr


def test_command_prints_figures_or_json(folder: Path) -> None:
    assert "keywords" in CliRunner().invoke(app, ["eval", "evidence", str(folder)]).stdout
    printed = json.loads(CliRunner().invoke(app, ["eval", "evidence", str(folder), "--json"]).stdout)
    assert printed["scores"][0]["system"] == "intentions"


def test_rules_are_more_precise_than_keywords_on_annomi(shared_data: Path) -> None:
    report = evaluate_annomi(shared_data / "annomi")
    for part in ("dev", "test"):
        intentions, keywords = pick(report, part, "intentions"), pick(report, part, "keywords")
        assert intentions.precision.mean > keywords.precision.mean
        assert intentions.on_sustain < keywords.on_sustain / 4
