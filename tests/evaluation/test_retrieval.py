"""The scores of a ranking are what their definitions say, and a suite leaves nothing behind."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text

from core.settings import Settings
from db.session import unbound_session
from evaluation.retrieval import UnknownPeer, evaluate_retrieval, throw_away_tenant
from evaluation.retrieval_metrics import Found, bootstrap, measure_ranking
from evaluation.retrieval_suite import UnusableSuite, load_suite
from rag.fakes import HashEmbedder

TOPICS = ("budget", "sleep", "garden", "violin", "harbour", "recipe")
ASKED = (
    ("east", "specific", "garden"),
    ("west", "specific", "violin"),
    ("west", "general", "harbour"),
    ("west", "specific", "recipe"),
)


def write_lines(path: Path, rows: list[dict[str, object]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    """Two groups with the same three topics each, so that only the group tells which of two turns is meant."""
    turns: list[dict[str, object]] = [
        {"id": f"{group}:{n}", "meeting": group, "speaker": "AB"[n % 2], "text": f"{topic} " * 20 + f"in {group}."}
        for group, topics in (("east", TOPICS[:4]), ("west", TOPICS[2:]))
        for n, topic in enumerate(topics)
    ]
    turns.insert(1, {"id": "east:blank", "meeting": "east", "speaker": "A", "text": "  "})
    queries: list[dict[str, object]] = [
        {"id": f"q{n}", "meeting": group, "kind": kind, "query": f"What about the {topic}?"}
        for n, (group, kind, topic) in enumerate(ASKED)
    ]
    write_lines(tmp_path / "turns.jsonl", turns)
    write_lines(tmp_path / "queries.jsonl", queries)
    (tmp_path / "qrels.tsv").write_text(
        "query-id\tcorpus-id\tscore\nq0\teast:2\t1\nq1\twest:1\t1\nq2\twest:2\t1\nq3\twest:3\t0\n", encoding="utf-8"
    )
    return tmp_path


async def count_tenants() -> int:
    async with unbound_session() as session:
        return int(await session.scalar(text("SELECT count(*) FROM platform.list_tenants()")) or 0)


def test_a_suite_says_what_it_leaves_out(suite: Path) -> None:
    loaded = load_suite(suite)
    assert [query.id for query in loaded.queries] == ["q0", "q1"]
    assert loaded.left_out == {"other kind": 1, "nothing relevant": 1}
    assert {source.group: source.ids for source in loaded.sources}["east"] == ("east:0", "east:1", "east:2", "east:3")
    assert len(load_suite(suite, every_kind=True).queries) == 3


@pytest.mark.parametrize(
    ("file", "line", "says"),
    [
        ("queries.jsonl", "{", "queries.jsonl:5 is not JSON"),
        ("queries.jsonl", '{"id": "q9", "meeting": "east"}', "nothing|'query'"),
        ("turns.jsonl", '{"id": "t9", "text": "no group"}', "meeting"),
        ("turns.jsonl", '{"id": "t9"}', "'text'"),
        ("qrels.tsv", "q0 east:1 1", "qrels.tsv:6"),
    ],
)
def test_a_broken_suite_is_named_by_file(suite: Path, file: str, line: str, says: str) -> None:
    with (suite / file).open("a", encoding="utf-8") as lines:
        lines.write(line + "\n")
    if "q9" in line:
        with (suite / "qrels.tsv").open("a", encoding="utf-8") as lines:
            lines.write("q9\teast:1\t1\n")
    with pytest.raises(UnusableSuite, match=says):
        load_suite(suite)


def test_no_suite_at_all(tmp_path: Path) -> None:
    with pytest.raises(UnusableSuite, match=r"turns\.jsonl"):
        load_suite(tmp_path)


@pytest.mark.parametrize("scope", ["group", "pooled"])
async def test_a_suite_is_scored_beside_its_peers_and_removed(
    store: Settings, suite: Path, tmp_path: Path, scope: str
) -> None:
    before = await count_tenants()
    run = tmp_path / "run.jsonl"
    report = await evaluate_retrieval(
        suite, HashEmbedder(64), scope=scope, against=("bm25", "llamaindex"), run_file=run  # type: ignore[arg-type]  # both are scopes
    )  # fmt: skip
    assert await count_tenants() == before
    assert [system.name for system in report.systems] == ["regenesis", "bm25", "llamaindex"]
    assert report.queries == 2
    json.dumps(report.to_json())
    own = report.systems[0].measures
    assert own["er@500"].mean == own["recall@5"].mean == 1
    assert all(system.measures["er@500"].mean == 1 for system in report.systems)
    lines = [json.loads(line) for line in run.read_text().splitlines()]
    assert [line["query_id"] for line in lines] == ["q0", "q1"]
    for line in lines:
        segments = [segment for passage in line["passages"] for segment in passage["segments"]]
        assert len(segments) == len(set(segments))
        groups = {segment.partition(":")[0] for segment in segments}
        assert groups == ({"east", "west"} if scope == "pooled" else {"east" if line["query_id"] == "q0" else "west"})
        assert [passage["rank"] for passage in line["passages"]] == list(range(1, len(line["passages"]) + 1))


async def test_an_error_leaves_no_tenant(store: Settings) -> None:
    async def fail() -> None:
        async with throw_away_tenant():
            assert await count_tenants() == before + 1
            raise RuntimeError

    before = await count_tenants()
    with pytest.raises(RuntimeError):
        await fail()
    assert await count_tenants() == before


async def test_an_unknown_peer_is_refused(suite: Path) -> None:
    with pytest.raises(UnknownPeer, match="elastic"):
        await evaluate_retrieval(suite, HashEmbedder(64), against=("bm25", "elastic"))


def test_evidence_is_counted_within_the_budget_once() -> None:
    words = {"a": 300, "b": 300, "c": 500, "d": 10}
    ranking = [Found(("a", "b"), 600, 2.0), Found(("b", "c"), 800, 1.0), Found(("d",), 10, 0.5)]
    values = measure_ranking(ranking, {"b", "c"}, words)
    assert (values["er@500"], values["er@1000"], values["er@2000"]) == (0, 0.5, 1)
    assert values["mrr"] == 1
    assert values["ndcg@10"] == 1
    late = measure_ranking(ranking, {"d"}, words)
    assert late["mrr"] == pytest.approx(1 / 3)
    assert late["ndcg@10"] == pytest.approx(0.5)
    assert late["recall@5"] == 1
    assert measure_ranking([], {"d"}, words)["ndcg@10"] == 0


TURNS = st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=4).map(tuple)
PASSAGES = st.lists(st.builds(Found, TURNS, st.just(9), st.just(0.0)), max_size=12)


@given(PASSAGES, st.sets(st.sampled_from("abcdefgh"), min_size=1), st.integers(1, 900))
def test_measures_stay_between_nothing_and_all(ranking: list[Found], relevant: set[str], length: int) -> None:
    values = measure_ranking(ranking, relevant, dict.fromkeys("abcdefgh", length))
    assert all(0 <= value <= 1 for value in values.values())
    assert values["er@500"] <= values["er@1000"] <= values["er@2000"]
    assert values["recall@5"] <= values["recall@10"] <= values["recall@20"]


def test_the_interval_holds_the_mean_and_is_the_same_each_time() -> None:
    interval = bootstrap([0, 0.5, 1, 1, 0.25] * 10)
    assert interval.low < interval.mean == 0.55 < interval.high
    assert interval == bootstrap([0, 0.5, 1, 1, 0.25] * 10)
    assert bootstrap([0.3]) == type(interval)(0.3, 0.3, 0.3)
