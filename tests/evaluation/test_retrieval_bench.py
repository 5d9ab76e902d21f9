"""The bench searches what it says, with and without policies alike."""

import json

from core.settings import Settings
from evaluation.bench_retrieval import bench_retrieval, make_suite
from pipelines.chunk import chunk_transcript
from tests.evaluation.test_retrieval import count_tenants


async def test_policies_change_nothing_for_who_may_see_all(store: Settings) -> None:
    before = await count_tenants()
    report = await bench_retrieval((30, 250), questions=5)
    assert await count_tenants() == before
    assert [size.chunks for size in report.sizes] == [30, 250]
    for size in report.sizes:
        assert size.same_results == 1
        assert size.llamaindex is not None
        assert 0 < size.product.p50_ms <= size.product.p95_ms
    json.dumps(report.to_json())


def test_a_suite_has_as_many_chunks_as_asked_for() -> None:
    suite = make_suite(450, "g")
    assert sum(len(chunk_transcript(source.turns).chunks) for source in suite.sources) == 450
    assert len({id_ for source in suite.sources for id_ in source.ids}) == 450
