"""A run that broke off goes on under the code that began it, and begins anew under any other."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from evaluation import code_version, store
from evaluation.code_version import hash_code
from tests.evaluation.test_run import TALKS, make_suite, run
from tests.factories.people import Organisation
from tests.factories.sessions import name_people, store_session


async def test_other_code_does_not_go_on_with_a_run(
    organisation: Organisation, monkeypatch: pytest.MonkeyPatch
) -> None:
    await name_people(organisation)
    topic, promise, fact = TALKS[0]
    turns = [("coach", f"Tell me about {topic}."), ("client", fact), ("coach", "And then?"), ("client", promise)]
    await store_session(organisation, turns, held_at=datetime(2026, 3, 1, 9, tzinfo=UTC))

    def stop(done: int, _whole: int) -> None:
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        await run(organisation, make_suite(), told=stop)
    with monkeypatch.context() as other:
        other.setattr(store, "hash_code", lambda: "other")
        assert (await run(organisation, make_suite())).resumed == 0
    assert (await run(organisation, make_suite())).resumed == 3


def test_a_change_of_any_deciding_source_is_other_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "deciding"
    package.mkdir()
    (package / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(code_version, "_DECIDING", ("deciding",))

    def hash_now() -> str:
        hash_code.cache_clear()
        return hash_code()

    try:
        hashes = [hash_now()]
        for name, text in (("a.py", "x = 1"), ("a.py", "x = 2"), ("b.sql", "SELECT 1"), ("notes.txt", "nothing")):
            (package / name).write_text(text)
            hashes.append(hash_now())
    finally:
        hash_code.cache_clear()
    assert len(set(hashes[:4])) == 4
    assert hashes[4] == hashes[3]
