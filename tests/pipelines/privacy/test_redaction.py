"""Whole sentences leave; what stays is what stood there."""

import re
from typing import Any

from pipelines.privacy.redaction import redact, split_sentences

NAMED = re.compile(r"(?<!\w)(?:Jo Berg|jo@a\.example)(?!\w)", re.IGNORECASE)


def test_a_question_loses_the_sentences_that_name_the_person() -> None:
    kept, facts = redact("It rains. How is Jo Berg? Ask JO@A.EXAMPLE!", {}, sources=(), derived=(), named=NAMED)
    assert (kept, facts) == (["It rains."], {})


def test_a_longer_name_is_another_persons() -> None:
    said = "Jo Bergmann called."
    assert redact(said, {}, sources=(), derived=(), named=NAMED)[0] == [said]


def test_an_answer_loses_what_cites_what_is_derived_and_what_names() -> None:
    sentences: list[dict[str, Any]] = [
        {"text": "One.", "citations": [1]},
        {"text": "Two.", "citations": [2], "evidence": ["c"]},
        {"text": "Three.", "citations": [2]},
        {"text": "Jo Berg said so.", "citations": []},
    ]
    citations = [{"ordinal": 1, "source_id": "a"}, {"ordinal": 2, "source_id": "b"}]
    facts = {"sentences": sentences, "citations": citations, "understood": "what Jo Berg said", "provider": "x"}
    kept, left = redact(" ".join(one["text"] for one in sentences), facts, sources={"a"}, derived={"c"}, named=NAMED)
    assert kept == ["Three."]
    assert left == {"sentences": [sentences[2]], "citations": [citations[1]], "understood": "", "provider": "x"}


def test_sentences_are_what_stands_between_their_ends() -> None:
    assert split_sentences('He said "No!" Then he left.\n\nLater … nothing.') == [
        'He said "No!', "Then he left.", "Later …", "nothing.",
    ]  # fmt: skip
