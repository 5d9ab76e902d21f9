"""The embedding benchmark measures what it says it does."""

from pathlib import Path

import pytest

from core.errors import Invalid
from evaluation.bench_embed import CHUNK_TOKENS, bench_embed, make_chunks
from rag.embedding.minilm import MiniLMEmbedder


async def test_bench_reports_its_own_setting(tmp_path: Path) -> None:
    bench = await bench_embed(tmp_path, chunks=3, rounds=2, threads=1, against_torch=False)
    assert (bench.speed.name, bench.threads, bench.chunks) == ("all-MiniLM-L6-v2/int8", 1, 3)
    assert bench.wrote_graph
    assert 0 < bench.speed.slowest_round <= bench.speed.chunks_per_second <= bench.speed.fastest_round
    assert bench.speed.query_p50_ms > 0
    assert bench.peak_memory_mb > 50
    assert (bench.torch, bench.ratio) == (None, None)
    embedder = MiniLMEmbedder(tmp_path)
    assert {embedder.count_tokens(text) + 2 for text in make_chunks(5)} == {CHUNK_TOKENS}
    embedder.close()


@pytest.mark.parametrize("setting", [{"chunks": 0}, {"rounds": 0}, {"rounds": 101}])
async def test_nothing_to_measure_is_refused(tmp_path: Path, setting: dict[str, int]) -> None:
    with pytest.raises(Invalid):
        await bench_embed(tmp_path, **setting)  # type: ignore[arg-type]  # the type checker sees no single keyword
