"""Figures people give of themselves are read; times of day, dates and numbers of things are not."""

import pytest

from pipelines.evidence.patterns_figures import drop_others, is_measured, list_figures


@pytest.mark.parametrize(
    ("words", "value", "unit"),
    [
        ("I'm getting five hours, if I'm lucky.", 5, "hour"),
        ("It's about five and a half now", 5.5, None),
        ("Six-ish.", 6, None),
        ("I'd say an eight.", 8, None),
        ("I'm at seven.", 7, None),
        ("In January I did six extra shifts.", 6, "extra"),
        ("I've saved twenty-three thousand dollars", 23_000, "dollar"),
        ("I owe 48,500 pounds", 48_500, "pound"),
        ("I weigh 82.5 kilos", 82.5, "kilo"),
        ("None.", 0, None),
        ("I smoke a dozen cigarettes", 12, "cigarett"),
    ],
)
def test_a_figure_is_read_with_what_it_counts(words: str, value: float, unit: str | None) -> None:
    [figure] = list_figures(words)
    assert (figure.value, figure.unit) == (value, unit)
    assert is_measured(words, figure)


@pytest.mark.parametrize(
    "words",
    [
        "I close the laptop at nine.",
        "By ten I was asleep.",
        "It took eleven minutes.",
        "We talked for forty seconds.",
        "I was there on the twenty-third.",
        "At 7:05 every morning.",
        "Step nineteen is the worst.",
        "Version 2.1.4 is out.",
        "Everyone of the three said so.",
    ],
)
def test_when_and_which_are_no_figures(words: str) -> None:
    assert list_figures(words) == []


def test_what_others_are_quoted_with_is_blanked_in_place() -> None:
    words = 'He said "ten hours" and I said six hours.'
    own = drop_others(words)
    assert len(own) == len(words)
    [figure] = list_figures(own)
    assert (figure.value, words[figure.start : figure.end]) == (6, "six")
