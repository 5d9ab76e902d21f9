"""A scorer's agreement with people: known figures on made labels, what was reached on public ones."""

import json
from collections import Counter
from collections.abc import Sequence
from contextlib import aclosing
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest
from pydantic import SecretStr
from typer.testing import CliRunner

from cli.main import app
from core.settings import ModelSettings, Settings, get_settings
from evaluation.calibration import (
    Outcome,
    Scored,
    Scorer,
    build_judge_scorer,
    compute_auroc,
    find_threshold,
    forecast_labels,
    judge_held_out,
    list_scorers,
    measure_agreement,
    score_labels,
)
from evaluation.compare import WHOLE, check_limits, parse_rule, summarize
from evaluation.judge import RagasJudge
from evaluation.label_sets import JudgedAnswer, LabelSet, UnusableLabels, load_label_sets, sample_labels
from evaluation.records import CaseResult
from evaluation.support import LEXICAL
from evaluation.thresholds import UnusableThresholds, mark_unsupported, read_threshold, write_thresholds
from rag.fakes import HashEmbedder
from tests.evaluation.judge_server import JudgeServer, serve_in_thread
from tests.rag.openai_server import serve_model


def make_labels(faithful: list[bool], *, per_source: int = 2) -> LabelSet:
    answers = [
        JudgedAnswer(str(n), str(n // per_source), ["a source"], "an answer", one) for n, one in enumerate(faithful)
    ]
    return LabelSet("made", answers)


def give(scores: Sequence[float | None]) -> Scored:
    return Scored(outcomes=[Outcome(score=one, error=None if one is not None else "It broke.") for one in scores])


def test_auroc_counts_ties_half() -> None:
    faithful = np.array([True, True, False, False])
    assert compute_auroc(np.array([0.9, 0.8, 0.2, 0.1]), faithful) == 1.0
    assert compute_auroc(np.array([0.1, 0.2, 0.8, 0.9]), faithful) == 0.0
    assert compute_auroc(np.array([0.5, 0.5, 0.5, 0.5]), faithful) == 0.5
    assert compute_auroc(np.array([0.9, 0.3, 0.3, 0.1]), faithful) == 0.875
    assert np.isnan(compute_auroc(np.array([0.5]), np.array([True])))


def test_threshold_lies_between_the_kinds() -> None:
    threshold = find_threshold(np.array([0.9, 0.7, 0.3, 0.1]), np.array([True, True, False, False]))
    assert 0.3 < threshold < 0.7


def test_no_answer_has_a_part_in_its_own_threshold() -> None:
    """A source whose scores are high and wrong is judged by the others' threshold, not by its own."""
    scores = np.array([0.2, 0.8] * 10 + [0.95, 0.96])
    faithful = np.array([False, True] * 10 + [False, False])
    groups = np.array([n // 2 for n in range(22)])
    judged = judge_held_out(scores, faithful, groups)
    assert judged[-2:].all()
    assert (judged[:-2] == faithful[:-2]).all()


def test_a_perfect_and_a_blind_scorer() -> None:
    faithful = [True, False] * 30
    perfect = measure_agreement(make_labels(faithful), "perfect", give([float(one) for one in faithful]))
    assert perfect.auroc is not None
    assert perfect.balanced_accuracy is not None
    assert (perfect.auroc.mean, perfect.auroc.low, perfect.balanced_accuracy.mean) == (1.0, 1.0, 1.0)
    assert perfect.threshold == 0.5
    assert perfect.spearman is None
    chance = np.random.default_rng(1)
    blind = measure_agreement(make_labels(faithful), "blind", give(list(chance.random(60))))
    assert blind.auroc is not None
    assert blind.auroc.low < 0.5 < blind.auroc.high


def test_intervals_are_drawn_over_sources() -> None:
    """Ten copies of a source are worth one: the interval must not shrink."""
    faithful = [True, False, True, False, True, True, False, False]
    scores = [0.9, 0.4, 0.3, 0.5, 0.8, 0.6, 0.2, 0.7]
    once = measure_agreement(make_labels(faithful), "x", give(scores))
    copied = LabelSet("made", [answer for answer in make_labels(faithful).answers for _ in range(10)])
    often = measure_agreement(copied, "x", give([score for score in scores for _ in range(10)]))
    assert often.auroc is not None
    assert once.auroc is not None
    assert (often.auroc.low, often.auroc.high) == pytest.approx((once.auroc.low, once.auroc.high))


def test_too_few_labels_give_no_threshold(tmp_path: Path) -> None:
    few = measure_agreement(make_labels([True, False] * 5), "few", give([0.1] * 10))
    assert few.threshold is None
    write_thresholds(tmp_path / "t.json", [few])
    assert json.loads((tmp_path / "t.json").read_text()) == {}


def test_grades_are_correlated() -> None:
    answers = [JudgedAnswer(str(n), str(n), ["s"], "a", n > 2, grade=float(n)) for n in range(6)]
    found = measure_agreement(LabelSet("graded", answers), "x", give([0.0, 0.1, 0.2, 0.3, 0.4, 0.5]))
    assert found.spearman is not None
    assert found.spearman.mean == pytest.approx(1.0)


def test_a_folder_without_labels_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnusableLabels, match="holds no judged answers"):
        load_label_sets(tmp_path)
    (tmp_path / "faithbench.jsonl").write_text('{"id": "1"\n')
    with pytest.raises(UnusableLabels, match=r"Line 1 of faithbench\.jsonl is no JSON"):
        load_label_sets(tmp_path)


@pytest.mark.parametrize(
    ("corpus", "least"), [("mtrag_human", 0.90), ("diasumfact-meetings", 0.68), ("faithbench", 0.64)]
)
async def test_support_agrees_with_people(shared_data: Path, corpus: str, least: float) -> None:
    labels = next(one for one in load_label_sets(shared_data / "faithfulness") if one.name == corpus)
    scored = await score_labels(labels, list_scorers(HashEmbedder())[LEXICAL])
    found = measure_agreement(labels, LEXICAL, scored)
    assert found.auroc is not None
    assert found.auroc.mean >= least
    assert found.auroc.low > 0.5


def test_what_failed_is_counted_and_never_a_nan() -> None:
    labels = make_labels([True, False] * 30)
    found = measure_agreement(labels, "x", give([None if n < 9 else float(n % 2 == 0) for n in range(60)]))
    assert (found.answers, found.scored, found.failed, found.unasked) == (60, 51, 9, 0)
    assert found.errors == {"It broke.": 9}
    assert found.auroc is not None
    assert found.auroc.mean == 1.0
    assert found.threshold == 0.5
    many = measure_agreement(labels, "x", give([None if n < 13 else float(n % 2 == 0) for n in range(60)]))
    assert many.threshold is None  # more than a fifth have no score, although enough are left of either kind
    for given in ([None] * 60, [0.5 if n % 2 else None for n in range(60)]):
        none = measure_agreement(labels, "x", give(given))
        assert (none.auroc, none.balanced_accuracy, none.spearman, none.threshold) == (None, None, None, None)
        json.dumps(none.to_json(), default=str, allow_nan=False)


def test_a_sample_keeps_labels_and_sources_in_proportion() -> None:
    answers = [
        JudgedAnswer(f"{source}-{n}", f"source {source}", ["s"], "a", n % 4 > 0)
        for source in range(10) for n in range(4 * (1 + source % 3))
    ]  # fmt: skip
    whole = LabelSet("made", answers)
    drawn = sample_labels(whole, 36)
    assert len({one.id for one in drawn.answers}) == 36
    assert sum(one.faithful for one in drawn.answers) == 27
    counts, drawn_counts = (Counter(one.group for one in labels.answers) for labels in (whole, drawn))
    assert all(abs(drawn_counts[source] - count * 36 / len(answers)) <= 1.5 for source, count in counts.items())
    assert sample_labels(whole, 36) == drawn
    assert sample_labels(whole, 1_000) is whole


async def test_the_budget_is_never_passed() -> None:
    labels = make_labels([True, False] * 30)
    asked: list[str] = []

    async def score(answer: JudgedAnswer) -> Outcome:
        asked.append(answer.id)
        return Outcome(score=0.5, cost_usd=Decimal("0.02"))

    scorer = Scorer(score=score, forecast_usd=lambda _: Decimal("0.01"), at_once=3)
    assert forecast_labels(labels, scorer) == Decimal("0.60")
    scored = await score_labels(labels, scorer, budget_usd=Decimal("0.30"))
    assert scored.cost_usd is not None
    assert Decimal("0.26") <= scored.cost_usd <= Decimal("0.30")
    found = measure_agreement(labels, "x", scored)
    assert (found.scored, found.unasked) == (len(asked), 60 - len(asked))
    assert asked != sorted(asked, key=int)[: len(asked)]  # drawn, not the first


async def test_a_judge_is_calibrated_and_goes_on_where_it_stopped(tmp_path: Path) -> None:
    said = "The mill was sold in March."
    answers = [
        JudgedAnswer(
            str(n), str(n), [f"{said} It is day {n}."], said if n % 2 else f"The mill burnt on day {n}.", n % 2 > 0
        )
        for n in range(60)
    ]
    labels = LabelSet("mills", answers)
    async with serve_model(JudgeServer(broken=0.1)) as server:
        assert isinstance(server, JudgeServer)
        settings = ModelSettings(model="gpt-4o-mini", base_url=server.url, api_key=SecretStr("k"))
        async with aclosing(RagasJudge(settings, HashEmbedder(), cache=tmp_path)) as judge:
            scorer = build_judge_scorer(judge)
            foretold = forecast_labels(labels, scorer)
            assert foretold is not None
            part = await score_labels(labels, scorer, budget_usd=foretold / 4)
            first = measure_agreement(labels, judge.name, part)
            assert first.unasked > 30
            assert first.cost_usd == server.add_up("0.15", "0.60")
            assert first.cost_usd <= foretold / 4
            rest = await score_labels(labels, scorer)
            found = measure_agreement(labels, judge.name, rest)
            assert found.cost_usd is not None
            assert first.cost_usd + found.cost_usd == server.add_up("0.15", "0.60")
            assert sum(one.cached for one in rest.outcomes if one) == first.scored
    assert found.unasked == 0
    assert 0 < found.failed < 20
    assert found.scored + found.failed == 60
    assert found.auroc is not None
    assert (found.auroc.mean, found.threshold) == (1.0, 0.5)


def test_own_answers_are_a_corpus(tmp_path: Path) -> None:
    folder = tmp_path / "ours"
    folder.mkdir()
    row = {"id": "1", "question": "Why?", "answer": "So.", "sources": ["So it is."], "faithful": True}
    (folder / "answers.jsonl").write_text(json.dumps(row))
    (found,) = load_label_sets(folder)
    assert found == LabelSet("ours", [JudgedAnswer("1", "So it is.", ["So it is."], "So.", True, None, "Why?")])
    (folder / "answers.jsonl").write_text(json.dumps(row | {"faithful": "perhaps"}))
    with pytest.raises(UnusableLabels, match=r"Row 1 of answers\.jsonl: faithful: .*; correct it"):
        load_label_sets(folder)


def test_a_threshold_counts_what_is_below_it(tmp_path: Path) -> None:
    faithful = [True, False] * 30
    agreement = measure_agreement(make_labels(faithful), LEXICAL, give([0.9 if one else 0.3 for one in faithful]))
    path = tmp_path / "thresholds.json"
    write_thresholds(path, [agreement])
    assert read_threshold(path, "made") == 0.6
    with pytest.raises(UnusableThresholds, match="no threshold of support for the corpus 'other'; choose one of made"):
        read_threshold(path, "other")
    with pytest.raises(UnusableThresholds, match="holds no thresholds; write one"):
        read_threshold(tmp_path / "none.json", "made")
    results = [
        CaseResult(case_id=str(n), repeat=1, status="scored", scores={"support": one}, groups={"kind": str(n % 2)})
        for n, one in enumerate((0.7, 0.5, 0.6, None, 0.9, 0.1))
    ]
    means = summarize(mark_unsupported(results, 0.6))
    assert means[WHOLE]["unsupported"].mean == pytest.approx(2 / 5)
    assert means["kind=1"]["unsupported"].mean == 1.0
    assert check_limits(mark_unsupported(results, 0.6), [parse_rule("unsupported > 0.3")])


@pytest.fixture
def own(store: Settings, tmp_path: Path) -> Path:
    folder = tmp_path / "ours"
    folder.mkdir()
    rows = [
        {"id": str(n), "source_id": str(n), "answer": f"The {'boat' if n % 2 else 'bus'} left on day {n}.",
         "sources": [f"The boat left on day {n}."], "faithful": n % 2 > 0}
        for n in range(60)
    ]  # fmt: skip
    (folder / "answers.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return folder


def test_the_command_calibrates_a_judge(own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = ["eval", "calibrate", str(own), "--scorer", "ragas", "--json"]
    refused = CliRunner().invoke(app, arguments)
    assert (refused.exit_code, "REGENESIS_LLM__MODEL" in refused.stderr) == (1, True)
    with serve_in_thread(JudgeServer(broken=0.05)) as server:
        for name, value in (("MODEL", "gpt-4o-mini"), ("BASE_URL", server.url), ("API_KEY", "k")):
            monkeypatch.setenv(f"REGENESIS_LLM__{name}", value)
        get_settings.cache_clear()
        try:
            short = CliRunner().invoke(app, [*arguments, "--limit", "50", "--budget", "0.001"])
            assert (short.exit_code, json.loads(short.stdout)[0]["answers"]) == (1, 50)
            assert "50 answers by ragas" in short.stderr
            assert "forecast about $" in short.stderr
            whole = CliRunner().invoke(app, [*arguments, "--limit", "50", "--write", str(tmp_path / "t.json")])
        finally:
            get_settings.cache_clear()
    found = json.loads(whole.stdout)[0]
    assert whole.exit_code == 0
    assert found["scored"] + found["failed"] == found["answers"] == 50
    assert found["unasked"] == 0
    assert list(json.loads((tmp_path / "t.json").read_text())[found["scorer"]]) == ["ours"]
    assert Decimal(json.loads(short.stdout)[0]["cost_usd"]) + Decimal(found["cost_usd"]) == server.add_up(
        "0.15", "0.60"
    )
