"""Whatever a model sends, what is read of it is sound, and what is sound of it is read."""

import json
from datetime import date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.evidence.model.prompts import CLAIMS_SCHEMA, MOST_CLAIMS
from pipelines.evidence.model.reply import MOST_QUOTES, Reply, UnreadableReply, clean, read_reply
from tests.pipelines.evidence.model.session import claim, quote, write

HELD_ON = date(2026, 3, 12)


def read(text: str, *, held_on: date | None = HELD_ON) -> Reply:
    return read_reply(text, held_on=held_on)


def test_a_good_reply_is_read_whole() -> None:
    reply = read(write(claim(), claim(type="goal", valid_to=None)))
    assert [one.claim.type for one in reply.claims] == ["commitment", "goal"]
    assert (reply.claims[0].valid_from, reply.claims[0].valid_to) == (None, date(2026, 3, 20))
    assert reply.claims[0].quotes[0].turn == 5
    assert not reply.dropped
    assert not reply.broken


def test_nothing_found_is_an_answer() -> None:
    assert read('{"claims": []}').claims == []


@pytest.mark.parametrize(
    "wrapped",
    [
        "```json\n{}\n```",
        "Here are the claims:\n```\n{}\n```\nLet me know if you need more!",
        "Sure! {}",
        "{} I hope that helps.",
        "  \n{}\n\n",
        "```json\n{}",
    ],
)
def test_what_stands_around_the_json_is_passed_by(wrapped: str) -> None:
    reply = read(wrapped.replace("{}", write(claim(), claim(type="goal"))))
    assert [one.claim.type for one in reply.claims] == ["commitment", "goal"]


def test_a_bare_list_is_read() -> None:
    assert len(read(json.dumps([claim()])).claims) == 1


def test_of_a_cut_reply_the_whole_items_are_saved() -> None:
    text, first = write(claim(), claim(type="goal"), claim(type="obstacle")), len(write(claim())) - 2
    for cut in range(first):
        with pytest.raises(UnreadableReply):
            read(text[:cut])
    saved = [read(text[:cut]) for cut in range(first, len(text))]
    counts = [len(reply.claims) for reply in saved]
    assert counts == sorted(counts)  # more text, never fewer claims
    assert (counts[0], counts[-1]) == (1, 3)
    assert all(reply.broken for reply in saved)


def test_behind_a_slip_nothing_is_guessed() -> None:
    text = write(claim(), claim(type="goal")).replace('"goal"', "goal")
    reply = read(text)
    assert [one.claim.type for one in reply.claims] == ["commitment"]
    assert reply.broken


@pytest.mark.parametrize(
    "text",
    [
        "",
        "I'm sorry, but I can't help with that.",
        "null",
        "42",
        '"claims"',
        "{}",
        '{"claims": null}',
        '{"claims": {"type": "goal"}}',
        '{"items": []}',
        '{"claims"',
        '{"claims": [',
        "{'claims': [{'type': 'goal'}]}",
        "\x00\x00\x00",
    ],
)
def test_a_reply_without_a_list_is_unreadable(text: str) -> None:
    with pytest.raises(UnreadableReply):
        read(text)


@pytest.mark.parametrize("text", ["[" * 200_000, '{"claims": [' + '{"a":' * 200_000, '{"claims":' * 100_000])
def test_deep_nesting_is_survived(text: str) -> None:
    with pytest.raises(UnreadableReply):
        read(text)


BAD: list[dict[str, Any]] = [
    {"type": "wish"},
    {"type": None},
    {"type": ["goal"]},
    {"statement": ""},
    {"statement": "x" * 601},
    {"statement": None},
    {"statement": {"text": "Amina wants a team."}},
    {"statement": "\x00\x01\u202e\ud800"},
    {"modality": "certain"},
    {"polarity": "up"},
    {"holder": "x" * 201},
    {"holder": 7},
    {"subject": ["checklist"]},
    {"quotes": []},
    {"quotes": None},
    {"quotes": "I'll hand over the release checklist"},
]


@pytest.mark.parametrize("changes", BAD, ids=lambda changes: str(changes)[:40].encode("ascii", "replace").decode())
def test_a_bad_item_is_left_out_and_the_others_stay(changes: dict[str, Any]) -> None:
    reply = read(write(claim(type="goal"), claim(**changes), claim(type="obstacle")))
    assert [one.claim.type for one in reply.claims] == ["goal", "obstacle"]
    assert reply.dropped == {"invalid": 1}


def test_items_that_are_no_objects_are_left_out() -> None:
    reply = read(json.dumps({"claims": [None, 1, "goal", [], claim(), {}]}))
    assert len(reply.claims) == 1
    assert reply.dropped == {"invalid": 5}


def test_case_and_spaces_of_a_kind_do_not_matter() -> None:
    (one,) = read(write(claim(type=" Goal", modality="STATED", polarity="Positive "))).claims
    assert (one.claim.type, one.claim.modality, one.claim.polarity) == ("goal", "stated", "positive")


def test_bad_quotes_are_left_out_and_a_claim_without_any_too() -> None:
    good = quote("I'll hand over")
    reply = read(write(claim(quotes=[quote(""), 3, quote("x" * 1_001), quote("words", role="proof"), good])))
    assert [one.words for one in reply.claims[0].quotes] == ["I'll hand over"]
    assert reply.dropped == {"invalid_quote": 4}
    reply = read(write(claim(quotes=[quote(" \x00 ")])))
    assert reply.claims == []
    assert reply.dropped == {"invalid_quote": 1, "no_quote": 1}
    assert read(write(claim(quotes=[quote("Not so.", role="opposing")]))).dropped == {"no_quote": 1}


def test_of_very_many_quotes_or_claims_the_first_are_read() -> None:
    reply = read(write(claim(quotes=[quote(f"words {n}") for n in range(99)]), *[claim() for _ in range(99)]))
    assert len(reply.claims[0].quotes) == MOST_QUOTES
    assert len(reply.claims) == MOST_CLAIMS
    assert reply.dropped == {"too_many": 100 - MOST_CLAIMS}


@pytest.mark.parametrize("turn", [None, -1, "5", 5.5, True, 2**40, [5], {"id": 5}])
def test_a_turn_that_is_none_is_no_hint(turn: Any) -> None:
    (one,) = read(write(claim(quotes=[quote("I'll hand over", turn=turn)]))).claims
    assert one.quotes[0].turn is None


@pytest.mark.parametrize(
    ("begins", "ends", "expected", "wrong"),
    [
        (None, "2026-03-20", (None, date(2026, 3, 20)), 0),
        ("2026-03-12", "2026-03-20", (date(2026, 3, 12), date(2026, 3, 20)), 0),
        ("", "null", (None, None), 0),
        (None, "next Friday", (None, None), 1),
        (None, "2026-02-30", (None, None), 1),
        (None, "2026-3-20", (None, None), 1),
        (None, "20260320", (None, None), 1),
        (None, "9999-12-31", (None, None), 1),
        (None, "0001-01-01", (None, None), 1),
        (20260320, {"day": 20}, (None, None), 2),
        ("2026-03-20", "2026-03-12", (None, None), 2),
    ],
)
def test_days(begins: Any, ends: Any, expected: tuple[date | None, date | None], wrong: int) -> None:
    reply = read(write(claim(valid_from=begins, valid_to=ends)))
    (one,) = reply.claims
    assert (one.valid_from, one.valid_to) == expected
    assert reply.dropped["invalid_day"] == wrong


def test_without_the_sessions_day_no_day_counts() -> None:
    assert read(write(claim()), held_on=None).claims[0].valid_to is None


def test_unseen_characters_go_and_joined_ones_stay() -> None:
    assert clean("a\x00b\u200bc\u202ed\ufeff\te\n\n f\ud800") == "abcd e f"
    assert clean("नमस्ते\u200d 👩\u200d💻 é ﬁ") == "नमस्ते\u200d 👩\u200d💻 é ﬁ"
    assert clean(7) == 7


def test_the_schema_is_what_strict_mode_takes() -> None:
    def check(schema: dict[str, Any]) -> None:
        assert set(schema) <= {"type", "properties", "required", "additionalProperties", "items", "enum"}
        if schema["type"] == "object":
            assert schema["additionalProperties"] is False
            assert schema["required"] == list(schema["properties"])
            for below in schema["properties"].values():
                check(below)
        if schema["type"] == "array":
            check(schema["items"])

    check(dict(CLAIMS_SCHEMA.schema))
    made = read(write(claim())).claims[0].claim
    properties = CLAIMS_SCHEMA.schema["properties"]["claims"]["items"]["properties"]
    assert set(properties) == set(type(made).model_fields)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda below: st.lists(below, max_size=4) | st.dictionaries(st.text(max_size=8), below, max_size=4),
    max_leaves=20,
)


@given(st.dictionaries(st.sampled_from(sorted(claim())), _JSON), st.integers(0, 900), st.text(max_size=30))
def test_no_reply_does_harm(changes: dict[str, Any], cut: int, around: str) -> None:
    text = around + write(claim(**changes), claim())[: 1_200 - cut] + around
    try:
        reply = read(text)
    except UnreadableReply:
        return
    for one in reply.claims:
        assert one.claim.statement
        one.claim.statement.encode()
        assert one.quotes
