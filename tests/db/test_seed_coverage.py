"""Nothing the seeds name is missing without a stated ruling, and no ruling is out of date."""

from tests.db.seed_coverage import count_findings, list_findings, read_rulings


def test_what_the_seeds_name_is_there_or_ruled() -> None:
    ruled = read_rulings().ruled
    missing = [f"{item.name}: {item.gap}" for item in list_findings() if item.gap and item.name not in ruled]
    assert not missing, "\n".join(missing)


def test_rulings_are_needed_and_say_why() -> None:
    rulings = read_rulings()
    gaps = {item.name for item in list_findings() if item.gap}
    assert set(rulings.ruled) <= gaps
    assert all(len(reason) > 15 for reason in rulings.ruled.values())


def test_the_seeds_are_read_whole() -> None:
    kinds = count_findings()
    totals = {kind: sum(n for (name, _), n in kinds.items() if name == kind) for kind, _ in kinds}
    assert totals["table"] == 44 + 23
    assert totals["column"] > 700
    assert totals["check"] > 55
    assert totals["index"] > 150
