"""What holds of the gate whatever is said and whatever is claimed."""

import random

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from pipelines.evidence.locate import locate_quote
from pipelines.evidence.locate_index import QuoteIndex
from pipelines.evidence.records import Candidate, Located, Rejected, SessionText
from tests.pipelines.evidence.quote_damage import NEGATIONS, NUMBERS, bare, plain, stands_in
from tests.pipelines.evidence.spoken import make_session, stretches

LEXICON = (
    "I you she we they will won't don't not never no it it's that's we've go went hand over checklist Helen Piotr rota "
    "on-call non-smoker well-being café naïve Zoë 15 3.5 $5,000 two three first um uh like well "
    "the a to and because really really very James' o'clock 9:30 e-mail"
)
MARKS = ("", "", "", "", ",", ".", "?", " –", "...", ";", "—")
HESITATIONS = ("um", "uh", "uhm", "hmm", "erm")

spoken_words = st.tuples(st.sampled_from(LEXICON.split()), st.sampled_from(MARKS)).map("".join)
spoken_turns = st.tuples(
    st.sampled_from(("A", "B", "C")), st.lists(spoken_words, min_size=1, max_size=14).map(" ".join)
)
sessions = st.lists(spoken_turns, min_size=2, max_size=7).map(lambda lines: make_session(*lines))
chances = st.integers(0, 2**32).map(random.Random)


def counts(words: str) -> list[str]:
    """The words of a claim that are not idle."""
    return bare(words).split()


def is_a_quote(words: str) -> bool:
    """Whether there is more than one word that counts; a single one needs a sure place."""
    return len({bare(word).strip() for word in words.split()} - {""}) > 1 and len(counts(words)) > 1


def stands_within(session: SessionText, found: Located) -> bool:
    """Whether a span is verbatim, cuts no word and lies in one speaker's mouth."""
    text, start, end = session.text, found.char_start, found.char_end
    turns = session.turns[found.turn_first : found.turn_last + 1]
    cuts = [text[at - 1 : at + 1] for at in (start, end) if 0 < at < len(text)]
    return (
        text[start:end] == found.exact != ""
        and turns[0].char_start <= start < end <= turns[-1].char_end
        and {turn.speaker for turn in turns} == {found.speaker}
        and not any(pair.isalnum() for pair in cuts)
    )


def pick(session: SessionText, chance: random.Random) -> tuple[str | None, str]:
    turn = chance.choice(session.turns)
    words = turn.text.split()
    first = chance.randrange(len(words))
    return turn.speaker, " ".join(words[first : chance.randint(first + 1, len(words))])


def damage(exact: str, chance: random.Random) -> str:
    """Change only what may differ."""
    words = exact.split()
    for _ in range(chance.randint(0, 4)):
        at = chance.randint(1, max(1, len(words) - 1))
        inside = plain(" ".join(words[max(0, at - 1) : at + 1])).strip() in {"you know", "i mean"}
        chosen = chance.randrange(4)
        if chosen == 0 and at < len(words) and not inside:
            words.insert(at, chance.choice(HESITATIONS))
        elif chosen == 1 and words[at - 1].isalpha() and words[at - 1].lower() not in {*NEGATIONS, *NUMBERS}:
            words.insert(at, words[at - 1])
        elif chosen == 2:
            words[at - 1] = words[at - 1].replace("'", "’").replace("-", "\u2011")
        elif chosen == 3 and at < len(words) and not inside:
            words[at - 1] += ", like," if words[at - 1][-1].isalnum() else " uh"
    joined = chance.choice((" ", "  ", "\n", " \t")).join(words)
    joined = chance.choice((str, str.upper, str.lower, str.title))(joined)
    return chance.choice(("{}", "“{}”", " {} ", '"{}."')).format(joined)


@settings(max_examples=200)
@given(sessions, chances)
def test_true_words_are_found_whatever_their_writing(session: SessionText, chance: random.Random) -> None:
    speaker, exact = pick(session, chance)
    assume(is_a_quote(exact))
    for claimed in (exact, damage(exact, chance)):
        found = locate_quote(Candidate(exact=claimed, speaker=speaker), session)
        assert isinstance(found, Located), (claimed, found)
        assert found.speaker == speaker
        assert stands_within(session, found)
        assert counts(found.exact) == counts(exact)
        stored = Candidate(exact=found.exact, speaker=found.speaker, turn_index=found.turn_first)
        assert locate_quote(stored, session) == found


@settings(max_examples=150)
@given(sessions, chances)
def test_words_of_another_never_pass(session: SessionText, chance: random.Random) -> None:
    speaker, exact = pick(session, chance)
    other = chance.choice(("A", "B", "C", "Nobody"))
    assume(other != speaker)
    theirs = [said for said, whose in _with_speakers(session) if whose == other]
    assume(not any(stands_in(exact, said) for said in theirs))
    assert isinstance(locate_quote(Candidate(exact=exact, speaker=other), session), Rejected)


@settings(max_examples=150)
@given(sessions, chances)
def test_glued_words_never_pass(session: SessionText, chance: random.Random) -> None:
    (_, first), (_, second) = pick(session, chance), pick(session, chance)
    glued = first + chance.choice((" ", " … ", "... ", ", ", "\n")) + second
    assume(is_a_quote(glued) and not _is_said(session, glued))
    assert isinstance(locate_quote(Candidate(exact=glued), session), Rejected)


@settings(max_examples=150)
@given(sessions, chances)
def test_a_changed_number_negation_or_word_never_passes(session: SessionText, chance: random.Random) -> None:
    speaker, exact = pick(session, chance)
    words = exact.split()
    at = chance.randrange(len(words))
    other = chance.choice((*NEGATIONS, *NUMBERS, "15", "16", "3.6", "$50", "you", "he", "zebra"))
    if chance.random() < 0.5:
        words[at] = other
    else:
        words.insert(at, other)
    edited = " ".join(words)
    assume(not _is_said(session, edited))
    assert isinstance(locate_quote(Candidate(exact=edited, speaker=speaker), session), Rejected)


@settings(max_examples=150)
@given(
    st.lists(st.tuples(st.sampled_from(("A", "B", None)), st.text(max_size=60)), max_size=5),
    st.text(alphabet=st.characters(exclude_categories=()), max_size=60),
    st.data(),
)
def test_whatever_is_claimed_of_whatever_is_said_only_source_words_come_back(
    lines: list[tuple[str | None, str]], noise: str, data: st.DataObject
) -> None:
    session = make_session(*lines)
    start = data.draw(st.integers(0, len(session.text)))
    end = data.draw(st.integers(start, len(session.text)))
    for claimed in (noise, session.text[start:end], session.text[start:end].upper() + noise):
        found = locate_quote(Candidate(exact=claimed, turn_index=data.draw(st.integers(-1, 6))), session)
        if isinstance(found, Located):
            assert session.text[found.char_start : found.char_end] == found.exact != ""
            turns = session.turns[found.turn_first : found.turn_last + 1]
            assert len({turn.speaker for turn in turns}) == 1
            assert len(turns) == 1 or turns[0].speaker is not None
            assert turns[0].char_start <= found.char_start
            assert found.char_end <= turns[-1].char_end


@settings(max_examples=100)
@given(st.lists(spoken_words, min_size=2, max_size=30).map("\n".join), chances)
def test_a_document_is_searched_as_a_session_is(text: str, chance: random.Random) -> None:
    words = text.split()
    first = chance.randrange(len(words))
    exact = " ".join(words[first : chance.randint(first + 1, len(words))])
    assume(is_a_quote(exact))
    found = locate_quote(Candidate(exact=damage(exact, chance)), QuoteIndex.of_document(text))
    assert isinstance(found, Located)
    assert text[found.char_start : found.char_end] == found.exact


def _with_speakers(session: SessionText) -> list[tuple[str, str | None]]:
    speakers: list[str | None] = []
    for position, turn in enumerate(session.turns):
        if position == 0 or session.turns[position - 1].speaker != turn.speaker:
            speakers.append(turn.speaker)
    return list(zip(stretches(session), speakers, strict=True))


def _is_said(session: SessionText, words: str) -> bool:
    """Whether the words, or what counts of them, stand in one stretch after all."""
    return any(stands_in(words, one) for one in stretches(session))
