"""What the gate lets in and what it refuses, each case by itself."""

from dataclasses import replace
from uuid import uuid4

import pytest

from pipelines.evidence.locate import LONGEST, locate_quote
from pipelines.evidence.locate_index import QuoteIndex, TurnsMisplaced
from pipelines.evidence.records import Candidate, Located, Rejected, RejectionReason, SessionText
from tests.pipelines.evidence.spoken import make_session

TALK = make_session(
    ("Amina", "I I will, um, hand the release checklist over to Piotr by next Friday."),
    ("Ruth", "You said you can't do it before 15 March. What changed?"),
    ("Amina", "Yes. Not this week, we've got a freeze."),
    ("Amina", "I-I want I want to go on-call again, you know, at the café. What you know is what I like."),
    ("Ruth", "Yes. Good. I won't ask for $5,000 or 3.5 % then. It 's [laughs] fine, it did n't hurt."),
    ("Amina", "Uh-huh. It was not, not easy: I'm a non-smoker, and the ER was, like, 5 mm away. Very, very good."),
)

REFUSED = {RejectionReason.EDITED, RejectionReason.STITCHED}


def find(words: str, text: SessionText | QuoteIndex = TALK, **said: object) -> str | RejectionReason:
    found = locate_quote(Candidate(exact=words, **said), text)  # type: ignore[arg-type]  # names of its fields
    if isinstance(found, Rejected):
        return found.reason
    whole = text.text
    assert whole[found.char_start : found.char_end] == found.exact
    return found.exact


@pytest.mark.parametrize(
    ("claimed", "stored"),
    [
        ("hand the release checklist over", "hand the release checklist over"),
        ("  hand the release checklist over\n", "hand the release checklist over"),
        ("I will hand the release checklist over", "I will, um, hand the release checklist over"),
        ("i will, HAND the release; checklist over!", "I will, um, hand the release checklist over"),
        ("I uh I will hmm hand the the release", "I I will, um, hand the release"),
        ("I will … hand the release", "I will, um, hand the release"),
        ("“we’ve got a freeze.”", "we've got a freeze."),
        ("weve got a freeze", "we've got a freeze"),
        ("we've got a freeze?", "we've got a freeze."),
        ("Not this week, we've got a freeze. I want", "Not this week, we've got a freeze.\nI-I want"),
        ("I want to go on call", "I want to go on-call"),
        ("I want, like, to go on-call", "I want to go on-call"),
        ("go on-call again, at the café", "go on-call again, you know, at the café"),
        ("again at the cafe\u0301", "again, you know, at the café"),
        ("at the cafe.", "at the café."),
        ("at the ｃａｆé", "at the café"),
        ("you cant do it", "you can't do it"),
        ("ask for $5000", "ask for $5,000"),
        ("it's fine, it didn't hurt", "It 's [laughs] fine, it did n't hurt"),
        ("was not, not easy", "was not, not easy"),
        ("the ER was 5 mm away", "the ER was, like, 5 mm away"),
        ("very VERY good", "Very, very good"),
        ("What you know, like, is what I like", "What you know is what I like"),
        ("I'm a non smoker", "I'm a non-smoker"),
    ],
)
def test_differences_of_writing_are_bridged(claimed: str, stored: str) -> None:
    assert find(claimed) == stored


@pytest.mark.parametrize(
    "claimed",
    [
        "I will not hand the release checklist over",
        "You said you can do it",
        "You said you can",
        "you said you can't do it before 16 March",
        "you said you can't do it before 1 March",
        "I can't do it before 15 March",
        "I won't ask for $50,000",
        "I won't ask for 5,000",
        "I won't ask for $5,000 or 35 %",
        "$5,000 or 3.5 then",
        "It was not easy",
        "the ER was 5 away",
        "the was, like, 5 mm away",
        "What is what I like",
        "I'm a smoker and the ER",
        "to go on-call again at the caffé",
        "will, um, hand the release check",
        "I will hand over the release checklist",
        "I will hand the checklist over to Piotr",
    ],
)
def test_a_word_that_counts_makes_words_edited(claimed: str) -> None:
    assert find(claimed) in REFUSED


@pytest.mark.parametrize("claimed", ["", " \n", "…", "—?!", "\x00", "a" * (LONGEST + 1), "zebras eat glass", "um, uh"])
def test_words_nobody_says_are_not_found(claimed: str) -> None:
    assert find(claimed) == RejectionReason.NOT_FOUND


@pytest.mark.parametrize(
    "claimed",
    [
        "I will … to Piotr by next Friday",
        "I will [...] to Piotr by next Friday",
        "to Piotr by next Friday. You said you can't do it",
        "to Piotr by next Friday. Not this week",
        "hand the release checklist over on-call again, you know, at the café",
        "got a freeze ... hand the release",
    ],
)
def test_parts_of_several_places_are_stitched(claimed: str) -> None:
    assert find(claimed) == RejectionReason.STITCHED


def test_hesitations_that_make_an_answer_are_kept() -> None:
    talk = make_session(("A", "I asked, uh-huh, it works. She said, uh, it holds. Mm-hmm, it stands."))
    assert find("I asked it works", talk) == RejectionReason.EDITED
    assert find("it holds. It stands", talk) in REFUSED
    assert find("She said it holds", talk) == "She said, uh, it holds"


def test_numbers_are_never_a_stutter() -> None:
    talk = make_session(("A", "Call two two seven then, and and pay 5 5 times, half half."))
    assert find("Call two seven then", talk) in REFUSED
    assert find("pay 5 times", talk) == RejectionReason.EDITED
    assert find("then and pay 5 5 times", talk) == "then, and and pay 5 5 times"
    assert find("Call two two two seven then", talk) in REFUSED


def test_what_is_idle_together_is_passed_over_whole_or_not_at_all() -> None:
    talk = make_session(("A", "They're not giving, they're not giving up. I hear, you know, I mean it."))
    assert find("they're giving, they're not giving up", talk) in REFUSED
    assert find("they're giving, they're", talk) in REFUSED
    assert find("they're not giving up", talk) == "they're not giving up"
    assert find("I hear, you, I mean it", talk) in REFUSED
    assert find("They're not, they're not giving up", talk) in REFUSED | {"they're not giving up"}


def test_what_a_claim_adds_is_an_aside_only_between_pauses() -> None:
    talk = make_session(("A", "I feel great today and I did it."))
    assert find("I feel well.", talk) in {*REFUSED, RejectionReason.NOT_FOUND}
    assert find("I feel, well, great today", talk) == "I feel great today"


def test_no_compound_is_cut_by_what_is_passed_over() -> None:
    assert find("smoker, um, and the ER was 5 mm away") in REFUSED
    talk = make_session(("A", "I\nyou\nI\nwell\nI\nwell-being"))
    assert find("i you um i i erm well", talk) == "I\nyou\nI\nwell"


def test_minus_and_fractions_count() -> None:
    talk = make_session(("A", "It fell to -5 degrees, by 2½ m² since 1/2 past 9:30."))
    assert find("It fell to 5 degrees", talk) == RejectionReason.EDITED
    assert find("it fell to \N{MINUS SIGN}5 degrees", talk) == "It fell to -5 degrees"
    assert find("by 21/2 m2", talk) != "by 2½ m²"
    assert find("since 12 past 9:30", talk) == RejectionReason.EDITED
    assert find("SINCE 1/2 past 9:30", talk) == "since 1/2 past 9:30"


def test_accents_are_dropped_only_where_one_place_is_left() -> None:
    talk = make_session(("A", "I sent my résumé today."), ("B", "Then resume the work, my resume today."))
    assert find("sent my resume today", talk) == "sent my résumé today"
    assert find("my resume today", talk, speaker="A") == RejectionReason.MISATTRIBUTED
    assert find("my résume today", talk) == RejectionReason.NOT_FOUND


def test_scripts_without_spaces_are_cut_anywhere() -> None:
    talk = make_session(("甲", "我想学习新的语言。"), ("乙", "为什么?"))
    assert find("学习新的", talk) == "学习新的"
    assert find("我想 学习、新的语言", talk) == "我想学习新的语言"
    assert find("我想学习旧的语言", talk) == RejectionReason.EDITED


def test_unseen_characters_do_not_matter() -> None:
    talk = make_session(("A", "The check\u00adlist is ﬁnished\u200b."))
    assert find("the checklist is finished", talk) == "The check\u00adlist is ﬁnished"
    assert find("the check\u200dlist is \u202efinished", talk) == "The check\u00adlist is ﬁnished"


def test_the_speaker_is_known_by_label_or_full_name() -> None:
    amina, ruth = uuid4(), uuid4()
    talk = make_session(
        ("Speaker 1", "I'll write to Helen."),
        ("Speaker 2", "I'll write to Helen."),
        people={"Speaker 1": amina, "Speaker 2": ruth},
        names={amina: "Amina Diallo", ruth: "Ruth Ellery"},
    )
    for name, index in (
        ("amina  DIALLO", 0),
        ("Speaker 1", 0),
        ("Ruth Ellery", 1),
        ("\N{FULLWIDTH LATIN SMALL LETTER S}peaker 2", 1),
    ):
        found = locate_quote(Candidate(exact="i'll write to helen", speaker=name), talk)
        assert isinstance(found, Located)
        assert (found.turn_first, found.speaker_id) == (index, ruth if index else amina)
    assert find("I'll write to Helen", talk, speaker="Amina") == RejectionReason.MISATTRIBUTED
    assert find("I'll write to Piotr", talk, speaker="Amina Diallo") == RejectionReason.EDITED


def test_a_rejection_says_what_stands_there() -> None:
    found = locate_quote(Candidate(exact="You said you can't do it before 16 March", speaker="Ruth"), TALK)
    assert isinstance(found, Rejected)
    assert found.nearest == "You said you can't do it before 15 March"
    found = locate_quote(Candidate(exact="we've got a freeze", speaker="Ruth"), TALK)
    assert isinstance(found, Rejected)
    assert (found.reason, found.nearest) == (RejectionReason.MISATTRIBUTED, "we've got a freeze")


def test_the_hint_chooses_among_places_and_is_never_believed() -> None:
    talk = make_session(("A", "So it goes."), ("B", "So it goes."), ("A", "So, um, it goes."), ("A", "so it goes"))
    for hint, turn in ((None, 0), (0, 0), (1, 1), (3, 0), (99, 0), (-1, 0)):
        found = locate_quote(Candidate(exact="So it goes.", turn_index=hint), talk)
        assert isinstance(found, Located)
        assert found.turn_first == (1 if hint == 3 else turn)  # the very characters first, then the nearest
    found = locate_quote(Candidate(exact="so it goes", speaker="A", turn_index=2), talk)
    assert isinstance(found, Located)
    assert found.turn_first == 3
    assert find("So it goes", talk, speaker="A", turn_index=1) == "So it goes"


def test_one_word_needs_a_sure_place() -> None:
    assert find("Yes.") == RejectionReason.NOT_FOUND
    assert find("Yes.", turn_index=2) == "Yes."
    assert find("yes", speaker="Ruth") == "Yes"
    assert find("freeze") == "freeze"
    assert find("um, freeze") == "freeze"
    assert find("you") == RejectionReason.NOT_FOUND
    assert find("good", speaker="Amina") == "good"
    assert find("freeze", speaker="Ruth") == RejectionReason.MISATTRIBUTED


def test_turns_of_one_speaker_are_one_stretch_and_unknown_speakers_none() -> None:
    lines = [("A", "I'll do it"), ("A", "by Friday.")]
    found = locate_quote(Candidate(exact="I'll do it by Friday."), make_session(*lines))
    assert isinstance(found, Located)
    assert (found.turn_first, found.turn_last, found.started_s, found.ended_s) == (0, 1, 0.0, 19.0)
    nobody: list[tuple[str | None, str]] = [(None, words) for _, words in lines]
    assert find("I'll do it by Friday.", make_session(*nobody)) == RejectionReason.STITCHED
    between: list[tuple[str | None, str]] = [lines[0], ("B", ""), lines[1]]
    assert find("I'll do it by Friday.", make_session(*between)) == RejectionReason.STITCHED
    assert find("I'll do it\nby Friday.", make_session(*nobody)) == RejectionReason.STITCHED


def test_one_label_of_two_people_is_two_speakers() -> None:
    talk = make_session(("Speaker", "I'll do it"), ("Speaker", "by Friday."))
    talk = replace(talk, turns=[talk.turns[0], replace(talk.turns[1], speaker_id=uuid4())])
    assert find("I'll do it by Friday.", talk) == RejectionReason.STITCHED


def test_a_document_is_one_text_of_nobody() -> None:
    index = QuoteIndex.of_document("# Policy\n\nLeave is 25 days.\nIt is never carried over.")
    assert find("leave is 25 days. It is NEVER carried over.", index) == "Leave is 25 days.\nIt is never carried over."
    assert find("Leave is 26 days", index) == RejectionReason.EDITED
    found = locate_quote(Candidate(exact="25 days"), index)
    assert isinstance(found, Located)
    assert (found.turn_first, found.speaker, found.started_s) == (0, None, None)
    assert find("25 days", index, speaker="Ruth") == RejectionReason.MISATTRIBUTED


def test_an_empty_session_holds_nothing() -> None:
    assert find("Anything at all", make_session()) == RejectionReason.NOT_FOUND
    assert find("Anything at all", make_session(("A", ""))) == RejectionReason.NOT_FOUND
    assert find("Anything at all", QuoteIndex.of_document("")) == RejectionReason.NOT_FOUND


def test_the_index_is_made_once_and_lives_with_its_session() -> None:
    session = make_session(("A", "So it goes."))
    assert QuoteIndex.of(session) is QuoteIndex.of(session)
    assert QuoteIndex.of(replace(session)) is not QuoteIndex.of(session)


def test_turns_that_do_not_stand_where_they_say_are_refused() -> None:
    session = make_session(("A", "So it goes."), ("B", "Yes."))
    moved = replace(session, turns=[session.turns[0], replace(session.turns[1], char_start=3, char_end=7)])
    with pytest.raises(TurnsMisplaced):
        locate_quote(Candidate(exact="So it goes"), moved)


def test_hostile_candidates_end() -> None:
    talk = make_session(*[("A", "um um the the uh uh you know, like, " * 40), ("B", "the um the uh")] * 5)
    for words in ("the um " * 1_000, "um " * 3_000 + "x", "\ud800 the the", "you know, " * 900, "the … " * 1_500):
        assert isinstance(locate_quote(Candidate(exact=words), talk), Located | Rejected)
